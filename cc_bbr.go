package kcp

import (
	"math/rand/v2"
	"time"
)

// bbr is the default controller. It models the path by three numbers: the rate at which the path
// delivers, the shortest round trip, and the share of the segments that the path loses whatever is
// sent. It paces at that rate and keeps about one bandwidth-delay product in flight, after BBR
// (https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr; before:
// https://datatracker.ietf.org/doc/html/draft-cardwell-iccrg-bbr-congestion-control), with these
// differences:
//
//   - Loss that occurs in every round trip, whatever is sent, is the path's own. bbr makes up for
//     it by sending more, instead of answering it by sending less. Only loss beyond it, together
//     with a queue, is congestion.
//   - When the round trip has been well above the shortest one for four rounds, bbr measures the
//     shortest one anew, though at most every 2.5 s, instead of after ten seconds.
//   - While there is a queue, bbr cruises below the rate, by a part of the share of the round trip
//     that is spent in the queue. The models of flows that share a link add up to more than the
//     link, so otherwise the queue would stay, and with it the shares of the flows. The time that
//     bbr cruises is random.
//   - The congestion window has room for some milliseconds' worth more than the model, for hosts
//     that send and acknowledge in batches.
//
// The states (section 5.3: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3):
//
//	startup ─bandwidth found─▶ drain ─queue gone─▶ probeBW ◀─▶ probeRTT
type bbr struct {
	state  bbrState
	rounds int64 // round trips so far
	next   int64 // RateSample.Delivered at which the current round trip ends

	bw      [bbrFilter]int64 // highest delivery rate of each of the last rounds, bytes a second
	bwRound int64            // round that bw was written in last
	bwLow   int64            // bound of the rate from congestion to the next probe, 0 for none

	minRTT     time.Duration // shortest round trip, 0 before the first sample
	minRTTAt   time.Duration // when minRTT, or a round trip as short, was measured last
	lastRTT    time.Duration // newest sample of the round trip
	roundRTT   time.Duration // shortest round trip of the current round, 0 for none
	queue      float64       // share of the last round's roundRTT that was queueing delay, 0 to 1
	inflated   int           // rounds in a row with roundRTT well above minRTT
	probedRTT  time.Duration // when ProbeRTT ended last
	probeUntil time.Duration // when ProbeRTT may end, 0 while too much is in flight
	probeRound int64         // the round before which ProbeRTT does not end

	full      int64 // rate that Startup has to exceed by a quarter, in bytes a second
	fullCount int   // rounds in which Startup has not exceeded it
	filled    bool  // Startup is over: the path is full

	cycle      int           // index into bbrGains: the phase of ProbeBW
	cycleStart time.Duration // when the phase began
	probed     int64         // rate that was known before the last probe, in bytes a second
	random     uint32        // state of a linear congruential generator

	acked, lost int                // bytes acknowledged and declared lost in the current round
	losses      [bbrFilter]float64 // share of the bytes lost in each of the last rounds
	randomLoss  float64            // least of losses, at most 0.3: the path's own loss
	congested   bool               // the loss of the last round was beyond randomLoss, with a queue

	window  int           // congestion window in bytes
	saved   int           // window before a stall or ProbeRTT, in bytes
	stalled bool          // nothing is acknowledged any more
	ackedAt time.Duration // time of the last acknowledgement
	total   int64         // bytes acknowledged
}

type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrProbeBW
	bbrProbeRTT
)

const (
	// bbrFilter is the number of rounds over which the highest rate and the least loss are taken
	// (section 5.5.3: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.3;
	// there two cycles of ProbeBW).
	bbrFilter = 10
	// bbrStartupGain is the pacing gain of Startup, 4 ln 2: what is delivered doubles each round
	// (section 5.3.1: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.1).
	// Drain has its inverse.
	bbrStartupGain = 2.77
	// bbrCwndGain is the congestion window in bandwidth-delay products, with room for delayed and
	// batched acknowledgements (section 5.6.4:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.6.4).
	bbrCwndGain = 2.0
	// bbrHostDelay is the delay that hosts add, as they send and acknowledge in batches. It is no
	// queue.
	bbrHostDelay = time.Millisecond
	// bbrMinRTTWindow is how long minRTT is valid without a sample as short (section 5.5.7:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.7).
	bbrMinRTTWindow = 10 * time.Second
	// ProbeRTT lasts 100 ms and one round trip, from when at most half a bandwidth-delay product or
	// minWindow is in flight (section 5.3.4:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.4; there 200 ms).
	bbrProbeTime = 100 * time.Millisecond
	// bbrRandomLossMax is the largest loss of the path's own that bbr makes up for, as a share.
	bbrRandomLossMax = 0.3
	// bbrQueueGain and bbrQueueGainMax slow cruising down while there is a queue:
	//
	//	cruise gain = 1 − min(0.8·queueDelay/RTT, 0.4)
	bbrQueueGain    = 0.8
	bbrQueueGainMax = 0.4
)

