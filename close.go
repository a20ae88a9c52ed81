package kcp

import (
	"math"
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// This file is the way out of a session:
//
//	open ─Close─▶ delivering ─all acknowledged─▶ ended ─drained─▶ gone
//	  │                │ linger time over, or broken ▲
//	  └──── Close with linger 0: reset ──────────────┘
//
// A session that delivers still has its core: what was written goes out, then the FIN. One that
// has ended holds a few bytes, which answer stragglers: its listener has them, for a minute or
// two, and a session with a socket of its own keeps that open until the peer must have heard
// of the end, at most for the rest of the linger time.

// closingBackoff is the longest a closed session waits before it sends again: the time it has
// left is short.
const closingBackoff = int64(time.Second)

// closing is how far a session is on its way out. The session's lock guards it.
type closing struct {
	closed bool // Close was called
	mute   bool // nothing is written any more: CloseWrite was called, or Close
	deaf   bool // nothing is read any more: CloseRead was called, or Close
	fin    bool // our FIN is queued, or beyond
	last   bool // it acknowledges the peer's
	forgot bool // data came after Close, or was not read before

	knock          bool  // a dialler waits for a sign of the peer
	askAt, askNext int64 // when to ask what the peer can do, never for not at all; askNext survives
	asks           int

	linger      time.Duration // 0 to reset, negative for Close to wait
	lingerUntil int64         // when a closed session gives up

	ended   bool     // nothing of the core is left
	late    timeWait // answers what comes afterwards
	leaveAt int64
	gone    bool // leave was called
}

// SetLinger sets what Close does with data that is not acknowledged yet, as net.TCPConn's. sec
// above 0 is how many seconds it is delivered in the background (by default 5); then the
// session is reset. 0 discards it and resets the session at once; a socket of its own is closed
// when Close returns. Negative makes Close itself wait, until all has been acknowledged or the
// session fails.
func (s *UDPSession) SetLinger(sec int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.closed {
		return s.opError("set", errClosed)
	}
	s.closing.linger = time.Duration(min(int64(sec), math.MaxInt64/int64(time.Second))) * time.Second
	if sec < 0 {
		s.closing.linger = -1
	}
	return nil
}

// Close ends the session. Reads and writes, blocked ones too, fail with net.ErrClosed from now
// on, and what the peer sends is thrown away. What was written before is still delivered, in
// the background, for up to the linger time (see SetLinger), and then the end of the stream:
// the peer's Read returns io.EOF. Data of the peer's that nobody has read, or that comes later,
// is answered with a reset: its Write fails with syscall.ECONNRESET. A peer without these
// extensions of the protocol is told nothing, and delivering is all that happens. The socket, if
// it belongs to the session, is closed when the peer has closed too or the linger time is over.
// A second Close returns net.ErrClosed.
func (s *UDPSession) Close() error {
	s.mu.Lock()
	c := &s.closing
	if c.closed {
		s.mu.Unlock()
		return s.opError("close", errClosed)
	}
	now := clock()
	c.closed, c.mute, c.deaf = true, true, true
	s.readBy, s.writeBy = never, never
	s.core.rtt.maxRTO = closingBackoff
	s.cfg.snmp.closed()
	s.readable.Broadcast()
	s.writable.Broadcast()
	wait := !s.handing.Load() // else this is the reader's goroutine
	block := c.linger < 0 && wait
	switch {
	case c.linger == 0:
		c.lingerUntil = later(now, int64(lingerTime)) // for a sender that is stuck
		s.endLocked(now)
	case c.linger < 0:
		c.lingerUntil = never
		s.driveLocked(now, true)
	default:
		c.lingerUntil = later(now, int64(c.linger))
		s.driveLocked(now, true)
	}
	s.unlockAndSend(wait)
	if block {
		return s.opError("close", s.awaitEnd())
	}
	return nil
}

// awaitEnd waits until a closed session has delivered what was written, or failed.
func (s *UDPSession) awaitEnd() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closing.ended {
		s.waitLocked(&s.writable, &s.writers)
	}
	return s.err
}

// CloseWrite ends the stream to the peer, which is told behind what was written before: its Read
// returns io.EOF then. Reads here go on; writes fail with syscall.EPIPE. A peer without this
// extension of the protocol is not told.
func (s *UDPSession) CloseWrite() error {
	return s.shut(&s.closing.mute)
}

// CloseRead ends reading: Read returns io.EOF, and what has come or comes is thrown away, so
// that the peer's writes go on. The peer is not told.
func (s *UDPSession) CloseRead() error {
	return s.shut(&s.closing.deaf)
}

// shut sets one of mute and deaf.
func (s *UDPSession) shut(half *bool) error {
	s.mu.Lock()
	if err := s.err; s.closing.closed || err != nil {
		if s.closing.closed {
			err = errClosed
		}
		s.mu.Unlock()
		return s.opError("close", err)
	}
	if !*half {
		*half = true
		s.readable.Broadcast()
		s.writable.Broadcast()
		s.driveLocked(clock(), true)
	}
	s.unlockAndSend(!s.handing.Load())
	return nil
}

