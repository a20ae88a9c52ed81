package kcp

import "time"

// A retransmission that is lost, too, costs the stream another round trip. Where nodelay asks for
// low latency and the path loses more than highLossRate, a retransmission is sent twice: the
// second copy a little later, so that one burst of losses does not take both, and not at all if
// the segment was acknowledged meanwhile.

const (
	// duplicateMinRTT is the round trip from which on a duplicate is worth its bytes.
	duplicateMinRTT = 4 * int64(time.Millisecond)
	// duplicatePercent is the default bound of duplicates, per hundred other segments sent.
	duplicatePercent = 25
	// duplicateBurst is how many duplicates may be due at once.
	duplicateBurst = 8
)

// duplicateDue is a transmission to be repeated.
type duplicateDue struct {
	at     int64
	sn, ts uint32
}

// duplicateQueue holds the transmissions to be repeated, at most duplicateBurst of them, in order
// of time.
type duplicateQueue struct {
	due     []duplicateDue
	percent int // duplicates per hundred segments
	credit  int // hundredths of a duplicate
	sent    uint64
}

// nextAt returns when the first is due, never if there is none.
func (q *duplicateQueue) nextAt() int64 {
	if len(q.due) == 0 {
		return never
	}
	return q.due[0].at
}

// earn counts a segment sent.
func (q *duplicateQueue) earn() { q.credit = min(q.credit+q.percent, 100*duplicateBurst) }
