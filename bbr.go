package kcp

import "time"

// bbr is a model of the path: the rate it delivers, the shortest round trip, and the
// share it loses whatever we do. It sends at that rate and keeps about one
// bandwidth-delay product in flight, after the BBR drafts
// (draft-cardwell-iccrg-bbr-congestion-control, draft-ietf-ccwg-bbr) with these
// differences:
//
//   - What is lost in every round trip, whatever is sent, is the path's own loss. It is
//     made up for by sending more, not answered by sending less. Only loss beyond it that
//     comes with a queue is congestion.
//   - A round-trip time that stays up makes it look again for the shortest at once, instead
//     of after ten seconds.
//   - While there is a queue it cruises below that rate, by the share of the round trip that
//     is spent in it: the model of flows that share a link adds up to more than the link, and
//     the queue would stay, and with it their shares. How long it cruises is random.
//   - In flight may be a few milliseconds' worth on top of the model, for hosts that
//     send and acknowledge in batches.
//
// The states:
//
//	startup ─bandwidth found─▶ drain ─queue gone─▶ probeBW ◀─▶ probeRTT
type bbr struct {
	state  bbrState
	rounds int64 // round trips so far
	next   int64 // Delivered at which this one ends

	bw      [bbrFilter]int64 // the highest rate of each of the last rounds
	bwRound int64            // round that bw was last written in
	bwLow   int64            // bound after congestion until the next probe, 0 for none

	minRTT     time.Duration // 0 before the first sample
	minRTTAt   time.Duration // when it was seen last
	lastRTT    time.Duration
	roundRTT   time.Duration // shortest of this round
	queue      float64       // the share of the last round's that was spent in a queue
	inflated   int           // rounds in a row with a round trip well above minRTT
	probedRTT  time.Duration // when probeRTT ended last
	probeUntil time.Duration // when probeRTT may end, 0 while in flight is still too much
	probeRound int64         // and after which round

	full      int64 // rate that startup has to beat by a quarter
	fullCount int   // rounds it has not
	filled    bool  // startup is over

	cycle      int           // of bbrGains
	cycleStart time.Duration // when its phase began
	probed     int64         // rate that was known before the last probe
	random     uint32        // the state of a linear congruential generator

	acked, lost int                // bytes of this round
	losses      [bbrFilter]float64 // the share lost of each of the last rounds
	randomLoss  float64            // the least of them: the path's own
	congested   bool               // loss in this round is beyond that, with a queue

	window  int
	saved   int           // window before stalled or probeRTT
	stalled bool          // nothing arrives any more
	ackedAt time.Duration // last acknowledgement
	total   int64         // bytes delivered
}

type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrProbeBW
	bbrProbeRTT
)

const (
	bbrFilter        = 10   // rounds that the rate and the loss are remembered
	bbrStartupGain   = 2.77 // 4 ln 2: doubles what is delivered each round
	bbrCwndGain      = 2.0  // room for delayed and batched acknowledgements
	bbrHostDelay     = time.Millisecond
	bbrMinRTTWindow  = 10 * time.Second
	bbrProbeTime     = 100 * time.Millisecond // how long in flight is kept low, and a round trip
	bbrRandomLossMax = 0.3                    // of the path's own loss, what is made up for
	bbrQueueGain     = 0.8                    // what a queue slows cruising by, of its share of the round trip
	bbrQueueGainMax  = 0.4                    // at most
)

// bbrGains are the pacing gains of probeBW, each for a round trip: look for more, let the
// queue that made drain, cruise, for a random number of round trips.
var bbrGains = [...]float64{1.25, 0.75, 1, 1, 1, 1, 1, 1}

// bbrCruise is where in bbrGains cruising begins.
const bbrCruise = 2

// NewBBR returns the default controller: a model of the path's rate and round trip that
// fills a link without filling its queue, and takes random loss, up to about a quarter,
// for what it is.
func NewBBR() CongestionControl { return newBBR(0) }

// newBBR returns a bbr that chooses the times of its probing by seed: flows that share a link
// must not do it in step.
func newBBR(seed uint32) *bbr {
	b := &bbr{window: initialWindow, random: seed}
	b.cycle = b.cruise()
	return b
}

// cruise returns where in bbrGains to begin cruising.
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
		b.minRTTAt = now // as good as the same
	}
}

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

// maxRate returns the highest rate of the last rounds.
func (b *bbr) maxRate() (most int64) {
	for _, r := range b.bw {
		most = max(most, r)
	}
	return most
}

// rate returns what the path delivers, as far as is known, 0 for not at all.
func (b *bbr) rate() int64 {
	if r := b.maxRate(); b.bwLow == 0 || r < b.bwLow {
		return r
	}
	return b.bwLow
}

// round ends a round trip.
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

// stepCycle moves through bbrGains.
func (b *bbr) stepCycle(now time.Duration, s *RateSample) {
	gain := bbrGains[b.cycle]
	next := now-b.cycleStart > b.minRTT
	switch {
	case gain > 1: // until there is that much in flight, or it shows
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
				b.cycle, b.probed = 0, b.maxRate() // there was more: is there yet more?
			}
		}
	}
}

// stepProbeRTT ends probeRTT when in flight was low for long enough: what the round trip
// was then, it is.
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

// bdp returns gain times what the path holds, in bytes, what it loses included.
func (b *bbr) bdp(gain float64) int {
	return int(gain * float64(b.rate()) * b.minRTT.Seconds() / (1 - b.randomLoss))
}

// quantum is what hosts send and acknowledge at once.
func (b *bbr) quantum() int {
	return max(2*IKCP_MTU_DEF, int(b.rate()*int64(bbrHostDelay)/int64(time.Second)))
}

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

func (b *bbr) Lost(now time.Duration, bytes, inFlight int, timeout bool) {
	b.lost += bytes
	if timeout && !b.stalled && now-b.ackedAt > 2*b.lastRTT+50*bbrHostDelay {
		b.stalled, b.saved, b.window = true, b.window, minWindow
	}
}

func (b *bbr) Spurious(_ time.Duration, bytes int) { b.lost = max(0, b.lost-bytes) }

func (b *bbr) Window() int { return b.window }

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
