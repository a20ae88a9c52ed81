package kcp

import (
	"math"
	"testing"
	"time"
)

// cubicRun drives a cubic with acknowledgements of whole windows, a round trip each.
type cubicRun struct {
	*testing.T
	*cubic
	now, rtt  time.Duration
	delivered int64
}

func newCubicRun(t *testing.T, window float64) *cubicRun {
	c := &cubicRun{T: t, cubic: NewCubic().(*cubic), now: time.Hour, rtt: 100 * millisecond}
	c.ack(1400, false) // the first sample
	c.cubic.window = window
	return c
}

// ack acknowledges bytes at once.
func (c *cubicRun) ack(bytes int, limited bool) {
	c.delivered += int64(bytes)
	c.Acked(c.now, &RateSample{Acked: bytes, Delivered: c.delivered, RTT: c.rtt, WindowLimited: limited})
}

// round acknowledges a window in the course of a round trip.
func (c *cubicRun) round(limited bool) {
	n := c.Window() / IKCP_MTU_DEF
	for range n {
		c.now += c.rtt / time.Duration(n)
		c.ack(IKCP_MTU_DEF, limited)
	}
}

// lose loses a segment of a full window, and delivers the rest and the retransmission.
func (c *cubicRun) lose() {
	flight := c.Window() - IKCP_MTU_DEF
	c.Lost(c.now, IKCP_MTU_DEF, flight, false)
	c.recover(flight)
}

// recover delivers what was in flight at a loss. That its last byte ends recovery, and lets the
// window grow for it, is as it should be.
func (c *cubicRun) recover(flight int) {
	c.now += c.rtt
	c.ack(flight, false)
}

func (c *cubicRun) wantWindow(what string, segments, tolerance float64) {
	c.Helper()
	if got := c.cubic.window / IKCP_MTU_DEF; math.Abs(got-segments) > (tolerance+1e-9)*segments {
		c.Fatalf("%s: window of %.2f segments, want %.2f", what, got, segments)
	}
}

// Slow start doubles (RFC 9438, section 4.10), in a window that is used only.
func TestCubicSlowStart(t *testing.T) {
	c := newCubicRun(t, 10*IKCP_MTU_DEF)
	c.round(false)
	c.wantWindow("a window not used", 10, 0)
	for want := 20.; want < 1000; want *= 2 {
		c.round(true)
		c.wantWindow("slow start", want, 0)
	}
}

// The window after a loss follows W_cubic(t) = C (t-K)^3 + W_max with K the cube root of
// W_max (1-β)/C (RFC 9438, section 4.2), which comes a round trip ahead of the time
// (section 4.4), in segments and seconds.
func TestCubicGrowth(t *testing.T) {
	const wMax = 2000.
	c := newCubicRun(t, wMax*IKCP_MTU_DEF)
	c.lose()
	c.wantWindow("after a loss", 0.7*wMax, 0)
	k := math.Cbrt(wMax * (1 - 0.7) / 0.4) // 11.4 s
	start := c.now
	for c.now-start < 20*second {
		c.round(true)
		at := (c.now - start).Seconds()
		// What is acknowledged in a round trip aims at the window of one later.
		c.wantWindow(c.now.String(), 0.4*math.Pow(at-k, 3)+wMax, 0.02)
	}
	if c.cubic.window < 1.05*wMax*IKCP_MTU_DEF {
		t.Error("it does not grow beyond the last window")
	}
}

// On short paths it grows as a Reno of the same average does: by α = 3(1-β)/(1+β) segments a
// round trip, and by 1 above the old window (RFC 9438, section 4.3).
func TestCubicRenoFriendly(t *testing.T) {
	c := newCubicRun(t, 40*IKCP_MTU_DEF)
	c.rtt = 5 * millisecond
	for range 100 {
		c.ack(0, false) // srtt
	}
	c.lose()
	const alpha = 3 * 0.3 / 1.7
	w := 28.
	for range 10 {
		c.round(true)
		w += alpha
		c.wantWindow("Reno's", w, 0.01)
	}
	for w < 40 {
		c.round(true)
		w += alpha
	}
	from := c.cubic.window / IKCP_MTU_DEF
	for i := range 10 {
		c.round(true)
		c.wantWindow("above the old window", from+float64(i+1), 0.01)
	}
}

// However far the cubic is ahead, a round trip adds half a window at most (section 4.4).
func TestCubicGrowthIsBounded(t *testing.T) {
	c := newCubicRun(t, 100*IKCP_MTU_DEF)
	c.lose()
	c.round(true)
	c.now += 60 * second
	for range 5 {
		was := c.cubic.window
		c.round(true)
		if c.cubic.window > 1.67*was { // 1.5 at each moment
			t.Fatalf("window from %.0f to %.0f in a round trip", was, c.cubic.window)
		}
	}
}

// Time in which the application did not use the window is no time to grow in (section 5.8).
func TestCubicApplicationLimited(t *testing.T) {
	c := newCubicRun(t, 1000*IKCP_MTU_DEF)
	c.lose()
	c.round(true)
	before := c.cubic.window
	for range 600 { // a minute
		c.now += c.rtt
		c.ack(IKCP_MTU_DEF, false)
	}
	if c.cubic.window != before {
		t.Fatalf("window from %.0f to %.0f", before, c.cubic.window)
	}
	c.round(true)
	if c.cubic.window > 1.05*before {
		t.Errorf("window from %.0f to %.0f in the first round trip after a pause", before, c.cubic.window)
	}
}

