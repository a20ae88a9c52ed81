package kcp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// takesRanges makes a node and its peer, whoever that is, take ranges.
func (n *node) takesRanges() {
	n.caps.own, n.caps.peer = capMark|capFIN|capRecords, capMark|capFIN|capRecords
	n.params.peer = params{known: true, features: featureRanges, datagram: mtuLimit, ackDelay: int64(10 * millisecond)}
	n.params.told = n.ownAckDelay()
}

// pairs returns the data of an ACK with these ranges.
func pairs(list ...uint32) (b []byte) {
	for _, v := range list {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// showRanges returns the ranges of an ACK.
func showRanges(b []byte) (s string) {
	for ; len(b) >= ackRangeSize; b = b[ackRangeSize:] {
		s += fmt.Sprintf(" %d+%d", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]))
	}
	return s
}

// A peer that takes ranges is told what has arrived beyond a gap, the newest first, by the ACK of the
// newest, again and again until una passes it. What fills a gap, repeats and rebuilt ones are of none.
func TestRangesTold(t *testing.T) {
	const rebuilt = 1 << 31
	for _, c := range []struct {
		what string
		sns  []uint32 // -1 sends what is pending
		want string
	}{
		{"no gap", []uint32{0, 1, 2}, "2<3"},
		{"a gap", []uint32{0, 2, 3, 4}, "0<1, 4<1 2+3"},
		{"several", []uint32{1, 3, 4, 8}, "8<0 8+1 3+2 1+1"},
		{"told again", []uint32{1, 2, 1 << 30, 4, 5, 1 << 30, 6}, "2<0 1+2, 5<0 4+2 1+2, 6<0 4+3 1+2"},
		{"a gap that is filled", []uint32{1, 3, 1 << 30, 0, 4}, "3<0 3+1 1+1, 0<2, 4<2 3+2"},
		{"the last one filled", []uint32{1, 2, 1 << 30, 0, 3}, "2<0 1+2, 0<4, 3<4"},
		{"the upper one filled", []uint32{1, 3, 2, 4}, "2<0, 4<0 3+2 1+1"},
		{"the upper one filled, and repeated", []uint32{1, 3, 2, 1 << 30, 4}, "3<0 3+1 1+1, 2<0, 2<0, 4<0 3+2 1+1"},
		{"a repeat", []uint32{1, 2, 2, 3}, "2<0, 3<0 1+3"},
		{"a rebuilt one", []uint32{1, 2 | rebuilt, 3}, "2<0, 3<0 3+1 1+1"},
	} {
		n := alone(t)
		n.takesRanges()
		push := func(sn uint32, regular bool) {
			n.input(n.l.now, encode(n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: sn, ts: sn + 1000, len: 50})), regular)
		}
		for _, sn := range c.sns {
			if sn == 1<<30 {
				n.flush(n.l.now)
				continue
			}
			push(sn&^rebuilt, sn&rebuilt == 0)
		}
		n.flush(n.l.now)
		var got []string
		for _, h := range n.commands(IKCP_CMD_ACK) {
			if h.ts != h.sn+1000 {
				t.Errorf("%s: ts %d of segment %d", c.what, h.ts, h.sn)
			}
			got = append(got, fmt.Sprintf("%d<%d%s", h.sn, h.una, showRanges(h.data)))
		}
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// A pause that gives memory back forgets nothing of a gap: what fills it is of no range, and what lies
// beyond it is told again.
func TestRangesAfterPause(t *testing.T) {
	n := alone(t)
	n.takesRanges()
	push := func(sn uint32) { n.hear(n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: sn, len: 50})) }
	push(2)
	push(3)
	n.flush(n.l.now)
	n.pass(3 * time.Second)
	push(1)
	push(5)
	n.flush(n.l.now)
	var got []string
	for _, h := range n.commands(IKCP_CMD_ACK) {
		got = append(got, fmt.Sprintf("%d<%d%s", h.sn, h.una, showRanges(h.data)))
	}
	if got, want := strings.Join(got, ", "), "3<0 2+2, 1<0, 5<0 5+1 2+2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What had arrived when the peer turned out to be another one, whose features are unknown, is acknowledged
// without ranges.
func TestRangesAfterReplacement(t *testing.T) {
	n := alone(t)
	n.takesRanges()
	for sn := uint32(1); sn < 4; sn++ {
		n.input(n.l.now, encode(n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: sn, len: 50})), true)
	}
	n.params.forget()
	n.flush(n.l.now)
	acks := n.commands(IKCP_CMD_ACK)
	if len(acks) != 1 || acks[0].sn != 3 || len(acks[0].data) != 0 {
		t.Errorf("%v, want one ACK of 3 without data", acks)
	}
}

