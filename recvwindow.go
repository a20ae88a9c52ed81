package kcp

import (
	"math/bits"
	"unsafe"
)

// recvSegment is one slot of the receive window: 16 bytes, whatever the segment carries.
type recvSegment struct {
	p      *packet // that holds the data; nil without data
	at     uint16  // where the data starts in p
	length uint16  // of the data, 0 for a FIN
	frg    uint8   // fragments of the message that follow
	kind   recvKind
}

// recvKind is what a slot of the receive window holds.
type recvKind uint8

const (
	recvNothing recvKind = iota
	recvWhole            // a segment, whose packet is its own
	recvSmall            // a segment that shares its packet with others, if it has one
	recvFIN
	recvSkipped // a segment of a message that has expired at its sender: there is nothing to be read
)

// data returns what can be read of the segment.
func (s *recvSegment) data() []byte {
	if s.p == nil {
		return nil
	}
	return s.p.mem[s.at:][:s.length]
}

// recvSmallMax is the most data of a segment that shares its packet with others. So what is held is
// in proportion to what has come, and not to the number of segments.
const recvSmallMax = mtuLimit / 3

// recvWindow holds the segments that have arrived and were not read, in one ring indexed by serial
// number. Those in [head, nxt) are in order and can be read. Those beyond nxt wait for a gap to be
// filled.
type recvWindow struct {
	ring []recvSegment // length a power of two, 0 while never used
	head uint32        // serial number of the first segment that was not read
	nxt  uint32        // serial number of the first segment that has not arrived in order
	wnd  uint32        // size of the window in segments
	held int           // segments in the ring
	fin  bool          // the peer's FIN has arrived in order; its number is nxt

	whole int // segments in [head, nxt) that end a message: the whole messages that can be read

	begun   uint32 // serial number of the first segment of the message that nxt belongs to
	broken  bool   // that message has expired
	skipped uint64 // messages that have

	packets   int     // that hold data of the segments
	small     *packet // that the next small segment goes to, nil for none
	smallUsed int     // bytes of it
}

// at returns the slot of segment sn.
func (w *recvWindow) at(sn uint32) *recvSegment { return &w.ring[sn&uint32(len(w.ring)-1)] }

// free returns the number of free slots, which is the window that is advertised to the peer.
func (w *recvWindow) free() uint16 {
	if used := w.nxt - w.head; used < w.wnd {
		return uint16(w.wnd - used)
	}
	return 0
}

// una returns the serial number below which everything has arrived: the cumulative acknowledgement.
func (w *recvWindow) una() uint32 {
	if w.fin {
		return w.nxt + 1
	}
	return w.nxt
}

// recvReach is how far into a large window a segment may lie, in segments, whatever has arrived, and
// recvReachHeld how far for each segment that is held: one segment far ahead makes no large ring. What
// lies beyond is as lost on the path, and so many in a row are rarely lost there.
const (
	recvReach     = 8192
	recvReachHeld = 8
)

// inside says whether sn is in the window, and within reach, or before it.
func (w *recvWindow) inside(sn uint32) bool {
	return before(sn, w.una()) || !w.fin && sn-w.head < min(w.wnd, max(recvReach, recvReachHeld*uint32(w.held)))
}

// beyond says whether sn lies beyond the window, and something may still come.
func (w *recvWindow) beyond(sn uint32) bool { return !w.fin && sn-w.head >= w.wnd }

// has says whether segment sn, which is inside, has arrived.
func (w *recvWindow) has(sn uint32) bool {
	if before(sn, w.una()) {
		return true
	}
	return sn-w.head < uint32(len(w.ring)) && w.at(sn).kind != recvNothing
}

