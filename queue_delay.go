package kcp

import "time"

// queueDelay finds the queueing delay of the path for Stats: by how much the round trips of late are
// above the base, the shortest one of the last 15 to 30 seconds. Of the round trips of late, the
// shortest counts, too, as with LEDBAT (RFC 6817, section 3.4.2:
// https://www.rfc-editor.org/rfc/rfc6817#section-3.4.2): delayed acknowledgements and jitter make
// some longer, a queue all.
type queueDelay struct {
	base   int64 // shortest round trip since baseAt, 0 for none
	before int64 // and of the period before that
	baseAt int64

	low    int64 // shortest of the samples being taken, never for none
	late   int64 // shortest of those that may be delayed, without that delay, never for none
	lowAt  int64 // when the first of them was
	count  int   // how many there are
	recent int64 // what those before them say, 0 for nothing
}

const (
	// queuePeriod is how long the shortest round trip is remembered at least, and half of how long
	// at most.
	queuePeriod = 15 * int64(time.Second)
	// queueSamples is the number of samples, and at least a round trip's worth, of which the
	// shortest is taken. queueSamplesTime is enough where there are fewer.
	queueSamples     = 8
	queueSamplesTime = int64(time.Second)
)

// sample takes one round trip into account, of which the peer may have made up slack by delaying the
// acknowledgement.
func (q *queueDelay) sample(now, rtt, slack int64) {
	if now-q.baseAt >= queuePeriod {
		q.before = q.base
		if now-q.baseAt >= 2*queuePeriod {
			q.before = 0
		}
		q.base, q.baseAt = rtt, now
	}
	q.base = min(q.base, rtt)
	if q.count == 0 {
		q.low, q.late, q.lowAt = never, never, now
	}
	if q.count++; slack == 0 {
		q.low = min(q.low, rtt)
	} else {
		q.late = min(q.late, rtt-slack)
	}
	if t := now - q.lowAt; t >= rtt && (q.count >= queueSamples || t >= queueSamplesTime) {
		q.recent, q.count = q.current(), 0
	}
}

// current is what the samples being taken say. Those that may be delayed count where there are no
// others.
func (q *queueDelay) current() int64 {
	if q.low != never {
		return q.low
	}
	return q.late
}

// delay returns the queueing delay, 0 while it is unknown.
func (q *queueDelay) delay() time.Duration {
	base, recent := q.base, q.recent
	if q.before != 0 {
		base = min(base, q.before)
	}
	if q.count > 0 {
		recent = min(recent, q.current())
	}
	return time.Duration(max(0, recent-base))
}
