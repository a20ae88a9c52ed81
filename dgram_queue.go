package kcp

// dgramQueue holds datagrams that wait, in order. When it is full the oldest is dropped.
type dgramQueue struct {
	ring    []*packet // nil while never used
	head, n int
	dropped uint64
}

// push appends p to a queue of at most so many, and gives what has to be dropped for it to pool.
func (q *dgramQueue) push(p *packet, most int, pool *packetPool) {
	if q.ring == nil {
		q.ring = make([]*packet, most)
	}
	if q.n == len(q.ring) {
		pool.put(q.pop())
		q.dropped++
	}
	q.ring[(q.head+q.n)%len(q.ring)] = p
	q.n++
}

// first returns the oldest datagram of a queue that is not empty.
func (q *dgramQueue) first() *packet { return q.ring[q.head] }

// pop takes the oldest datagram out of a queue that is not empty.
func (q *dgramQueue) pop() (p *packet) {
	p, q.ring[q.head] = q.ring[q.head], nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return p
}

// discard drops what waits, without counting it.
func (q *dgramQueue) discard(pool *packetPool) {
	for q.n > 0 {
		pool.put(q.pop())
	}
}
