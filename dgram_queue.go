package kcp

// dgramQueue holds datagrams that wait, in order. When it is full the oldest is dropped.
type dgramQueue[T any] struct {
	ring    []T // nil while never used
	head, n int
	dropped uint64
}

// push appends p to a queue of at most so many. Where the oldest is dropped for it, it returns that.
func (q *dgramQueue[T]) push(p T, most int) (old T, full bool) {
	if q.ring == nil {
		q.ring = make([]T, most)
	}
	if full = q.n == len(q.ring); full {
		old = q.pop()
		q.dropped++
	}
	q.ring[(q.head+q.n)%len(q.ring)] = p
	q.n++
	return old, full
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
