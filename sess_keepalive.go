package kcp

import "time"

const (
	// keepAliveProbes is how many probes in a row go unanswered before the peer is given up
	// (Linux's tcp_keepalive_probes).
	keepAliveProbes = 9
	// keepAlivePeriod is the period of SetKeepAlive(true), as package net has it for TCP.
	keepAlivePeriod = 15 * time.Second
)

// setPeriod sets the period of probes, 0 for none.
func (a *keepalive) setPeriod(period int64) {
	a.period, a.onPeriod = period, period
	if period == 0 {
		a.onPeriod = int64(keepAlivePeriod)
	}
}

// checkLivenessLocked probes a silent peer, and fails the session when it has been silent for too
// long.
func (s *UDPSession) checkLivenessLocked(now int64) {
	a, heard := &s.keepalive, s.core.heardAt()
	if heard > a.probedAt {
		a.probes = 0
	}
	if s.answeredLocked() {
		a.awaitingReply = false
	}
	unacknowledged := int64(0)
	switch {
	case now >= a.userAt():
		if s.core.awaitsAck() && heard > a.awaitingSince {
			unacknowledged = now - a.awaitingSince
		}
	case now >= a.idleAt(heard), now >= s.unprovenAtLocked():
	case now < s.probeAtLocked():
		return
	case a.probes < keepAliveProbes, s.unprovenAtLocked() != never: // which decides, as few are sent
		s.probeLocked()
		a.probes++
		a.probedAt = now
		return
	}
	if !s.readerBehindLocked(now) {
		s.failLocked(&PeerTimeoutError{time.Duration(now - heard), time.Duration(unacknowledged)})
	}
}

// answeredLocked says whether the peer has done since awaitingSince what was waited for. Data that it
// has room for it has to acknowledge, whatever else it says (RFC 5482:
// https://www.rfc-editor.org/rfc/rfc5482); to anything else any segment is an answer.
func (s *UDPSession) answeredLocked() bool {
	if s.core.awaitsAck() {
		return s.core.acknowledgedAt() > s.keepalive.awaitingSince
	}
	return s.core.heardAt() > s.keepalive.awaitingSince
}

// readerBehindLocked says whether the reader is to have a turn before the peer is given up: the
// process has not run for a while, as this comes late, or something waits in the socket. What has
// arrived then counts, and is read before any error.
func (s *UDPSession) readerBehindLocked(now int64) bool {
	a := &s.keepalive
	switch {
	case now < a.readerUntil:
		return true
	case a.readerUntil > s.core.heardAt(): // it had its turn
		return false
	case now-s.livenessAtLocked() < readerSlack && !s.path().sock.pollUnread(now):
		return false
	}
	a.readerUntil = now + readerSlack
	return true
}

// noteAwaitingLocked notes since when the peer owes an answer: to data that its window takes, to a
// probe of a window that it does not open, or to the question what it can do.
func (s *UDPSession) noteAwaitingLocked(now int64) {
	a, k := &s.keepalive, s.core
	waits := k.WaitSnd() > 0 || s.capsProbe.at != never
	awaits := waits && k.awaitsReply()
	if !awaits || s.answeredLocked() {
		a.awaitingReply = false
	}
	if awaits && !a.awaitingReply {
		a.awaitingReply, a.awaitingSince = true, now
	}
}

// livenessAtLocked returns when checkLivenessLocked has something to do.
func (s *UDPSession) livenessAtLocked() int64 {
	a := &s.keepalive
	return max(a.readerUntil, min(a.userAt(), a.idleAt(s.core.heardAt()), s.unprovenAtLocked(), s.probeAtLocked()))
}

// userAt is when the user timeout is over.
func (a *keepalive) userAt() int64 {
	if a.user == 0 || !a.awaitingReply {
		return never
	}
	return later(a.awaitingSince, a.user)
}

// idleAt is when the idle timeout is over.
func (a *keepalive) idleAt(heard int64) int64 {
	if a.idle == 0 {
		return never
	}
	return later(heard, a.idle)
}

// probeAtLocked is when the next keepalive probe is due, never while data is in flight, which does
// a probe's work.
func (s *UDPSession) probeAtLocked() int64 {
	a := &s.keepalive
	period := s.probePeriodLocked()
	if period == 0 || s.core.WaitSnd() > 0 {
		return never
	}
	since := s.core.heardAt()
	if s.unprovenAtLocked() != never && !s.core.addressAsked() { // as long as it is there
		since = s.created
	}
	if a.probes > 0 {
		since = max(since, a.probedAt)
	}
	return later(since, period)
}

// probeCapsLocked sends a window probe, whose reply carries the peer's capabilities if it has any,
// and repeats it as lost data is.
func (s *UDPSession) probeCapsLocked(now int64) {
	p := &s.capsProbe
	if now >= p.next {
		if s.keepalive.probes+p.count == 0 || s.mayRepeatLocked() {
			s.core.probeWindow()
		}
		p.next = now + s.core.retransmitAfter(p.count)
		p.count++
	}
	p.at = p.next
}
