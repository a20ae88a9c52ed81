package kcp

import (
	"strings"
	"testing"
	"time"
)

// probing returns when c asks for more than a path of 1 MB/s and 50 ms delivers, in 20 s during
// which that is filled.
func probing(c CongestionControl) string {
	const (
		rate  = 1_000_000
		rtt   = 50 * time.Millisecond
		bdp   = rate / 20
		acked = rate / 200
	)
	var when strings.Builder
	for i := range int64(4000) {
		s := &RateSample{
			Acked: acked, InFlight: bdp, Prior: bdp * 5 / 4, RTT: rtt, Rate: rate,
			Delivered: i * acked, PriorDelivered: max(0, i*acked-bdp), WindowLimited: true,
		}
		c.Acked(time.Second+time.Duration(i)*rtt/10, s)
		more := byte('.')
		if c.PacingRate() > rate*6/5 {
			more = '+'
		}
		when.WriteByte(more)
	}
	return when.String()
}

// Sessions whose controllers are made by NewBBR do not probe in step.
func TestBBROutOfStep(t *testing.T) {
	const flows = 64
	when := make(map[string]int)
	for range flows {
		p := probing(NewBBR())
		if !strings.Contains(p[len(p)/2:], ".+") {
			t.Fatal("it does not probe")
		}
		when[p]++
	}
	if len(when) < flows-1 {
		t.Errorf("%d flows probe at %d different times", flows, len(when))
	}
}
