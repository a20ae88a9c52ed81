package kcp

import (
	"math"
)

// TryRead is Read that does not wait: it returns 0 and no error where there is nothing to be read.
// At the end of the stream it returns io.EOF, and otherwise the errors of Read. With it and
// SetReadNotify a few goroutines can serve any number of sessions.
func (s *UDPSession) TryRead(b []byte) (n int, err error) {
	s.mu.Lock()
	ready := len(b) > 0
	for ready && n == 0 { // a message may be empty
		if ready, err = s.dataReadyLocked(); ready {
			n = s.core.read(b)
		}
	}
	switch {
	case n > 0:
		s.countReadLocked(n)
	case len(b) == 0:
		err = s.readErrLocked()
	case err == nil:
		s.armLocked(&s.readable)
	}
	s.unlockReader()
	return n, s.opError("read", err)
}

// TryWrite is Write that does not wait: it queues as much of b as there is room for, and returns
// how many bytes that was, down to 0, without an error if it was not all. Outside stream mode it
// ends between two segments then. See SetWriteNotify for when to go on.
func (s *UDPSession) TryWrite(b []byte) (n int, err error) {
	s.mu.Lock()
	if err = s.writeErrLocked(); err == nil && !s.writing {
		n = s.tryWriteLocked(b)
	}
	if err == nil && n < len(b) {
		s.armLocked(&s.writable)
	}
	s.unlockAndSend(false)
	return n, s.opError("write", err)
}

func (s *UDPSession) tryWriteLocked(b []byte) (n int) {
	w := s.beginWriteLocked(clock(), [][]byte{b})
	for n < len(b) && !s.tx.crowded() && !s.windowFullLocked() {
		n += s.core.queue(b[n:], s.gatherRoomLocked(w.small))
		if n < len(b) {
			s.flushWrittenLocked(&w)
		}
	}
	if n < len(b) {
		s.core.noteRoomAwaited(clock())
	}
	s.endWriteLocked(n, &w)
	return n
}

// SetReadNotify makes fn be called when TryRead has something to return: data, the end of the
// stream, an error, or the read deadline. A nil fn ends that.
//
// It is called
//
//   - at once, if that is so when it is set,
//   - each time that more data can be read, whether what came before was read or not,
//   - when the stream or the session ends, by Close too,
//   - and for whatever else there is to return after a TryRead that found nothing.
//
// So nothing is missed by a program that calls TryRead, once it was notified, until that returns 0
// or an error. Notifications that come while one waits to be delivered are one. There may be one too
// many, for data that was read meanwhile.
//
// fn is called on a goroutine that is there only meanwhile, one call for a session at a time, and
// not under a lock: it may call any method of the session. It should not block, as the session's
// next notification waits for it. After SetReadNotify has returned, a call of an earlier fn may still
// be under way, or one that was due just begin; there is none after that.
func (s *UDPSession) SetReadNotify(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readable.notify.set(fn, s.readStateLocked)
	s.armLocked(&s.readable)
}

// SetWriteNotify is SetReadNotify for TryWrite: fn is called at once if there is room when it is set,
// when a quarter of the send window is free after a TryWrite that did not queue everything, and when
// the session ends or the write deadline has passed. A nil fn ends that.
func (s *UDPSession) SetWriteNotify(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.writable.notify
	n.set(fn, s.writeStateLocked)
	if fn != nil && !s.writing && !s.tx.crowded() && !s.windowFullLocked() {
		_, now := s.writeStateLocked()
		n.call(&s.mu, now)
	}
	s.armLocked(&s.writable)
}

// armLocked makes q's function be called as soon as there is a reason to.
func (s *UDPSession) armLocked(q *waitQueue) {
	if q.notify.f == nil {
		return
	}
	q.notify.arm()
	q.notify.signal(&s.mu)
	s.scheduleLocked(math.MinInt64)
}

func (s *UDPSession) readStateLocked() (ready bool, now notice) {
	over := s.readErrLocked() != nil || s.core.finReceived() || s.err != nil
	data := s.core.readable() && s.core.directRead() == 0
	return over || data, notice{s.core.arrivedTo(), over}
}

func (s *UDPSession) writeStateLocked() (ready bool, now notice) {
	over := s.writeErrLocked() != nil
	room := !s.writing && !s.tx.crowded() && s.core.WaitSnd() <= s.lowWaterLocked()
	return over || room, notice{over: over}
}
