package kcp

import "time"

const (
	// rateRounds is the number of round trips over which Stats.DeliveryRate is taken, and
	// rateRoundMin the least time that counts as one: hosts send and acknowledge in batches.
	rateRounds   = 6
	rateRoundMin = 20 * int64(time.Millisecond)
	// rateMemory is how long a rate is believed while the application sends less.
	rateMemory = 10 * int64(time.Second)
)

// rateFilter follows the rate at which the path delivers, for Stats. It measures round by round: the
// bytes acknowledged from one datagram of acknowledgements to another, a round trip later or more.
// Those that arrive at one time count together, so that batches do not matter. The rate is that of
// the last rounds together, without one that was a gap: less than half as fast as the others, and not
// much longer than half of their time. A round in which the application sent less than it could have
// counts only if it shows a higher rate.
type rateFilter struct {
	before  ratePoint // start of the round before, if there was no pause since
	start   ratePoint // of the round being measured
	last    ratePoint // its newest acknowledgement
	limited bool      // it is application-limited
	srtt    int64     // smoothed round-trip time, as of then

	rounds  [rateRounds]ratePoint // the time and the bytes of the last rounds that are not
	n       int                   // how many there were
	endedAt int64                 // when the last of them ended

	lower      int64 // the highest rate of an application-limited round since then, bytes a second
	lowerAt    int64 // when that ended
	appLimited bool  // the last round was application-limited
}

// ratePoint is a time, and the bytes acknowledged until then, or a stretch of both.
type ratePoint struct{ at, total int64 }

// rate returns the bytes a second of a stretch, 0 for an empty one.
func (p ratePoint) rate() int64 {
	if p.at <= 0 {
		return 0
	}
	return int64(float64(p.total) * float64(time.Second) / float64(p.at))
}

// round is the stretch that has been measured of the current round.
func (f *rateFilter) round() ratePoint {
	return ratePoint{f.last.at - f.start.at, f.last.total - f.start.total}
}

// onAcks takes the acknowledgements of one datagram, after which total bytes are acknowledged.
func (f *rateFilter) onAcks(now, total, srtt int64, appLimited bool) {
	if now != f.last.at {
		if f.last.at-f.start.at >= max(srtt, rateRoundMin) && f.last.total != f.start.total {
			f.end()
			f.before, f.start = f.start, f.last
		}
		f.last.at = now
	}
	f.last.total, f.srtt = total, srtt
	f.limited = f.limited || appLimited
}

// resume begins a round with a transmission after a pause, in which the application sent nothing.
// The round before was cut short by that. If it is very short, it counts with the one before.
func (f *rateFilter) resume(now, total int64) {
	r := f.round()
	if r.total > 0 && r.at < f.srtt/2 {
		f.start = f.before
		r = f.round()
	}
	if r.total > 0 && r.at >= f.srtt/2 {
		f.limited = true
		f.end()
	}
	f.start = ratePoint{now, total}
	f.before, f.last, f.limited = f.start, f.start, false
}

// end takes the current round into account.
func (f *rateFilter) end() {
	r, at := f.round(), f.last.at
	switch rate := r.rate(); {
	case !f.limited:
		f.rounds[f.n%rateRounds] = r
		f.n++
		f.endedAt, f.lower = at, 0
	case rate >= f.lower || at-f.lowerAt > rateMemory:
		f.lower, f.lowerAt = rate, at
	}
	if at-f.endedAt > rateMemory {
		f.n = 0
	}
	f.appLimited, f.limited = f.limited, false
}

// measured returns the rate, and whether it is only known to be that high, as the application sent
// less than it could have. waiting says that something is unacknowledged: if not, the application sends
// less now; if so, a path that delivers nothing any more is noticed, too.
func (f *rateFilter) measured(now int64, waiting bool) (rate int64, appLimited bool) {
	if f.n == 0 && f.lower == 0 { // not even one round
		return f.round().rate(), f.limited || !waiting
	}
	sum, slowest := ratePoint{}, ratePoint{}
	add := func(r ratePoint) {
		if sum.at == 0 || r.rate() < slowest.rate() {
			slowest = r
		}
		sum.at += r.at
		sum.total += r.total
	}
	count := min(f.n, rateRounds)
	for _, r := range f.rounds[:count] {
		add(r)
	}
	if stalled := now - f.start.at; waiting && !f.limited && stalled > sum.at {
		add(ratePoint{stalled, f.last.total - f.start.total})
	}
	others := ratePoint{sum.at - slowest.at, sum.total - slowest.total}
	if count > rateRounds/2 && slowest.rate() < others.rate()/2 && slowest.at <= others.at/3*2 {
		sum = others
	}
	return max(sum.rate(), f.lower), f.appLimited || !waiting
}
