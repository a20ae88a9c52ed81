package kcp

import (
	"slices"
	"time"
)

// bbr1 is the first version of BBR, as TCP has it, in short
// (https://datatracker.ietf.org/doc/html/draft-cardwell-iccrg-bbr-congestion-control-00): one that neither
// loss nor a queue keeps from having two bandwidth-delay products in flight.
type bbr1 struct {
	rates       [10]int64 // highest of the last rounds
	round, next int64
	full        int64
	fullRounds  int
	filled      bool // Startup and Drain are over
	drain       bool
	minRTT      time.Duration
	minRTTAt    time.Duration
	probeRTT    time.Duration // until when that lasts, 0 for not now
	phase       int           // of ProbeBW
	phaseSince  time.Duration
	window      int
}

func (b *bbr1) Sent(time.Duration, int, int)       {}
func (b *bbr1) Lost(time.Duration, int, int, bool) {}
func (b *bbr1) Spurious(time.Duration, int)        {}
func (b *bbr1) Window() int                        { return max(b.window, minWindow) }
func (b *bbr1) bdp() int64                         { return int64(float64(slices.Max(b.rates[:])) * b.minRTT.Seconds()) }

func (b *bbr1) Acked(now time.Duration, s *RateSample) {
	if s.PriorDelivered >= b.next {
		b.next = s.Delivered
		b.round++
		b.rates[b.round%10] = 0
		b.checkFull()
	}
	if at := &b.rates[b.round%10]; !s.AppLimited || s.Rate > slices.Max(b.rates[:]) {
		*at = max(*at, s.Rate)
	}
	expired := now-b.minRTTAt > 10*time.Second
	if s.RTT > 0 && (b.minRTT == 0 || s.RTT <= b.minRTT || expired) {
		b.minRTT, b.minRTTAt = s.RTT, now
	}
	if expired && b.probeRTT == 0 {
		b.probeRTT = now + 200*time.Millisecond + s.RTT
	}
	if now > b.probeRTT {
		b.probeRTT = 0
	}
	b.advance(now, int64(s.InFlight), int64(s.Prior))
	if !b.filled && !b.drain {
		b.window = max(b.window, initialWindow) + s.Acked
	} else {
		b.window = min(b.window+s.Acked, int(2*b.bdp())+3*IKCP_MTU_DEF)
	}
	if b.probeRTT > 0 {
		b.window = minWindow
	} else if b.window == minWindow {
		b.window = int(2 * b.bdp())
	}
}

func (b *bbr1) checkFull() {
	if r := slices.Max(b.rates[:]); r >= b.full*5/4 {
		b.full, b.fullRounds = r, 0
	} else if b.fullRounds++; b.fullRounds == 3 {
		b.drain = true
	}
}

// advance moves through Drain and the phases of ProbeBW.
func (b *bbr1) advance(now time.Duration, inFlight, prior int64) {
	if b.drain && !b.filled {
		b.filled = inFlight <= b.bdp()
		b.phase, b.phaseSince = 2, now
	}
	passed := now-b.phaseSince > b.minRTT
	switch b.phase {
	case 0:
		passed = passed && prior >= b.bdp()*5/4
	case 1:
		passed = passed || inFlight <= b.bdp()
	}
	if b.filled && passed {
		b.phase, b.phaseSince = (b.phase+1)%8, now
	}
}

func (b *bbr1) PacingRate() int64 {
	rate := float64(slices.Max(b.rates[:]))
	switch {
	case b.minRTT == 0:
		return 0
	case !b.drain:
		return int64(max(2.89*rate, 2*initialWindow/b.minRTT.Seconds()))
	case !b.filled:
		return int64(rate / 2.89)
	case b.phase == 0:
		return int64(rate * 1.25)
	case b.phase == 1:
		return int64(rate * 0.75)
	}
	return int64(rate)
}
