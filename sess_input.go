package kcp

// receive takes a batch of datagrams for a dialled session from its socket's reader.
func (s *UDPSession) receive(batch []inbound) {
	now := clock()
	batch, failed := s.cfg.env.openAll(batch, s.source.addr, s.cfg.snmp)
	if len(batch) == 0 && failed == 0 {
		return
	}
	lockSpinning(&s.mu)
	s.total.InCsumErrors += failed
	if len(batch) == 0 {
		s.mu.Unlock()
		return
	}
	for _, d := range batch {
		c, ok := parseContents(d.data)
		if s.source.unknown && !s.source.learn(s, d.from, &c) {
			s.count.InErrs++
			continue
		}
		s.datagramLocked(now, d.data, &c, ok)
	}
	s.driveLocked(now, false)
	s.unlockAndSend(false)
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
		return from == s.to.peerAddr
	}
	*src = source{addr: &from}
	return true
}

// datagramLocked takes an opened datagram b and what parseContents has made of it.
func (s *UDPSession) datagramLocked(now int64, b []byte, c *contents, ok bool) {
	number := c.number()
	others := s.owner != nil && number != 0 && s.core.othersNumber(number)
	if others {
		s.keepBackLocked(b, number)
	}
	switch {
	case s.closing.state >= stateDraining:
		if ok {
			s.replyLocked(now, c)
		}
		return
	case s.err != nil:
		return
	}
	s.total.InPkts++
	s.total.InBytes += uint64(len(b) + s.cfg.env.head + s.cfg.env.tail)
	switch {
	case !ok:
		s.count.FECErrs++
		return
	case s.owner == nil && c.conv != s.conv && (c.kind() == 0 || c.kind() == fecTypeData):
		s.otherConvLocked(c)
		return
	case !c.isFEC, others: // which is no shard of this session's
		s.segmentsLocked(now, c.body, true)
		return
	}
	shard := b[fecShardStart:]
	switch c.fec.kind {
	case fecTypeOOB:
		s.oobLocked(c)
		return
	case fecTypeData:
		s.segmentsLocked(now, c.body, true)
		shard = shard[:c.fec.size]
	}
	if s.dec == nil {
		s.dec = newFECDecoder(s.cfg.fec, s.cfg.env.authentic(), &s.pool, &s.count)
	}
	s.dec.add(c.fec, shard, func(segments []byte) {
		// What is rebuilt under shard counts that are not the peer's is not well formed.
		if wellFormed(s.conv, segments) {
			s.segmentsLocked(now, segments, false)
		} else {
			s.count.FECErrs++
		}
	})
}

// otherConvLocked answers the peer when it asks for a session that is not the one of this socket.
func (s *UDPSession) otherConvLocked(c *contents) {
	s.count.KCPInErrors++
	if p := s.cfg.probeReply(c.conv, c.body); p != nil && !s.tx.crowded() {
		s.enqueueLocked(outbound{p.data, p, &s.to})
	} else if p != nil {
		packets.put(p)
	}
}

func (s *UDPSession) segmentsLocked(now int64, b []byte, regular bool) {
	if s.core.input(now, b, regular) < 0 {
		s.count.KCPInErrors++
	}
}

// refused ends the wait for the peer when it comes twice. The first time the peer is asked again, at
// once: the report may be about what was sent from the same port before. It ends nothing else, as it
// may be forged, and a peer that restarts comes back.
func (s *UDPSession) refused() {
	s.mu.Lock()
	if p := &s.capsProbe; p.dialling && !s.core.peerKnown() {
		now := clock()
		p.next = now
		if p.refused++; p.refused > 1 {
			s.failLocked(errRefused)
		}
		s.driveLocked(now, false)
	}
	s.unlockAndSend(false)
}

// readFailed breaks a dialled session whose socket is of no use any more.
func (s *UDPSession) readFailed(err error) { s.abort(brokenError{err}) }

// abort breaks the session with err, and ends it if it was closed.
func (s *UDPSession) abort(err error) {
	s.mu.Lock()
	s.failLocked(err)
	s.driveLocked(clock(), false)
	s.unlockAndSend(false)
}