// insert takes a PUSH or FIN, which is inside and has not arrived before.
func (w *recvWindow) insert(h *header, body []byte, pool *packetPool) {
	if at := h.sn - w.head; at >= uint32(len(w.ring)) {
		w.resize(max(8, 1<<bits.Len32(at)))
	}
	s := w.at(h.sn)
	switch {
	case h.cmd == cmdFIN:
		*s = recvSegment{kind: recvFIN}
	case h.cmd == cmdSKIP:
		*s = recvSegment{frg: h.frg, kind: recvSkipped}
	case len(body) > recvSmallMax:
		p := pool.take()
		w.packets++
		*s = recvSegment{p: p, length: uint16(copy(p.mem[:], body)), frg: h.frg, kind: recvWhole}
	default:
		*s = recvSegment{frg: h.frg, kind: recvSmall}
		w.share(s, body, pool)
	}
	w.held++
	w.advance(pool)
	w.passSkipped(pool)
}

// share copies the data of a small segment to the packet that it shares with those that came before
// and after it.
func (w *recvWindow) share(s *recvSegment, body []byte, pool *packetPool) {
	if len(body) == 0 {
		return
	}
	if w.small == nil || len(body) > len(w.small.mem)-w.smallUsed {
		w.small, w.smallUsed = pool.take(), 0
		w.packets++
		w.small.shared = 0
	}
	s.p, s.at, s.length = w.small, uint16(w.smallUsed), uint16(len(body))
	w.smallUsed += copy(w.small.mem[w.smallUsed:], body)
	w.small.shared++
}

// clear gives back what a segment holds, and empties its slot.
func (w *recvWindow) clear(s *recvSegment, pool *packetPool) {
	p, kind := s.p, s.kind
	*s = recvSegment{}
	w.held--
	if p == nil {
		return
	}
	if kind == recvSmall {
		if p.shared--; p.shared > 0 {
			return
		}
		if p == w.small {
			w.small = nil
		}
	}
	w.packets--
	pool.put(p)
}

// pass marks segment nxt as arrived and read, without inserting it. Nothing before it may be left
// to be read.
func (w *recvWindow) pass(pool *packetPool) {
	w.head++
	w.nxt++
	w.begun = w.nxt
	w.advance(pool)
	w.passSkipped(pool)
}

// skip drops the data of segment sn, of a message that has expired. Its slot stays in use.
func (w *recvWindow) skip(sn uint32, pool *packetPool) {
	s := w.at(sn)
	frg := s.frg
	w.clear(s, pool)
	w.held++
	*s = recvSegment{frg: frg, kind: recvSkipped}
}

// noteSkipped takes segment nxt, which has arrived, into account for the message that it belongs to: once
// one segment of it has expired, nothing of it can be read.
func (w *recvWindow) noteSkipped(pool *packetPool) {
	if s := w.at(w.nxt); !w.broken && s.kind != recvSkipped {
		return
	}
	first := w.nxt
	if !w.broken {
		w.broken = true
		if first = w.begun; before(first, w.head) {
			first = w.head
		}
	}
	for sn := first; sn != w.nxt+1; sn++ {
		w.skip(sn, pool)
	}
}

// passSkipped takes what has expired out of the window, as far as nothing is to be read before.
func (w *recvWindow) passSkipped(pool *packetPool) {
	for w.head != w.nxt && w.at(w.head).kind == recvSkipped {
		w.clear(w.at(w.head), pool)
		w.head++
	}
}

// advance moves nxt over the segments that have arrived.
func (w *recvWindow) advance(pool *packetPool) {
	for w.nxt-w.head < uint32(len(w.ring)) {
		s := w.at(w.nxt)
		switch {
		case s.kind == recvNothing:
			return
		case s.kind == recvFIN:
			w.finish(pool)
			return
		}
		w.noteSkipped(pool)
		if w.nxt++; s.frg == 0 {
			if w.broken {
				w.broken = false
				w.skipped++
			} else {
				w.whole++
			}
			w.begun = w.nxt
		}
	}
}

