package kcp

import (
	"math"
	"testing"
	"time"
)

// cubicRun feeds a controller acknowledgements of whole windows, a round trip apart.
type cubicRun struct {
	*testing.T
	*cubic
	now   time.Duration
	total int64
}

const cubicRTT = 100 * time.Millisecond

func newCubicRun(t *testing.T) *cubicRun {
	return &cubicRun{T: t, cubic: NewCubic().(*cubic), now: time.Hour}
}

// round acknowledges a window, segment by segment, and says whether it was used up.
func (r *cubicRun) round(limited bool) {
	n := r.Window() / IKCP_MTU_DEF
	for range n {
		r.now += cubicRTT / time.Duration(n)
		r.total += IKCP_MTU_DEF
		r.Acked(r.now, &RateSample{Acked: IKCP_MTU_DEF, RTT: cubicRTT, Delivered: r.total, WindowLimited: limited})
	}
}

// lose reports the loss of a segment with a window in flight.
func (r *cubicRun) lose(timeout bool) {
	r.Lost(r.now, IKCP_MTU_DEF, r.Window()-IKCP_MTU_DEF, timeout)
}

func (r *cubicRun) want(what string, got, want float64) {
	r.Helper()
	if math.Abs(got-want) > want/100 {
		r.Errorf("%s: %.0f, want %.0f", what, got, want)
	}
}

// Slow start doubles the window each round trip, if it is used.
func TestCubicSlowStart(t *testing.T) {
	r := newCubicRun(t)
	r.round(false)
	r.want("unused", r.window, initialWindow)
	for i := range 5 {
		r.round(true)
		r.want("window", r.window, initialWindow*math.Pow(2, float64(i+1)))
	}
}

// After a loss the window is 0.7 of what it was, once a round trip, and follows W(t) = C (t-K)³ +
// Wmax back (RFC 9438, figures 1 and 2).
func TestCubicGrowth(t *testing.T) {
	r := newCubicRun(t)
	for range 6 {
		r.round(true)
	}
	most := r.window
	r.lose(false)
	r.lose(false)
	r.want("reduced", r.window, most*0.7)
	r.round(true) // recovery
	r.round(true)
	k := math.Cbrt(most * 0.3 / IKCP_MTU_DEF / 0.4)
	start := r.now
	for (r.now - start).Seconds() < k {
		r.round(true)
	}
	if r.window < most*0.95 || r.window > most*1.05 {
		t.Errorf("window %.0f after K = %.1f s, want %.0f", r.window, k, most)
	}
	level := r.window
	for range 50 {
		r.round(true)
	}
	r.want("5 s beyond the plateau", r.window, level+0.4*125*IKCP_MTU_DEF)
}

// A second loss below the last maximum makes room for others: fast convergence (4.7).
func TestCubicFastConvergence(t *testing.T) {
	r := newCubicRun(t)
	for range 6 {
		r.round(true)
	}
	r.lose(false)
	for range 3 {
		r.round(true)
	}
	before := r.window
	r.lose(false)
	r.want("maximum", r.wMax, before*0.85)
}

// What had arrived after all takes the reduction back, what had not does not.
func TestCubicUndo(t *testing.T) {
	r := newCubicRun(t)
	for range 4 {
		r.round(true)
	}
	before := r.window
	r.lose(false)
	r.Spurious(r.now, IKCP_MTU_DEF)
	r.want("undone", r.window, before)
	r.lose(false)
	r.lose(false)
	r.Spurious(r.now, IKCP_MTU_DEF)
	r.want("one of two was lost", r.window, before*0.7)
}

// When the delay grows suddenly, everything in flight times out, and all of it had arrived. That is
// known only after the last of it is acknowledged.
func TestCubicUndoesTimeout(t *testing.T) {
	for real := range 2 {
		r := newCubicRun(t)
		for range 4 {
			r.round(true)
		}
		before, n := r.window, r.Window()/IKCP_MTU_DEF
		for i := range n {
			r.Lost(r.now, IKCP_MTU_DEF, (n-1-i)*IKCP_MTU_DEF, true)
		}
		r.want("after timeouts", r.window, minWindow)
		for i := range n {
			if i >= real {
				r.Spurious(r.now, IKCP_MTU_DEF)
			}
			r.total += IKCP_MTU_DEF
			r.Acked(r.now, &RateSample{Acked: IKCP_MTU_DEF, RTT: cubicRTT, Delivered: r.total, WindowLimited: true})
		}
		if real == 0 {
			r.want("undone", r.window, before)
		} else if r.window > before*0.75 {
			t.Errorf("window %.0f after a real loss, %.0f before", r.window, before)
		}
	}
}

func TestCubicFloor(t *testing.T) {
	r := newCubicRun(t)
	for i := range 50 {
		r.Lost(r.now, IKCP_MTU_DEF, 0, i%2 == 0)
		r.round(true)
		if r.Window() < minWindow || r.PacingRate() <= 0 {
			t.Fatalf("window %d, rate %d", r.Window(), r.PacingRate())
		}
	}
}
