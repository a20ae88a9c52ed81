package kcp

const (
	// bbrStartupGain is the pacing gain of Startup, 4 ln 2: what is delivered doubles each round
	// (section 5.3.1: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.1).
	// Drain has its inverse.
	bbrStartupGain = 2.77
	// bbrUpGain and bbrDownGain are the pacing gains of a bandwidth probe and after it (section
	// 5.3.3: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.3; there the
	// second is 0.9). Down takes away what Up has added in as much time, and shows how much the path
	// loses while it is not full.
	bbrUpGain   = 1.25
	bbrDownGain = 0.75
	// bbrCwndGain is the congestion window in bandwidth-delay products (section 5.6.4:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.6.4).
	bbrCwndGain = 2.0
	// bbrQueueGain and bbrEaseMax slow cruising down while there is a queue, or one that overflows
	// (pathLoss.overflow). bbrHeadroom does so where a round trip without a queue has less than
	// bbrRoundLeast in flight: there the round trip varies by more than a short queue, which would stay.
	// round is the longer of the round trip and what the path takes for bbrRoundLeast.
	//
	//	cruise gain = 1 − min(0.6·queueDelay/round + overflow + 0.03·(1 − baseRTT/round), 0.25)
	bbrQueueGain = 0.6
	bbrHeadroom  = 0.03
	bbrEaseMax   = 0.25
)

// PacingRate returns the gain of the state times the rate, and on top of it what the path itself
// loses (section 5.6.2: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.6.2).
// In Startup it is at least what sends the congestion window in half a round trip: an
// application-limited rate says nothing about the path.
func (b *bbr) PacingRate() int64 {
	gain := 1.0
	switch b.state {
	case bbrStartup:
		if b.minRTT == 0 {
			return 0
		}
		least := 2 * float64(b.window) / max(b.minRTT, bbrHostDelay).Seconds()
		return int64(max(bbrStartupGain*float64(b.rate()), least))
	case bbrDrain:
		gain = 1 / bbrStartupGain
	case bbrUp:
		gain = bbrUpGain
	case bbrDown:
		gain = bbrDownGain
	case bbrCruise:
		gain -= b.ease()
	}
	return int64(max(gain*float64(b.rate())/(1-b.loss.own), minWindow))
}

// ease returns by what share of the rate cruising is slower than that, see bbrQueueGain.
func (b *bbr) ease() float64 {
	ease := b.loss.overflow
	if b.ackedAt >= b.rivals.until {
		ease += b.queueEase()
	}
	if base, least := b.baseRTT.Seconds(), b.takes(bbrRoundLeast).Seconds(); base < least {
		ease += bbrHeadroom * (1 - base/least)
	}
	return min(ease, bbrEaseMax)
}

// queueEase returns the part of ease for the queue.
func (b *bbr) queueEase() float64 {
	return bbrQueueGain * b.waited.Seconds() / max(b.meanRTT, b.takes(bbrRoundLeast)).Seconds()
}

// setWindow updates the congestion window after an acknowledgement (section 5.6.4:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.6.4).
func (b *bbr) setWindow(s *RateSample) {
	target := max(b.bdp(bbrCwndGain)+b.mostExtra()+3*b.quantum(), minWindow)
	switch {
	case b.state == bbrProbeRTT:
		b.window = max(b.bdp(0.5), bbrProbeWindow)
		return
	case b.filled:
		b.window = min(b.window+s.Acked, target)
	case b.total < pacedInitialWindow: // the first round trip is known
		b.window = max(b.window+s.Acked, pacedInitialWindow)
	case b.window < target:
		b.window += s.Acked
	}
	b.window = max(b.window, minWindow)
}

func (b *bbr) Window() int { return b.window }
