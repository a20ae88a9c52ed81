package kcp

// How long a session's datagrams are: what the program says, and what the path carries (see pathMTU).

// setMtuLocked sets the length of the longest datagram, within which the path decides.
func (s *UDPSession) setMtuLocked(mtu int) bool {
	if s.offeredLocked() && s.seal.dial.shake == nil && mtu < s.cfg.sealedMTU() {
		if s.cfg.seal.required {
			return false
		}
		s.seal.phase = sealUnsealed
		s.core.sealDecided()
	}
	room := mtu - s.cfg.headroom() - s.behindMax()
	if mtu < mtuMin || mtu > mtuLimit || room <= IKCP_OVERHEAD || !s.core.setMtu(mtu-s.behindMax()) {
		return false
	}
	s.mtuAsked = uint16(mtu)
	if b := s.mtuBoundsLocked(); s.mtuGrows && b.most != 0 && s.path().udp.Addr().Is6() {
		s.restartMTULocked()
	} else {
		s.core.boundMTU(b)
		s.noteMTULocked()
	}
	return true
}

// remeasureMTULocked is called when what is around a datagram's segments has changed, or the socket.
func (s *UDPSession) remeasureMTULocked() {
	s.core.setMtu(s.mtu - s.behindMax())
	s.core.boundMTU(s.mtuBoundsLocked())
	s.noteMTULocked()
}

// restartMTULocked begins at the base, as the path is another one; where there is no search, with what was
// asked for.
func (s *UDPSession) restartMTULocked() {
	s.sized = nil
	b := s.mtuBoundsLocked()
	start := int(s.mtuAsked)
	if b.most != 0 {
		start = min(start, mtuBase)
	}
	s.core.setMtu(start - s.behindMax())
	s.core.boundMTU(b)
	s.noteMTULocked()
}

// noteMTULocked takes the length that the core has found.
func (s *UDPSession) noteMTULocked() {
	behind := s.behindMax()
	if mtu := s.core.datagramSize() + behind; mtu != s.mtu {
		if s.mtu = mtu; s.core.trace != nil {
			s.traceLocked(clock(), EventMTU, func(e *Event) { e.Bytes = mtu })
		}
	}
	// A write that fits into a segment of what was asked for is one message, in two segments if need be.
	s.core.setMssLess(max(0, int(s.mtuAsked)-s.mtu+behind-s.cfg.env.behind(false)))
	s.gsoSegments = s.path().sock.gsoSegments(s.mtu)
	if code := s.cfg.fec; code != nil { // in whole groups
		s.gsoSegments = s.gsoSegments / int(code.shards()) * code.data
	}
}

// mtuBoundsLocked returns what the length is searched within: Ethernet's is the most where the program has
// not set it. There is no search without Don't Fragment, and none below the floor.
func (s *UDPSession) mtuBoundsLocked() mtuBounds {
	p, asked := s.path(), int(s.mtuAsked)
	behind, ip := s.behindMax(), p.udp.Addr()
	b := mtuBounds{behind: int16(behind)}
	if s.cfg.fixedMTU || p.sock.fragment == nil || !ip.IsValid() || asked < mtuFloor {
		return b
	}
	most, floor, jumbo := mtuEthernet, mtuFloor, jumboLimit-28
	if ip.Is6() {
		most, floor, jumbo = mtuEthernet6, mtuFloor6, jumboLimit-48
	}
	if !s.mtuGrows || most < asked {
		most = asked
	}
	base := min(mtuBase, asked)
	if ip.Is6() {
		b.fill = int16(fragmentFrom6 - behind)
	}
	b.floor, b.base, b.ethernet = int16(min(floor, base)-behind), int16(base-behind), int16(most-behind)
	if s.mtuGrows && s.cfg.jumbo != 0 && (s.cfg.env.block == nil || s.tx.keys != nil) {
		most = min(s.cfg.jumbo, jumbo)
	}
	b.most = int16(most - behind)
	return b
}

// followMTULocked is called with each flush. A datagram, or a send with segmentation offload, that the
// kernel has refused as too long tells of a narrow link.
func (s *UDPSession) followMTULocked(now int64) {
	if s.path().takeTooLong() {
		s.core.suspectMTU(now)
	}
	if s.sized != nil && s.sized.probe.takeTooLong() {
		s.core.probeRefused()
	}
}

// flushedMTULocked takes what a flush has found.
func (s *UDPSession) flushedMTULocked() {
	if size := s.core.datagramSize() + s.behindMax(); size != s.mtu {
		if size < s.mtu {
			s.path().allowOffload() // which may have been refused for the length
		}
		s.noteMTULocked()
	}
}

// sizedDestinations are the peer's address for datagrams that are not to be sent as others are.
type sizedDestinations struct {
	probe    destination // not in fragments
	overlong destination // in fragments if need be
}

func (s *UDPSession) sizedLocked() *sizedDestinations {
	if s.sized == nil {
		to := s.path()
		s.sized = &sizedDestinations{
			probe:    destination{peerAddr: to.peerAddr, addr: to.addr, raw: to.raw, fragments: fragmentsNever},
			overlong: destination{peerAddr: to.peerAddr, addr: to.addr, raw: to.raw, fragments: fragmentsAllowed},
		}
	}
	return s.sized
}

// probe and emitProbe are of the session as its core's sink.
func (s *UDPSession) probe(n int) []byte {
	return s.tx.buffer(&s.sizedLocked().probe, n+s.behindMax())[s.cfg.env.head:n]
}

func (s *UDPSession) emitProbe(n int) { s.enqueueLocked(s.tx.finish(n)) }
