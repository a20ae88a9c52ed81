package kcp

import "crypto/cipher"

// sessionReader is the reader of a socket of a dialled session: of the one that it has, and of the one
// before for a while when it moves. Its fields are used by its goroutine alone.
type sessionReader struct {
	*UDPSession
	sock   *socket
	source source
	demux  *sealDemux // nil where nothing is sealed
}

// newReader returns the reader of a path's socket.
func (s *UDPSession) newReader(p *path) *sessionReader {
	r := &sessionReader{UDPSession: s, sock: p.sock, source: sourceOf(p.sock, &p.destination)}
	if s.seal != nil {
		r.demux = &sealDemux{heads: []cipher.Block{s.cfg.seal.head}, find: s.seal.findPeer}
	}
	return r
}

// source is where the datagrams of a dialled session come from.
type source struct {
	addr    *peerAddr // nil for anywhere
	unknown bool      // addr is not known yet
}

// sourceOf returns where datagrams come from that are of a session to the given destination. Only a
// UDP socket, whose addresses are the kernel's, is known to report the address that it sends to. A
// PacketConn may be given a dummy, or name its peer otherwise when it reads (the TCP of a raw socket
// that sends to UDP addresses); without an address it knows its peer by itself.
func sourceOf(sock *socket, to *destination) source {
	switch {
	case sock.connected, to.peerAddr == peerAddr{}:
		return source{} // the kernel, or the PacketConn, passes no other's
	case sock.udp != nil:
		return source{addr: &to.peerAddr}
	}
	return source{unknown: true}
}

// learn takes the address of the first datagram of the session's conversation for the peer's. It says
// whether the datagram counts.
func (src *source) learn(s *UDPSession, from peerAddr, c *contents) bool {
	if !c.hasConv || c.conv != s.conv {
		return from == s.path().peerAddr
	}
	*src = source{addr: &from}
	return true
}

// receive takes a batch of datagrams from the socket's reader, at now.
func (r *sessionReader) receive(batch []inbound, now int64) {
	s := r.UDPSession
	batch, drops := s.cfg.env.openAll(batch, r.source.addr, r.demux, s.cfg.snmp)
	if len(batch) == 0 && drops == (openDrops{}) {
		return
	}
	lockSpinning(&s.mu)
	if s.total.InCsumErrors += drops.invalid; drops != (openDrops{}) {
		s.traceDropLocked(now, dropDecryption, drops.invalid)
		s.traceDropLocked(now, dropReplay, drops.replays)
	}
	if len(batch) == 0 {
		s.mu.Unlock()
		return
	}
	for _, d := range batch {
		if d.sealed != nil {
			r.stillUsedLocked(now)
			s.sealedInputLocked(now, &d)
			continue
		}
		c, ok := parseContents(d.data)
		if r.source.unknown && !r.source.learn(s, d.from, &c) {
			s.count.InErrs++
			continue
		}
		if s.seal == nil {
			s.datagramLocked(now, d.data, &c, ok)
		} else if s.unsealedInputLocked(now, &c) {
			s.datagramLocked(now, d.data, &c, ok)
			s.noteProofLocked()
		}
	}
	held := s.driveInputLocked(now)
	s.unlockAndSend(false)
	if held {
		s.flushHeldAck(r.sock.yield(now))
	}
}

// stillUsedLocked has the socket that the session had before read for longer: the peer does not follow.
func (r *sessionReader) stillUsedLocked(now int64) {
	if roam := r.roam; roam != nil && roam.former != nil && roam.former.sock == r.sock {
		roam.formerUntil = later(now, formerLife)
	}
}

// refused ends the wait for the peer when it comes twice. The first time the peer is asked again, at
// once: the report may be about what was sent from the same port before. It ends nothing else, as it
// may be forged, and a peer that restarts comes back.
func (r *sessionReader) refused() {
	s := r.UDPSession
	s.mu.Lock()
	if p := &s.capsProbe; p.dialling && !s.peerReadyLocked() {
		now := clock()
		p.next = now
		if p.refused++; p.refused > 1 {
			s.failLocked(errRefused)
		}
		s.driveLocked(now, false)
	}
	s.unlockAndSend(false)
}

// readFailed breaks a session whose socket is of no use any more.
func (r *sessionReader) readFailed(err error) {
	if r.sock == r.path().sock {
		r.abort(brokenError{err})
	}
}

// readEnded notes that the socket is not read any more.
func (r *sessionReader) readEnded() {
	r.mu.Lock()
	if r.readers--; r.readers == 0 {
		process.removeSession(r.UDPSession)
	}
	r.signalDoneLocked()
	r.mu.Unlock()
}
