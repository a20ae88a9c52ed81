package netem

import (
	"sync"
	"time"
)

// A datagram is owned by one of WriteTo, a Bottleneck, the event heap, a receive buffer and
// ReadFrom at a time. The last owner frees it.
type datagram struct {
	link *link
	seq  uint64 // order of submission in the network
	size int    // bytes on the bottleneck, Overhead included

	fragments bool // it may go in fragments

	// What link.draw has drawn.
	lost, twice    bool
	late, copyLate time.Duration // jitter and reordering, of the datagram and of its copy

	b     []byte // payload; in small if it fits there
	small [2048]byte
}

var datagrams = sync.Pool{New: func() any { return new(datagram) }}

// newDatagram returns a datagram with a copy of b.
func newDatagram(b []byte) *datagram {
	d := datagrams.Get().(*datagram)
	d.b = append(d.small[:0], b...)
	return d
}

// free gives the datagram back.
func (d *datagram) free() {
	d.link, d.b = nil, nil
	datagrams.Put(d)
}

// A fifo is a queue in a ring that grows as needed.
type fifo[T any] struct {
	ring []T // its length is 0 or a power of two
	head int // index of the first
	n    int // elements
}

func (f *fifo[T]) len() int { return f.n }

func (f *fifo[T]) push(v T) {
	if f.n == len(f.ring) {
		ring := make([]T, max(16, 2*f.n))
		k := copy(ring, f.ring[f.head:])
		copy(ring[k:], f.ring[:f.head])
		f.ring, f.head = ring, 0
	}
	f.ring[(f.head+f.n)&(len(f.ring)-1)] = v
	f.n++
}

// peek returns the first element. The fifo must not be empty.
func (f *fifo[T]) peek() T { return f.ring[f.head] }

// pop removes and returns the first element. The fifo must not be empty.
func (f *fifo[T]) pop() T {
	v := f.ring[f.head]
	clear(f.ring[f.head : f.head+1])
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.n--
	return v
}

// An event is the arrival of d or, if d is nil, the end of a transmission in q.
type event struct {
	due time.Duration
	seq uint64 // of d, or of the datagram transmitted: the order of events at the same time
	d   *datagram
	q   *Bottleneck
}

func (e *event) before(f *event) bool {
	return e.due < f.due || e.due == f.due && e.seq < f.seq
}

// An eventHeap is a binary heap, the earliest event first. It replaces container/heap, which would
// allocate for each event.
type eventHeap []event

func (h *eventHeap) push(e event) {
	s := append(*h, e)
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&s[parent]) {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = e
	*h = s
}

// pop removes and returns the earliest event. The heap must not be empty.
func (h *eventHeap) pop() event {
	s := *h
	first, last := s[0], s[len(s)-1]
	s[len(s)-1] = event{}
	s = s[:len(s)-1]
	for i := 0; len(s) > 0; {
		child := 2*i + 1
		if child+1 < len(s) && s[child+1].before(&s[child]) {
			child++
		}
		if child >= len(s) || !s[child].before(&last) {
			s[i] = last
			break
		}
		s[i] = s[child]
		i = child
	}
	*h = s
	return first
}
