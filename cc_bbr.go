package kcp

import (
	"math/rand/v2"
	"time"
)

// bbr is the default controller. It models the path by the rate at which it delivers, its round trip
// without a queue, and the share of the segments that it loses whatever is sent. It paces at that
// rate and keeps about one bandwidth-delay product in flight, after BBR
// (https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr), with these differences:
//
//   - Loss that remains when less is sent is the path's own (pathLoss). bbr makes up for it by
//     sending more, instead of answering it by sending less. Only loss beyond it, together with a
//     queue, is congestion.
//   - A round trip gives one sample of the rate, by all its acknowledgements' samples together. The
//     largest of hundreds of samples is far above the rate where the delay jitters. Part of what
//     random loss makes of it by chance is taken off, as the highest of several rounds counts.
//   - The round trip without a queue, baseRTT, is the least mean of a round, not the least sample:
//     what is in flight on a path with jitter fills the mean. When the mean has been well above it
//     for four rounds, it is measured anew, at most every 2.5 s, instead of after ten seconds.
//   - While there is a queue, bbr cruises below the rate, by a part of the share of the round trip
//     that is spent in the queue. The models of flows that share a link add up to more than the
//     link, so otherwise the queue would stay, and with it the shares of the flows.
//   - Where a round trip carries few datagrams, a round lasts for bbrRoundLeast bytes, cruising is a
//     little slower than the rate, and the round trip is measured with one full datagram in flight as
//     soon as Startup has ended: one more that waits there is a large part of the round trip.
//   - A probe becomes as short as the queue is: what overflows there has to be sent again, and a send
//     window waits for that. At 7 MB/s, 141 ms and a queue of a quarter of that, a window of 1024
//     segments carries 0.94 of what it allows, and 0.84 with whole probes.
//   - ProbeBW probes every six to twelve round trips and not every two or three seconds: a path
//     that has become faster is found to be so within as many.
//
// The states (section 5.3: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3):
//
//	startup ─bandwidth found─▶ drain ─queue gone─▶ cruise ─▶ up ─▶ down ─▶ cruise …
//	                                     any but startup ◀─▶ probeRTT
type bbr struct {
	state  bbrState
	since  time.Duration // when the state began
	rounds int64         // round trips so far
	began  int64         // the round in which the state began
	next   int64         // RateSample.Delivered at which the current round trip ends

	bw              [bbrFilter]int64 // delivery rates of the last rounds that the application did not limit
	bwAt            int              // the newest of bw
	bwLow           int64            // bound of the rate from congestion to the next probe, 0 for none
	congestedRounds int              // rounds of cruising in a row with congestion
	undo            bbrUndo          // of what that has reduced

	minRTT    time.Duration // shortest sample of the round trip, 0 before the first
	baseRTT   time.Duration // round trip without a queue, 0 before the first sample
	baseRTTAt time.Duration // when baseRTT, or a round trip as short, was measured last
	meanRTT   time.Duration // mean round trip of the last round
	vary      time.Duration // mean difference of two samples in a row, in that round: jitter
	waited    time.Duration // queueing delay, in the last round's mean round trip
	queue     float64       // the share of that which it is
	inflated  int           // rounds in a row with a round trip well above baseRTT
	probedRTT time.Duration // when ProbeRTT ended last

	probeUntil time.Duration // when ProbeRTT may end, 0 while too much is in flight
	probeRound int64         // the round before which ProbeRTT does not end

	full      int64 // rate that Startup or a probe has to exceed to go on, in bytes a second
	fullCount int   // rounds in which Startup has not exceeded it by a quarter
	filled    bool  // Startup is over: the path is full

	cruiseRounds int64   // how long this cruise lasts
	probe        float64 // least that a probe lasts, in round trips: less than one where the queue is shorter
	random       uint32  // state of a linear congruential generator

	round bbrRound
	loss  pathLoss

	extra      [bbrFilter]int // most bytes acknowledged beyond the rate, in each of the last rounds
	extraSince time.Duration  // since when extraAcked counts
	extraAcked int            // bytes acknowledged since

	window  int           // congestion window in bytes
	saved   int           // window before a stall or ProbeRTT, in bytes
	stalled bool          // nothing is acknowledged any more
	ackedAt time.Duration // time of the last acknowledgement
	lastRTT time.Duration // newest sample of the round trip
	total   int64         // bytes acknowledged
}

// bbrRound is what the current round trip has told.
type bbrRound struct {
	acked, lost int           // bytes
	rtt         time.Duration // sum of its samples
	rtts        int           // their number
	vary        time.Duration // sum of the differences of two in a row
	rated       rateSpan      // of its samples of the rate together
	most        int64         // largest sample of the rate
	appLimited  bool          // the application limited a sample
	roomLimited bool          // the send window or the peer's did
}

