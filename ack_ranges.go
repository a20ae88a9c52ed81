package kcp

import "encoding/binary"

// An ACK to a peer that can read them has ranges as its data (docs/protocol.md, Ranges): pairs of the
// first serial number and the count of segments beyond a gap, the newest pair first.
const (
	ackRangesMax = 32 // in one ACK
	ackRangeSize = 8
	// ackRangesMin is how many are always told where a path that loses much calls for many
	// acknowledgements. So often a pair is told again, and more often where the others are worth it.
	ackRangesMin = 4
	// ackRangeWorth is the bytes that have to arrive for each further pair.
	ackRangeWorth = 48 * ackRangeSize
)

// ackRangesFor is how many pairs an ACK has at most that acknowledges the arrival of so many bytes. An
// answer to small segments is not much longer than they are, as their sender's address may be forged.
func ackRangesFor(bytes int) int {
	return min(1+bytes/(2*ackRangeSize), max(ackRangesMin, bytes/ackRangeWorth))
}

// ackRanges are the runs of segments beyond a gap that have arrived in order of their numbers, each for
// the first time, up to the newest ackRangesMax. A segment is of a run only if nothing beyond it had
// arrived before: what fills a gap is of none.
type ackRanges struct {
	list []snRange // oldest first
	top  uint32    // first serial number beyond all that has arrived
}

// snRange is count serial numbers from first on.
type snRange struct{ first, count uint32 }

// restart is for the time without a gap, when everything below nxt has arrived.
func (r *ackRanges) restart(nxt uint32) { r.list, r.top = r.list[:0], nxt }

// note notes the arrival of segment sn, and says whether nothing beyond it had arrived before.
func (r *ackRanges) note(sn uint32) (newest bool) {
	if before(sn, r.top) {
		return false
	}
	r.top = sn + 1
	return true
}

// extend puts segment sn, the newest, into a run, and returns the length of that.
func (r *ackRanges) extend(sn uint32) uint32 {
	if n := len(r.list); n > 0 && r.list[n-1].first+r.list[n-1].count == sn {
		r.list[n-1].count++
		return r.list[n-1].count
	}
	if len(r.list) == ackRangesMax {
		r.list = r.list[:copy(r.list, r.list[1:])]
	}
	r.list = append(r.list, snRange{sn, 1})
	return 1
}

// passed drops the runs that una has passed.
func (r *ackRanges) passed(una uint32) {
	n := 0
	for n < len(r.list) && before(r.list[n].first, una) {
		n++
	}
	r.list = r.list[:copy(r.list, r.list[n:])]
}

// append appends up to most runs to b, the newest first.
func (r *ackRanges) append(b []byte, most int) []byte {
	for i := len(r.list) - 1; i >= max(0, len(r.list)-most); i-- {
		b = binary.LittleEndian.AppendUint32(b, r.list[i].first)
		b = binary.LittleEndian.AppendUint32(b, r.list[i].count)
	}
	return b
}

// rangeReader reads the ranges of an ACK, relative to una.
type rangeReader struct {
	b    []byte
	una  uint32
	n    int
	seen [ackRangesMax]struct{ begin, end int64 }
}

// next returns the part of the next pair that lies among the size serial numbers from una on, as
// offsets from una. ok is false at the end of the list, which is also before a pair that overlaps an
// earlier one.
func (r *rangeReader) next(size uint32) (begin, end uint32, ok bool) {
	if len(r.b) < ackRangeSize || r.n == ackRangesMax {
		return 0, 0, false
	}
	from := int64(int32(binary.LittleEndian.Uint32(r.b) - r.una))
	to := from + int64(binary.LittleEndian.Uint32(r.b[4:]))
	r.b = r.b[ackRangeSize:]
	for _, s := range r.seen[:r.n] {
		if from < s.end && s.begin < to {
			return 0, 0, false
		}
	}
	r.seen[r.n].begin, r.seen[r.n].end = from, to
	r.n++
	clip := func(x int64) uint32 { return uint32(min(max(x, 0), int64(size))) }
	return clip(from), clip(to), true
}
