package kcp

import (
	"fmt"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for nodelay, name := range []string{"double", "half as much again"} {
		t.Run(name, func(t *testing.T) {
			n := alone(t)
			n.NoDelay(nodelay, 10, 0, 1)
			n.write(1)
			n.pass(10 * time.Minute)
			sent := n.pushes(0)
			wait := 200 * millisecond
			for i := range sent[1:] {
				if got := time.Duration(sent[i+1].at - sent[i].at); got != wait {
					t.Fatalf("transmission %d after %v, want %v", i+2, got, wait)
				}
				if wait *= 2; nodelay == 1 {
					wait = wait / 2 * 3 / 2
				}
				wait = min(wait, 60*second)
			}
			if wait != 60*second {
				t.Errorf("only %d transmissions in 10 minutes", len(sent))
			}
			n.want("timeouts", len(sent)-1)
		})
	}
}

// Whatever is in flight, each segment keeps its own timer.
func TestTimersOfMixedBackoff(t *testing.T) {
	n := alone(t)
	start := n.l.now
	n.write(1)
	n.pass(150 * millisecond)
	n.write(1)
	n.pass(250 * millisecond)
	at := func(sn uint32) (at []int) {
		for _, h := range n.pushes(sn) {
			at = append(at, int((h.at-start)/int64(millisecond)))
		}
		return at
	}
	if got := fmt.Sprint(at(0), at(1)); got != "[0 200] [150 350]" {
		t.Error(got)
	}
	n.pass(300 * millisecond)
	if got := fmt.Sprint(at(0), at(1)); got != "[0 200 500] [150 350 650]" {
		t.Error(got)
	}
}

// A retransmission in time repairs everything, and the backoff ends with the segment.
func TestTimeoutRepairs(t *testing.T) {
	l := newLine(t, 20*millisecond)
	l.drop(l.a, 1, 1, 2)
	for _, m := range []string{"0", "1", "2", "3"} {
		l.send(l.a, m)
	}
	l.advance(100 * millisecond)
	l.expect(l.b, "0")
	l.advance(second)
	l.expect(l.b, "1", "2", "3")
	l.a.wantSent(0, 1)
	l.a.wantSent(1, 3)
	l.a.wantSent(2, 3) // its second transmission shared the datagram of 1's
	l.a.wantSent(3, 1)
	l.a.want("timeouts", 4)
}

func TestFastRetransmit(t *testing.T) {
	for resend := 1; resend <= 5; resend++ {
		n := alone(t)
		n.NoDelay(1, 10, resend, 1)
		n.write(20)
		n.l.now++
		for later := 1; later <= resend; later++ {
			n.wantSent(0, 1)
			n.hear(n.ackOf(uint32(2 * later)))
			n.flush(n.l.now)
			n.l.now++
		}
		n.wantSent(0, 2)
		// Segment 1 was sent before all of them too.
		n.wantSent(1, 2)
		n.wantSent(3, 1) // but not segment 3
		n.want("early", 0)
	}
}

// Acknowledgements of what was sent before say nothing; a repeated one counts once; a resent
// segment starts again.
func TestFastRetransmitCountsLaterOnes(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 2, 1)
	n.write(20)
	n.l.now++
	n.hear(n.ackOf(9), n.ackOf(9), n.ackOf(0), n.ackOf(1), n.ackOf(2), n.ackOf(3))
	n.flush(n.l.now)
	n.wantSent(4, 1)
	n.hear(n.ackOf(10))
	n.l.now++
	n.flush(n.l.now)
	for sn := uint32(4); sn < 9; sn++ {
		n.wantSent(sn, 2)
	}
	// The originals of 11 to 19 were sent before the resent ones.
	n.l.now++
	n.hear(n.ackOf(11), n.ackOf(12), n.ackOf(13), n.ackOf(14))
	n.flush(n.l.now)
	n.wantSent(4, 2)
	// 6 was resent later than 4 and 5.
	n.hear(n.ackOf(6), n.ackOf(7))
	n.l.now++
	n.flush(n.l.now)
	n.wantSent(4, 3)
	n.wantSent(5, 3)
	n.wantSent(8, 2)
}

// The acknowledgement of a first transmission does not show that what was sent between it and the
// second is lost.
func TestFastRetransmitKnowsTransmissions(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 1, 1)
	n.WndSize(1, 128)
	n.write(1)
	old := n.ackOf(0)
	n.pass(100 * millisecond)
	n.WndSize(30, 128)
	n.write(20)
	n.pass(120 * millisecond) // 0 is resent behind the others
	n.wantSent(0, 2)
	n.wantSent(1, 1)
	n.hear(old)
	n.flush(n.l.now)
	n.wantSent(1, 1)
}