// An ACK has 32 pairs at most, and fewer where the MTU or what came leaves less room: here it
// acknowledges the arrival of as many segments as are missing between them.
func TestRangesAreBounded(t *testing.T) {
	for _, c := range []struct{ mtu, size, together, want int }{
		{1400, 1376, 10, 32},
		{1400, 1376, 5, 18},
		{1400, 1376, 1, 4},
		{150, 1000, 10, 15},
		{1400, 1, 1, 2},
		{1400, 50, 1, 4},
	} {
		n := alone(t)
		n.takesRanges()
		n.WndSize(1024, 1024)
		n.SetMtu(c.mtu)
		for i := range uint32(100) {
			n.l.now += int64(10 * millisecond) // it is no stream
			n.hear(n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: 2*i + 1, len: uint32(c.size)}))
			if int(i)%c.together == c.together-1 {
				n.flush(n.l.now)
			}
		}
		acks := n.commands(IKCP_CMD_ACK)
		last := acks[len(acks)-1]
		if got := int(last.len) / ackRangeSize; got != c.want || n.longest > c.mtu {
			t.Errorf("MTU %d, %d of %d bytes: %d pairs, want %d; datagrams of %d", c.mtu, c.together, c.size, got, c.want, n.longest)
		}
		if first := binary.LittleEndian.Uint32(last.data); last.sn != 199 || first != 199 {
			t.Errorf("the ACK of %d begins with %d", last.sn, first)
		}
	}
}

// What ranges acknowledge, and what they must not.
func TestRangesHeard(t *testing.T) {
	const all = 1<<32 - 1
	for _, c := range []struct {
		what  string
		list  []uint32
		left  string // what is not acknowledged, of 10 segments that were sent, and 0 that una has passed
		later int    // acknowledgements later than the head's
	}{
		{"one", []uint32{5, 3}, "1 2 3 4 8 9 10", 3},
		{"two", []uint32{8, 2, 3, 4}, "1 2 7 10", 6},
		{"below una", []uint32{0, 3, all - 5, 3}, "3 4 5 6 7 8 9 10", 0},
		{"beyond nxt", []uint32{10, 100, 1 << 31, 5, 1 << 20, 1 << 20}, "1 2 3 4 5 6 7 8 9", 1},
		{"none", []uint32{5, 0}, "1 2 3 4 5 6 7 8 9 10", 0},
		{"around the circle", []uint32{4, all}, "1 2 3", 7},
		{"from far below", []uint32{1<<31 + 2, 1<<31 + 3}, "5 6 7 8 9 10", 0},
		{"overlapping", []uint32{5, 3, 7, 1, 1, 2}, "1 2 3 4 8 9 10", 3},
		{"overlapping by all", []uint32{9, 1, 0, all, 2, 1}, "1 2 3 4 5 6 7 8 10", 1},
		{"ascending", []uint32{2, 1, 4, 1}, "1 3 5 6 7 8 9 10", 2},
		{"half a pair", []uint32{2, 1, 4}, "1 3 4 5 6 7 8 9 10", 1},
	} {
		n := alone(t)
		n.takesRanges()
		n.write(11)
		h := n.ackOf(0)
		h.una = 1
		n.hear(h)
		ack := n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: 0})
		n.input(n.l.now, withRecords(ack, pairs(c.list...)), true)
		left := ""
		for sn := n.snd.una; sn != n.snd.nxt; sn++ {
			if n.snd.at(sn).state != segAcked {
				left += fmt.Sprint(" ", sn)
			}
		}
		if strings.TrimSpace(left) != c.left || c.left[0] == '1' && int(n.snd.laterAcks) != c.later {
			t.Errorf("%s: left%s, %d later, want %s and %d", c.what, left, n.snd.laterAcks, c.left, c.later)
		}
		wantCore(t, n.KCP, n.l.now)
	}
}

// Ranges count for nothing where the peer does not take records, nor before a dialled session is
// confirmed.
func TestRangesOfOthers(t *testing.T) {
	for name, change := range map[string]func(n *node){
		"unmarked":    func(n *node) { n.caps.peer = 0 },
		"not ours":    func(n *node) { n.caps.own = 0 },
		"unconfirmed": func(n *node) { n.KCP.peer.own, n.KCP.peer.confirmed = 1, false },
	} {
		n := alone(t)
		n.takesRanges()
		n.write(10)
		change(n)
		n.input(n.l.now, withRecords(n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: 100}), pairs(0, 10)), true)
		if n.snd.inFlight.n != 10 {
			t.Errorf("%s: %d in flight", name, n.snd.inFlight.n)
		}
	}
}

