package kcp

import "time"

const (
	// ackEvery is the number of received segments that are acknowledged at once, before the
	// acknowledgement delay has passed (RFC 5681, section 4.2:
	// https://www.rfc-editor.org/rfc/rfc5681#section-4.2).
	ackEvery = 2
	// ackFutile is how many acknowledgements in a row have to wait for the whole delay, each for a single
	// segment, before that waiting ends: segments come further apart, and no data goes back.
	ackFutile = 4
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
	// ackBeyond is the same beyond a gap: ranges tell the rest.
	ackBeyond
	// ackRebuilt is of one segment that was rebuilt from repairs.
	ackRebuilt
)

// ackQueue holds the acknowledgements to be sent.
type ackQueue struct {
	pending  []ack // not sent yet; of ackBeyond one at most
	repeat   []ack // sent once, to be repeated with the pending ones
	segments int   // that have arrived and that pending acknowledges
	bytes    int   // of them, headers included
	deadline int64 // when pending has to be sent, while there are any
	held     bool  // what would be sent at once waits for the reader's answer
	waitEnds int64 // when its first acknowledgement has waited for others for long enough
	newestAt int64 // when the newest segment arrived
	futile   int   // delays in a row that were for nothing, see ackFutile
	beyond   int   // index of the ackBeyond in pending, behind it by one; 0 for none
	ranges   ackRanges
	thinning ackThinning
}

// add queues the acknowledgement of an arrival of size bytes at now, to be sent by now + delay. A run
// that goes on has one acknowledgement, of the newest segment. It echoes the oldest's ts, if echoOldest
// is set, else the newest's. Acknowledgements stay in the order of the newest arrival of each.
func (q *ackQueue) add(a ack, size int, now, delay int64, echoOldest bool) {
	n := len(q.pending)
	if n == 0 {
		q.deadline, q.waitEnds = now+delay, now+delay
	}
	q.segments++
	q.bytes += size
	switch {
	case a.kind == ackRun && n > 0 && q.pending[n-1].kind == ackRun:
		if last := &q.pending[n-1]; echoOldest {
			last.sn = a.sn
		} else {
			*last = a
		}
		return
	case a.kind == ackBeyond:
		if q.beyond > 0 {
			n = copy(q.pending[q.beyond-1:], q.pending[q.beyond:]) + q.beyond - 1
			q.pending = q.pending[:n]
		}
		q.beyond = n + 1
	}
	q.pending = append(q.pending, a)
}

// arrived notes that a segment arrives, whose acknowledgement may wait for delay, and says whether that
// makes sense.
func (q *ackQueue) arrived(now, delay int64) (waits bool) {
	if now-q.newestAt < delay {
		q.futile = 0
	}
	q.newestAt = now
	return q.futile < ackFutile
}

// waited notes that what is pending is sent now.
func (q *ackQueue) waited(now int64) {
	switch {
	case now < q.deadline: // with data, or with each other
		q.futile = 0
	case now >= q.waitEnds && q.segments == 1:
		q.futile++
	}
}

// sent takes what is pending for sent. What may have to be repeated is kept if repeat is set.
func (q *ackQueue) sent(repeat bool) {
	q.repeat, q.pending = q.pending, q.repeat[:0]
	q.segments, q.bytes, q.beyond, q.held = 0, 0, 0, false
	n := 0
	for _, a := range q.repeat {
		if a.kind == ackOne || a.kind == ackRebuilt {
			q.repeat[n] = a
			n++
		}
	}
	if !repeat {
		n = 0
	}
	q.repeat = q.repeat[:n]
}

// due says whether pending acknowledgements have to be sent now.
func (q *ackQueue) due(now int64) bool {
	return q.segments >= q.thinning.segments() || len(q.pending) > 0 && now >= q.deadline
}

// atOnce says whether acknowledgements are pending that wait neither for more segments than ackEvery, nor
// for an answer.
func (q *ackQueue) atOnce() bool { return len(q.pending) > 0 && !q.held && !q.thinning.on() }

// hold lets the acknowledgement of a single segment wait for an answer.
func (q *ackQueue) hold() { q.held = q.segments == 1 && !q.thinning.on() }

// trim gives memory back. While there is a gap, what has arrived beyond it is told again.
func (q *ackQueue) trim(gap bool) {
	switch {
	case len(q.pending) > 0:
	case gap:
		*q = ackQueue{ranges: q.ranges}
	default:
		*q = ackQueue{}
	}
}

// ackThinning is how many segments are acknowledged at once, toward a peer that takes ranges: ackEvery,
// and more while segments arrive in a stream, as many as arrive within a short delay. One that comes
// alone, or in a message of a few, waits for no others (compare
// https://datatracker.ietf.org/doc/html/draft-ietf-quic-ack-frequency#section-6, and TACK:
// https://doi.org/10.1145/3387514.3405850).
type ackThinning struct {
	more   int   // beyond ackEvery
	stream int   // segments in a row, none of them later than the delay after the one before
	lastAt int64 // when the last one arrived
}

const (
	// thinAfter is how many segments in a row make a stream: about what a sender has in flight at first.
	thinAfter = 32
	// thinStep is how many more make it one segment more that is acknowledged at once, up to thinMax.
	thinStep = 8
	thinMax  = 10
	// thinShare is the share of the shortest round trip that an acknowledgement may wait for others in a
	// stream, within these bounds. thinDelay is for an unknown round trip.
	thinShare    = 4
	thinDelayMin = int64(time.Millisecond)
	thinDelayMax = 5 * int64(time.Millisecond)
	thinDelay    = 2 * int64(time.Millisecond)
	// gapSegments is how many segments behind a gap are acknowledged without that delay, as the sender's
	// loss detection waits for as many. In a fast stream, with at least gapFast acknowledged at once,
	// they are acknowledged together, within gapDelay. What fills a gap is acknowledged at once all the
	// same: the timeout of what a path delivers late may be just about to expire.
	gapSegments = 3
	gapFast     = 6
	gapDelay    = int64(time.Millisecond)
)

// segments is the number of segments that are acknowledged at once.
func (t *ackThinning) segments() int { return ackEvery + t.more }

// on says whether acknowledgements wait for more than ackEvery segments.
func (t *ackThinning) on() bool { return t.more > 0 }

// arrived takes a segment that arrived at now. delay is how long acknowledgements may wait for others,
// and most the number of segments that may be acknowledged at once.
func (t *ackThinning) arrived(now, delay int64, most int) {
	if now-t.lastAt > delay {
		*t = ackThinning{}
	} else if t.stream++; t.stream >= thinAfter && t.stream%thinStep == 0 && t.segments() < most {
		t.more++
	}
	t.lastAt = now
}

// waited notes that the delay has passed before enough segments had arrived, and only so many had.
func (t *ackThinning) waited(segments int) {
	if segments < t.segments() {
		t.more, t.stream = max(0, segments-ackEvery), 0
	}
}

// thinDelayOf is how long an acknowledgement may wait for others in a stream, over a path whose shortest
// round trip is minRTT, 0 for unknown.
func thinDelayOf(minRTT int64) int64 {
	if minRTT == 0 {
		return thinDelay
	}
	return min(max(minRTT/thinShare, thinDelayMin), thinDelayMax)
}
