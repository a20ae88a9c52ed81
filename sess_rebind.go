package kcp

import (
	"net"
	"time"
)

// What a dialled session does by itself when it hears nothing, or its socket is of no use any more, and
// how it changes its socket. It is for sealed sessions: their peers know them by other addresses, too.

const (
	// silenceTimeouts is after how many timeouts nothing is heard that is owed, at least silenceMin.
	silenceTimeouts = 3
	silenceMin      = int64(time.Second)
	// readAskMax is the longest time between two questions of a waiting Read. With an answer they end when
	// they are that far apart, as there is nothing to be read.
	readAskMax = int64(time.Minute)
	// formerLife is how long a socket is read after another has taken its place.
	formerLife = int64(10 * time.Second)
)

// driveSilenceLocked does what is due when nothing is heard.
func (s *UDPSession) driveSilenceLocked(now int64) {
	if now >= s.askKnownAtLocked() {
		s.askKnownLocked(now)
	}
	if now >= s.readAskAtLocked() {
		s.askReadLocked(now)
	}
	if now >= s.takeSocketAtLocked() {
		s.takeSocketLocked(now)
	}
}

// silenceLocked is how long nothing is heard that is owed.
func (s *UDPSession) silenceLocked() int64 {
	return max(silenceTimeouts*s.core.rtts().rto, silenceMin)
}

// owedSinceLocked is since when the peer owes an answer and nothing was heard, never for not at all.
func (s *UDPSession) owedSinceLocked() int64 {
	since := s.core.askedSince()
	if s.keepalive.awaitingReply && s.core.awaitsAck() {
		since = min(since, s.keepalive.awaitingSince)
	}
	return max(since, s.core.heardAt())
}

// roamsLocked says whether a dialled session does something about its path by itself.
func (s *UDPSession) roamsLocked() bool {
	z := s.seal
	return s.cfg.roam && z != nil && z.dial != nil && z.phase >= sealWelcomed && s.err == nil &&
		s.closing.state < stateDraining
}

// readAskAtLocked is when to ask, as somebody waits for data and nothing comes: the peer may be sending, to
// where nobody is any more.
func (s *UDPSession) readAskAtLocked() int64 {
	z, heard := s.seal, s.core.heardAt()
	if !s.roamsLocked() || z.phase != sealProven || !s.dataAwaitedLocked() || s.core.awaitsAck() {
		return never
	}
	wait := s.silenceLocked()
	if z.readAskAt == 0 || s.core.arrivals() != z.readMark {
		return later(heard, wait)
	}
	wait <<= min(z.readAsks, 16)
	switch {
	case heard <= z.readAskAt:
		return later(z.readAskAt, min(wait, readAskMax))
	case wait > readAskMax:
		return never
	}
	return later(heard, wait)
}

// dataAwaitedLocked says whether somebody waits for data.
func (s *UDPSession) dataAwaitedLocked() bool {
	return s.readable.waiting > 0 || s.readable.notify.armed || s.dgramsIn != nil && s.dgramsIn.waiting > 0
}

// askReadLocked asks for a sign of life.
func (s *UDPSession) askReadLocked(now int64) {
	z := s.seal
	if mark := s.core.arrivals(); mark != z.readMark {
		z.readMark, z.readAsks = mark, 0
	}
	z.readAsks = min(z.readAsks+1, 16)
	z.readAskAt = now
	s.core.probeWindow()
}

// takeSocketAtLocked is when the session takes another socket, as its own seems to lead nowhere: in time for
// data to flow again within the time of silence.
func (s *UDPSession) takeSocketAtLocked() int64 {
	if !s.roamsLocked() || s.path().sock.again == nil || s.roam != nil && s.roam.taking {
		return never
	}
	rtts := s.core.rtts()
	at := later(s.owedSinceLocked(), max(silenceTimeouts*rtts.rto, silenceMin-2*rtts.srtt))
	if s.roam != nil {
		at = max(at, s.roam.takeAgainAt)
	}
	return at
}

// socketGoneLocked takes another socket for one that cannot send any more.
func (s *UDPSession) socketGoneLocked() {
	now := clock()
	if r := s.roam; s.roamsLocked() && s.path().sock.again != nil && (r == nil || !r.taking && now >= r.takeAgainAt) {
		s.takeSocketLocked(now)
	}
}

// takeSocketLocked opens another socket and changes over to it, without the lock. It may do so again after
// twice the time of silence, and twice as long each time that nothing was heard.
func (s *UDPSession) takeSocketLocked(now int64) {
	r, again := s.roamingLocked(), s.path().sock.again
	if wait := 2 * s.silenceLocked(); r.takeWait == 0 || s.core.heardAt() > r.takenAt {
		r.takeWait = wait
	} else {
		r.takeWait = min(2*r.takeWait, readAskMax)
	}
	r.taking, r.takenAt, r.takeAgainAt = true, now, later(now, r.takeWait)
	go func() {
		sock, err := again()
		if err == nil {
			err = s.changeSocket(sock)
		}
		s.mu.Lock()
		if r.taking = false; err != nil { // there may be a network soon
			r.takeAgainAt = min(r.takeAgainAt, later(clock(), silenceMin))
		}
		s.driveLocked(clock(), false)
		s.unlockAndSend(false)
	}()
}

