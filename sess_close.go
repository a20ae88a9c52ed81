package kcp

// Close ends the session. Reads and writes, blocked ones too, fail with net.ErrClosed from now on,
// and what the peer sends is thrown away. What was written before is still delivered, in the
// background, for up to the linger time (see SetLinger), and then the end of the stream: the
// peer's Read returns io.EOF. While more is left than the send window holds, which a large Write has
// queued, the linger time starts again with each 64 segments that the peer has acknowledged. Data of
// the peer's that nobody has read, or that comes later, is answered with a reset: its Write fails
// with syscall.ECONNRESET. A peer without these extensions of the protocol is told nothing, and
// delivering is all that happens. The socket, if it belongs to the session, is closed when the peer
// has closed, too, or the linger time is over; Done tells when. A PacketConn of the caller's is left a
// second or three RTOs after everything was delivered, at once if Close itself waits for that, and then
// not answered from any more. A second Close returns net.ErrClosed.
func (s *UDPSession) Close() error {
	s.mu.Lock()
	c := &s.closing
	if c.state != stateOpen {
		s.mu.Unlock()
		return s.opError("close", errClosed)
	}
	now := clock()
	s.closeLocked()
	switch {
	case c.linger == 0:
		s.abortLocked(now)
	case c.linger < 0:
		c.lingerUntil = never
		s.driveLocked(now, true)
	default:
		c.lingerUntil, c.lingerFor = later(now, int64(c.linger)), s.core.WaitSnd()
		s.driveLocked(now, true)
	}
	linger := c.linger
	s.unlockAndSend(true)
	var err error
	switch {
	case linger == 0:
		s.awaitLeave()
	case linger < 0:
		err = s.awaitEnd()
	}
	s.awaitReader()
	return s.opError("close", err)
}

// Abort ends the session at once, also one that was closed and is still delivering or answering its
// peer: what was not delivered is discarded, and the peer told with a reset, unless it has not been
// heard yet. A socket of its own is closed when Abort returns, and a Close that waits returns
// net.ErrClosed. It returns net.ErrClosed if nothing of the session was left.
func (s *UDPSession) Abort() error {
	if !s.endNow() {
		return s.opError("close", errClosed)
	}
	s.awaitLeave()
	s.awaitReader()
	return nil
}

// endNow is Abort that does not wait. It says whether anything of the session was left.
func (s *UDPSession) endNow() bool {
	s.mu.Lock()
	now := clock()
	switch s.closing.state {
	case stateOpen:
		s.closeLocked()
		s.abortLocked(now)
	case stateClosing:
		s.failLocked(errClosed)
		s.abortLocked(now)
	case stateDraining:
		s.closing.leaveAt, s.closing.lingerUntil = now, later(now, int64(readerExit))
	case stateClosed:
		s.mu.Unlock()
		return false
	}
	s.unlockAndSend(true)
	return true
}

// closeLocked ends reading and writing.
func (s *UDPSession) closeLocked() {
	c := &s.closing
	c.state, c.writeClosed, c.readClosed = stateClosing, true, true
	if c.cause = s.err; s.err == nil {
		c.cause = errClosed
		s.traceClosedLocked(nil)
	}
	s.readable.deadline, s.writable.deadline = never, never
	s.core.setClosing(closingMaxRTO)
	s.cfg.snmp.closed()
	s.wakeAllLocked()
}

// abortLocked ends a closed session without delivering anything more.
func (s *UDPSession) abortLocked(now int64) {
	s.closing.linger = 0
	s.closing.lingerUntil = later(now, int64(readerExit)) // for a socket that takes nothing
	s.endLocked(now)
}

// awaitEnd waits until a closed session has delivered what was written, or failed.
func (s *UDPSession) awaitEnd() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.closing.state == stateClosing {
		s.waitLocked(&s.writable)
	}
	return s.err
}

// awaitLeave waits until a session that was aborted has left its socket: somebody may be sending.
func (s *UDPSession) awaitLeave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closing.left {
		s.writable.waiting++
		s.writable.cond.Wait()
		s.writable.waiting--
	}
}

// awaitReader waits for the reader of a session that leaves a socket of the caller's.
func (s *UDPSession) awaitReader() {
	if s.owner != nil || s.path().sock.owned {
		return
	}
	s.mu.Lock()
	leaves := s.closing.state == stateClosed
	s.mu.Unlock()
	if leaves {
		s.awaitLeave()
		s.path().sock.awaitReader()
	}
}

// CloseWrite ends the stream to the peer, which is told after what was written before: its Read
// returns io.EOF then. Reads here go on; writes fail with syscall.EPIPE. A peer without this
// extension of the protocol is not told.
func (s *UDPSession) CloseWrite() error { return s.closeHalf(&s.closing.writeClosed) }

// CloseRead ends reading: Read and ReceiveDatagram return io.EOF, and what has arrived or arrives later
// is thrown away, so that the peer's writes go on. The peer is not told.
func (s *UDPSession) CloseRead() error { return s.closeHalf(&s.closing.readClosed) }

// closeHalf sets one of writeClosed and readClosed.
func (s *UDPSession) closeHalf(half *bool) error {
	s.mu.Lock()
	err := s.err
	if s.closing.state != stateOpen {
		err = errClosed
	}
	if err != nil {
		s.mu.Unlock()
		return s.opError("close", err)
	}
	if !*half {
		*half = true
		s.wakeAllLocked()
		s.driveLocked(clock(), true)
	}
	s.unlockAndSend(true)
	return nil
}

// Done returns a channel that is closed when the session is over: it was closed, what was written
// has been delivered or given up, and a PacketConn of the caller's is the caller's again. It says
// nothing of a session that has only failed; that has to be closed, too.
func (s *UDPSession) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		s.signalDoneLocked()
	}
	return s.done
}

// Cause returns why the session has failed, net.ErrClosed if it was closed before it failed, and
// nil while it works.
func (s *UDPSession) Cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.state != stateOpen {
		return s.closing.cause
	}
	return s.err
}
