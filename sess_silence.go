package kcp

import "time"

// What a dialled session does by itself when it hears nothing. It is for sealed sessions: their peers know
// them by other addresses, too.

const (
	// silenceTimeouts is after how many timeouts nothing is heard that is owed, at least silenceMin.
	silenceTimeouts = 3
	silenceMin      = int64(time.Second)
	// readAskMax is the longest time between two questions of a waiting Read. With an answer they end when
	// they are that far apart, as there is nothing to be read.
	readAskMax = int64(time.Minute)
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
