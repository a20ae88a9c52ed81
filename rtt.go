package kcp

import "time"

// rttEstimator keeps the smoothed round-trip time and its variation, and from
// them the retransmission timeout (RFC 6298). All times are in nanoseconds.
type rttEstimator struct {
	srtt   int64 // smoothed round-trip time; 0 before the first sample
	rttvar int64 // mean deviation
	least  int64 // smallest sample; 0 before the first
	rto    int64 // retransmission timeout, before any backoff
	floor  int64 // lower bound of rto: IKCP_RTO_NDL or IKCP_RTO_MIN
	eager  bool  // back off by half instead of doubling
	most   int64 // upper bound of a backed-off timeout, unless rto is above it; 0 for rtoMax
}

const (
	rtoMax = IKCP_RTO_MAX * int64(time.Millisecond)
	rtoDef = IKCP_RTO_DEF * int64(time.Millisecond)
)

// init makes e ready before the first sample.
func (e *rttEstimator) init() {
	e.rto = rtoDef
	e.setNoDelay(false)
}

// setNoDelay chooses between the two published lower bounds and backoffs.
func (e *rttEstimator) setNoDelay(on bool) {
	e.eager = on
	e.floor = IKCP_RTO_MIN * int64(time.Millisecond)
	if on {
		e.floor = IKCP_RTO_NDL * int64(time.Millisecond)
	}
}

// timerSlack is how late timers and schedulers commonly are.
const timerSlack = 5 * int64(time.Millisecond)

// sample takes one round trip into account. interval is the time by which a peer with
// our settings may delay an acknowledgement; with timerSlack it makes RFC 6298's G.
func (e *rttEstimator) sample(rtt, interval int64) {
	rtt = max(rtt, 1)
	if e.least == 0 || rtt < e.least {
		e.least = rtt
	}
	if e.srtt == 0 {
		e.srtt, e.rttvar = rtt, rtt/2
	} else {
		delta := rtt - e.srtt
		e.rttvar += (max(delta, -delta) - e.rttvar) / 4
		e.srtt = max(1, e.srtt+delta/8)
	}
	e.rto = min(max(e.srtt+max(interval+timerSlack, 4*e.rttvar), e.floor), rtoMax)
}

// backoff returns the timeout of a segment that has already timed out level times
// in a row: half as much again each time with nodelay, else double.
func (e *rttEstimator) backoff(level uint8) int64 {
	rto, most := e.rto, rtoMax
	if e.most != 0 {
		most = max(e.most, rto)
	}
	for ; level > 0 && rto < most; level-- {
		if e.eager {
			rto += rto / 2
		} else {
			rto *= 2
		}
	}
	return min(rto, most)
}
