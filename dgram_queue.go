package kcp

// dgramQueue holds datagrams that wait, in order. When it is full the oldest is dropped.
type dgramQueue[T any] struct {
	ring    []T // nil while never used
	head, n int
	dropped uint64
}

// push appends p to a queue of at most so many. Where the oldest is dropped for it, it returns that.
func (q *dgramQueue[T]) push(p T, most int) (old T, full bool) {
	switch {
	case q.n == most:
		old, full = q.pop(), true
		q.dropped++
	case q.n == len(q.ring):
		q.grow(most)
	}
	q.ring[(q.head+q.n)%len(q.ring)] = p
	q.n++
	return old, full
}

// grow makes room for twice as many, at most so many.
func (q *dgramQueue[T]) grow(most int) {
	ring := make([]T, min(max(8, 2*len(q.ring)), most))
	n := copy(ring, q.ring[q.head:])
	copy(ring[n:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

// first returns the oldest datagram of a queue that is not empty.
func (q *dgramQueue[T]) first() T { return q.ring[q.head] }

// pop takes the oldest datagram out of a queue that is not empty.
func (q *dgramQueue[T]) pop() (p T) {
	var none T
	p, q.ring[q.head] = q.ring[q.head], none
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return p
}

// dgrams is the unreliable messages of a core, and what is known of all that is sent and not acknowledged,
// REPs too (docs/protocol.md, Datagrams).
type dgrams struct {
	out     dgramQueue[*packet]
	in      dgramQueue[[]byte] // of their own size: a small one does not hold a packet
	ahead   int                // bytes sent since the stream had its share
	sn      uint32             // of the next one to be sent
	history sentHistory
	reports reporter
	repeats dgramRepeats
	symbols int // of so many of the next segments symbols are kept, as repairs may cover them

	sent, received uint64
}
