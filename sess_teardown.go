package kcp

import (
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// closingMaxRTO is the longest RTO of a closed session: the time it has left is short.
const closingMaxRTO = int64(time.Second)

// lingerSegments is how many segments of what lies beyond the send window have to be acknowledged
// within the linger time for that to start again: 88 KB of full ones.
const lingerSegments = 64

// lingerOnLocked starts the linger time again, once half of it has passed, while the peer takes what a
// large Write has queued beyond the send window, or beyond the window that a session begins with, as
// one that follows the path may have grown. So what is left then has the whole linger time, as if
// Write had waited for it.
//
// A Close that waits does so for closeTimeout more once the peer has closed, too, and has
// everything but our FIN: it may have left, and nothing would be delivered by waiting.
func (s *UDPSession) lingerOnLocked(now int64) {
	c := &s.closing
	left := s.core.WaitSnd()
	if c.lingerUntil == never && c.finSent && left == 1 && s.core.finReceived() {
		c.lingerUntil = later(now, int64(closeTimeout))
	}
	half := now >= c.lingerUntil-int64(c.linger)/2
	if c.linger > 0 && half && c.lingerFor > min(s.core.sendLimit(), autoWindow) && c.lingerFor-left >= lingerSegments {
		c.lingerUntil, c.lingerFor = later(now, int64(c.linger)), left
	}
}

// endStreamLocked queues the FIN of a stream that was ended, once the peer is known to take it.
func (s *UDPSession) endStreamLocked(now int64) {
	c, p := &s.closing, &s.capsProbe
	p.at = never
	s.core.holdRepeats(!s.mayRepeatLocked())
	switch {
	case p.dialling && !s.peerReadyLocked(), s.awaitsSealLocked():
		s.probeCapsLocked(now)
	case !c.writeClosed || c.finSent:
	case s.core.peerTakesFIN():
		c.finSent, c.finAcksPeer = true, s.core.finReceived()
		s.core.sendFIN()
	case s.core.capsUnknown():
		s.probeCapsLocked(now)
	}
}

// doneLocked says whether a closing session has done what it can.
func (s *UDPSession) doneLocked(now int64) bool {
	switch {
	case s.err != nil || now >= s.closing.lingerUntil:
		return true
	case s.core.WaitSnd() > 0:
		return false
	}
	return s.closing.finSent || !s.core.capsUnknown()
}

// endLocked makes the session draining: it releases everything but what answers stragglers.
func (s *UDPSession) endLocked(now int64) {
	c := &s.closing
	if c.lingerUntil == never {
		c.lingerUntil = later(now, int64(closeTimeout))
	}
	reset := s.resetsLocked()
	s.core.writeClosing(now, reset && s.mayResetLocked())
	c.state = stateDraining
	c.timeWait = s.core.closingTimeWait(reset)
	c.leaveAt = s.drainUntilLocked(now)
	if reset { // it goes out, if the socket takes it
		c.lingerUntil = max(c.lingerUntil, later(now, int64(readerExit)))
	}
	s.wakeLocked(&s.writable)
	if s.next != nil {
		s.next.due = true
	}
	s.task.disarm()
	if c.leaveAt > now {
		s.task.arm(c.leaveAt)
	}
	s.core.release()
	if s.seal != nil {
		s.seal.end()
	}
	s.oob.discard()
	if s.enc != nil {
		s.enc.skipParity()
	}
	if s.dec != nil {
		s.dec.release()
	}
	s.foldLocked()
	s.noteLimitLocked(now)
	s.pool.trim()
}

// resetsLocked says whether the session ends with a reset: something was not delivered, or arrived
// and was not read.
func (s *UDPSession) resetsLocked() bool {
	c, k := &s.closing, s.core
	if !k.peerTakesFIN() || s.err != nil && s.err != errClosed && !errors.Is(s.err, syscall.ETIMEDOUT) {
		return false
	}
	unread := c.discarded || k.unread() > 0
	return !c.finSent || k.WaitSnd() > 0 || !k.finReceived() && unread
}

// drainUntilLocked returns until when the socket of a session that has ended has to answer
// stragglers.
func (s *UDPSession) drainUntilLocked(now int64) int64 {
	c := &s.closing
	switch {
	case c.linger == 0, s.err != nil, !s.core.peerTakesFIN():
		return now
	case s.owner != nil && s.owner.answersStragglers():
		return now
	case c.finAcksPeer && !c.timeWait.reset: // the peer has acknowledged that it was heard to the end
		return now
	case !s.path().sock.owned && c.linger < 0: // its owner waits for it
		return now
	case !s.path().sock.owned, s.core.finReceived() && !c.timeWait.reset:
		return s.finRepeatsUntilLocked(now)
	}
	return c.lingerUntil
}

// finRepeatsUntilLocked returns when a peer that has not heard our acknowledgement of its FIN will
// have repeated that: three RTOs, as in QUIC (RFC 9000, section 10.2:
// https://www.rfc-editor.org/rfc/rfc9000#section-10.2), but at least closingMaxRTO, as the peer's
// may be much longer than ours.
func (s *UDPSession) finRepeatsUntilLocked(now int64) int64 {
	rto := s.core.rtts().rto
	return min(now+max(3*rto, closingMaxRTO), s.closing.lingerUntil)
}

// replyLocked answers what arrives for a session that is draining.
func (s *UDPSession) replyLocked(now int64, contents *contents) {
	c := &s.closing
	if c.state == stateClosed || s.tx.crowded() || !c.timeWait.isOf(contents) {
		return
	}
	finished := c.timeWait.fin
	p := c.timeWait.reply(s.cfg, s.conv, contents)
	if p == nil {
		return
	}
	s.enqueueLocked(outbound{p.data, p, &s.path().destination, s.tx.keys})
	if c.timeWait.fin && !finished {
		c.leaveAt = min(c.leaveAt, s.finRepeatsUntilLocked(now))
		s.task.arm(c.leaveAt)
	}
}

// leavesLocked makes a draining session closed, once, when it is time: then it returns true. What
// is still to be sent is waited for, but not for ever.
func (s *UDPSession) leavesLocked(now int64) bool {
	c := &s.closing
	switch {
	case c.state != stateDraining || now < c.leaveAt:
		return false
	case (s.tx.busy || s.tx.pending()) && now < c.lingerUntil:
		s.task.arm(c.lingerUntil)
		return false
	}
	c.state = stateClosed
	s.wakeLocked(&s.writable)
	return true
}

// leave takes a closed session away from whatever fed it.
func (s *UDPSession) leave() {
	s.task.retire()
	if s.owner != nil {
		s.owner.remove(s)
	} else {
		process.removeSession(s)
		s.path().sock.close()
	}
	s.mu.Lock()
	s.endFormerLocked()
	s.closing.left = true
	s.traceEndLocked()
	s.wakeLocked(&s.writable)
	s.signalDoneLocked()
	s.mu.Unlock()
}

// overLocked says whether nothing of the session goes on.
func (s *UDPSession) overLocked() bool {
	return s.closing.left && !s.tx.busy && s.readers == 0
}

func (s *UDPSession) signalDoneLocked() {
	if s.done != nil && s.overLocked() {
		select {
		case <-s.done:
		default:
			close(s.done)
		}
	}
}
