package kcp

import (
	"math"
	"sync/atomic"
	"time"
)

// Write queues b and sends as much of it as the windows allow, at once unless SetWriteDelay holds
// it back. On a path with a round trip below a millisecond, a small write behind much that is in
// flight goes with the next ones or an acknowledgement. Write blocks while the send window is
// full, or the socket takes nothing, until the write deadline; n says how much was queued.
func (s *UDPSession) Write(b []byte) (n int, err error) {
	return s.writeBuffers([][]byte{b})
}

// WriteBuffers is Write for the concatenation of v. Outside stream mode each element starts a
// segment of its own.
func (s *UDPSession) WriteBuffers(v [][]byte) (n int, err error) {
	return s.writeBuffers(v)
}

func (s *UDPSession) writeBuffers(v [][]byte) (n int, err error) {
	if s.sock.pollUnread(clock()) {
		time.Sleep(readerTurn)
	}
	s.mu.Lock()
	for s.writing && err == nil {
		if err = s.writeErrLocked(); err == nil {
			s.waitLocked(&s.writable)
		}
	}
	if err == nil {
		s.writing = true
		small := s.smallLocked(v)
		for i := 0; i < len(v) && err == nil; i++ {
			var m int
			m, err = s.writeLocked(v[i], small)
			n += m
		}
		s.writing = false
		s.wakeLocked(&s.writable)
		if n > 0 {
			s.total.BytesSent += uint64(n)
			atomic.AddUint64(&s.cfg.snmp.BytesSent, uint64(n))
			s.flushWrittenLocked(small)
		}
	}
	s.unlockAndSend(true)
	return n, s.opError("write", err)
}

// writeLocked queues b, as the send window has room for it and the socket takes what is sent. small
// says that it is part of a write that may be gathered.
func (s *UDPSession) writeLocked(b []byte, small bool) (n int, err error) {
	for {
		if err := s.writeErrLocked(); err != nil {
			return n, err
		}
		if !s.tx.crowded() {
			n += s.core.queue(b[n:], s.gatherRoomLocked(small))
		}
		if n == len(b) {
			return n, nil
		}
		s.flushWrittenLocked(small)
		if !s.windowFullLocked() && !s.tx.crowded() || s.sendLocked(never) {
			continue
		}
		s.tx.deferRest() // before the wait
		s.waitLocked(&s.writable)
	}
}

// flushWrittenLocked flushes what was written, leaves it to the timer, or lets it gather.
func (s *UDPSession) flushWrittenLocked(small bool) {
	now := clock()
	if s.writeDelay && !s.windowFullLocked() {
		s.flushBy = min(s.flushBy, now+s.core.holdTime())
		s.core.cork(true)
		s.scheduleLocked(math.MinInt64)
		return
	}
	if small && s.gathersLocked() && s.core.unsent() < s.gsoSegments && !s.windowFullLocked() {
		s.core.cork(true)
		return
	}
	s.driveLocked(now, true)
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
