package kcp

import "time"

// bbrState is a state of bbr (section 5.3: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3):
//
//	startup ─bandwidth found─▶ drain ─queue gone─▶ cruise ─▶ up ─▶ down ─▶ cruise …
//	                                     any but startup ◀─▶ probeRTT
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
	// A probe lasts a round trip at least, down to bbrProbeLeast of one where that overflows a queue that
	// was shorter than bbrProbeQueue of the round trip. Each that does not is bbrProbeGrowth times as long.
	// It has to send bbrProbeFew bytes: a quarter more, four segments, shows something.
	bbrProbeLeast  = 0.3
	bbrProbeFew    = 16 * IKCP_MTU_DEF
	bbrProbeQueue  = 0.1
	bbrProbeGrowth = 1.2
	// A cruise lasts bbrCruiseMin rounds and up to bbrCruiseSpread more.
	bbrCruiseMin    = 4
	bbrCruiseSpread = 6
	// bbrBaseRTTWindow is how long baseRTT is valid without a round as short (section 5.5.7:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.7).
	bbrBaseRTTWindow = 10 * time.Second
	// ProbeRTT lasts 100 ms and one round trip, from when at most half a bandwidth-delay product or
	// bbrProbeWindow is in flight (section 5.3.4:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.3.4; there 200 ms).
	bbrProbeTime   = 100 * time.Millisecond
	bbrProbeWindow = IKCP_MTU_DEF
)

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
	if b.filled && (expired || changed && now > b.rivals.until || small) {
		b.saved, b.probeUntil = b.window, 0
		b.enter(now, bbrProbeRTT)
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

// cruise begins to cruise for a random time.
func (b *bbr) cruise(now time.Duration) {
	b.cruiseRounds = bbrCruiseMin + b.draw(bbrCruiseSpread)
	b.enter(now, bbrCruise)
}

// draw returns a random number below n.
func (b *bbr) draw(n uint32) int64 {
	b.random = b.random*1664525 + 1013904223
	return int64(b.random >> 16 % n)
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
