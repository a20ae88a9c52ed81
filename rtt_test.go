package kcp

import (
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// TestSlowPath: on a path slower than the first timeout every segment is sent twice until the round
// trip is known, and the acknowledgement of the first transmission is enough to know it.
func TestSlowPath(t *testing.T) {
	virtual(t, netem.Path{Delay: 400 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		for _, x := range []*UDPSession{c, s} {
			x.SetNoDelay(1, 10, 2, 1)
			x.SetWindowSize(256, 256)
		}
		before := w.snmp.Copy()
		if err := carry(c, s, 1<<20); err != nil {
			w.Fatal(err)
		}
		if srtt := c.GetSRTT(); srtt < 799 || srtt > 850 {
			w.Errorf("the round trip is 800 ms, smoothed %d", srtt)
		}
		if resent := w.snmp.Copy().RetransSegs - before.RetransSegs; resent > 1 {
			w.Errorf("%d segments sent again on a path without loss", resent)
		}
		c.Close()
		s.Close()
	})
}

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

// Whatever ts is echoed, a sample is the time since a transmission of that segment.
func TestSampleOfForgedTime(t *testing.T) {
	for _, times := range []int{1, 2, 3, 6} {
		for _, past := range []time.Duration{time.Microsecond, millisecond, 199 * millisecond, 40 * second} {
			for _, last := range []bool{false, true} {
				n := alone(t)
				n.NoDelay(1, 10, 2, 1)
				n.write(1)
				for len(n.pushes(0)) < times {
					n.pass(millisecond)
				}
				forged := n.ackOf(0)
				if !last {
					forged.ts = n.pushes(0)[0].ts
				}
				forged.ts -= uint32(past / time.Microsecond)
				n.hear(forged)
				n.want("waiting", 0) // what it acknowledges counts
				n.want("srtt", time.Duration(0))
				if n.loss.rtt != 0 || n.rate.sample.RTT != 0 {
					t.Errorf("sent %d times, %v in the past: RTT %v", times, past, n.loss.rtt)
				}
			}
		}
	}
}

// Of a segment that was sent many times, the first and the last two transmissions give samples.
func TestSampleOfEarlierTransmissions(t *testing.T) {
	const times = 5
	for i := range times {
		n := alone(t)
		n.write(1)
		for len(n.pushes(0)) < times {
			n.pass(millisecond)
		}
		n.l.now += int64(millisecond)
		sent := n.pushes(0)
		ack := n.ackOf(0)
		ack.ts = sent[i].ts
		want := time.Duration(micros(n.l.now)-ack.ts) * time.Microsecond
		if i == 1 || i == 2 {
			want = 0
		}
		n.hear(ack)
		n.want("srtt", want)
		n.want("waiting", 0)
	}
}

// A rebuilt acknowledgement comes late: it neither widens the reordering window nor is the measure
// of what was sent before.
func TestRebuiltAckSaysNothingOfTime(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 2, 1)
	n.write(3)
	n.l.now += int64(30 * millisecond)
	n.hear(n.ackOf(0))
	loss, rtt := n.loss, n.rtt
	n.l.now += int64(10 * millisecond)
	n.write(1)
	n.l.now += int64(50 * millisecond)
	for _, sn := range []uint32{3, 2, 1} { // the newest, and two that it had overtaken
		h := n.ackOf(sn)
		n.input(n.l.now, encode(h), false)
	}
	n.want("waiting", 0)
	if n.loss.newestAcked != loss.newestAcked || n.loss.rtt != loss.rtt || n.loss.reorder != loss.reorder {
		t.Errorf("loss state %+v, want the times of %+v", n.loss, loss)
	}
	if n.rtt != rtt {
		t.Errorf("round trip %+v, want %+v", n.rtt, rtt)
	}
	if rate := n.rate.sample; rate.RTT != 0 || rate.Rate != 0 {
		t.Errorf("rate sample %+v of a rebuilt acknowledgement", rate)
	}
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
	// A peer may delay its acknowledgements by the interval, and timers are late, which steady
	// samples must not make us forget.
	var e rttEstimator
	e.init()
	for range 100 {
		e.sample(int64(200*millisecond), int64(50*millisecond))
	}
	if got := time.Duration(e.rto); got != 255*millisecond {
		t.Errorf("RTO %v, want 255ms", got)
	}
}
