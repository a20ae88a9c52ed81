package kcp

import (
	"math"
	"time"
)

// conservation is the controller of nc=1: no window, until far more is lost than paths lose by
// themselves. Then it conserves packets (Jacobson 1988; RFC 6937:
// https://www.rfc-editor.org/rfc/rfc6937): what the path has not delivered is not sent in its place.
//
// It counts what is sent in a round trip, and how much of that is acknowledged in the next. Round
// trips are added up to periods that tell enough, whatever way acknowledgements are batched. After
// each period:
//   - If more is lost than is tolerated, by far or several times, the window becomes the part of
//     what was in flight that arrived. It is paced, as a short queue drops what comes at once.
//   - If that has not halved the loss, and the window is smaller by a quarter, and the rate of
//     delivery has fallen with it, no queue has overflowed: the path loses that share by itself.
//     The window becomes what it was before the first reduction, without a bound if there was none,
//     and for conserveMemory periods that share is tolerated as well.
//   - If no more is lost than the path loses by itself, the window grows, faster each time.
//   - If conserveRounds periods did not use the window up, there is none again.
//
// What an application that sends little loses says nothing while there is no window: less cannot be sent
// of it.
type conservation struct {
	window int     // bytes that may be in flight, 0 for no bound
	excess float64 // sum of the shares lost lately beyond what is tolerated
	own    float64 // share that the path loses by itself
	memory int     // periods until own is forgotten
	rate   float64 // most bytes a second delivered lately
	step   float64 // share by which the window grows next
	unused int     // periods in a row that did not use the window up

	round struct {
		until int64 // Delivered at which it ends
		sent  int   // bytes sent in it
		acked int   // bytes acknowledged in it, which were sent in the one before
		prior int   // bytes sent in the one before
		skip  bool  // the one before began with another window, or the application limited it
	}
	period struct {
		began time.Duration
		sent  int
		acked int // of them
		peak  int // most bytes in flight
	}
	first struct { // of the reductions in a row that have not halved the loss yet
		share  float64 // lost before it
		rate   float64 // delivered then, 0 for no such reduction
		peak   int
		window int
	}
}

const (
	// conserveSample is the least that a period tells of, and conservePeriod the least it takes:
	// twice as long as peers commonly wait with acknowledgements.
	conserveSample = 64 * IKCP_MTU_DEF
	conservePeriod = 60 * time.Millisecond
	conserveRounds = 16
	conserveMemory = 64

	// conserveFree is the share that may be lost beyond the path's own without a bound, and
	// conserveFreeSum how much beyond that, summed up over periods, makes one. conserveBound and
	// conserveBoundSum are the same where there is one, and half of own is added to the first, as
	// losses vary the more the more there are.
	conserveFree, conserveFreeSum   = 0.2, 0.5
	conserveBound, conserveBoundSum = 0.05, 0.15

	// conservePeriodMax bounds what one period adds to the sum: one alone makes no bound.
	conservePeriodMax = 0.3

	conserveStep    = 1. / 64 // what step begins with
	conserveStepMax = 0.5
	conserveGain    = 1.25 // of pacing
)

func (c *conservation) Sent(now time.Duration, bytes, inFlight int) {
	if c.period.began == 0 {
		c.period.began = now
	}
	c.round.sent += bytes
	c.period.peak = max(c.period.peak, inFlight)
}

func (c *conservation) Acked(now time.Duration, s *RateSample) {
	r, p := &c.round, &c.period
	r.skip = r.skip || s.AppLimited && c.window == 0
	if s.PriorDelivered < r.until {
		r.acked += s.Acked
		return
	}
	if r.skip {
		r.skip = false
		c.begin(now, s.Prior)
	} else {
		p.sent += r.prior
		p.acked += r.acked
		if t := now - p.began; t >= conservePeriod && p.sent >= max(conserveSample, p.peak) {
			c.judge(1-float64(p.acked)/float64(p.sent), float64(p.acked)/t.Seconds())
			c.begin(now, s.Prior)
		}
	}
	r.until = s.Delivered
	r.prior, r.sent, r.acked = r.sent, 0, s.Acked
}

func (c *conservation) begin(now time.Duration, inFlight int) {
	p := &c.period
	p.began, p.sent, p.acked, p.peak = now, 0, 0, inFlight
}

// judge draws the conclusions from a period in which that share was lost, and that rate delivered.
func (c *conservation) judge(share, rate float64) {
	if c.memory--; c.memory <= 0 {
		c.own = 0
	}
	c.own = max(0, c.own+min(0, share-c.own)/4)
	c.rate = max(rate, c.rate*15/16)
	tolerated, limit := conserveFree, conserveFreeSum
	if c.window != 0 {
		tolerated, limit = conserveBound+c.own/2, conserveBoundSum
	}
	over := share - c.own - tolerated
	c.excess = min(max(c.excess+min(over, conservePeriodMax), 0), limit)
	switch {
	case over > 0 && c.excess >= limit:
		c.reduce(share, rate)
	case over <= 0:
		if c.excess == 0 {
			c.first.rate = 0
		}
		if c.window != 0 {
			c.allow(share)
		}
	}
}

// reduce lowers the window, or takes that back.
func (c *conservation) reduce(share, rate float64) {
	f, peak := &c.first, c.period.peak
	switch left := float64(c.window) / float64(f.peak); {
	case f.rate == 0, share-c.own <= (f.share-c.own)/2:
		f.share, f.rate, f.peak, f.window = share, rate, peak, c.window
	case left <= 0.75 && rate < f.rate*(1+left)/2:
		c.own, c.memory = share, conserveMemory
		c.resize(f.window, conserveStepMax)
		f.rate, c.excess = 0, 0
		return
	}
	arrived := float64(peak) * (1 - share + c.own)
	c.resize(max(int(arrived*15/16), minWindow), conserveStep)
	c.excess = min(c.excess, conserveBoundSum)
	c.unused = 0
}

// allow lets the window grow, or ends it.
func (c *conservation) allow(share float64) {
	switch {
	case c.period.peak >= c.window:
		c.unused = 0
		if share <= c.own+conserveBound/2+c.own/4 {
			c.resize(c.window+int(c.step*float64(c.window)), min(2*c.step, conserveStepMax))
		}
	case share <= 2*conserveBound:
		if c.unused++; c.unused >= conserveRounds {
			c.window, c.excess = 0, 0
		}
	}
}

func (c *conservation) resize(window int, step float64) {
	c.window, c.step, c.round.skip = window, step, true
}

// Lost does nothing: what counts is how much of what is sent is acknowledged.
func (c *conservation) Lost(time.Duration, int, int, bool) {}

// Spurious counts bytes that were sent once more, and need not have been.
func (c *conservation) Spurious(_ time.Duration, bytes int) { c.round.acked += bytes }

func (c *conservation) Window() int {
	if c.window == 0 {
		return math.MaxInt
	}
	return c.window
}

func (c *conservation) PacingRate() int64 {
	if c.window == 0 {
		return 0
	}
	return int64(c.rate * conserveGain)
}

// NewConservation returns the controller that SetNoDelay's nc=1 chooses: no congestion window,
// unless more than a fifth of what is sent is lost beyond what the path loses by itself. Then
// packet conservation (RFC 6937: https://www.rfc-editor.org/rfc/rfc6937) bounds what is in flight to
// what the path delivers in a round trip, for as long as sending less loses less and delivers as
// much.
func NewConservation() CongestionControl { return new(conservation) }
