package kcp

import "time"

// The peer of an accepted session may not exist: its first datagram may have been forged, so that
// what the session sends goes to a stranger. A peer is proven when it has acknowledged something, and
// silent while nothing but its first datagram has come, with what the reader read together with it.
// To one that is not proven the session does not go on repeating what is not answered, beyond the
// application's data; and a silent one is asked, and given up.

const (
	// unprovenTimeout is how long a listener keeps the session of a silent peer.
	unprovenTimeout = 30 * time.Second
	// unprovenProbes is how often a silent peer is probed meanwhile, at most.
	unprovenProbes = 5
	// unprovenTimes is how many times the bytes that came may go to an address that is not proven
	// (RFC 9000, section 8.1: https://www.rfc-editor.org/rfc/rfc9000#section-8.1).
	unprovenTimes = 3
)

// provenLocked says whether the peer is known to exist. A dialled session's was chosen here.
func (s *UDPSession) provenLocked() bool {
	return s.owner == nil || s.validated || s.core.peerProven()
}

// silentLocked says whether nothing but the first datagram has come from a peer that is not proven.
func (s *UDPSession) silentLocked() bool { return !s.provenLocked() && s.core.heardAt() <= s.created }

// mayRepeatLocked says whether the session may send once more, on its own, what the peer has not
// answered. A peer that is not proven gets no more than came from there while it is silent: a forger
// may have spent a single datagram.
func (s *UDPSession) mayRepeatLocked() bool {
	switch {
	case s.provenLocked():
		return true
	case s.silentLocked():
		return s.sentWithinLocked(1, 2)
	}
	return s.sentWithinLocked(unprovenTimes, 2)
}

// mayProbeLocked says whether a keepalive probe may be sent: to a silent peer once, and again within
// unprovenTimes.
func (s *UDPSession) mayProbeLocked() bool {
	return s.keepalive.probes+s.capsProbe.count == 0 || !s.silentLocked() || s.sentWithinLocked(unprovenTimes, 1)
}

// sentWithinLocked says whether another datagram of so many segments without data leaves what was sent
// within so many times of what came. A FIN and a RST have a WINS before them.
func (s *UDPSession) sentWithinLocked(times uint64, segments int) bool {
	next := (1 + s.copies) * (s.cfg.headroom() + segments*IKCP_OVERHEAD + s.cfg.env.tail)
	return s.total.OutBytes+uint64(next) <= times*s.total.InBytes
}

// mayResetLocked says whether the peer may be told of a reset.
func (s *UDPSession) mayResetLocked() bool {
	return s.provenLocked() || s.sentWithinLocked(unprovenTimes, 2)
}

// unprovenAtLocked is when a silent peer is given up. While it owes an answer to data, that is the
// user timeout's, and once the session is closed, the linger time's.
func (s *UDPSession) unprovenAtLocked() int64 {
	if s.cfg.unproven == 0 || !s.silentLocked() || s.core.WaitSnd() > 0 || s.closing.state != stateOpen {
		return never
	}
	return later(s.created, s.cfg.unproven)
}

// probePeriodLocked is how long nothing is heard before the peer is probed, 0 for never.
func (s *UDPSession) probePeriodLocked() int64 {
	a := &s.keepalive
	if a.probes >= unprovenProbes || s.unprovenAtLocked() == never {
		return a.period
	}
	period := s.cfg.unproven / (unprovenProbes + 1)
	if a.period != 0 {
		period = min(period, a.period)
	}
	return period
}