// finish ends the stream at the FIN, which has the number nxt. It drops the FIN and all segments
// beyond it, as nothing that follows a FIN can be read.
func (w *recvWindow) finish(pool *packetPool) {
	w.fin = true
	for sn := w.nxt; sn-w.head < uint32(len(w.ring)); sn++ {
		if s := w.at(sn); s.kind != recvNothing {
			w.clear(s, pool)
		}
	}
}

// resize makes the ring one of size slots, a power of two, which have room for what it holds. Grown to
// the power of two that is needed, it costs a constant time a segment.
func (w *recvWindow) resize(size int) {
	old := *w
	w.ring = make([]recvSegment, size)
	for i := range uint32(min(size, len(old.ring))) {
		*w.at(w.head + i) = *old.at(w.head + i)
	}
}

// shrink halves the ring if no more than a quarter of it is in use, and says whether it did.
func (w *recvWindow) shrink() bool {
	n := len(w.ring)
	if n <= ringMin || w.held > n/4 {
		return false
	}
	for i := n / 4; i < n; i++ {
		if w.at(w.head+uint32(i)).kind != recvNothing {
			return false
		}
	}
	w.resize(n / 2)
	return true
}

// trim gives back the memory of the ring that is not in use.
func (w *recvWindow) trim() {
	if w.held == 0 {
		w.ring = nil
	}
	for w.shrink() {
	}
}

// taken returns the number of segments that were read or wait beyond a gap, and so will be read when
// that is filled, modulo 2^32.
func (w *recvWindow) taken() uint32 { return w.head + uint32(w.held) - (w.nxt - w.head) }

// memory returns the bytes that the window holds.
func (w *recvWindow) memory() int64 {
	return int64(w.packets)*packetCost + int64(len(w.ring))*int64(unsafe.Sizeof(recvSegment{}))
}

// gap says whether a segment has arrived beyond one that has not.
func (w *recvWindow) gap() bool { return w.held > int(w.nxt-w.head) }

// peek returns the size of the first message in bytes, -1 while the message is not complete.
func (w *recvWindow) peek() int {
	if w.whole == 0 {
		return -1
	}
	size := 0
	for sn := w.head; sn != w.nxt; sn++ {
		s := w.at(sn)
		size += int(s.length)
		if s.frg == 0 {
			return size
		}
	}
	return -1
}

// read copies in-order data to b and returns the number of bytes. It puts packets that are read to
// their end into pool. It stops at the end of the first message, unless stream is set.
func (w *recvWindow) read(b []byte, stream bool, pool *packetPool) (n int) {
	for w.head != w.nxt {
		s := w.at(w.head)
		m := copy(b[n:], s.data())
		n += m
		if m < int(s.length) {
			s.at += uint16(m)
			s.length -= uint16(m)
			return n
		}
		last := s.frg == 0
		w.drop(pool)
		if last && !stream {
			return n
		}
	}
	return n
}

// drop discards the first segment, which is in order, to pool.
func (w *recvWindow) drop(pool *packetPool) {
	s := w.at(w.head)
	if s.frg == 0 {
		w.whole--
	}
	w.head++
	w.clear(s, pool)
	w.passSkipped(pool)
}

// pop takes the first segment, which is in order, out of the window in a packet of its own, and says
// whether it ends a message.
func (w *recvWindow) pop(pool *packetPool) (p *packet, last bool) {
	s := w.at(w.head)
	last = s.frg == 0
	if s.kind == recvWhole {
		p = s.p
		p.data = s.data()
		s.p = nil
		w.packets--
	} else {
		p = pool.get()
		p.data = p.mem[:copy(p.mem[:], s.data())]
	}
	w.drop(pool)
	return p, last
}

// release puts all packets into pool.
func (w *recvWindow) release(pool *packetPool) {
	for i := range w.ring {
		if s := &w.ring[i]; s.kind != recvNothing {
			w.clear(s, pool)
		}
	}
	w.ring, w.whole = nil, 0
	w.head = w.nxt
}
