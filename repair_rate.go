package kcp

import (
	"math"
	"time"
)

// How many repairs a session sends follows the share of datagrams that the path loses, as the peer's
// REPORTs tell it: so many that those can be rebuilt that are lost among the datagrams of half a round
// trip, and two standard deviations more.
const (
	// repairLossMin is the loss below which there are none.
	repairLossMin = 0.002
	// repairRTTMin is the round trip below which a retransmission is soon enough.
	repairRTTMin = 10 * int64(time.Millisecond)
	// repairDeviations is how many standard deviations more than the mean are repaired.
	repairDeviations = 2
	// copiesLossMin is the loss from which on second retransmissions are repairs, also where no others
	// are sent.
	copiesLossMin = 0.15
	// lossWindow is how many segments the estimate is a mean of, lossWindowFast where more than
	// lossFast are sent a second.
	lossWindow     = 256
	lossWindowFast = 1024
	lossFast       = 1000
	// lossFresh is how long the last REPORT counts: also after a pause it tells more than the few segments that
	// loss detection goes by.
	lossFresh = reportTime
)

// forwardLoss estimates the share of segments that the path loses, by REPORTs: it depends neither on the
// acknowledgements that are lost, nor on the order of arrivals, nor on what is rebuilt.
type forwardLoss struct {
	known  bool // a REPORT has come
	at     int64
	share  float64
	weight float64 // segments that share is a mean of
}

// report takes a REPORT on so many segments, of which some are lost. detected is the share that loss
// detection knows of, gap the time between new segments.
func (p *forwardLoss) report(now int64, lost, segments int, detected float64, gap int64) {
	if !p.known || now-p.at >= lossFresh {
		p.share, p.weight = detected, lossWindow/4
	}
	p.known, p.at = true, now
	window := float64(lossWindow)
	if gap < int64(time.Second)/lossFast {
		window = lossWindowFast
	}
	p.weight = min(p.weight+float64(segments), window)
	p.share += (float64(lost)/float64(segments) - p.share) * min(1, float64(segments)/p.weight)
}

// estimate is the share that is lost. detected is the share that loss detection knows of.
func (p *forwardLoss) estimate(now int64, detected float64) float64 {
	if p.known && now-p.at < lossFresh {
		return min(p.share, 0.5)
	}
	return min(detected, 0.5)
}

// lossBursts notes how losses follow each other.
type lossBursts struct {
	lost  bool    // the last segment was
	after float64 // share lost of those behind a lost one
	n     int     // of them
}

// note takes whether the next segment was lost.
func (b *lossBursts) note(lost bool) {
	if b.lost {
		x := 0.0
		if lost {
			x = 1
		}
		b.n = min(b.n+1, 64)
		b.after += (x - b.after) / float64(b.n)
	}
	b.lost = lost
}

// burstiness is the variance of the number of losses, as a multiple of that of independent ones, where
// the share p is lost.
func (b *lossBursts) burstiness(p float64) float64 {
	if b.n < 32 {
		return 1
	}
	l := min(max((b.after-p)/(1-p), 0), 0.95)
	return (1 + l) / (1 - l)
}

const (
	// burstyFrom is the burstiness from which on repairs are not enough for a burst within the budget:
	// retransmissions are there first. Below burstyLossMin there are no repairs then.
	burstyFrom    = 2.5
	burstyLossMin = 0.05
)

// repairRate is how many repairs there are for each new segment, where the share p is lost, segments are
// so far apart, and losses have that burstiness.
func repairRate(p float64, srtt, gap int64, bursty, budget float64) float64 {
	switch {
	case p < repairLossMin || srtt < repairRTTMin:
		return 0
	case gap > srtt*3/5: // a repair behind the next segment, or that after it, comes too late
		if budget >= 1 {
			return 1
		}
		return 0
	}
	least := p / (1 - p)
	within := min(max(1, float64(srtt)/2/float64(max(gap, 1))), repairWindow) // a repair covers no more
	deviation := math.Sqrt(p * (1 - p) / within)
	if bursty > burstyFrom && least+repairDeviations*deviation*math.Sqrt(bursty) > budget {
		if p < burstyLossMin {
			return 0
		}
		return min(least, budget)
	}
	return min(least+repairDeviations*deviation, budget)
}