// bbrGains are the pacing gains of the phases of ProbeBW (section 5.3.3:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.3): the bandwidth probe,
// its drain, and cruising, which begins at a random phase and ends with the last one. A phase lasts
// a minRTT unless stepCycle says otherwise.
var bbrGains = [...]float64{1.25, 0.75, 1, 1, 1, 1, 1, 1}

// bbrCruise is the first phase of cruising in bbrGains.
const bbrCruise = 2

// newBBR returns a bbr with the given seed for the random times of its bandwidth probes: flows that
// share a link must not probe in step.
func newBBR(seed uint32) *bbr {
	b := &bbr{window: initialWindow, random: seed}
	b.cycle = b.cruise()
	return b
}

// cruise returns the random phase at which cruising begins.
func (b *bbr) cruise() int {
	b.random = b.random*1664525 + 1013904223
	return bbrCruise + int(b.random>>16)%(len(bbrGains)-bbrCruise)
}

func (b *bbr) Sent(time.Duration, int, int) {}

func (b *bbr) Acked(now time.Duration, s *RateSample) {
	if b.stalled {
		b.stalled = false
		b.window = max(b.window, b.saved)
	}
	b.ackedAt = now
	b.total = s.Delivered
	b.acked += s.Acked
	b.observeRTT(now, s.RTT)
	b.observeRate(s)
	if s.PriorDelivered >= b.next {
		b.next = s.Delivered
		b.round(now, s)
	}
	b.step(now, s)
	b.setWindow(s)
}

// observeRTT takes a sample of the round trip, 0 for none (section 5.5.7:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.7).
func (b *bbr) observeRTT(now time.Duration, rtt time.Duration) {
	if rtt <= 0 {
		return
	}
	b.lastRTT = rtt
	if b.roundRTT == 0 || rtt < b.roundRTT {
		b.roundRTT = rtt
	}
	if b.minRTT == 0 || rtt < b.minRTT {
		b.minRTT, b.minRTTAt = rtt, now
	} else if rtt <= b.minRTT+b.minRTT/16+bbrHostDelay/2 {
		b.minRTTAt = now // as short, within the precision of hosts
	}
}

// observeRate takes the delivery rate of s. An application-limited one counts only if it is higher
// than what is known (section 5.5.4:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.4).
func (b *bbr) observeRate(s *RateSample) {
	if s.Rate == 0 || s.AppLimited && s.Rate < b.maxRate() {
		return
	}
	for ; b.bwRound < b.rounds; b.bwRound++ {
		b.bw[(b.bwRound+1)%bbrFilter] = 0
	}
	at := &b.bw[b.rounds%bbrFilter]
	*at = max(*at, s.Rate)
}

// maxRate returns the highest delivery rate of the last bbrFilter rounds, in bytes a second.
func (b *bbr) maxRate() (most int64) {
	for _, r := range b.bw {
		most = max(most, r)
	}
	return most
}

// rate returns the rate at which the path delivers, in bytes a second, 0 while it is unknown:
// maxRate, at most bwLow.
func (b *bbr) rate() int64 {
	if r := b.maxRate(); b.bwLow == 0 || r < b.bwLow {
		return r
	}
	return b.bwLow
}

// round ends a round trip: it updates the losses, the queue and the congestion of the model.
// Startup is over when the rate has not grown by a quarter in three rounds, or with congestion
// (section 5.3.1: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.1).
func (b *bbr) round(now time.Duration, s *RateSample) {
	b.rounds++
	share := 0.0
	if b.lost > 0 {
		share = float64(b.lost) / float64(b.lost+b.acked)
	}
	b.losses[b.rounds%bbrFilter] = share
	b.randomLoss = bbrRandomLossMax
	for i := range min(b.rounds, bbrFilter) {
		b.randomLoss = min(b.randomLoss, b.losses[(b.rounds-i)%bbrFilter])
	}
	b.queue = 0
	if waited := b.roundRTT - b.minRTT - bbrHostDelay; waited > 0 {
		b.queue = waited.Seconds() / b.roundRTT.Seconds()
	}
	b.congested = share > b.randomLoss+0.03 && b.queue > 0.2
	if b.congested && b.filled && b.state == bbrProbeBW {
		b.bwLow = max(s.Rate, b.rate()*7/10, 1)
	}
	if b.roundRTT > b.minRTT+b.minRTT/2+5*bbrHostDelay {
		b.inflated++
	} else {
		b.inflated = 0
	}
	if !b.filled && !s.AppLimited {
		if r := b.maxRate(); r >= b.full+b.full/4 {
			b.full, b.fullCount = r, 0
		} else {
			b.fullCount++
		}
		b.filled = b.fullCount >= 3 || b.congested
	}
	b.acked, b.lost, b.roundRTT = 0, 0, 0
}

