package kcp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAcknowledgementsOfNothing(t *testing.T) {
	n := alone(t)
	n.write(4)
	for _, sn := range []uint32{4, 5, 0x80000000, 0xffffffff} {
		n.hear(n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: sn}))
	}
	for _, una := range []uint32{5, 0x7fffffff, 0xffffffff} {
		h := n.fromPeer(header{cmd: IKCP_CMD_WINS})
		h.una = una
		n.hear(h)
	}
	n.want("una", 0)
	n.want("flight", 4)
	n.hear(n.ackOf(2), n.ackOf(2))
	n.want("una", 0)
	n.want("flight", 3)
	h := n.ackOf(1)
	h.una = 4
	n.hear(h) // exactly all of it
	n.want("una", 4)
	n.want("waiting", 0)
}

func TestWhatIsAnswered(t *testing.T) {
	n := alone(t)
	n.WndSize(128, 4)
	push := func(sn uint32) header {
		return header{conv: testConv, cmd: IKCP_CMD_PUSH, sn: sn, ts: sn + 1000, len: 1, wnd: 32}
	}
	answered := func() (sns []uint32) {
		n.flush(n.l.now)
		for _, h := range n.commands(IKCP_CMD_ACK) {
			if h.ts != h.sn+1000 {
				t.Errorf("ts %d echoed for segment %d", h.ts, h.sn)
			}
			sns = append(sns, h.sn)
		}
		n.sent = nil
		return sns
	}
	n.hear(push(0), push(0), push(3), push(4), push(100))
	if got := fmt.Sprint(answered()); got != "[0 0 3]" {
		t.Errorf("answered %s, want [0 0 3]: the window reaches to 3", got)
	}
	n.l.recv(n)
	n.sent = nil
	n.hear(push(4), push(5), push(0)) // the window has moved by one
	if got := fmt.Sprint(answered()); got != "[4 0]" {
		t.Errorf("answered %s, want [4 0]", got)
	}
	if n.count.RepeatSegs != 2 {
		t.Errorf("%d repeats, want 2", n.count.RepeatSegs)
	}
}

func TestAcknowledgementDelay(t *testing.T) {
	push := func(sn uint32) header {
		return header{conv: testConv, cmd: IKCP_CMD_PUSH, sn: sn, len: 1, wnd: 32}
	}
	for _, c := range []struct {
		what     string
		interval int
		sns      []uint32
		acks     int
		delay    time.Duration
	}{
		{"a single one waits for the interval", 10, []uint32{0}, 1, 10 * millisecond},
		{"but no longer than a peer's RTO allows", 5000, []uint32{0}, 1, 20 * millisecond},
		{"every second is acknowledged at once", 10, []uint32{0, 1}, 1, 0},
		{"so is what leaves a gap", 10, []uint32{1}, 1, 0},
		{"and a repeat", 10, []uint32{0, 0}, 2, 0},
	} {
		n := alone(t)
		n.NoDelay(1, c.interval, 0, 1)
		start := n.l.now
		for _, sn := range c.sns {
			n.hear(push(sn))
		}
		n.pass(second)
		acks := n.commands(IKCP_CMD_ACK)
		if len(acks) != c.acks || acks[0].at-start != int64(c.delay) {
			t.Errorf("%s: %d acknowledgements", c.what, len(acks))
		}
	}
}

// Where segments come further apart than an acknowledgement may wait, and no data goes back, waiting ends.
// It begins again when two segments come together, or an acknowledgement has ridden with data.
func TestFutileAcknowledgementDelayEnds(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 0, 1)
	sn := uint32(0)
	hear := func() {
		n.hear(header{conv: testConv, cmd: IKCP_CMD_PUSH, sn: sn, una: n.snd.nxt, len: 1, wnd: 32})
		sn++
	}
	delays := func(count int) (ms []int64) {
		for range count {
			start := n.l.now
			hear()
			n.pass(50 * millisecond)
			acks := n.commands(IKCP_CMD_ACK)
			ms = append(ms, (acks[len(acks)-1].at-start)/int64(millisecond))
		}
		return ms
	}
	want := func(when, delays string, got []int64) {
		t.Helper()
		if fmt.Sprint(got) != delays {
			t.Errorf("%s: delays of %v ms, want %s", when, got, delays)
		}
	}
	want("at first", "[10 10 10 10 0 0 0]", delays(7))
	hear()
	n.pass(5 * millisecond)
	want("after two together", "[10 10 10 0 0]", delays(6)[1:])
	hear()
	n.pass(5 * millisecond)
	for range 6 { // each rides with data
		hear()
		n.pass(5 * millisecond)
		n.write(1)
		n.drive()
		n.pass(15 * millisecond)
	}
	want("after riding with data", "[10 10 10 10 0]", delays(5))
}

// The first acknowledgement of what comes again may have been lost, so the second does not wait.
func TestRepeatIsAcknowledgedAtOnce(t *testing.T) {
	n := alone(t)
	for range 2 {
		n.hear(header{conv: testConv, cmd: IKCP_CMD_PUSH, len: 1, wnd: 32})
		n.drive()
		n.want("acks due", 1-len(n.commands(IKCP_CMD_ACK))/2)
		n.pass(second)
	}
	if acks := n.commands(IKCP_CMD_ACK); len(acks) != 2 || acks[1].at-acks[0].at != int64(second-10*millisecond) {
		t.Errorf("%d acknowledgements", len(acks))
	}
}