// All losses of a window are one sign of congestion.
func TestCubicReducesOnceAWindow(t *testing.T) {
	c := newCubicRun(t, 100*IKCP_MTU_DEF)
	flight := 99 * IKCP_MTU_DEF
	for range 20 {
		c.Lost(c.now, IKCP_MTU_DEF, flight, false)
		flight -= IKCP_MTU_DEF
	}
	c.wantWindow("20 losses", 70, 0)
	c.recover(70 * IKCP_MTU_DEF)
	c.Lost(c.now, IKCP_MTU_DEF, 70*IKCP_MTU_DEF, false)
	c.wantWindow("a loss of what was sent before", 70, 0)
	c.recover(50 * IKCP_MTU_DEF)
	c.Lost(c.now, IKCP_MTU_DEF, 60*IKCP_MTU_DEF, false)
	c.wantWindow("a loss of what was sent after", 49, 0)
}

// A flow that is reduced before it is back where it was makes room (section 4.7).
func TestCubicFastConvergence(t *testing.T) {
	c := newCubicRun(t, 100*IKCP_MTU_DEF)
	c.lose()
	c.lose()
	c.wantWindow("two losses", 49, 0)
	if got := c.wMax / IKCP_MTU_DEF; math.Abs(got-70*1.7/2) > 0.01 {
		t.Errorf("W_max = %.2f, want (1+β)/2 of 70", got)
	}
}

func TestCubicFloor(t *testing.T) {
	c := newCubicRun(t, 100*IKCP_MTU_DEF)
	for range 50 {
		c.lose()
		if c.Window() < minWindow {
			t.Fatalf("window of %d bytes", c.Window())
		}
	}
	c.wantWindow("50 losses", 4, 0)
	for range 100 {
		c.round(true)
	}
	if c.cubic.window < 20*IKCP_MTU_DEF {
		t.Errorf("it does not recover: %.0f", c.cubic.window)
	}
}

// A timeout with nothing left in flight says that the path is gone (RFC 5681, section 3.1).
func TestCubicTimeout(t *testing.T) {
	c := newCubicRun(t, 100*IKCP_MTU_DEF)
	for flight := 99; flight >= 0; flight-- {
		c.Lost(c.now, IKCP_MTU_DEF, flight*IKCP_MTU_DEF, true)
	}
	c.wantWindow("all lost", 4, 0)
	c.now += second
	for range 100 { // what had been in flight
		c.ack(IKCP_MTU_DEF, false)
	}
	c.round(true)
	c.wantWindow("slow start", 8, 0)
	for range 5 {
		c.round(true)
	}
	c.wantWindow("congestion avoidance", 70, 0.1)
}

// What was not lost is no congestion (RFC 4015), unless something else was.
func TestCubicSpurious(t *testing.T) {
	c := newCubicRun(t, 100*IKCP_MTU_DEF)
	was := *c.cubic
	for i := range 3 {
		c.Lost(c.now, IKCP_MTU_DEF, (99-i)*IKCP_MTU_DEF, false)
	}
	c.wantWindow("three losses", 70, 0)
	for range 2 {
		c.Spurious(c.now, IKCP_MTU_DEF)
	}
	c.wantWindow("one of three was lost", 70, 0)
	c.Spurious(c.now, IKCP_MTU_DEF)
	c.wantWindow("none was lost", 100, 0)
	if c.ssthresh != was.ssthresh || c.wMax != was.wMax {
		t.Errorf("ssthresh %v and W_max %v, were %v and %v", c.ssthresh, c.wMax, was.ssthresh, was.wMax)
	}
	c.Spurious(c.now, IKCP_MTU_DEF)
	c.wantWindow("twice", 100, 0)

	c.lose()
	c.round(true)
	grown := c.cubic.window / IKCP_MTU_DEF
	c.Spurious(c.now, IKCP_MTU_DEF)
	c.wantWindow("news of a loss long ago", grown, 0)
}

// A session that never fills its window loses for days, and remembers one reduction.
func TestCubicForgets(t *testing.T) {
	c := newCubicRun(t, 100*IKCP_MTU_DEF)
	for range 1000 {
		c.lose()
	}
	if c.before != nil && c.before.before != nil {
		t.Error("reductions before the last are remembered")
	}
}

func TestCubicPacing(t *testing.T) {
	c := NewCubic()
	if c.PacingRate() != 0 {
		t.Error("paced before a round trip is known")
	}
	r := newCubicRun(t, 100*IKCP_MTU_DEF)
	rate := float64(100*IKCP_MTU_DEF) / 0.1
	if got := float64(r.PacingRate()); got != 2*rate {
		t.Errorf("in slow start %.0f bytes/s, want twice the window each round trip", got)
	}
	r.lose()
	if got := float64(r.PacingRate()); got != math.Floor(1.25*0.7*rate) {
		t.Errorf("in congestion avoidance %.0f bytes/s, want 5/4 of the window each round trip", got)
	}
}
