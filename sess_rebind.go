package kcp

import (
	"net"
	"time"
)

// How a dialled session changes its socket, by itself when that is of no use any more, or as Rebind says. It is
// for sealed sessions: their peers know them by other addresses, too.

// formerLife is how long a socket is read after another has taken its place.
const formerLife = int64(10 * time.Second)

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