// step moves the state machine.
func (b *bbr) step(now time.Duration, s *RateSample) {
	switch b.state {
	case bbrStartup:
		if b.filled {
			b.state = bbrDrain
		}
	case bbrProbeBW:
		b.stepCycle(now, s)
	case bbrProbeRTT:
		b.stepProbeRTT(now, s)
		return
	}
	if b.state == bbrDrain && s.InFlight <= b.bdp(1) {
		b.state, b.cycleStart = bbrProbeBW, now
	}
	expired := now-b.minRTTAt > bbrMinRTTWindow
	changed := b.inflated >= 4 && now-b.probedRTT > bbrMinRTTWindow/4
	if b.filled && (expired || changed) {
		b.state, b.probeUntil = bbrProbeRTT, 0
		b.saved = b.window
	}
}

// stepCycle moves through the phases of ProbeBW, bbrGains.
func (b *bbr) stepCycle(now time.Duration, s *RateSample) {
	gain := bbrGains[b.cycle]
	next := now-b.cycleStart > b.minRTT
	switch {
	case gain > 1: // until gain BDPs were in flight, or loss or the application prevents that
		next = next && (s.Prior >= b.bdp(gain) || b.lost > 0 || s.AppLimited) || b.congested
	case gain < 1:
		next = next || s.InFlight <= b.bdp(1)
	}
	if next {
		b.cycle = (b.cycle + 1) % len(bbrGains)
		b.cycleStart = now
		switch b.cycle {
		case 0:
			b.bwLow = 0
			b.probed = b.maxRate()
		case bbrCruise:
			b.cycle = b.cruise()
			if b.queue == 0 && b.maxRate() > b.probed+b.probed/10 {
				b.cycle, b.probed = 0, b.maxRate() // the probe found more: probe again at once
			}
		}
	}
}

// stepProbeRTT ends ProbeRTT when little was in flight for long enough. The newest round trip is
// the shortest one then.
func (b *bbr) stepProbeRTT(now time.Duration, s *RateSample) {
	if b.probeUntil == 0 {
		if s.InFlight <= max(b.bdp(0.5), minWindow) {
			b.probeUntil, b.probeRound = now+bbrProbeTime, b.rounds+2
			b.roundRTT = 0
		}
		return
	}
	if now < b.probeUntil || b.rounds < b.probeRound {
		return
	}
	if b.lastRTT > 0 {
		b.minRTT, b.minRTTAt = b.lastRTT, now
	}
	b.inflated, b.probedRTT = 0, now
	b.window = max(b.window, b.saved)
	b.state, b.cycle, b.cycleStart = bbrProbeBW, b.cruise(), now
}

// bdp returns gain times the bandwidth-delay product in bytes, and on top of it what the path
// itself loses.
func (b *bbr) bdp(gain float64) int {
	return int(gain * float64(b.rate()) * b.minRTT.Seconds() / (1 - b.randomLoss))
}

// quantum returns the bytes that hosts send or acknowledge at once: bbrHostDelay's worth, at least
// two datagrams.
func (b *bbr) quantum() int {
	return max(2*IKCP_MTU_DEF, int(b.rate()*int64(bbrHostDelay)/int64(time.Second)))
}

// setWindow updates the congestion window after an acknowledgement (section 5.6.4:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.6.4).
func (b *bbr) setWindow(s *RateSample) {
	target := max(b.bdp(bbrCwndGain)+3*b.quantum(), minWindow)
	switch {
	case b.state == bbrProbeRTT:
		b.window = max(b.bdp(0.5), minWindow)
	case b.filled:
		b.window = min(b.window+s.Acked, target)
	case b.window < target || b.total < initialWindow:
		b.window += s.Acked
	}
	b.window = max(b.window, minWindow)
}

// Lost also notices a stall: a timeout when nothing was acknowledged for two round trips and 50 ms.
// The window is minWindow then, until the next acknowledgement.
func (b *bbr) Lost(now time.Duration, bytes, inFlight int, timeout bool) {
	b.lost += bytes
	if timeout && !b.stalled && now-b.ackedAt > 2*b.lastRTT+50*bbrHostDelay {
		b.stalled, b.saved, b.window = true, b.window, minWindow
	}
}

func (b *bbr) Spurious(_ time.Duration, bytes int) { b.lost = max(0, b.lost-bytes) }

func (b *bbr) Window() int { return b.window }

// PacingRate returns the gain of the state times the rate, and on top of it what the path itself
// loses (section 5.6.2: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.6.2).
func (b *bbr) PacingRate() int64 {
	gain := bbrStartupGain
	switch b.state {
	case bbrDrain:
		gain = 1 / bbrStartupGain
	case bbrProbeBW:
		gain = bbrGains[b.cycle]
		if b.cycle >= bbrCruise {
			gain -= min(bbrQueueGain*b.queue, bbrQueueGainMax)
		}
	case bbrProbeRTT:
		gain = 1
	}
	r := float64(b.rate())
	if r == 0 {
		if b.minRTT == 0 {
			return 0
		}
		r = initialWindow / max(b.minRTT, bbrHostDelay).Seconds()
	}
	return int64(max(gain*r/(1-b.randomLoss), minWindow))
}

// NewBBR returns the default controller: a model of the path's rate and round trip that fills a
// link without filling its queue, and takes random loss, up to about a quarter, for what it is.
// The times of its bandwidth probes are random.
func NewBBR() CongestionControl { return newBBR(rand.Uint32()) }