// Rebind makes conn the session's PacketConn, in the place of the one that it has: for a program that knows
// that the network is another one, or has more than one. What was written goes on, by conn and to the same
// address; the peer follows within a round trip. The former PacketConn is read for some seconds more, and
// may be closed by the program, if it is its own, at any time. conn belongs to whom that belonged to: it is
// closed with the session, or stays the caller's.
//
// A session that the package has opened a socket for, by Dial and the like, takes another one by itself
// (see Settings.Roam). Rebind needs a session that was dialled, not over a Transport, and is sealed
// (Stats.Sealed), or returns an errors.ErrUnsupported. After an error conn is still the caller's.
func (s *UDPSession) Rebind(conn net.PacketConn) error {
	if isNil(conn) {
		return errNoConn
	}
	if s.owner != nil || s.seal == nil {
		return errNoRebind
	}
	if s.keepsConn(conn) {
		return nil
	}
	p := s.path()
	sock := newSocket(conn, p.sock.owned)
	sock.longest = p.sock.longest
	if !isNil(p.netAddr()) {
		if err := sock.checkReach(p.netAddr()); err != nil {
			sock.giveBack()
			return err
		}
	}
	sock.again = p.sock.again
	return s.changeSocket(sock)
}

// keepsConn keeps to conn, if that is the session's already, or returns to it, if the session has just left it;
// otherwise it says false.
func (s *UDPSession) keepsConn(conn net.PacketConn) bool {
	s.mu.Lock()
	defer s.unlockAndSend(false)
	if same(conn, s.path().sock.conn) {
		return true
	}
	r := s.roam
	if r == nil || r.former == nil || !same(conn, r.former.sock.conn) || r.former.sock.ended.Load() {
		return false
	}
	s.changePathLocked(r.former)
	return true
}

// changePathLocked sends by another socket from now on, and has the one before read for a while.
func (s *UDPSession) changePathLocked(to *path) {
	now, r := clock(), s.roamingLocked()
	r.former, r.formerUntil = s.path(), later(now, formerLife)
	s.movePathLocked(now, to)
	s.core.probeWindow() // so that the peer hears of it
	s.driveLocked(now, true)
}

// changeSocket makes sock the session's. After an error sock is closed, if the package has opened it.
func (s *UDPSession) changeSocket(sock *socket) (err error) {
	s.mu.Lock()
	switch {
	case s.closing.state != stateOpen && s.closing.state != stateClosing:
		err = s.opError("set", errClosed)
	case s.err != nil:
		err = s.opError("set", s.err)
	case s.seal.phase < sealWelcomed:
		err = errNoRebind
	}
	if err != nil {
		s.mu.Unlock()
		sock.giveBack()
		return err
	}
	from := s.path()
	to := &path{sock, sock.destination(from.peerAddr, from.addr)}
	s.readers++
	s.mu.Unlock()
	sock.start(s.newReader(to)) // before anything is sent by it
	s.mu.Lock()
	if s.closing.state >= stateDraining {
		s.mu.Unlock()
		sock.giveBack()
		return s.opError("set", errClosed)
	}
	s.endFormerLocked()
	s.changePathLocked(to)
	s.unlockAndSend(false)
	if sock.ended.Load() { // its reader may have failed when it was not the session's yet
		s.abort(brokenError{net.ErrClosed})
	}
	return nil
}

// endFormerLocked ends the reading of the socket that the session had before.
func (s *UDPSession) endFormerLocked() {
	r := s.roam
	if r == nil || r.former == nil {
		return
	}
	sock := r.former.sock
	if r.former = nil; sock.opened {
		sock.close()
	} else { // a PacketConn of the caller's may take its time
		go sock.close()
	}
}

// wake is for a session whose machine has slept, or had its clock set: a NAT may have forgotten it, and
// timers were set by a path that was there before.
func (s *UDPSession) wake() {
	s.mu.Lock()
	if !s.roamsLocked() {
		s.mu.Unlock()
		return
	}
	now, z := clock(), s.seal
	z.readAskAt, z.readAsks, z.asked, z.askAt = 0, 0, 0, 0
	if r := s.roam; r != nil {
		r.takeAgainAt, r.takeWait = now, 0
	}
	s.core.resetRTO(now)
	s.core.probeWindow()
	s.driveLocked(now, true)
	s.unlockAndSend(false)
}
