package kcp

import (
	"fmt"
	"testing"
	"time"
)

func TestRoundTripSamples(t *testing.T) {
	n := alone(t)
	n.write(3)
	n.l.now += int64(40 * millisecond)
	n.hear(n.ackOf(0))
	n.want("srtt", 40*millisecond)
	n.want("rttvar", 20*millisecond)
	n.want("rto", 120*millisecond) // srtt + 4 rttvar
	n.l.now += int64(40 * millisecond)
	n.hear(n.ackOf(1)) // 80 ms
	n.want("srtt", 45*millisecond)
	n.want("rttvar", 25*millisecond) // 3/4 of 20 ms + 1/4 of |40-80|, with the old srtt
	n.want("rto", 145*millisecond)
	// Of the acknowledgements of one datagram the newest transmission counts.
	n.write(1)
	n.l.now += int64(45 * millisecond)
	n.hear(n.ackOf(2), n.ackOf(3))
	n.want("srtt", 45*millisecond)
}

func TestSampleFinerThanMilliseconds(t *testing.T) {
	n := alone(t)
	n.write(1)
	n.l.now += 250_000
	n.hear(n.ackOf(0))
	n.want("srtt", 250*time.Microsecond)
}

func TestSampleOfRetransmission(t *testing.T) {
	n := alone(t)
	n.write(1)
	first := n.ackOf(0)
	n.pass(200 * millisecond) // RTO
	n.wantSent(0, 2)
	second := n.ackOf(0)
	if first.ts == second.ts {
		t.Fatal("transmissions cannot be told apart")
	}
	n.l.now += int64(30 * millisecond)

	// The echoed time stamp tells that it was the first transmission that arrived.
	n.hear(first)
	n.want("srtt", 230*millisecond)
	n.want("waiting", 0)

	n = alone(t)
	n.write(1)
	n.pass(200 * millisecond)
	n.l.now += int64(30 * millisecond)
	n.hear(n.ackOf(0))
	n.want("srtt", 30*millisecond)

	// A time stamp that no transmission of the segment can have had says nothing.
	n = alone(t)
	n.write(1)
	forged := n.ackOf(0)
	forged.ts--
	n.hear(forged)
	n.want("srtt", time.Duration(0))
}

func TestRebuiltDatagramSaysNothing(t *testing.T) {
	n := alone(t)
	n.write(1)
	n.l.now += int64(30 * millisecond)
	h := n.ackOf(0)
	h.wnd, h.una = 7, 1
	n.input(n.l.now, encode(h), false)
	n.want("waiting", 0) // what it acknowledges counts
	n.want("srtt", time.Duration(0))
	n.want("peer window", IKCP_WND_RCV)
}

func TestRTOBounds(t *testing.T) {
	sample := func(nodelay int, rtt time.Duration) time.Duration {
		n := alone(t)
		n.NoDelay(nodelay, 10, 0, 1)
		n.rtt.sample(int64(rtt), 0)
		return time.Duration(n.rtt.rto)
	}
	for _, c := range []struct {
		nodelay   int
		rtt, want time.Duration
	}{
		{0, millisecond, 100 * millisecond},
		{1, millisecond, 30 * millisecond},
		{0, 40 * millisecond, 120 * millisecond},
		{1, 40 * millisecond, 120 * millisecond},
		{1, 0, 30 * millisecond},
		{0, 19 * second, 57 * second},
		{1, 30 * second, 60 * second},
		{0, time.Hour, 60 * second},
	} {
		if got := sample(c.nodelay, c.rtt); got != c.want {
			t.Errorf("nodelay %d, rtt %v: RTO %v, want %v", c.nodelay, c.rtt, got, c.want)
		}
	}
	// A peer may delay its acknowledgements by the interval, and timers are late, which
	// steady samples must not make us forget.
	var e rttEstimator
	e.init()
	for range 100 {
		e.sample(int64(200*millisecond), int64(50*millisecond))
	}
	if got := time.Duration(e.rto); got != 255*millisecond {
		t.Errorf("RTO %v, want 255ms", got)
	}
}

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

func TestFastResend(t *testing.T) {
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

// Acknowledgements of what was sent before say nothing; a repeated one counts once;
// a resent segment starts again.
func TestFastResendCountsLaterOnes(t *testing.T) {
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

// The acknowledgement of a first transmission does not show that what was sent between
// it and the second is lost.
func TestFastResendKnowsTransmissions(t *testing.T) {
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

func TestFastResendOff(t *testing.T) {
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

func TestEarlyResend(t *testing.T) {
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

func TestNoEarlyResendWithEnoughInFlight(t *testing.T) {
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
func TestEarlyResendAtFullWindow(t *testing.T) {
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
