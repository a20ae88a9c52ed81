package kcp

import "time"

// bbrUndo is what tells whether the last reductions of the rate were for congestion, if what was lost
// turns out to have arrived.
type bbrUndo struct {
	rate        int64 // before them, 0 for nothing to undo
	bwLow       int64 // before them
	acked, lost int   // bytes in the rounds that led to them
	last        int64 // the last of these rounds
}

const (
	// bbrUndoRounds is how many rounds after a reduction what led to it may turn out to be spurious.
	bbrUndoRounds = 4
)

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
