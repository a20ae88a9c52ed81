package kcp

import "time"

// rttEstimator keeps the smoothed round-trip time and its variation, and computes the
// retransmission timeout from them (RFC 6298: https://www.rfc-editor.org/rfc/rfc6298). All times
// are in nanoseconds.
type rttEstimator struct {
	srtt    int64 // smoothed round-trip time, 0 before the first sample
	rttvar  int64 // mean deviation
	min     int64 // smallest sample, 0 before the first
	rto     int64 // retransmission timeout, before any backoff
	minRTO  int64 // IKCP_RTO_NDL or IKCP_RTO_MIN
	maxRTO  int64 // bound of a backed-off timeout, unless rto is above it; 0 for rtoMax
	nodelay bool  // NoDelay's nodelay: it also makes the RTO grow by half instead of doubling
}

const (
	rtoMax = IKCP_RTO_MAX * int64(time.Millisecond)
	rtoDef = IKCP_RTO_DEF * int64(time.Millisecond)
)

// init prepares e for the first sample.
func (e *rttEstimator) init() {
	e.rto = rtoDef
	e.setNoDelay(false)
}

// setNoDelay chooses between the two published minimums and backoffs.
func (e *rttEstimator) setNoDelay(on bool) {
	e.nodelay = on
	e.minRTO = IKCP_RTO_MIN * int64(time.Millisecond)
	if on {
		e.minRTO = IKCP_RTO_NDL * int64(time.Millisecond)
	}
}

// forget makes e as it was before the first sample.
func (e *rttEstimator) forget() {
	e.srtt, e.rttvar, e.min, e.rto = 0, 0, 0, rtoDef
}

// timerGranularity is how late timers and schedulers commonly are.
const timerGranularity = 5 * int64(time.Millisecond)

// sample takes one round trip into account. ackDelay is the longest delay of an acknowledgement;
// with timerGranularity it is RFC 6298's G.
func (e *rttEstimator) sample(rtt, ackDelay int64) {
	rtt = max(rtt, 1)
	if e.min == 0 || rtt < e.min {
		e.min = rtt
	}
	if e.srtt == 0 {
		e.srtt, e.rttvar = rtt, rtt/2
	} else {
		delta := rtt - e.srtt
		e.rttvar += (max(delta, -delta) - e.rttvar) / 4
		e.srtt = max(1, e.srtt+delta/8)
	}
	e.rto = min(max(e.srtt+max(ackDelay+timerGranularity, 4*e.rttvar), e.minRTO), rtoMax)
}

// backoff returns the timeout of a segment that has already timed out level times in a row: half
// as much again each time with nodelay, otherwise double.
func (e *rttEstimator) backoff(level uint8) int64 {
	rto, limit := e.rto, rtoMax
	if e.maxRTO != 0 {
		limit = max(e.maxRTO, rto)
	}
	for ; level > 0 && rto < limit; level-- {
		if e.nodelay {
			rto += rto / 2
		} else {
			rto *= 2
		}
	}
	return min(rto, limit)
}

// after returns the timeout of what was sent level times before without an answer.
func (e *rttEstimator) after(level int) int64 { return e.backoff(uint8(min(level, backoffLevels-1))) }
