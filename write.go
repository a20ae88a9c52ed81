package kcp

import (
	"math"
	"sync/atomic"
	"syscall"
	"time"
)

// This file is the writing half of a session.

// Write queues b and sends as much of it as the windows allow, at once unless
// SetWriteDelay holds it back. A small write behind much that is in flight, on a path below a
// millisecond, goes with the next ones or an acknowledgement. It blocks while the send window is
// full, until the write deadline; n says how much was queued.
func (s *UDPSession) Write(b []byte) (n int, err error) {
	return s.writeBuffers([][]byte{b})
}

// WriteBuffers is Write for the concatenation of v. Outside stream mode each element
// starts a segment of its own.
func (s *UDPSession) WriteBuffers(v [][]byte) (n int, err error) {
	return s.writeBuffers(v)
}

func (s *UDPSession) writeBuffers(v [][]byte) (n int, err error) {
	if s.sock.readerOverdue(clock()) {
		time.Sleep(readerTurn)
	}
	s.mu.Lock()
	for s.writing && err == nil {
		if err = s.writeErrLocked(); err == nil {
			s.waitLocked(&s.writable, &s.writers)
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
		if s.writers > 0 {
			s.writable.Broadcast()
		}
		if n > 0 {
			s.total.BytesSent += uint64(n)
			atomic.AddUint64(&s.cfg.snmp.BytesSent, uint64(n))
			s.writtenLocked(small)
		}
	}
	s.unlockAndSend(true)
	return n, s.opError("write", err)
}

// writeLocked queues b, a segment at a time as there is room for it. small says that it is of a
// write that may gather.
func (s *UDPSession) writeLocked(b []byte, small bool) (n int, err error) {
	for {
		if err := s.writeErrLocked(); err != nil {
			return n, err
		}
		for room := s.batchLocked(small); room > 0 && n < len(b) && s.core.WaitSnd() < s.core.sendLimit(); room-- {
			m := min(len(b)-n, s.core.mss)
			s.core.Send(b[n : n+m])
			n += m
		}
		if n == len(b) {
			return n, nil
		}
		s.writtenLocked(small)
		if s.core.WaitSnd() < s.core.sendLimit() || s.sendBatchLocked(true) {
			continue
		}
		s.waitLocked(&s.writable, &s.writers)
	}
}

// writtenLocked flushes what was written, leaves it to the timer, or lets it gather.
func (s *UDPSession) writtenLocked(small bool) {
	now := clock()
	if s.writeDelay && s.core.WaitSnd() < s.core.sendLimit() {
		s.flushBy, s.core.corked = min(s.flushBy, now+s.core.interval), true
		s.scheduleLocked(math.MinInt64)
		return
	}
	if small && s.gathersLocked() && s.core.snd.queued() < s.gsoSegments && s.core.WaitSnd() < s.core.sendLimit() {
		s.core.corked = true
		return
	}
	s.driveLocked(now, true)
}

// gatherTrip is the round trip below which an acknowledgement is worth waiting for.
const gatherMaxRTT = int64(time.Millisecond)

// smallLocked says whether a write does not fill a message of segments.
func (s *UDPSession) smallLocked(v [][]byte) bool {
	size := 0
	for _, b := range v {
		size += len(b)
	}
	return size < s.gsoSegments*s.core.mss
}

// gathersLocked says whether small writes wait until they fill a message of segments, or for an
// acknowledgement: while as much is in flight, on a path so short that one comes in an instant.
// They would wait behind that anyway, and small messages cost the kernel as much as large ones
// (after Linux's tcp_autocorking).
func (s *UDPSession) gathersLocked() bool {
	return s.gsoSegments > 0 && s.core.snd.inFlight.n >= s.gsoSegments &&
		s.core.rtt.srtt > 0 && s.core.rtt.srtt < gatherMaxRTT && atomic.LoadUint32(&s.to.plain) == 0
}

// batchLocked returns how many segments of a write to queue before they are sent.
func (s *UDPSession) batchLocked(small bool) int {
	if !small || !s.gathersLocked() {
		return math.MaxInt
	}
	return s.gsoSegments - s.core.snd.queued()%s.gsoSegments
}

// uncorkLocked ends the wait of what gathers, unless a Write is sending, which likely is followed
// by another.
func (s *UDPSession) uncorkLocked() {
	if s.core.corked && s.flushBy == never {
		s.core.corked = s.sending && s.gathersLocked()
	}
}

// writeErrLocked returns why nothing can be written.
func (s *UDPSession) writeErrLocked() error {
	switch {
	case s.closing.closed:
		return errClosed
	case s.writeBy != never && clock() >= s.writeBy:
		return errDeadline
	case s.err == nil && s.closing.mute:
		return syscall.EPIPE
	}
	return s.err
}

// lowWaterLocked is the number of unacknowledged segments at which a waiting Write
// goes on: low enough that it finds room for more than a few.
func (s *UDPSession) lowWaterLocked() int {
	limit := s.core.sendLimit()
	return limit - max(1, limit/4)
}
