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

// bbrAfter lets a controller fill a path of 1 MB/s and 50 ms, and then has some of each of two rounds
// lost while the round trip has doubled. Of what is lost, spurious bytes turn out to have arrived.
func bbrAfter(spurious func(lost int) int) (before, reduced, after int64) {
	const (
		rate = 1_000_000
		rtt  = 50 * time.Millisecond
		bdp  = rate / 20
	)
	b := newBBR(1)
	now, total, lost := time.Second, int64(0), 0
	round := func(rtt time.Duration, rate int64, loss int) {
		for range 10 {
			now += rtt / 10
			total += bdp / 10
			b.Sent(now, bdp/10+loss, bdp)
			if loss > 0 {
				b.lostAfter(now-rtt, loss)
				b.Lost(now, loss, bdp, false)
				lost += loss
			}
			b.Acked(now, &RateSample{Acked: bdp / 10, InFlight: bdp, Prior: bdp, RTT: rtt, Rate: rate,
				Delivered: total, PriorDelivered: max(0, total-bdp), WindowLimited: true})
		}
	}
	for range 100 {
		round(rtt, rate, 0)
	}
	for b.state != bbrCruise || b.began != b.rounds {
		round(rtt, rate, 0)
	}
	before = b.rate()
	for range 3 {
		round(2*rtt, rate/2, bdp/50)
	}
	reduced = b.rate()
	for left := spurious(lost); left > 0; left -= bdp / 50 {
		b.lostAfter(now-2*rtt, -bdp/50)
		b.Spurious(now, bdp/50)
	}
	return before, reduced, b.rate()
}

// The reduction of the rate for losses that were none is undone, and that for losses is not.
func TestBBRUndo(t *testing.T) {
	before, reduced, after := bbrAfter(func(lost int) int { return lost })
	if reduced > before*3/4 {
		t.Fatalf("%d after losses, %d before", reduced, before)
	}
	if after < before {
		t.Errorf("%d after all had arrived, %d before", after, before)
	}
	if _, _, after = bbrAfter(func(lost int) int { return lost / 3 }); after > reduced {
		t.Errorf("%d after a third had arrived, want %d", after, reduced)
	}
}