// A segment in a range that was sent once is acknowledged as that transmission, for the order and for
// the rate, but gives no round trip; of one that was sent again nothing is known but that it arrived.
func TestRangesGiveNoRoundTrip(t *testing.T) {
	n := alone(t)
	n.takesRanges()
	n.NoDelay(1, 10, 2, 1)
	for range 50 {
		n.rtt.sample(int64(60*millisecond), 0)
	}
	n.write(10)
	n.pass(60 * millisecond)
	before := n.rtt
	n.input(n.l.now, withRecords(n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: 100}), pairs(4, 6)), true)
	if n.rtt != before || n.loss.newestAcked != 0 || n.loss.reorder != 0 {
		t.Errorf("round trip %+v after %+v, newest %d, reordering window %d", n.rtt, before, n.loss.newestAcked, n.loss.reorder)
	}
	if s := n.rate.sample; s.Acked != 6*25 || s.RTT != 60*millisecond {
		t.Errorf("sample %+v", s)
	}
	n.drive() // 0 to 3 are lost by the order
	n.want("fast", 4)
	later := n.snd.laterAcks
	n.pass(62 * millisecond) // the retransmissions could have been acknowledged
	n.input(n.l.now, withRecords(n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: 100}), pairs(2, 1)), true)
	if s := n.rate.sample; n.snd.laterAcks != later || s.Acked != 25 || s.Rate != 0 || n.loss.spurious != 0 {
		t.Errorf("of a segment that was sent twice: %d later, sample %+v, %d spurious", n.snd.laterAcks, s, n.loss.spurious)
	}
}

// Without proof that the peer receives, ranges free memory, and tell nothing else.
func TestRangesProveNothing(t *testing.T) {
	n := proving(t, 200)
	n.takesRanges()
	for una := uint32(0); una < 10; una++ {
		n.input(n.l.now, withRecords(n.unaOnly(una), nil), true)
		h := n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: una + 20, ts: 12345})
		n.input(n.l.now, withRecords(h, pairs(una+2, 1<<32-1)), true)
		n.drive()
	}
	if n.snd.nxt > unprovenWindow+1 || n.proof.heard || n.rate.sample.Rate != 0 || n.count.RetransSegs > 0 {
		t.Errorf("%d segments sent, proof %+v, rate %d, %d sent again", n.snd.nxt, n.proof, n.rate.sample.Rate, n.count.RetransSegs)
	}
}

// The work for a range does not depend on its count, nor on how often it has been told: the walk over
// what is acknowledged already becomes short.
func TestRangesCostLittle(t *testing.T) {
	n := alone(t)
	n.takesRanges()
	n.WndSize(8192, 8192)
	n.flow.peerWnd = 8192
	n.write(8192)
	n.want("flight", 8192)
	hops := func(sn uint32) (hops int) {
		for n.snd.at(sn).state == segAcked {
			sn = n.snd.at(sn).links[linkOrder].next
			if hops++; sn == n.snd.nxt {
				break
			}
		}
		return hops
	}
	total := 0
	for end := uint32(11); end <= 8192; end += 10 { // each ACK tells all again
		total += hops(1)
		n.input(n.l.now, withRecords(n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: 1 << 20}), pairs(1, end-1)), true)
	}
	n.want("flight", 2)
	if total > 20*819 {
		t.Errorf("%d steps for 819 acknowledgements", total)
	}
	for range 64 { // starting anywhere
		total = 0
		for sn := uint32(1); sn < 8191; sn += 97 {
			total += hops(sn)
			n.input(n.l.now, withRecords(n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: 1 << 20}), pairs(sn, 1<<32-1)), true)
		}
	}
	if total > 300 {
		t.Errorf("%d steps from 85 starts", total)
	}
}

