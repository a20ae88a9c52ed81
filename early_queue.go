package kcp

// earlyMax bounds the segments that an earlyQueue holds.
const earlyMax = 32

// earlyQueue holds data that a dialled session receives before anything has shown that it is of this
// session: a client that was restarted with its port and conversation may hear what was meant for the
// one before.
type earlyQueue struct {
	list     []earlySegment
	replaced bool // the peer's number was replaced by another: what has none may be of either session
}

// earlySegment is a PUSH or a FIN.
type earlySegment struct {
	h      header
	p      *packet // the data
	number uint32  // that its datagram began with, 0 for none
}

// add holds a segment, unless it is held already. It returns false if there is no room for it.
func (q *earlyQueue) add(h *header, body []byte, number uint32, pool *packetPool) bool {
	for i := range q.list {
		if e := &q.list[i]; e.h.sn == h.sn && e.number == number {
			return true
		}
	}
	if len(q.list) >= earlyMax {
		return false
	}
	p := pool.get()
	p.data = p.mem[:copy(p.mem[:], body)]
	q.list = append(q.list, earlySegment{*h, p, number})
	return true
}

// discard empties the queue.
func (q *earlyQueue) discard(pool *packetPool) {
	for i := range q.list {
		pool.put(q.list[i].p)
	}
	q.list = nil
}

// take calls f with each segment that may be of the session with that number of the peer's, and
// empties the queue.
func (q *earlyQueue) take(number uint32, pool *packetPool, f func(h *header, body []byte)) {
	for i := range q.list {
		e := &q.list[i]
		if e.number == number || e.number == 0 && !q.replaced {
			f(&e.h, e.p.data)
		}
	}
	q.discard(pool)
}
