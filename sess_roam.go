package kcp

import (
	"time"
)

const (
	// pathsLeft is how many left paths are remembered: Wi-Fi, cellular, and what comes between.
	pathsLeft = 4
	// pathMemory is how long round trip and congestion of an address are likely as they were.
	pathMemory = int64(time.Minute)
)

// roaming returns s.roam, which it makes.
func (s *UDPSession) roamingLocked() *roaming {
	if s.roam == nil {
		s.roam = new(roaming)
	}
	return s.roam
}

// noteSourceLocked takes note of where a sealed datagram has come from, and through which of the owner's
// sockets. Only the newest tells where the peer is: others were overtaken, or are somebody's copies.
func (s *UDPSession) noteSourceLocked(now int64, d *inbound, sock *socket) {
	z := s.seal
	if d.unopened || d.number < z.next { // what has not opened is anybody's
		return
	}
	z.next = d.number + 1
	p := s.path()
	switch {
	case d.from != p.peerAddr:
		if s.cfg.roam && s.closing.state < stateDraining {
			s.noteAddressLocked(now, d, sock)
		}
	case sock != p.sock: // the kernel deals them to another of those that share the address
		s.usePathLocked(&path{sock, p.destination})
	}
}

// noteAddressLocked takes note of another address that the newest datagram has come from.
func (s *UDPSession) noteAddressLocked(now int64, d *inbound, sock *socket) {
	r := s.roamingLocked()
	if now < r.refusedUntil && d.from == r.refused {
		return
	}
	v := &r.check
	if !v.active || v.moved || v.new.path.peerAddr != d.from {
		size := s.cfg.env.head + IKCP_OVERHEAD + pathSize + s.behind()
		v.begin(now, s.core.rtts().rto, s.path(), &path{sock, sock.destination(d.from, d.addr)}, size)
	}
	v.came += len(d.data) + s.cfg.env.head + s.behind()
}

// deadline is when driveRoamingLocked has something to do, never for nothing.
func (r *roaming) deadline() int64 {
	at := r.check.deadline()
	if r.former != nil {
		at = min(at, r.formerUntil)
	}
	return at
}

// driveRoamingLocked asks what is to be asked about the path.
func (s *UDPSession) driveRoamingLocked(now int64) {
	if r := s.roam; r.former != nil && now >= r.formerUntil {
		s.endFormerLocked()
	}
	v := &s.roam.check
	v.settle(now)
	rto := s.core.rtts().rto
	for !s.tx.crowded() {
		c := v.due(now, rto)
		if c == nil {
			return
		}
		p := packets.get()
		p.data = s.core.pathQuestion(p.mem[:s.cfg.env.head], c.value)
		s.total.OutPkts++
		s.total.OutBytes += uint64(len(p.data) + s.behind())
		s.tx.enqueue(outbound{p.data, p, &c.path.destination, s.tx.keys}, 0)
	}
}

// pathEchoesLocked takes the values that the peer has echoed from an address.
func (s *UDPSession) pathEchoesLocked(now int64, from peerAddr) {
	r := s.roam
	for _, value := range s.core.pathEchoes() {
		to := r.check.new.path
		switch r.check.echoed(value, from) {
		case pathMoves:
			s.movePathLocked(now, to)
		case pathReturns:
			s.movePathLocked(now, r.check.old.path)
			fallthrough
		case pathStays:
			r.refused, r.refusedUntil = to.peerAddr, now+pathPatience(s.core.rtts().rto)
		}
	}
}

// movePathLocked makes another path the session's.
func (s *UDPSession) movePathLocked(now int64, to *path) {
	r, from := s.roamingLocked(), s.path()
	if r.changes++; !r.moved && s.owner != nil && from.peerAddr != to.peerAddr {
		r.from, r.moved = from.peerAddr, true
	}
	s.usePathLocked(to)
	s.core.pathChanged(now, r.keeps(now, s.pathName(from), s.pathName(to)))
	s.pathChangedLocked(now)
	if s.core.trace != nil {
		s.traceLocked(now, EventPath, func(e *Event) { e.Addr = to.netAddr() })
	}
	s.tellPathLocked(PathChange{to.sock.localAddr(), to.netAddr(), from.sock.localAddr(), from.netAddr()})
}

// pathName is what tells networks apart: the peer's address, or, where this end moves, its own.
func (s *UDPSession) pathName(p *path) peerAddr {
	if s.owner != nil {
		return p.anyPort()
	}
	return peerAddrOf(p.sock.localAddr()).anyPort()
}

// keeps says whether round trip and congestion are likely the same as before: only the port is another, or
// the address was in use lately.
func (r *roaming) keeps(now int64, from, to peerAddr) (keep bool) {
	keep = from == to
	for _, l := range r.left {
		keep = keep || l.addr == to && now-l.at < pathMemory
	}
	n := 0
	for n < pathsLeft-1 && r.left[n].addr != from {
		n++
	}
	copy(r.left[1:n+1], r.left[:n])
	r.left[0] = leftPath{from, now}
	return keep
}

// usePathLocked sends by another path from now on.
func (s *UDPSession) usePathLocked(to *path) {
	from := s.path()
	s.way.Store(to)
	if s.tx.moveTo(from, to); from.sock != to.sock {
		s.remeasureMTULocked()
	}
}

// pathChangedLocked is for what depends on the path and has to be found out anew.
func (s *UDPSession) pathChangedLocked(int64) { s.restartMTULocked() }

// takeMovedLocked returns the address that the owner knows the session by, if that has changed.
func (s *UDPSession) takeMovedLocked() (from peerAddr, moved bool) {
	if s.roam == nil || !s.roam.moved {
		return peerAddr{}, false
	}
	s.roam.moved = false
	return s.roam.from, true
}

// changesMax is how many changes of path wait for the program's function. Where it does not return, the last
// of them becomes one with those that follow, of which a peer can make any number.
const changesMax = 16

// tellPathLocked has the program told of a change.
func (s *UDPSession) tellPathLocked(c PathChange) {
	r := s.roam
	if s.cfg.pathHandler == nil || s.closing.state != stateOpen {
		return
	}
	if n := len(r.changed); n == changesMax {
		r.changed[n-1].Local, r.changed[n-1].Remote = c.Local, c.Remote
		return
	}
	r.changed = append(r.changed, c)
	if !r.telling {
		r.telling = true
		go s.tellPaths()
	}
}

// tellPaths calls the program's function until nothing waits. After Close it is not called any more.
func (s *UDPSession) tellPaths() {
	r := s.roam
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(r.changed) > 0 && s.closing.state == stateOpen {
		c := r.changed[0]
		r.changed = r.changed[1:]
		s.mu.Unlock()
		s.cfg.pathHandler(s, c)
		s.mu.Lock()
	}
	r.changed, r.telling = nil, false
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
