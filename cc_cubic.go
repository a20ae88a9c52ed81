package kcp

import (
	"math"
	"time"
)

// cubic is CUBIC (RFC 9438: https://www.rfc-editor.org/rfc/rfc9438) with pacing.
type cubic struct {
	window   float64       // congestion window in bytes, cwnd of the RFC
	ssthresh float64       // slow start threshold in bytes
	wMax     float64       // window before the last reduction in bytes, W_max
	wEst     float64       // window that Reno would have in bytes, W_est
	epoch    time.Duration // start of congestion avoidance, later by the pauses since
	k        float64       // seconds from epoch until wMax is reached again, K
	srtt     time.Duration // smoothed round-trip time, 0 before the first sample
	until    int64         // value of total at which the last congestion event ends
	total    int64         // bytes acknowledged
	inEpoch  bool          // epoch, k and wEst are set
	ackedAt  time.Duration // time of the last acknowledgement

	undo      *cubic // state before the last reduction, nil if that is not to be undone
	undoUntil int64  // value of total at which all that was sent before is accounted for
	lost      int    // bytes declared lost since that
	spurious  int    // of them, those that had arrived
}

const (
	// cubicBeta is the factor of a reduction (section 4.6:
	// https://www.rfc-editor.org/rfc/rfc9438#section-4.6).
	cubicBeta = 0.7
	// cubicC is C, 0.4 segments, in bytes per second cubed (section 5:
	// https://www.rfc-editor.org/rfc/rfc9438#section-5).
	cubicC = 0.4 * IKCP_MTU_DEF
	// renoAlpha makes wEst grow as fast as a Reno of the same average (section 4.3:
	// https://www.rfc-editor.org/rfc/rfc9438#section-4.3).
	renoAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
)

func newCubic() *cubic {
	return &cubic{window: initialWindow, ssthresh: math.MaxInt32}
}

func (c *cubic) Sent(time.Duration, int, int) {}

func (c *cubic) Acked(now time.Duration, s *RateSample) {
	if c.total = s.Delivered; c.total > c.undoUntil {
		c.undo = nil
	}
	pause := now - c.ackedAt
	c.ackedAt = now
	if s.RTT > 0 {
		if c.srtt == 0 {
			c.srtt = s.RTT
		}
		c.srtt += (s.RTT - c.srtt) / 8
	}
	if !s.WindowLimited || c.total < c.until {
		// In recovery, and while the application does not use the window (RFC 7661:
		// https://www.rfc-editor.org/rfc/rfc7661), the window does not grow, and the time does not
		// count (RFC 9438, section 5.8: https://www.rfc-editor.org/rfc/rfc9438#section-5.8).
		c.epoch += pause
		return
	}
	acked := float64(s.Acked)
	if c.window < c.ssthresh {
		c.window += acked
	} else {
		c.avoid(now, acked)
	}
	c.window = min(c.window, wndLimit*IKCP_MTU_DEF)
}

// State returns "slow_start", "congestion_avoidance" or "recovery".
func (c *cubic) State() string {
	switch {
	case c.total < c.until:
		return "recovery"
	case c.window < c.ssthresh:
		return "slow_start"
	}
	return "congestion_avoidance"
}

// avoid grows the window in congestion avoidance: by the cubic function, at least as Reno would
// (sections 4.2 to 4.5: https://www.rfc-editor.org/rfc/rfc9438#section-4.2).
func (c *cubic) avoid(now time.Duration, acked float64) {
	if !c.inEpoch {
		c.inEpoch, c.epoch, c.wEst = true, now, c.window
		c.k = math.Cbrt(max(0, c.wMax-c.window) / cubicC)
		c.wMax = max(c.wMax, c.window)
	}
	t := (now - c.epoch + c.srtt).Seconds() - c.k
	target := cubicC*t*t*t + c.wMax
	target = min(max(target, c.window), 1.5*c.window)
	alpha := renoAlpha
	if c.wEst >= c.wMax {
		alpha = 1
	}
	c.wEst += alpha * IKCP_MTU_DEF * acked / c.window
	c.window = max(c.window+(target-c.window)*acked/c.window, c.wEst)
}

// Lost reduces the window once for each congestion event, with fast convergence (sections 4.6 and
// 4.7: https://www.rfc-editor.org/rfc/rfc9438#section-4.6).
func (c *cubic) Lost(now time.Duration, bytes, inFlight int, timeout bool) {
	if c.total < c.until {
		c.lost += bytes
		if timeout && c.window > minWindow && inFlight == 0 {
			c.window = minWindow
		}
		return
	}
	saved := *c
	saved.undo = nil // only the last reduction can be undone
	c.undo, c.lost, c.spurious = &saved, bytes, 0
	c.undoUntil = c.total + int64(inFlight+bytes)
	if c.window < c.wMax { // another flow takes its share: fast convergence
		c.wMax = c.window * (1 + cubicBeta) / 2
	} else {
		c.wMax = c.window
	}
	c.window = max(c.window*cubicBeta, minWindow)
	c.ssthresh = c.window
	c.inEpoch = false
	c.until = c.total + int64(inFlight)
	if timeout && inFlight == 0 {
		c.window = minWindow
	}
}

// Spurious undoes the last reduction when all that was declared lost since had arrived (RFC 9438,
// section 4.9: https://www.rfc-editor.org/rfc/rfc9438#section-4.9; RFC 4015:
// https://www.rfc-editor.org/rfc/rfc4015). After a timeout that is known only when more has been
// acknowledged than was in flight still, and the window may have grown again.
func (c *cubic) Spurious(_ time.Duration, bytes int) {
	c.spurious += bytes
	if c.undo != nil && c.spurious >= c.lost {
		now := *c
		*c = *c.undo
		c.total, c.srtt, c.ackedAt = now.total, now.srtt, now.ackedAt
		c.window = max(c.window, now.window)
	}
}

func (c *cubic) Window() int { return int(c.window) }

// PacingRate returns 1.25 windows in a round trip, 2 while the window is less than half of
// ssthresh, 0 before the first sample of the round trip.
func (c *cubic) PacingRate() int64 {
	if c.srtt == 0 {
		return 0
	}
	gain := 1.25
	if c.window < c.ssthresh/2 {
		gain = 2
	}
	return int64(gain * c.window / c.srtt.Seconds())
}

// NewCubic returns the controller of RFC 9438 (https://www.rfc-editor.org/rfc/rfc9438), which
// most TCPs use: it takes each loss for congestion, so it is fair to them, and slow on paths that
// lose for other reasons.
func NewCubic() CongestionControl { return newCubic() }
