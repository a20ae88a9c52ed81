package kcp

// recvWindow holds the segments that have arrived and were not read, in one ring indexed by serial
// number. Those in [head, nxt) are in order and can be read. Those beyond nxt wait for a gap to be
// filled.
type recvWindow struct {
	ring []*packet // length a power of two, 0 while never used; nil where nothing has arrived
	head uint32    // serial number of the first segment that was not read
	nxt  uint32    // serial number of the first segment that has not arrived in order
	wnd  uint32    // size of the window in segments
	held int       // packets in the ring
	fin  bool      // the peer's FIN has arrived in order; its number is nxt

	whole int // segments in [head, nxt) that end a message: the whole messages that can be read
}

// at returns the slot of segment sn.
func (w *recvWindow) at(sn uint32) **packet { return &w.ring[sn&uint32(len(w.ring)-1)] }

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

// inside says whether sn is in the window or before it.
func (w *recvWindow) inside(sn uint32) bool {
	return before(sn, w.una()) || !w.fin && sn-w.head < w.wnd
}

// has says whether segment sn, which is inside, has arrived.
func (w *recvWindow) has(sn uint32) bool {
	if before(sn, w.una()) {
		return true
	}
	return sn-w.head < uint32(len(w.ring)) && *w.at(sn) != nil
}

// insert takes p as segment sn, which is inside and has not arrived before.
func (w *recvWindow) insert(sn uint32, p *packet, pool *packetPool) {
	for sn-w.head >= uint32(len(w.ring)) {
		w.grow()
	}
	*w.at(sn) = p
	w.held++
	w.advance(pool)
}

// pass marks segment nxt as arrived and read, without inserting it. Nothing before it may be left
// to be read.
func (w *recvWindow) pass(pool *packetPool) {
	w.head++
	w.nxt++
	w.advance(pool)
}

// advance moves nxt over the segments that have arrived.
func (w *recvWindow) advance(pool *packetPool) {
	for w.nxt-w.head < uint32(len(w.ring)) && *w.at(w.nxt) != nil {
		if (*w.at(w.nxt)).fin {
			w.finish(pool)
			return
		}
		if (*w.at(w.nxt)).frg == 0 {
			w.whole++
		}
		w.nxt++
	}
}

// finish ends the stream at the FIN, which has the number nxt. It drops the FIN and all segments
// beyond it, as nothing that follows a FIN can be read.
func (w *recvWindow) finish(pool *packetPool) {
	w.fin = true
	for sn := w.nxt; sn-w.head < uint32(len(w.ring)); sn++ {
		if at := w.at(sn); *at != nil {
			pool.put(*at)
			*at = nil
			w.held--
		}
	}
}

func (w *recvWindow) grow() {
	old := *w
	w.ring = make([]*packet, max(8, 2*len(old.ring)))
	for i := range uint32(len(old.ring)) {
		*w.at(w.head + i) = *old.at(w.head + i)
	}
}

// trim gives back the memory of the ring when it is empty.
func (w *recvWindow) trim() {
	if w.held == 0 {
		w.ring = nil
	}
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
		p := *w.at(sn)
		size += len(p.data)
		if p.frg == 0 {
			return size
		}
	}
	return -1
}

// read copies in-order data to b and returns the number of bytes. It puts packets that are read to
// their end into pool. It stops at the end of the first message, unless stream is set.
func (w *recvWindow) read(b []byte, stream bool, pool *packetPool) (n int) {
	for w.head != w.nxt {
		p := *w.at(w.head)
		m := copy(b[n:], p.data)
		n += m
		if m < len(p.data) {
			p.data = p.data[m:]
			return n
		}
		last := p.frg == 0
		w.drop(pool)
		if last && !stream {
			return n
		}
	}
	return n
}

// drop discards the first segment, which is in order, to pool.
func (w *recvWindow) drop(pool *packetPool) {
	pool.put(w.pop())
}

// pop takes the first segment, which is in order, out of the window.
func (w *recvWindow) pop() *packet {
	at := w.at(w.head)
	p := *at
	if p.frg == 0 {
		w.whole--
	}
	*at = nil
	w.held--
	w.head++
	return p
}

// release puts all packets into pool.
func (w *recvWindow) release(pool *packetPool) {
	for _, p := range w.ring {
		if p != nil {
			pool.put(p)
		}
	}
	w.ring, w.held, w.whole = nil, 0, 0
	w.head = w.nxt
}