// rateSpan is what was delivered in several samples of the rate, and the seconds in which that was sent
// and acknowledged. Where the delay jitters, now the one is longer and now the other: the mean of
// samples that are each over the longer one is below the rate, by an eighth and more.
type rateSpan struct{ delivered, send, ack float64 }

// bbrUndo is what tells whether the last reductions of the rate were for congestion, if what was lost
// turns out to have arrived.
type bbrUndo struct {
	rate        int64 // before them, 0 for nothing to undo
	bwLow       int64 // before them
	acked, lost int   // bytes in the rounds that led to them
	last        int64 // the last of these rounds
}

type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrCruise
	bbrUp
	bbrDown
	bbrProbeRTT
)

// bbrStateNames are the draft's names of the states.
var bbrStateNames = [...]string{"Startup", "Drain", "ProbeBW_CRUISE", "ProbeBW_UP", "ProbeBW_DOWN", "ProbeRTT"}

// State returns the name of the state, such as "Startup".
func (b *bbr) State() string { return bbrStateNames[b.state] }

const (
	// bbrFilter is the number of rounds over which the highest rate is taken (section 5.5.3:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.3; there two cycles of
	// ProbeBW).
	bbrFilter = 12
	// bbrChance is how many standard deviations, of what random loss lets arrive in a round, are taken
	// off its rate. The highest of bbrFilter rounds is 1.6 above the mean; with a whole one taken off,
	// paths that lose a tenth carry 6% less.
	bbrChance = 0.5
	// bbrRoundLeast is the least that is acknowledged in a round once Startup is over: rates of fewer
	// datagrams tell little.
	bbrRoundLeast = 8 * IKCP_MTU_DEF
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
	// A probe lasts a round trip at least, down to bbrProbeLeast of one where that overflows a queue that
	// was shorter than bbrProbeQueue of the round trip. Each that does not is bbrProbeGrowth times as long.
	// It has to send bbrProbeFew bytes: a quarter more, four segments, shows something.
	bbrProbeLeast  = 0.3
	bbrProbeFew    = 16 * IKCP_MTU_DEF
	bbrProbeQueue  = 0.1
	bbrProbeGrowth = 1.2
	// bbrUndoRounds is how many rounds after a reduction what led to it may turn out to be spurious.
	bbrUndoRounds = 4
	// A cruise lasts bbrCruiseMin rounds and up to bbrCruiseSpread more.
	bbrCruiseMin    = 4
	bbrCruiseSpread = 6
	// bbrHostDelay is the delay that hosts add, as they send and acknowledge in batches. It is no
	// queue.
	bbrHostDelay = time.Millisecond
	// bbrBaseRTTWindow is how long baseRTT is valid without a round as short (section 5.5.7:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.7).
	bbrBaseRTTWindow = 10 * time.Second
	// ProbeRTT lasts 100 ms and one round trip, from when at most half a bandwidth-delay product or
	// bbrProbeWindow is in flight (section 5.3.4:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.4; there 200 ms).
	bbrProbeTime   = 100 * time.Millisecond
	bbrProbeWindow = IKCP_MTU_DEF
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

// newBBR returns a bbr with the given seed for the random times of its bandwidth probes: flows that
// share a link must not probe in step.
func newBBR(seed uint32) *bbr {
	b := &bbr{window: initialWindow, random: seed, probe: 1}
	b.enter(0, bbrStartup)
	return b
}

// draw returns a random number below n.
func (b *bbr) draw(n uint32) int64 {
	b.random = b.random*1664525 + 1013904223
	return int64(b.random >> 16 % n)
}

func (b *bbr) Sent(_ time.Duration, bytes, _ int) { b.loss.sent(bytes) }

func (b *bbr) Acked(now time.Duration, s *RateSample) {
	if b.stalled {
		b.stalled = false
		b.window = max(b.window, b.saved)
	}
	b.ackedAt, b.total = now, s.Delivered
	b.observe(now, s)
	if s.PriorDelivered >= b.next {
		b.next = s.Delivered
		if b.filled {
			b.next += int64(max(0, bbrRoundLeast-s.InFlight))
		}
		b.endRound(now)
	}
	b.step(now, s)
	b.setWindow(s)
}

// observe takes a sample of the round trip and of the rate.
func (b *bbr) observe(now time.Duration, s *RateSample) {
	r := &b.round
	r.acked += s.Acked
	r.roomLimited = r.roomLimited || s.RoomLimited
	if s.RTT > 0 {
		r.vary += max(s.RTT-b.lastRTT, b.lastRTT-s.RTT)
		b.lastRTT = s.RTT
		r.rtt += s.RTT
		r.rtts++
		if b.minRTT == 0 || s.RTT < b.minRTT {
			b.minRTT = s.RTT
		}
		if b.baseRTT == 0 {
			b.baseRTT, b.baseRTTAt = s.RTT, now
		}
	}
	if s.Rate > 0 {
		r.rated.add(s)
		r.most = max(r.most, s.Rate)
		r.appLimited = r.appLimited || s.AppLimited
		if !b.filled { // Startup paces by what has arrived so far
			b.bw[b.bwAt] = max(b.bw[b.bwAt], s.Rate)
		}
	}
	b.observeExtra(now, s.Acked)
}

// observeExtra counts what is acknowledged faster than the path delivers: acknowledgements that come
// in batches (section 5.5.9:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.9).
func (b *bbr) observeExtra(now time.Duration, acked int) {
	expected := int(float64(b.maxRate()) * (now - b.extraSince).Seconds())
	if b.extraAcked <= expected {
		b.extraSince, b.extraAcked, expected = now, 0, 0
	}
	b.extraAcked += acked
	at := &b.extra[b.rounds%bbrFilter]
	*at = max(*at, min(b.extraAcked-expected, b.window))
}

// mostExtra returns the most of the last bbrFilter rounds.
func (b *bbr) mostExtra() (most int) {
	for _, n := range b.extra {
		most = max(most, n)
	}
	return most
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

// endRound ends a round trip: it updates the model by what the round has told.
func (b *bbr) endRound(now time.Duration) {
	r := b.round
	b.round = bbrRound{}
	b.rounds++
	b.extra[b.rounds%bbrFilter] = 0
	b.loss.begin(now, b.sending(r.appLimited))
	b.noteRTT(now, &r)
	b.noteRate(&r)
	congested := b.queue > 0.2 && b.loss.beyond(r.lost, r.lost+r.acked)
	switch {
	case !congested:
		b.congestedRounds = 0
	case b.state == bbrCruise:
		b.noteReduction(&r)
		b.bwLow = max(int64(r.rated.rate()), b.rate()*7/10, 1)
		if b.congestedRounds++; b.congestedRounds >= 2 { // the path has become slower
			for i := range b.bw {
				b.bw[i] = min(b.bw[i], b.bwLow)
			}
		}
	}
	if !b.filled && !r.appLimited {
		b.checkFull(congested)
	}
}

// noteReduction remembers what a reduction for the congestion of a round changes.
func (b *bbr) noteReduction(r *bbrRound) {
	u := &b.undo
	if u.rate == 0 || b.rounds-u.last > bbrUndoRounds {
		*u = bbrUndo{rate: b.maxRate(), bwLow: b.bwLow}
	}
	u.acked += r.acked
	u.lost += r.lost
	u.last = b.rounds
}

// Spurious undoes the last reductions when no more was lost than the path loses by itself (RFC 4015:
// https://www.rfc-editor.org/rfc/rfc4015).
func (b *bbr) Spurious(_ time.Duration, bytes int) {
	before := max(0, bytes-b.round.lost)
	b.round.lost = max(0, b.round.lost-bytes)
	u := &b.undo
	if u.rate == 0 || before == 0 {
		return
	}
	u.lost = max(0, u.lost-before)
	if b.rounds-u.last <= bbrUndoRounds && !b.loss.beyond(u.lost, u.lost+u.acked) {
		b.bw[b.bwAt] = max(b.bw[b.bwAt], u.rate)
		if b.bwLow > 0 {
			b.bwLow = u.bwLow
		}
		*u, b.congestedRounds = bbrUndo{}, 0
	}
}

// sending says how fast the state sends.
func (b *bbr) sending(appLimited bool) sendKind {
	switch {
	case b.state == bbrStartup, b.state == bbrUp:
		return sendAbove
	case b.state == bbrCruise && !appLimited:
		return sendAt
	}
	return sendBelow
}

// add takes a sample of the rate, which counts by what it acknowledges.
func (p *rateSpan) add(s *RateSample) {
	acked, delivered := float64(s.Acked), float64(s.Delivered-s.PriorDelivered)
	send, ack := s.sendElapsed.Seconds(), s.ackElapsed.Seconds()
	if send == 0 && ack == 0 { // not of a session
		ack = delivered / float64(s.Rate)
	}
	p.delivered += acked * delivered
	p.send += acked * send
	p.ack += acked * ack
}

// rate returns the bytes a second of all samples together, 0 without one.
func (p *rateSpan) rate() float64 {
	if p.delivered == 0 {
		return 0
	}
	return p.delivered / max(p.send, p.ack)
}

// noteRTT takes the mean round trip of a round (section 5.5.7:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.7).
func (b *bbr) noteRTT(now time.Duration, r *bbrRound) {
	if b.waited, b.queue = 0, 0; r.rtts == 0 {
		return
	}
	mean := r.rtt / time.Duration(r.rtts)
	b.meanRTT, b.vary = mean, r.vary/time.Duration(r.rtts)
	if mean < b.baseRTT {
		b.baseRTT = mean
	}
	if mean <= b.baseRTT+b.baseRTT/16+b.slack()/2 {
		b.baseRTTAt = now // as short, within the precision of hosts
	}
	if waited := mean - b.baseRTT - b.slack(); waited > 0 {
		b.waited, b.queue = waited, waited.Seconds()/mean.Seconds()
	}
	if mean > b.baseRTT+b.baseRTT/2+5*b.slack() {
		b.inflated++
	} else {
		b.inflated = 0
	}
}

// noteRate takes the delivery rate of a round, less what may have arrived by chance. An
// application-limited one counts only if it is higher than what is known (section 5.5.4:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.4).
func (b *bbr) noteRate(r *bbrRound) {
	rate := int64(r.rated.rate())
	if !b.filled || r.roomLimited {
		rate = r.most
	} else {
		rate -= int64(bbrChance * float64(rate) * b.loss.chance(r.acked))
	}
	switch {
	case rate == 0:
	case !r.appLimited:
		b.bwAt = (b.bwAt + 1) % bbrFilter
		b.bw[b.bwAt] = rate
	case rate > b.maxRate():
		b.bw[b.bwAt] = rate
	}
}

// checkFull ends Startup when the rate has not grown by a quarter in three rounds, or in one that
// has a queue and lost more than the path does by itself (section 5.3.1:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.1).
func (b *bbr) checkFull(congested bool) {
	if r := b.maxRate(); r >= b.full+b.full/4 {
		b.full, b.fullCount = r, 0
	} else {
		b.fullCount++
	}
	b.filled = b.fullCount >= 3 || b.fullCount >= 1 && (congested || b.queue > 0.5)
}

// enter moves to a state.
func (b *bbr) enter(now time.Duration, state bbrState) {
	b.state, b.since, b.began = state, now, b.rounds
	b.loss.begin(now, b.sending(false))
}

// step moves the state machine.
func (b *bbr) step(now time.Duration, s *RateSample) {
	took := b.rounds - b.began
	switch b.state {
	case bbrStartup:
		if b.filled {
			b.enter(now, bbrDrain)
		}
	case bbrDrain:
		if s.InFlight <= b.bdp(1) || took > 8 {
			b.cruise(now)
		}
	case bbrCruise:
		if took >= b.cruiseRounds {
			b.startProbe(now)
		}
	case bbrUp:
		b.stepUp(now, s)
	case bbrDown:
		if took >= 1 && now-b.since > b.baseRTT || s.InFlight <= b.bdp(1)*7/8 && b.loss.own < 0.01 {
			b.cruise(now)
		}
	case bbrProbeRTT:
		b.stepProbeRTT(now, s)
		return
	}
	expired := now-b.baseRTTAt > bbrBaseRTTWindow
	changed := b.inflated >= 4 && now-b.probedRTT > bbrBaseRTTWindow/4
	small := b.probedRTT == 0 && b.takes(IKCP_MTU_DEF) > b.baseRTT/4 // it was of small datagrams
	if b.filled && (expired || changed || small) {
		b.saved, b.probeUntil = b.window, 0
		b.enter(now, bbrProbeRTT)
	}
}

// cruise begins to cruise for a random time.
func (b *bbr) cruise(now time.Duration) {
	b.cruiseRounds = bbrCruiseMin + b.draw(bbrCruiseSpread)
	b.enter(now, bbrCruise)
}

// startProbe begins a bandwidth probe. It is half as long as the last one if that has filled a queue that was
// empty until it overflowed, and a little longer if not, up to a round trip. What a probe loses has to be
// sent again, and a send window waits for that.
func (b *bbr) startProbe(now time.Duration) {
	switch most := b.maxRate(); {
	case most > b.full+b.full/16:
		b.probe = 1
	case b.loss.overflowed() && b.queue < bbrProbeQueue:
		few := float64(bbrProbeFew) / float64(max(b.bdp(1), 1))
		b.probe = min(max(b.probe/2, bbrProbeLeast, few), 1)
	default:
		b.probe = min(b.probe*bbrProbeGrowth, 1)
	}
	b.bwLow, b.full, b.fullCount = 0, b.maxRate(), 0
	b.loss.probe = lossCount{}
	b.enter(now, bbrUp)
}

// stepUp ends a bandwidth probe once it has filled the path: more is in flight than the path has room for
// without a queue, or, after a round, there is a queue, or loss beyond the path's own, or the rate has
// not grown in two. While it grows, the probe goes on (section 5.3.3.6:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.3.6).
func (b *bbr) stepUp(now time.Duration, s *RateSample) {
	if now-b.since <= time.Duration(b.probe*float64(b.baseRTT)) {
		return
	}
	if b.probe < 1 {
		b.enter(now, bbrDown)
		return
	}
	took := b.rounds - b.began
	if r := b.maxRate(); r > b.full+b.full/16 {
		b.full, b.began = r, b.rounds
		took = 0
	}
	room := b.bdp(bbrUpGain+0.05) + 2*b.burst() + IKCP_MTU_DEF/2
	if s.InFlight > room || took >= 2 || took >= 1 && (s.AppLimited || b.queue > 0.15 || b.loss.excess()) {
		b.enter(now, bbrDown)
	}
}

// stepProbeRTT ends ProbeRTT when little was in flight for long enough. The mean round trip of the
// last round is the base then.
func (b *bbr) stepProbeRTT(now time.Duration, s *RateSample) {
	if b.probeUntil == 0 {
		if s.InFlight <= max(b.bdp(0.5), bbrProbeWindow) {
			b.probeUntil, b.probeRound = now+bbrProbeTime, b.rounds+2
			b.round = bbrRound{}
		}
		return
	}
	if now < b.probeUntil || b.rounds < b.probeRound {
		return
	}
	b.baseRTT, b.baseRTTAt = b.meanRTT, now
	b.inflated, b.probedRTT = 0, now
	b.window = max(b.window, b.saved)
	b.cruise(now)
}

// bdp returns gain times the bandwidth-delay product in bytes, and on top of it what the path
// itself loses.
func (b *bbr) bdp(gain float64) int {
	return int(gain * float64(b.rate()) * b.baseRTT.Seconds() / (1 - b.loss.own))
}

// burst returns the bytes that hosts send or acknowledge at once: bbrHostDelay's worth.
func (b *bbr) burst() int { return int(b.rate() * int64(bbrHostDelay) / int64(time.Second)) }

// quantum is burst, at least a datagram.
func (b *bbr) quantum() int { return max(IKCP_MTU_DEF, b.burst()) }

// takes returns how long the path takes for so many bytes.
func (b *bbr) takes(bytes int) time.Duration {
	return time.Duration(float64(bytes) / float64(max(b.rate(), 1)) * float64(time.Second))
}

// slack returns the time that hosts, jitter, and datagrams of different lengths add: it is no queue.
func (b *bbr) slack() time.Duration { return bbrHostDelay + b.vary + b.takes(IKCP_MTU_DEF/8) }

// ease returns by what share of the rate cruising is slower than that, see bbrQueueGain.
func (b *bbr) ease() float64 {
	least := b.takes(bbrRoundLeast).Seconds()
	ease := bbrQueueGain*b.waited.Seconds()/max(b.meanRTT.Seconds(), least) + b.loss.overflow
	if base := b.baseRTT.Seconds(); base < least {
		ease += bbrHeadroom * (1 - base/least)
	}
	return min(ease, bbrEaseMax)
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

// Lost also notices a stall: a timeout when nothing was acknowledged for two round trips and 50 ms.
// The window is minWindow then, until the next acknowledgement.
func (b *bbr) Lost(now time.Duration, bytes, inFlight int, timeout bool) {
	b.round.lost += bytes
	if timeout && !b.stalled && now-b.ackedAt > 2*b.lastRTT+50*bbrHostDelay {
		b.stalled, b.saved, b.window = true, b.window, minWindow
	}
}

// lostAfter takes bytes that were sent at sentAt and are lost, negative ones if they were not after all.
func (b *bbr) lostAfter(sentAt time.Duration, bytes int) { b.loss.lost(sentAt, bytes) }

func (b *bbr) Window() int { return b.window }

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

// NewBBR returns the default controller: a model of the path's rate and round trip that fills a
// link without filling its queue, and takes random loss, up to about a half, for what it is.
// The times of its bandwidth probes are random.
func NewBBR() CongestionControl { return newBBR(rand.Uint32()) }