// Acknowledgements that are lost cost nothing: what they would have told the next one tells.
func TestLostAcknowledgementsCostNothing(t *testing.T) {
	var again [2]float64 // segments sent again for each that was lost
	for i, lost := range []float64{0, 0.3} {
		for seed := range uint64(lighter(6, 2)) {
			virtualSeed(t, seed, netem.Path{Delay: 30 * time.Millisecond}, func(w *world) {
				client, server := w.pair(w.config(nil, 0, 0))
				client.SetNoDelay(1, 10, 2, 0)
				there := netem.Path{Delay: 30 * time.Millisecond, Bandwidth: 5e6, Queue: 300_000, Loss: 0.01}
				w.check(carry(client, server, 100_000)) // parameters are known
				w.asymmetric(client, server, there, netem.Path{Delay: 30 * time.Millisecond, Loss: lost})
				resent := client.Stats().Resent
				before := w.net.Stats(client.LocalAddr(), server.LocalAddr())
				w.check(carry(client, server, 20<<20))
				after := w.net.Stats(client.LocalAddr(), server.LocalAddr())
				again[i] += float64(client.Stats().Resent-resent) / float64(after.Sent-before.Sent-(after.Delivered-before.Delivered))
				closeAll(client, server)
			})
		}
		again[i] /= float64(lighter(6, 2))
	}
	t.Logf("%.2f sent again for each that was lost, %.2f where 30%% of acknowledgements are", again[0], again[1])
	if again[1] > again[0]+lighter(0.1, 0.2) || again[0] > 1.15 {
		t.Errorf("%.2f sent again for each that was lost, %.2f where 30%% of acknowledgements are", again[0], again[1])
	}
}

// FuzzAckRanges lets any acknowledgements with ranges meet a send window with segments in all states.
func FuzzAckRanges(f *testing.F) {
	le := binary.LittleEndian
	for _, list := range [][]uint32{{5, 3}, {0, 1<<32 - 1}, {9, 2, 5, 3, 1, 2}, {1 << 31, 1 << 31, 4, 1}} {
		p := []byte{0, 40, 1, byte(4 * len(list))}
		f.Add(append(append(p, pairs(list...)...), 2, 90, 1, 16, 3, 0, 0, 0, 1, 0, 0, 0))
	}
	f.Add(append([]byte{3, 255, 0, 100, 2, 200}, random(3, 300)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		p := program{in}
		n := alone(t)
		n.takesRanges()
		n.NoDelay(p.n(2), 10, p.n(4), p.n(2))
		n.proof.required = p.n(2) == 1
		start := -uint32(p.n(64))
		n.snd.una, n.snd.nxt, n.snd.end, n.proof.edge = start, start, start, start
		n.flow.peerUna = start
		for steps := 0; !p.done() && steps < 500; steps++ {
			switch p.n(4) {
			case 0:
				n.write(p.n(100))
			case 1:
				h := n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: n.snd.una + p.offset()})
				if w := &n.snd; h.sn-w.una < w.nxt-w.una {
					h.ts = w.at(h.sn).ts + uint32(p.n(2))
				}
				list := p.bytes(p.n(256))
				for at := 0; at+ackRangeSize <= len(list); at += ackRangeSize {
					if list[at+3] < 128 { // mostly near the window
						le.PutUint32(list[at:], n.snd.una+uint32(int8(list[at])))
						le.PutUint32(list[at+4:], uint32(list[at+4]))
					}
				}
				acked, waiting := n.snd.inFlight.n+n.snd.lost.n, n.WaitSnd()
				if code := n.input(n.l.now, withRecords(h, list), p.n(4) > 0); code != 0 {
					t.Fatalf("Input: %d", code)
				}
				if n.snd.inFlight.n+n.snd.lost.n > acked || n.WaitSnd() > waiting {
					t.Fatal("an acknowledgement makes something unacknowledged")
				}
			case 2:
				n.pass(time.Duration(p.byte()) * millisecond)
			case 3:
				h := n.fromPeer(header{cmd: IKCP_CMD_WINS})
				h.una += p.offset()
				n.hear(h)
			}
			wantCore(t, n.KCP, n.l.now)
		}
	})
}

// What a rebuilt datagram acknowledges, by una or ranges, arrived some time before: it tells neither a
// round trip nor how late the path delivers.
func TestRebuiltAcknowledgementsTellNoTime(t *testing.T) {
	for _, regular := range []bool{true, false} {
		n := alone(t)
		n.takesRanges()
		n.write(4)
		n.l.now += int64(200 * millisecond)
		n.input(n.l.now, withRecords(n.ackOf(3), pairs(2, 2)), regular)
		if told := n.rate.sample.RTT != 0; told != regular {
			t.Errorf("ranges, regular %t: a round trip of %v", regular, n.rate.sample.RTT)
		}
		n.loss.reorder = 0
		n.resetRTO(n.l.now)
		n.snd.at(n.snd.una).forced = false // as if it had been declared lost
		n.l.now += int64(300 * millisecond)
		update := n.fromPeer(header{cmd: IKCP_CMD_WINS})
		update.una = 1
		n.input(n.l.now, encode(update), regular)
		if told := n.loss.reorder != 0; told != regular {
			t.Errorf("una, regular %t: a reordering window of %v", regular, time.Duration(n.loss.reorder))
		}
	}
}
