package kcp

import (
	"fmt"
	"testing"
	"time"
)

func TestWindowProbing(t *testing.T) {
	n := alone(t)
	h := n.fromPeer(header{cmd: IKCP_CMD_WINS})
	h.wnd = 0
	n.hear(h)
	start := n.l.now
	n.write(1)
	for answered := 0; n.l.now-start < int64(15*time.Minute); {
		n.pass(time.Second / 16)
		if asked := len(n.commands(IKCP_CMD_WASK)); asked > answered {
			answered = asked
			n.hear(h)
		}
	}
	n.wantSent(0, 0)
	var wait []int64
	last := start
	for _, p := range n.commands(IKCP_CMD_WASK) {
		wait = append(wait, (p.at-last)/int64(time.Second))
		last = p.at
	}
	// From the RTO, 0.2 s, on.
	if got := fmt.Sprint(wait); got != "[0 0 0 1 3 6 7 10 15 23 35 53 79 119 120 120 120 120]" {
		t.Error(got)
	}
	// One that is lost is sent again soon: it may have been the peer's only sign of life.
	n.pass(time.Duration(n.deadline()-n.l.now) + 50*second)
	if lost := n.commands(IKCP_CMD_WASK)[len(wait):]; len(lost) != 8 {
		t.Errorf("%d probes in 50 s without an answer", len(lost))
	}
	h.wnd = 1
	n.hear(h)
	n.drive()
	n.wantSent(0, 1)
	// The next time it closes, the wait is short again.
	h.una, h.wnd = 1, 0
	n.hear(h)
	n.write(1)
	probes := len(n.commands(IKCP_CMD_WASK))
	n.pass(time.Duration(n.rtt.rto))
	if got := len(n.commands(IKCP_CMD_WASK)); got != probes+1 {
		t.Errorf("%d probes after the RTO, want 1", got-probes)
	}
}

// Nobody probes a window that nothing waits for.
func TestNoProbeWithoutData(t *testing.T) {
	n := alone(t)
	h := n.fromPeer(header{cmd: IKCP_CMD_WINS})
	h.wnd = 0
	n.hear(h)
	n.pass(time.Hour)
	if n.grams != 0 {
		t.Errorf("%d datagrams", n.grams)
	}
	if at := n.deadline(); at != never {
		t.Errorf("an idle core has a deadline in %v", time.Duration(at-n.l.now))
	}
}

func TestProbeIsAnswered(t *testing.T) {
	n := alone(t)
	n.hear(n.fromPeer(header{cmd: IKCP_CMD_WASK}))
	if !n.flushDue(n.l.now) {
		t.Error("a probe does not ask for an answer at once")
	}
	n.drive()
	if told := n.commands(IKCP_CMD_WINS); len(told) != 1 || told[0].wnd != 128 || len(n.sent) != 1 {
		t.Errorf("answered %v", n.sent)
	}
}

func TestWindowClosesAndReopens(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.b.WndSize(128, 4)
	l.a.flow.peerWnd = 4
	for i := range 10 {
		l.send(l.a, fmt.Sprint(i))
	}
	l.advance(60 * millisecond) // and no probe is due
	l.b.want("free", 0)
	l.a.want("peer window", 0)
	l.a.want("nxt", 4)
	b := make([]byte, 10)
	l.b.Recv(b)
	l.b.drive()
	if told := l.b.commands(IKCP_CMD_WINS); len(told) != 1 || told[0].wnd != 1 {
		t.Fatalf("told %v", told)
	}
	l.advance(60 * millisecond)
	l.a.want("nxt", 5)
	for i := 1; i < 10; {
		for _, m := range l.recv(l.b) {
			if m != fmt.Sprint(i) {
				t.Fatalf("%s, want %d", m, i)
			}
			i++
		}
		l.advance(50 * millisecond)
	}
	if p := l.a.commands(IKCP_CMD_WASK); len(p) != 0 {
		t.Errorf("%d probes though the window was told", len(p))
	}
}

// When the telling is lost, a probe brings it, soon.
func TestLostWindowUpdate(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.b.WndSize(128, 1)
	l.a.flow.peerWnd = 1
	l.send(l.a, "0")
	l.send(l.a, "1")
	l.advance(60 * millisecond)
	l.cut = true
	l.expect(l.b, "0")
	l.advance(10 * millisecond)
	l.cut = false
	l.advance(400 * millisecond)
	l.expect(l.b, "1")
}

// A window that was announced before another and arrives after it is old news.
func TestOvertakenAnnouncement(t *testing.T) {
	n := alone(t)
	n.write(4)
	tell := func(una uint32, wnd uint16) {
		h := n.fromPeer(header{cmd: IKCP_CMD_WINS})
		h.una, h.wnd = una, wnd
		n.hear(h)
	}
	tell(2, 5)
	n.want("peer window", 5)
	tell(1, 100)
	n.want("peer window", 5)
	tell(2, 3) // the peer read between the two, so this one was first
	n.want("peer window", 5)
	tell(2, 9)
	n.want("peer window", 9)
	tell(3, 0)
	n.want("peer window", 0)
	old, new := n.fromPeer(header{cmd: IKCP_CMD_WINS}), n.fromPeer(header{cmd: IKCP_CMD_WINS})
	old.una, old.wnd, new.una, new.wnd = 3, 50, 4, 6
	n.hear(new, old)
	n.want("peer window", 6)
	tell(100, 77) // nothing like that was sent
	n.want("peer window", 6)
	n.want("una", 4)
}

func TestWindowSizes(t *testing.T) {
	for _, wnd := range []int{1, 2, 4096, 65535} {
		t.Run(fmt.Sprint(wnd), func(t *testing.T) {
			l := newLine(t, 10*millisecond)
			l.both(func(n *node) { n.WndSize(wnd, wnd); n.flow.peerWnd = uint32(wnd) })
			count := wnd + wnd/2 + 1
			l.drop(l.a, 0)
			for range count {
				l.a.Send([]byte{1})
			}
			l.a.flush(l.now)
			l.a.want("flight", wnd)
			got := 0
			for range 100 {
				got += len(l.recv(l.b))
				l.advance(100 * millisecond)
			}
			if got != count {
				t.Fatalf("%d of %d messages", got, count)
			}
			l.a.want("waiting", 0)
		})
	}
}

func TestWndSizeClamps(t *testing.T) {
	n := alone(t)
	for _, c := range []struct{ snd, rcv, wantSnd, wantRcv int }{
		{0, 0, 128, 128}, {-1, 5, 128, 5}, {7, -1, 7, 5}, {65535, 65535, 65535, 65535},
		{65536, 1 << 30, 65535, 65535}, {1, 1, 1, 1},
	} {
		if code := n.WndSize(c.snd, c.rcv); code != 0 || int(n.flow.sendWnd) != c.wantSnd || int(n.rcv.wnd) != c.wantRcv {
			t.Errorf("WndSize(%d, %d) = %d, windows %d and %d", c.snd, c.rcv, code, n.flow.sendWnd, n.rcv.wnd)
		}
	}
}

// A receive window that becomes smaller than what it holds loses nothing.
func TestReceiveWindowShrinks(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.drop(l.a, 1)
	for i := range 6 {
		l.send(l.a, fmt.Sprint(i))
	}
	l.advance(50 * millisecond)
	l.b.WndSize(128, 1)
	l.b.want("free", 0)
	l.expect(l.b, "0")
	l.advance(second)
	l.expect(l.b, "1", "2", "3", "4", "5")
	l.b.want("free", 1)
}
