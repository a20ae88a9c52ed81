package kcp

import "time"

// The peer of an accepted session may not exist: its first datagram may have been forged, so that
// what the session sends goes to a stranger. A peer is proven when it has echoed what was sent to its
// address, see addressValidation, and silent while it is not, and nothing but its first datagram has
// come, with what the reader read together with it. What is sent to one that is not proven is bounded;
// the session does not go on repeating what is not answered, beyond the application's data; and one that
// says nothing for a while is asked, and given up. What a forger adds to his first datagram buys as much
// time as that itself.

const (
	// unprovenTimeout is how long a listener keeps the session of a peer that is not proven and says nothing.
	unprovenTimeout = 30 * time.Second
	// unprovenProbes is how often such a peer is probed meanwhile, at most.
	unprovenProbes = 5
	// unprovenTimes is how many times the bytes that came may go to an address that is not proven
	// (RFC 9000, section 8.1: https://www.rfc-editor.org/rfc/rfc9000#section-8.1).
	unprovenTimes = 3
)

// provenLocked says whether the peer is known to receive what is sent to its address: it has echoed a
// value that was sent there. A dialled session's was chosen here.
func (s *UDPSession) provenLocked() bool { return !s.core.addressPending() }

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

// probeLocked probes a peer of which nothing was heard for a while. One that is not proven gets the first
// probe, and others within unprovenTimes. Once more than its first datagram has come, the probe is a challenge,
// which a peer that only sends has not had yet: its answer is the proof that a WINS is not.
func (s *UDPSession) probeLocked() {
	switch {
	case s.provenLocked():
		s.core.probeWindow()
	case s.keepalive.probes+s.capsProbe.count > 0 && !s.sentWithinLocked(unprovenTimes, 1):
	case s.silentLocked():
		s.core.probeWindow()
	default:
		s.core.challengeAddressOnce()
	}
}

// sentWithinLocked says whether another datagram of so many segments without data leaves what was sent
// within so many times of what came. A FIN and a RST have a WINS before them.
func (s *UDPSession) sentWithinLocked(times uint64, segments int) bool {
	next := (1 + s.copies) * (s.cfg.headroom() + segments*IKCP_OVERHEAD + s.behind())
	return s.total.OutBytes+uint64(next) <= times*s.total.InBytes
}

// mayResetLocked says whether the peer may be told of a reset.
func (s *UDPSession) mayResetLocked() bool {
	return s.provenLocked() || s.sentWithinLocked(unprovenTimes, 2)
}

// unprovenAtLocked is when a peer that is not proven is given up: when nothing is heard of it for so long. While
// it owes an answer to data, that is the user timeout's, and once the session is closed, the linger time's.
func (s *UDPSession) unprovenAtLocked() int64 {
	if s.cfg.unproven == 0 || s.provenLocked() || s.core.WaitSnd() > 0 || s.closing.state != stateOpen {
		return never
	}
	return later(max(s.created, s.core.heardAt()), s.cfg.unproven)
}

// probePeriodLocked is how long nothing is heard before the peer is probed, 0 for never: before HELLO
// there is no session that it could know, and what it says unsealed may not count.
func (s *UDPSession) probePeriodLocked() int64 {
	a := &s.keepalive
	if s.offeredLocked() && s.cfg.seal.required && s.seal.dial.shake == nil {
		return 0
	}
	if a.probes >= unprovenProbes || s.unprovenAtLocked() == never {
		return a.period
	}
	period := s.cfg.unproven / (unprovenProbes + 1)
	if a.period != 0 {
		period = min(period, a.period)
	}
	return period
}

// The bytes that may go to a peer that is not proven.
//
// A server's first answer must not wait for a round trip that only validates the address. So it gets
// what a sender without any acknowledgement would send for good reasons: a first flight (RFC 6928), and
// that twice again, should it be lost. Less would make answers slower on paths whose round trip is
// above the first RTO, or that lose. All counts: acknowledgements, parity, copies and probes.
//
// An honest peer may use that up before anything of it is heard, where its acknowledgements are lost.
// It waits no longer than before for the next one that arrives: it gets three times what it sends
// itself; and the core challenges it when half is spent, or as soon as something has to wait, and again
// (addressValidation). Data leaves challengeReserve for that, some 40 of them.
const (
	unprovenFlights  = 3
	challengeReserve = 2048
)

// addressLimitLocked is how many bytes may be sent in all while the peer is not proven.
func (s *UDPSession) addressLimitLocked() uint64 {
	limit := unprovenTimes * s.total.InBytes
	if !s.cfg.limitAmplification {
		limit += unprovenFlights * initialWindow
	}
	return limit
}

// addressTakesLocked says whether a datagram of that size, to be sealed, may be sent to the peer, and
// leaves so many bytes for other purposes, but no more than a quarter of all.
func (s *UDPSession) addressTakesLocked(size int, reserve uint64) bool {
	return !s.core.addressPending() || size <= s.addressRoomLocked(reserve)
}

// addressRoomLocked is how long the next datagram, to be sealed, may be.
func (s *UDPSession) addressRoomLocked(reserve uint64) int {
	limit := s.addressLimitLocked()
	if limit -= min(reserve, limit/4); limit <= s.total.OutBytes {
		return 0
	}
	room := min((limit-s.total.OutBytes)/uint64(1+s.copies), gsoMaxPayload) // which an int of 32 bits holds
	return max(0, int(room)-s.behind())
}

// dataRoom and challengeFits tell the core.
func (s *UDPSession) dataRoom() int { return s.addressRoomLocked(challengeReserve) }
func (s *UDPSession) challengeFits() bool {
	return s.addressTakesLocked(s.cfg.headroom()+IKCP_OVERHEAD, 0)
}

// noteSentUnprovenLocked has the peer challenged once half of what it may be sent is spent.
func (s *UDPSession) noteSentUnprovenLocked() {
	if s.total.OutBytes > s.addressLimitLocked()/2 {
		s.core.challengeAddress()
	}
}

// unprovenLink is what the table knows of a session. The table's lock guards it.
type unprovenLink struct {
	prev, next   *UDPSession
	in           *unprovenList // nil for none
	challengedAt int64
}
