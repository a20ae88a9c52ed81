package kcp

// keptBackMax bounds the datagrams of a newer session that wait until it is known that the older one
// is gone.
const keptBackMax = 32

// successor is what a newer session of the same address and conversation has sent: the client was
// restarted, or these are late copies of a session that ended long ago, or forged. The core asks; see
// peerIdentity.
type successor struct {
	number    uint32
	datagrams []*packet
	due       bool // the older session is gone
}

// keepBackLocked keeps an opened datagram b that begins with the number of a newer session than this,
// which a listener has accepted.
func (s *UDPSession) keepBackLocked(b []byte, number uint32) {
	if s.next == nil || s.next.number != number {
		s.next.discard()
		s.next = &successor{number: number}
	}
	if len(s.next.datagrams) < keptBackMax && len(b) <= mtuLimit {
		p := packets.get()
		p.data = p.mem[:copy(p.mem[:], b)]
		s.next.datagrams = append(s.next.datagrams, p)
	}
	s.next.due = s.err != nil || s.closing.state >= stateDraining
}

// checkSuccessorLocked drops what was kept back once the peer has shown that it has this session, and
// makes way for the newer one once it has not.
func (s *UDPSession) checkSuccessorLocked() {
	switch {
	case s.next == nil:
	case s.err != nil:
		s.next.due = true
	case !s.core.contradicted():
		s.next.discard()
		s.next = nil
	}
}

// takeSuccessorLocked returns the newer session's datagrams when it is due, else nil.
func (s *UDPSession) takeSuccessorLocked() *successor {
	next := s.next
	if next == nil || !next.due {
		return nil
	}
	s.next = nil
	return next
}

func (n *successor) discard() {
	if n == nil {
		return
	}
	for _, p := range n.datagrams {
		packets.put(p)
	}
	n.datagrams = nil
}