// finishLocked queues the FIN of a stream that was ended, once the peer is known to take it.
func (s *UDPSession) finishLocked(now int64) {
	c := &s.closing
	c.askAt = never
	switch {
	case c.knock && !s.core.met:
		s.probeCapsLocked(now)
	case !c.mute || c.fin:
	case s.core.peerTakesFIN():
		c.fin, c.last = true, s.core.rcv.fin
		s.core.sendFIN()
		s.core.corked = false
	case s.mustProbeCapsLocked():
		s.probeCapsLocked(now)
	}
}

// askLocked sends a window probe, whose answer bears the mark if the peer has any, and sends it
// again as lost data is.
func (s *UDPSession) probeCapsLocked(now int64) {
	c := &s.closing
	if now >= c.askNext {
		s.core.ask = true
		c.askNext = now + s.core.rtt.backoff(uint8(min(c.asks, backoffLevels-1)))
		c.asks++
	}
	c.askAt = c.askNext
}

// asksLocked says whether a window probe has to find out what the peer can do: it has sent
// data, and the mark that went with it was lost, or it has none.
func (s *UDPSession) mustProbeCapsLocked() bool {
	k := s.core
	return k.caps != 0 && k.heard && !k.met && k.WaitSnd() == 0
}

// doneLocked says whether a closed session has done what it can.
func (s *UDPSession) doneLocked(now int64) bool {
	switch {
	case s.err != nil || now >= s.closing.lingerUntil:
		return true
	case s.core.WaitSnd() > 0:
		return false
	}
	return s.closing.fin || !s.mustProbeCapsLocked()
}

// endLocked releases what the session holds, but for what answers stragglers.
func (s *UDPSession) endLocked(now int64) {
	c, k := &s.closing, s.core
	if c.lingerUntil == never {
		c.lingerUntil = later(now, int64(lingerTime))
	}
	k.writeAcks()
	k.endDatagram()
	reset := s.resetsLocked()
	if reset {
		k.writeReset()
	}
	c.ended = true
	c.late = timeWait{una: k.rcv.una(), caps: k.caps, peer: k.peer, fin: k.rcv.fin, reset: reset, confirmed: k.snd.una != 0}
	c.leaveAt = s.drainLocked(now)
	s.writable.Broadcast()
	s.task.disarm()
	if s.sending {
		s.task.arm(c.lingerUntil)
	}
	if c.leaveAt > now {
		s.task.arm(c.leaveAt)
	}
	k.release()
	if s.enc != nil {
		s.enc.skip()
	}
	if s.dec != nil {
		s.dec.release()
	}
	s.pool.trim()
}

// resetsLocked says whether the end of the session is a reset: something was not delivered, or
// came and was not read.
func (s *UDPSession) resetsLocked() bool {
	c, k := &s.closing, s.core
	if !k.peerTakesFIN() || s.err != nil && !errors.Is(s.err, syscall.ETIMEDOUT) {
		return false
	}
	unread := c.forgot || k.rcv.held > 0
	return !c.fin || k.WaitSnd() > 0 || !k.rcv.fin && unread
}

// drainLocked returns until when an ended session's socket has to answer stragglers.
func (s *UDPSession) drainLocked(now int64) int64 {
	c, k := &s.closing, s.core
	switch {
	case c.linger == 0, s.err != nil, !k.peerTakesFIN():
		return now
	case s.listener != nil && !s.listener.shut.Load(): // which does it
		return now
	case !s.sock.owned: // its owner waits for it
		return now
	case c.last && !c.late.reset: // the peer has acknowledged that we know all it had to say
		return now
	case k.rcv.fin && !c.late.reset:
		return s.drainedLocked(now)
	}
	return c.lingerUntil
}

// drainedLocked returns when a peer that has not heard our acknowledgement of its FIN will have
// sent that again: three retransmission timeouts, as in QUIC (RFC 9000, section 10.2), but not
// less than closingBackoff, as the peer's may be much longer than ours.
func (s *UDPSession) drainedLocked(now int64) int64 {
	return min(now+max(3*s.core.rtt.rto, closingBackoff), s.closing.lingerUntil)
}

// answerLocked answers what comes for a session that has ended.
func (s *UDPSession) replyLocked(payload []byte) {
	c := &s.closing
	if c.gone {
		return
	}
	finished := c.late.fin
	p := c.late.reply(s.cfg, s.core.conv, payload)
	if p == nil {
		return
	}
	s.enqueueLocked(s.datagram(p))
	if c.late.fin && !finished {
		c.leaveAt = min(c.leaveAt, s.drainedLocked(clock()))
		s.task.arm(c.leaveAt)
	}
}

// leavesLocked says, once, that an ended session is to leave. One that is stuck in the
// PacketConn's WriteTo is waited for, but not for ever.
func (s *UDPSession) leavesLocked(now int64) bool {
	c := &s.closing
	if c.gone || now < c.leaveAt || s.sending && now < c.lingerUntil {
		return false
	}
	c.gone = true
	return true
}

// leave takes an ended session away from whatever fed it.
func (s *UDPSession) leave(wait bool) {
	s.task.disarm()
	if s.listener != nil {
		s.listener.remove(s, wait)
	} else {
		s.sock.close(wait)
	}
}
