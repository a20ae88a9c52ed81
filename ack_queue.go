package kcp

import "time"

const (
	// ackEvery is the number of received segments that are acknowledged at once, before the
	// acknowledgement delay has passed (RFC 5681, section 4.2:
	// https://www.rfc-editor.org/rfc/rfc5681#section-4.2).
	ackEvery = 2
	// ackDelayMax bounds the acknowledgement delay where the interval is longer. It is well below
	// 100 ms, the minimum RTO that deployed senders have by default.
	ackDelayMax = 20 * int64(time.Millisecond)
	// acksMax bounds the acknowledgements that wait while nothing can be sent. Further repeats of
	// segments are not acknowledged; their sender repeats them once more.
	acksMax = 1 << 16
)

// ackDelay is how long an end with that interval delays an acknowledgement. A peer is expected to
// have the same one.
func ackDelay(interval int64) int64 { return min(interval, ackDelayMax) }

// ackDelayAllowed is the longest acknowledgement delay that the RTO of an end with that interval
// allows for: deployed peers send acknowledgements once an interval.
func ackDelayAllowed(interval int64) int64 { return interval }

// ack is an acknowledgement to be sent: the serial number, and the ts of the transmission that
// arrived.
type ack struct {
	sn, ts uint32
	kind   ackKind
}

// ackKind is what an ACK acknowledges.
type ackKind uint8

const (
	// ackOne is of one segment.
	ackOne ackKind = iota
	// ackRun is of segments that arrived in order, each for the first time: sn is the newest, and
	// una tells the rest.
	ackRun
)

// ackQueue holds the acknowledgements to be sent.
type ackQueue struct {
	pending  []ack // not sent yet
	repeat   []ack // sent once, to be repeated with the pending ones
	segments int   // that have arrived and that pending acknowledges
	deadline int64 // when pending has to be sent, while there are any
}

// add queues the acknowledgement of an arrival at now, to be sent by now + delay. A run that goes on
// has one acknowledgement, of the newest segment. It echoes the oldest's ts, if echoOldest is set,
// else the newest's.
func (q *ackQueue) add(a ack, now, delay int64, echoOldest bool) {
	if len(q.pending) == 0 {
		q.deadline = now + delay
	}
	q.segments++
	if n := len(q.pending); a.kind != ackOne && n > 0 && q.pending[n-1].kind == a.kind {
		if last := &q.pending[n-1]; echoOldest {
			last.sn = a.sn
		} else {
			*last = a
		}
		return
	}
	q.pending = append(q.pending, a)
}

// due says whether pending acknowledgements have to be sent now.
func (q *ackQueue) due(now int64) bool {
	return q.segments >= ackEvery || len(q.pending) > 0 && now >= q.deadline
}

// trim gives memory back.
func (q *ackQueue) trim() {
	if len(q.pending) == 0 {
		*q = ackQueue{}
	}
}