// Acknowledgements beyond a gap are sent once more, with the next ones, to a peer of ours only.
func TestAcknowledgementsAreRepeated(t *testing.T) {
	for _, ours := range []bool{false, true} {
		n := alone(t)
		if ours {
			n.caps.peer = capMark
		}
		times := func(sn uint32) (count int) {
			for _, h := range n.commands(IKCP_CMD_ACK) {
				if h.sn == sn {
					count++
				}
			}
			return count
		}
		for _, sn := range []uint32{0, 2, 3, 4, 1} { // 1 is late
			n.hear(n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: sn, ts: sn, len: 1}))
			n.flush(n.l.now)
		}
		n.hear(n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: 5, ts: 5, len: 1}))
		n.flush(n.l.now)
		for sn, want := range []int{1, 1, 2, 2, 1, 1} {
			if !ours {
				want = 1
			}
			if got := times(uint32(sn)); got != want {
				t.Errorf("ours %t: segment %d acknowledged %d times, want %d", ours, sn, got, want)
			}
		}
	}
}

// ackString says which acknowledgements were sent since the last time: sn, ts and una of each.
func (n *node) ackString() (s string) {
	for _, h := range n.commands(IKCP_CMD_ACK) {
		s += fmt.Sprintf("%d/%d<%d ", h.sn, h.ts, h.una)
	}
	n.sent = nil
	return strings.TrimSpace(s)
}

// A run of segments that arrive in order, each for the first time, has one acknowledgement: of the
// newest, with the newest's ts to a peer with extensions, and with the oldest's to one without. Any
// other segment has its own, behind a gap too.
func TestRunIsAcknowledgedOnce(t *testing.T) {
	const rebuilt = 1 << 31 // flag of a segment that FEC has rebuilt
	for _, c := range []struct {
		what         string
		sns          []uint32
		ours, theirs string
	}{
		{"a run", []uint32{0, 1, 2, 3}, "3/13<4", "3/10<4"},
		{"behind a gap", []uint32{0, 1, 3, 4}, "1/11<2 3/12<2 4/13<2", "1/10<2 3/12<2 4/13<2"},
		{"a gap that is filled", []uint32{0, 2, 1, 3, 4}, "0/10<5 2/11<5 1/12<5 4/14<5", "0/10<5 2/11<5 1/12<5 4/13<5"},
		{"the second of three gaps is filled", []uint32{1, 3, 5, 2}, "1/10<0 3/11<0 5/12<0 2/13<0", ""},
		{"a repeat", []uint32{0, 1, 1, 2, 3}, "1/11<4 1/12<4 3/14<4", "1/10<4 1/12<4 3/13<4"},
		{"a rebuilt one", []uint32{0, 1 | rebuilt, 2, 3}, "0/10<4 1/11<4 3/13<4", "0/10<4 1/11<4 3/12<4"},
	} {
		for _, mark := range []uint8{0, capMark} {
			n := alone(t)
			n.caps.peer = mark
			for i, sn := range c.sns {
				h := n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: sn &^ rebuilt, ts: 10 + uint32(i), len: 1})
				n.input(n.l.now, encode(h), sn&rebuilt == 0)
			}
			n.flush(n.l.now)
			want := c.ours
			if mark == 0 && c.theirs != "" {
				want = c.theirs
			}
			if got := n.ackString(); got != want {
				t.Errorf("%s, mark %#x: %q, want %q", c.what, mark, got, want)
			}
		}
	}
}

// Segments that were declared lost because the path stood still for a while, and are then acknowledged
// by one ACK and its una, were declared lost in vain: each of them, whether it was sent again or not.
func TestUnaTellsOfSpuriousLosses(t *testing.T) {
	for _, pause := range []time.Duration{65, 80, 100, 200, 400} {
		n := alone(t)
		n.NoDelay(1, 10, 2, 0)
		for range 50 {
			n.rtt.sample(int64(60*millisecond), 0)
		}
		n.WndSize(1024, 1024)
		for range 20 {
			n.Send(make([]byte, 1000))
		}
		n.flush(n.l.now)
		sent := n.snd.nxt
		all := n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: sent - 1, ts: n.pushes(sent - 1)[0].ts})
		n.pass(pause * millisecond)
		declared := n.loss.lostTotal
		all.una = sent
		n.hear(all)
		if n.snd.una < sent || pause >= 100 && declared == 0 || n.loss.spurious != min(declared, uint64(sent)) {
			t.Errorf("after %d ms: of %d segments declared lost %d times, %d arrived, %d are spurious",
				pause, sent, declared, n.snd.una, n.loss.spurious)
		}
	}
}

// Between cores that are driven by hand one ACK tells of several segments, and echoes the oldest's ts:
// that is a sample of the round trip, with the wait.
func TestRoundTripOfRuns(t *testing.T) {
	l := newLine(t, 20*millisecond)
	for range 100 {
		l.send(l.a, "message")
		l.advance(3 * millisecond)
		l.recv(l.b)
	}
	l.advance(second)
	if srtt := time.Duration(l.a.rtt.srtt); srtt < 40*millisecond || srtt > 50*millisecond {
		t.Errorf("the round trip is %v, want 40 to 50 ms", srtt)
	}
	l.a.want("waiting", 0)
}
