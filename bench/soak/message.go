package soak

import (
	"fmt"
	"sync"
	"time"
)

// messages is a flow in messages: what was written, and what was read.
type messages struct {
	id uint64

	mu      sync.Mutex
	sent    []message
	first   uint64 // number of the first that was neither read nor skipped
	partial []byte // of a message that comes in several reads
}

type message struct {
	size    int
	expires time.Time // zero for never
	refused bool      // WriteMessage has returned an error: it may not arrive
}

// write makes the next message.
func (m *messages) write(size int, expires time.Time) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := parcel(m.id, uint64(len(m.sent)), size)
	m.sent = append(m.sent, message{size: len(b), expires: expires})
	return b
}

// refuse says that the last one was not taken.
func (m *messages) refuse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent[len(m.sent)-1].refused = true
}

// got checks what a read has returned: a message, or a part of one.
func (m *messages) got(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.partial = append(m.partial, b...)
	if len(m.partial) < parcelHeader {
		return nil
	}
	size := int(uint32(m.partial[16])<<24 | uint32(m.partial[17])<<16 | uint32(m.partial[18])<<8 | uint32(m.partial[19]))
	if len(m.partial) < size {
		return nil
	}
	number, err := opened(m.id, m.partial)
	m.partial = m.partial[:0]
	if err != nil {
		return fmt.Errorf("a message: %w", err)
	}
	if number < m.first || number >= uint64(len(m.sent)) {
		return fmt.Errorf("message %d was read when %d to %d might be", number, m.first, len(m.sent)-1)
	}
	for ; m.first < number; m.first++ {
		// One that would not all be sent before it expires is not begun, so it may be skipped before.
		if s := m.sent[m.first]; !s.refused && s.expires.IsZero() {
			return fmt.Errorf("message %d was skipped, which does not expire", m.first)
		}
	}
	if m.sent[number].refused {
		return fmt.Errorf("message %d was read, which WriteMessage has refused", number)
	}
	m.first++
	return nil
}

// again lets another reader begin with the first one.
func (m *messages) again() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.first, m.partial = 0, nil
}

// left returns how many messages have still to be read. Those that expire need not be, also before: one is
// not begun that would not all be sent in time.
func (m *messages) left() (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sent[m.first:] {
		if !s.refused && s.expires.IsZero() {
			n++
		}
	}
	return n
}

// counted are datagrams or out-of-band datagrams of one direction.
type counted struct {
	id uint64

	mu   sync.Mutex
	next uint64
	seen map[uint64]int
}

func (c *counted) send(size int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := parcel(c.id, c.next, size)
	c.next++
	return b
}

// got checks one that has arrived, of which there may be so many copies.
func (c *counted) got(b []byte, copies int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	number, err := opened(c.id, b)
	if err != nil {
		return err
	}
	if c.seen == nil {
		c.seen = make(map[uint64]int)
	}
	c.seen[number]++
	switch {
	case number >= c.next:
		return fmt.Errorf("number %d arrived, of %d that were sent", number, c.next)
	case c.seen[number] > copies:
		return fmt.Errorf("number %d arrived %d times, of %d copies at most", number, c.seen[number], copies)
	}
	return nil
}
