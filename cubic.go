package kcp

import (
	"math"
	"time"
)

// cubic is CUBIC (RFC 9438), paced.
type cubic struct {
	window   float64 // bytes
	ssthresh float64
	wMax     float64 // window before the last reduction
	wEst     float64 // what Reno would have
	epoch    time.Duration
	k        float64 // seconds from epoch until wMax is reached again
	srtt     time.Duration
	until    int64 // losses before this much is delivered have been answered
	total    int64 // bytes delivered
	inEpoch  bool
	ackedAt  time.Duration

	undo     *cubic // as it was before the last reduction, nil for nothing to go back to
	lost     int    // bytes lost since that
	spurious int    // of them, what had arrived after all
}

const (
	cubicBeta = 0.7
	cubicC    = 0.4 * IKCP_MTU_DEF // bytes per second cubed
	// renoAlpha makes wEst grow as fast as a Reno of the same average (RFC 9438, 4.3).
	renoAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
)

// NewCubic returns the controller of RFC 9438, the one most TCPs use: it takes every loss
// for congestion, so it is fair to them and slow on paths that lose for other reasons.
func NewCubic() CongestionControl {
	return &cubic{window: initialWindow, ssthresh: math.MaxInt32}
}

func (c *cubic) Sent(time.Duration, int, int) {}

func (c *cubic) Acked(now time.Duration, s *RateSample) {
	c.total = s.Delivered
	pause := now - c.ackedAt
	c.ackedAt = now
	if s.RTT > 0 {
		if c.srtt == 0 {
			c.srtt = s.RTT
		}
		c.srtt += (s.RTT - c.srtt) / 8
	}
	if !s.WindowLimited || c.total < c.until {
		// Recovery, or a window that the application does not use (RFC 7661): no time in
		// which it grows (RFC 9438, section 5.8).
		c.epoch += pause
		return
	}
	c.undo = nil
	acked := float64(s.Acked)
	if c.window < c.ssthresh {
		c.window += acked
	} else {
		c.avoid(now, acked)
	}
	c.window = min(c.window, wndLimit*IKCP_MTU_DEF)
}

// avoid is congestion avoidance (RFC 9438, section 4).
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

func (c *cubic) Lost(now time.Duration, bytes, inFlight int, timeout bool) {
	if c.total < c.until {
		c.lost += bytes
		if timeout && c.window > minWindow && inFlight == 0 {
			c.window = minWindow
		}
		return
	}
	saved := *c
	saved.undo = nil // nobody goes back further
	c.undo, c.lost, c.spurious = &saved, bytes, 0
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

// Spurious undoes the last reduction (RFC 4015) when nothing was lost after all.
func (c *cubic) Spurious(_ time.Duration, bytes int) {
	c.spurious += bytes
	if c.undo != nil && c.spurious >= c.lost {
		total, srtt, ackedAt := c.total, c.srtt, c.ackedAt
		*c = *c.undo
		c.total, c.srtt, c.ackedAt = total, srtt, ackedAt
	}
}

func (c *cubic) Window() int { return int(c.window) }

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
