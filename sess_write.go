package kcp

import (
	"math"
	"sync/atomic"
	"time"
)

// Write queues b and sends as much of it as the windows allow, at once unless SetWriteDelay holds
// it back. On a path with a round trip below a millisecond, a small write behind much that is in
// flight goes with the next ones or an acknowledgement. Write blocks while the send window is
// full, or the socket takes nothing, until the write deadline; n says how much was queued. Once it
// has begun, up to 3,072 segments of it, 4 MB of full ones, are queued without waiting for room, on
// a path with a round trip below 5 ms after waiting for that long: so a program may write a request
// of that size before it reads, to a peer that answers as it reads. Stats tells how much is queued.
func (s *UDPSession) Write(b []byte) (n int, err error) {
	return s.writeBuffers([][]byte{b})
}

// WriteBuffers is Write for the concatenation of v. Outside stream mode each element starts a
// segment of its own.
func (s *UDPSession) WriteBuffers(v [][]byte) (n int, err error) {
	return s.writeBuffers(v)
}

func (s *UDPSession) writeBuffers(v [][]byte) (n int, err error) {
	s.mu.Lock()
	now := clock()
	if s.path().sock.pollUnread(now) {
		s.mu.Unlock()
		time.Sleep(readerTurn)
		s.mu.Lock()
		now = clock()
	}
	for s.writing && err == nil {
		if err = s.writeErrLocked(); err == nil {
			s.waitLocked(&s.writable)
			now = clock()
		}
	}
	if err == nil {
		s.writing = true
		w := s.beginWriteLocked(now, v)
		for i := 0; i < len(v) && err == nil; i++ {
			var m int
			m, err = s.writeLocked(v[i], &w)
			n += m
		}
		s.writing, s.restAt = false, never
		s.wakeLocked(&s.writable)
		s.endWriteLocked(n, &w)
	}
	s.unlockAndSend(true)
	return n, s.opError("write", err)
}

// beginWriteLocked begins a write of v.
func (s *UDPSession) beginWriteLocked(now int64, v [][]byte) (w writeState) {
	s.core.noteWrite(now)
	w.small = s.smallLocked(v)
	if len(v) == 1 && len(v[0]) <= mtuLimit { // which takes no time to queue
		w.now = now
	}
	return w
}

// endWriteLocked counts the n bytes that a Write has queued, and sees to their flush.
func (s *UDPSession) endWriteLocked(n int, w *writeState) {
	if n > 0 {
		s.total.BytesSent += uint64(n)
		atomic.AddUint64(&s.cfg.snmp.BytesSent, uint64(n))
		s.flushWrittenLocked(w)
	}
}

// writeState is how far a Write under way is.
type writeState struct {
	now     int64 // the time for its first flush, 0 to read the clock
	small   bool  // it may be gathered
	begun   bool  // something of it is queued
	restDue bool  // there was no room for so long that the rest is queued without
}

// writeLocked queues b, a part of w, as the send window has room for it and the socket takes what is
// sent, and what is left of a Write that has begun also without room.
func (s *UDPSession) writeLocked(b []byte, w *writeState) (n int, err error) {
	for {
		if err := s.writeErrLocked(); err != nil {
			return n, err
		}
		if !s.tx.crowded() {
			if m := s.core.queue(b[n:], s.gatherRoomLocked(w.small)); m > 0 {
				n += m
				w.begun, w.restDue, s.restAt = true, false, never
			}
		}
		if n == len(b) {
			return n, nil
		}
		s.flushWrittenLocked(w)
		if !s.windowFullLocked() && !s.tx.crowded() || s.sendLocked(never) {
			continue
		}
		if w.begun && (w.restDue || s.restDueLocked()) {
			w.restDue, s.restAt = true, never
			if n += s.core.queueRest(b[n:]); n == len(b) {
				return n, nil
			}
		}
		s.tx.deferRest() // before the wait
		s.core.noteRoomAwaited(never)
		s.waitLocked(&s.writable)
		s.core.noteRoomAwaited(clock())
	}
}

// restDueLocked says whether a Write that has begun, and finds no room, is to queue its rest. If not
// yet, it makes restAt the time for that.
func (s *UDPSession) restDueLocked() bool {
	if s.tx.crowded() { // which ends with a wake-up
		s.restAt = never
		return false
	}
	if !s.core.shortPath(restWait) {
		return true
	}
	now := clock()
	if s.restAt == never {
		s.restAt = now + restWait
	}
	return now >= s.restAt
}

// flushWrittenLocked flushes what was written, leaves it to the timer, or lets it gather.
func (s *UDPSession) flushWrittenLocked(w *writeState) {
	now := w.now
	if w.now = 0; now == 0 {
		now = clock()
	}
	if s.writeDelay && !s.windowFullLocked() {
		s.flushBy = min(s.flushBy, s.nextTick(now))
		s.core.cork(true)
		s.scheduleLocked(math.MinInt64)
		return
	}
	if w.small && s.gathersLocked() && s.core.unsent() < s.gsoSegments && !s.windowFullLocked() {
		s.core.cork(true)
		return
	}
	s.driveLocked(now, true)
}

// nextTick returns when the interval of delayed writes ends next after now: it runs freely, as if
// there were a timer, from half an interval after the session was made. A peer's session, which our
// first delayed datagram has made, ticks half an interval later, and an answer that it delays meets
// the next tick here.
func (s *UDPSession) nextTick(now int64) int64 {
	interval := s.core.holdTime()
	first := s.created + interval/2
	if now < first {
		return first
	}
	return now + interval - (now-first)%interval
}

// writeErrLocked returns why nothing can be written.
func (s *UDPSession) writeErrLocked() error {
	switch {
	case s.closing.state != stateOpen:
		return errClosed
	case s.writable.expired():
		return errDeadline
	case s.err == nil && s.closing.writeClosed:
		return errPipe
	}
	return s.err
}
