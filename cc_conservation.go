package kcp

import (
	"math"
	"time"
)

// conservation is the controller of nc=1: no window until something is lost. From then on it
// conserves packets (Jacobson 1988; RFC 6937: https://www.rfc-editor.org/rfc/rfc6937): it sends
// at most a quarter more than is acknowledged. So a send window larger than the path holds wastes
// a bounded share, and a path that loses less than that share is used to the full. Conservation
// ends when it has bounded nothing for conserveRounds round trips without a loss.
type conservation struct {
	budget   int   // bytes that may be sent, while active
	window   int   // inFlight + budget, at least conserveFloor
	active   bool  // something was lost lately
	bound    bool  // the budget was used up, or something lost, in this round
	quiet    int   // rounds in a row without
	until    int64 // Delivered at which this round ends
	lost     int   // bytes declared lost since it became active
	spurious int   // of them, those that had arrived
	total    int64 // Delivered now
}

const (
	// conserveFloor may be in flight all the same: a few messages do not overwhelm a path.
	conserveFloor = 32 * IKCP_MTU_DEF
	// conserveRounds is the number of quiet rounds that end conservation.
	conserveRounds = 16
)

func (c *conservation) Sent(_ time.Duration, bytes, inFlight int) {
	if c.active {
		c.budget -= bytes
		c.bound = c.bound || c.budget <= 0 && inFlight > conserveFloor
	}
}

func (c *conservation) Acked(_ time.Duration, s *RateSample) {
	c.total = s.Delivered
	if !c.active {
		return
	}
	c.budget = min(c.budget+s.Acked+s.Acked/4, max(s.InFlight/4, minWindow))
	c.window = max(s.InFlight+c.budget, conserveFloor)
	if s.PriorDelivered < c.until {
		return
	}
	c.quiet++
	if c.bound {
		c.quiet = 0
	}
	c.active = c.quiet < conserveRounds
	c.bound, c.until = false, s.Delivered
}

func (c *conservation) Lost(_ time.Duration, bytes, inFlight int, timeout bool) {
	if !c.active {
		*c = conservation{active: true, until: c.total + int64(inFlight), total: c.total}
	}
	c.bound = true
	c.lost += bytes
	if timeout { // nothing is acknowledged: only the retransmission may be sent
		c.budget = max(c.budget, bytes)
	}
	c.window = max(inFlight+c.budget, conserveFloor)
}

// Spurious ends conservation when most of what was declared lost had arrived.
func (c *conservation) Spurious(_ time.Duration, bytes int) {
	c.spurious += bytes
	c.active = c.active && 2*c.spurious < c.lost
}

func (c *conservation) Window() int {
	if !c.active {
		return math.MaxInt
	}
	return c.window
}

func (c *conservation) PacingRate() int64 { return 0 }

// NewConservation returns the controller that SetNoDelay's nc=1 chooses: no congestion window
// until something is lost, and from then on packet conservation (RFC 6937:
// https://www.rfc-editor.org/rfc/rfc6937): no more than a quarter more is sent than is
// acknowledged, until that has been no bound for 16 round trips.
func NewConservation() CongestionControl { return new(conservation) }
