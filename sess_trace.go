package kcp

import "errors"

// startTracing has the settings' tracer told what the session does from its first datagram on.
func (s *UDPSession) startTracing() {
	tracer := s.cfg.tracer
	if tracer == nil {
		return
	}
	s.core.trace = &tracing{
		begin: func() Tracer { return tracer(s) },
		began: s.created, last: s.created, dialled: s.dialled, addr: s.RemoteAddr(),
	}
}

// traceLocked tells the tracer, if there is one, of an event that fill completes, nil for nothing to add.
func (s *UDPSession) traceLocked(now int64, kind EventKind, fill func(e *Event)) {
	t := s.core.trace
	if t == nil {
		return
	}
	if e := t.next(now, kind); e != nil {
		if fill != nil {
			fill(e)
		}
		t.tell()
	}
}

// traceDropLocked tells of a datagram, or of n of them, that were not taken.
func (s *UDPSession) traceDropLocked(now int64, reason string, n uint64) {
	for range n {
		s.traceLocked(now, EventDropped, func(e *Event) { e.Reason = reason })
	}
}

// traceClosedLocked tells that the session was closed, or has failed with err.
func (s *UDPSession) traceClosedLocked(err error) {
	s.traceLocked(clock(), EventClosed, func(e *Event) {
		var silent *PeerTimeoutError
		var dialled timedOutError
		switch e.Err = err; {
		case err == nil, err == errClosed:
			e.Err, e.Reason = nil, "closed"
		case err == errReset:
			e.Reason = "reset"
		case errors.As(err, &silent), errors.As(err, &dialled):
			e.Reason = "timeout"
		default:
			e.Reason = "error"
		}
	})
}

// traceSealedLocked tells that the session is sealed.
func (s *UDPSession) traceSealedLocked() {
	t := s.core.trace
	if t == nil {
		return
	}
	cipher := sealCipherNames[s.seal.cipher]
	if t.begin != nil { // the listener is locked
		t.sealed = cipher
		return
	}
	s.traceLocked(clock(), EventSealed, func(e *Event) { e.New = cipher })
}

// traceEndLocked tells the last event.
func (s *UDPSession) traceEndLocked() {
	if t := s.core.trace; t != nil {
		s.traceLocked(clock(), EventEnded, nil)
		t.to = nil
	}
}

// The reasons for which datagrams are dropped.
const (
	dropInvalid    = "invalid"
	dropDuplicate  = "duplicate"
	dropDecryption = "decryption"
	dropReplay     = "replay"
	dropUnsealed   = "unsealed"
	dropRefused    = "refused"
)
