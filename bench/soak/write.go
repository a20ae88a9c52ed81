package soak

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"time"
)

// write writes until the program falls silent, or the session has ended.
func (e *end) write() {
	defer close(e.written)
	r := e.rand("write")
	for {
		first := e.unheard()
		pause := time.Duration(0)
		if !first && chance(r, 0.7) {
			pause = between(r, ms/10, 2*time.Minute)
		}
		if !first && chance(r, 0.01) {
			pause = between(r, time.Minute, time.Hour)
		}
		if !e.rest(pause) && !first {
			return
		}
		if !first && e.endWriting(r) {
			return
		}
		by := e.writeBy(r)
		pokes := e.poked.Load()
		start := time.Now()
		err := e.writeOnce(r, first)
		e.w.ops.Add(1)
		if by.Before(start) {
			by = start
		}
		switch {
		case err == nil:
		case e.timedOut("Write", err, by, pokes):
		default:
			e.judge("Write", err)
			return
		}
	}
}

// writeBy draws a write deadline, and sets it. The zero time is none.
func (e *end) writeBy(r *rand.Rand) (by time.Time) {
	if !e.w.has(featDeadlines) || e.s == nil {
		return by
	}
	switch {
	case chance(r, 0.1):
		by = time.Now().Add(between(r, ms, 10*time.Second))
	case chance(r, 0.02):
		by = time.Now().Add(-time.Second)
	}
	if err := e.s.SetWriteDeadline(by); err != nil {
		e.judge("SetWriteDeadline", err)
	}
	return by
}

// size draws how much is written at once.
func (e *end) size(r *rand.Rand) int {
	if e.full {
		return 60_000
	}
	if e.w.has(featBulk) && chance(r, 0.005) {
		return sized(r, 100_000, 2_000_000)
	}
	return sized(r, 1, 30_000)
}

// writeOnce writes something, in one of the ways there are. The first of a session says who writes.
func (e *end) writeOnce(r *rand.Rand, first bool) error {
	if e.w.inMessages() {
		return e.writeMessage(r, first)
	}
	size := e.size(r)
	if first {
		size = max(size, idSize)
	}
	b := make([]byte, size)
	e.out.next(b)
	var n int64
	var err error
	way := 0
	if e.w.has(featTry) && e.s != nil && !first {
		way = r.IntN(5)
	}
	switch way {
	case 1:
		var short int
		short, err = e.tryWrite(r, b)
		n = int64(short)
	case 2:
		cut := r.IntN(len(b) + 1)
		var short int
		short, err = e.s.WriteBuffers([][]byte{b[:cut], b[cut:]})
		n = int64(short)
	case 3:
		n, err = e.s.ReadFrom(struct{ io.Reader }{bytes.NewReader(b)})
		if err != nil { // what it has read and not written is lost to it, and counted as read by nobody
			return e.writeFromFailed(n, err)
		}
	default:
		var short int
		short, err = e.writer().Write(b)
		n = int64(short)
	}
	e.countWrite(b, n, err, way == 1)
	return err
}

// countWrite counts what was taken of b, which has to be all where there is no error, and it was no TryWrite.
func (e *end) countWrite(b []byte, n int64, err error, tried bool) {
	if n < 0 || n > int64(len(b)) || !tried && err == nil && n != int64(len(b)) {
		e.fail("a write of %d bytes took %d, %v", len(b), n, err)
	}
	e.out.wrote(int(n))
}

// tryWrite writes by TryWrite: what there is room for, or all, when it is notified.
func (e *end) tryWrite(r *rand.Rand, b []byte) (n int, err error) {
	if chance(r, 0.5) {
		return e.s.TryWrite(b)
	}
	room, notify := signal()
	e.s.SetWriteNotify(notify)
	defer e.s.SetWriteNotify(nil)
	for n < len(b) && err == nil {
		var some int
		if some, err = e.s.TryWrite(b[n:]); n+some < len(b) && err == nil {
			<-room
		}
		n += some
	}
	return n, err
}

func (e *end) writeFromFailed(n int64, err error) error {
	e.out.wrote(int(n))
	return err
}

func (e *end) writer() io.ReadWriter {
	if e.s != nil {
		return e.s
	}
	return e.old
}

// writeMessage writes a message, of which some expire.
func (e *end) writeMessage(r *rand.Rand, first bool) error {
	size := min(e.s.MaxMessageSize(), 60_000)
	if !e.full {
		size = sized(r, parcelHeader, size)
	}
	var expires time.Time
	if e.w.has(featExpiry) && !first && chance(r, 0.5) {
		expires = time.Now().Add(between(r, ms, 10*time.Second))
	}
	err := e.s.WriteMessage(e.said.write(size, expires), expires)
	if err == nil {
		return nil
	}
	e.said.refuse()
	if first {
		return err // as nobody would know whose the next one is
	}
	if size > e.s.MaxMessageSize() {
		return nil // which has shrunk while it waited: what was to go before it has expired
	}
	if !expires.IsZero() && !time.Now().Before(expires) && !errors.Is(err, io.ErrClosedPipe) && e.timedOut("WriteMessage", err, expires, -1) {
		return nil
	}
	return err
}
