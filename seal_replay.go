package kcp

// replayWindow remembers which of the newest numbers have been received, as a ring of bits (RFC 6479:
// https://www.rfc-editor.org/rfc/rfc6479). A session that has received few has a small ring.
type replayWindow struct {
	bits []uint64
	top  uint64 // the highest number, and one more: 0 for none yet
}

const (
	// replayNumbers is how far a number may be behind the highest one.
	replayNumbers    = 4096
	replayWordsSmall = 4
	replayWords      = replayNumbers/64 + 1 // one is always being cleared
)

// fresh says whether a number may be accepted: it has not been noted, and is not too old.
func (w *replayWindow) fresh(number uint64) bool {
	switch {
	case number >= w.top:
		return true
	case w.top-1-number >= replayNumbers:
		return false
	}
	return *w.word(number)&(1<<(number%64)) == 0
}

// note notes a number that is fresh.
func (w *replayWindow) note(number uint64) {
	w.grow(number)
	if number >= w.top {
		words := uint64(len(w.bits))
		from, to := (w.top+63)/64, number/64 // words that begin to be used
		for word := max(from, to-min(to, words-1)); word <= to; word++ {
			w.bits[word%words] = 0
		}
		w.top = number + 1
	}
	*w.word(number) |= 1 << (number % 64)
}

// word returns the word of a number that is within the window.
func (w *replayWindow) word(number uint64) *uint64 {
	return &w.bits[number/64%uint64(len(w.bits))]
}

// grow makes room for a number: the small ring as long as that holds all numbers there have been.
func (w *replayWindow) grow(number uint64) {
	switch {
	case number < 64*replayWordsSmall:
		if w.bits == nil {
			w.bits = make([]uint64, replayWordsSmall)
		}
	case len(w.bits) < replayWords:
		bits := make([]uint64, replayWords)
		copy(bits, w.bits)
		w.bits = bits
	}
}
