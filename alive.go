package kcp

import (
	"time"
)

// keepAliveProbes is how many probes in a row stay unanswered before the peer is given up:
// TCP's default (Linux's tcp_keepalive_probes).
const keepAliveProbes = 9

// alive watches whether the peer still is. The session's lock guards it.
type keepalive struct {
	period, idle, user int64 // the settings, 0 for never

	probes   int   // sent since anything was heard
	probedAt int64 // the last of them

	awaitingReply bool // the peer has to answer something, and was not heard since
	awaitingSince int64
}

// SetKeepAlive sets how long nothing is heard before the peer is probed, and how long between
// probes, as net.TCPConn's period: at least 10 ms, 0 for no probes, the default. A peer that
// answers 9 in a row with nothing ends the session: Read and Write fail with a
// *PeerTimeoutError. Peers without this package's extensions answer too. Probes also keep open
// what forgets idle flows: many NATs after 30 seconds.
func (s *UDPSession) SetKeepAlive(period time.Duration) error {
	if err := checkTimes(period, 0); err != nil {
		return err
	}
	return s.watch(func(a *keepalive) { a.period = int64(period) })
}

// SetIdleTimeout sets after how long without anything from the peer, even an answer to a probe,
// Read and Write fail with a *PeerTimeoutError. 0 means never, the default. It is for servers:
// clients that mean to stay idle for longer set SetKeepAlive.
func (s *UDPSession) SetIdleTimeout(d time.Duration) error {
	if err := checkTimes(0, d); err != nil {
		return err
	}
	return s.watch(func(a *keepalive) { a.idle = int64(d) })
}

// SetUserTimeout sets for how long the peer may leave unanswered what it has to answer, written
// data above all, before Read and Write fail with a *PeerTimeoutError: by default 60 seconds, 0
// or less for ever (RFC 5482). A peer that is heard, if only to say that its window is full,
// is alive.
func (s *UDPSession) SetUserTimeout(d time.Duration) error {
	return s.watch(func(a *keepalive) { a.user = max(0, int64(d)) })
}

func (s *UDPSession) watch(set func(*keepalive)) error {
	s.mu.Lock()
	if s.closing.closed {
		s.mu.Unlock()
		return s.opError("set", errClosed)
	}
	set(&s.keepalive)
	s.driveLocked(clock(), false)
	s.unlockAndSend(false)
	return nil
}

// watchLocked ends a session whose peer is not heard of any more, and probes it before that.
func (s *UDPSession) checkLivenessLocked(now int64) {
	a, heard := &s.keepalive, s.core.lastHeard
	if heard > a.probedAt {
		a.probes = 0
	}
	if heard > a.awaitingSince {
		a.awaitingReply = false
	}
	switch {
	case now >= a.userAt(), now >= a.idleAt(heard):
	case now < s.probeAtLocked():
		return
	case a.probes < keepAliveProbes:
		s.core.ask = true
		a.probes++
		a.probedAt = now
		return
	}
	s.failLocked(&PeerTimeoutError{Silent: time.Duration(now - heard)})
}

// oweLocked notes since when the peer owes an answer: to data that its window takes, to a probe
// of a window that it does not open, or to the question what it can do.
func (s *UDPSession) noteAwaitingLocked(now int64) {
	a, k := &s.keepalive, s.core
	waits := k.WaitSnd() > 0 || s.closing.askAt != never
	owes := waits && (k.asked || k.snd.inFlight.n > 0 && k.rmtWnd > 0)
	if !owes || k.lastHeard > a.awaitingSince {
		a.awaitingReply = false
	}
	if owes && !a.awaitingReply {
		a.awaitingReply, a.awaitingSince = true, now
	}
}

// watchAtLocked returns when watchLocked has something to do.
func (s *UDPSession) livenessAtLocked() int64 {
	a := &s.keepalive
	return min(a.userAt(), a.idleAt(s.core.lastHeard), s.probeAtLocked())
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

// probeAtLocked is when the next keepalive probe is due. While data is under way that does its
// work.
func (s *UDPSession) probeAtLocked() int64 {
	a := &s.keepalive
	if a.period == 0 || s.core.WaitSnd() > 0 {
		return never
	}
	since := s.core.lastHeard
	if a.probes > 0 {
		since = max(since, a.probedAt)
	}
	return later(since, a.period)
}