func TestFastRetransmitOff(t *testing.T) {
	n := alone(t)
	n.write(20)
	n.l.now++
	for sn := uint32(1); sn < 20; sn++ {
		n.hear(n.ackOf(sn))
		n.flush(n.l.now)
	}
	n.wantSent(0, 1)
	n.want("fast", 0)
	n.want("early", 0)
	n.pass(time.Duration(n.deadline() - n.l.now))
	n.wantSent(0, 2)
	n.want("timeouts", 1)
}

func TestEarlyRetransmit(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 3, 1)
	n.write(4)
	n.l.now++
	n.hear(n.ackOf(1)) // 0, 2 and 3 are left: never three later acknowledgements for 2
	n.Send([]byte{1})
	n.flush(n.l.now)
	n.wantSent(0, 1) // something new was sent instead
	n.wantSent(4, 1)
	n.want("flight", 4)
	n.hear(n.ackOf(4))
	n.flush(n.l.now)
	n.want("early", 3)
	n.wantSent(0, 2)
	n.want("fast", 0)
}

func TestNoEarlyRetransmitWithEnoughInFlight(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 3, 1)
	n.write(5)
	n.l.now++
	n.hear(n.ackOf(1))
	n.flush(n.l.now)
	n.wantSent(0, 1) // 2, 3 and 4 may still tell
	n.hear(n.ackOf(2))
	n.flush(n.l.now)
	n.wantSent(0, 2)
	n.want("early", 1)
}

// What the window keeps back cannot be sent either.
func TestEarlyRetransmitAtFullWindow(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 3, 1)
	n.WndSize(3, 128)
	n.write(10)
	n.l.now++
	n.hear(n.ackOf(2))
	n.flush(n.l.now)
	n.want("early", 2)
	n.wantSent(3, 0)
}

// With nodelay a missing acknowledgement is answered after a round trip and what that varies by,
// and a lost retransmission as soon as a lost first transmission.
func TestLossIsNoticedWithinARoundTrip(t *testing.T) {
	l := pathLine(t, 2)
	sn := l.a.snd.nxt
	l.drop(l.a, sn, sn)
	l.chat(30)
	gaps := l.a.gaps(sn)
	if len(gaps) != 2 {
		t.Fatalf("sent again after %v, want twice", gaps)
	}
	for _, gap := range gaps {
		if gap < 60*millisecond || gap > 90*millisecond {
			t.Errorf("sent again after %v, on a path of 60 ms", gap)
		}
	}
}

// resend 0 is really off: nothing but a timer tells.
func TestLossWithoutResend(t *testing.T) {
	l := pathLine(t, 0)
	sn := l.a.snd.nxt
	l.drop(l.a, sn)
	l.chat(30)
	l.a.want("fast", 0)
	l.a.want("early", 0)
	l.a.want("timeouts", 1)
	if got := l.a.gaps(sn); len(got) != 1 || got[0] < time.Duration(l.a.rtt.minRTO) {
		t.Errorf("sent again after %v", got)
	}
}

// A segment that is overtaken widens the reordering window, so that the next that is as late is not
// sent again; what seemed lost is counted as such no more.
func TestReorderingIsLearnt(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 1, 1)
	n.WndSize(1000, 128)
	n.flow.peerWnd = 1000
	reordered := func() {
		n.write(1)
		first := n.ackOf(n.snd.nxt - 1)
		n.l.now += int64(5 * millisecond)
		n.write(1)
		second := n.ackOf(n.snd.nxt - 1)
		n.l.now += int64(55 * millisecond)
		n.hear(second) // 55 ms after it was sent
		n.drive()
		n.l.now += int64(3 * millisecond)
		n.hear(first) // after 63: 8 later than the other
		n.drive()
	}
	reordered()
	if n.count.RetransSegs != 1 || n.loss.spurious != 1 {
		t.Fatalf("%d sent again, %d of them needlessly, want 1 and 1", n.count.RetransSegs, n.loss.spurious)
	}
	for range 5 {
		reordered()
	}
	if n.count.RetransSegs != 1 {
		t.Errorf("%d sent again for the same reordering", n.count.RetransSegs)
	}
	window := n.loss.reorder
	for range reorderAcks {
		n.write(1)
		n.l.now += int64(55 * millisecond)
		n.hear(n.ackOf(n.snd.nxt - 1))
	}
	if n.loss.reorder >= window {
		t.Errorf("reordering window %v after a long time without any", time.Duration(n.loss.reorder))
	}
}

// A deadline that is noticed late gets a grace period, in which what has arrived can be read; one
// that is noticed in time gets none.
func TestGraceOfLateTimer(t *testing.T) {
	for _, late := range []time.Duration{0, 15 * millisecond} {
		n := alone(t)
		n.write(1)
		n.l.now = n.deadline() + int64(late)
		n.flush(n.l.now)
		if got, want := len(n.pushes(0)), 2; late == 0 && got != want {
			t.Errorf("sent %d times when its time was over, want %d", got, want)
		} else if late > 0 && got != 1 {
			t.Errorf("sent %d times, %v late", got, late)
		}
		n.pass(late + millisecond)
		n.wantSent(0, 2)
	}
}
