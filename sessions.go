package kcp

import (
	"iter"
	"sync"
)

// process is who receives in this process. A reader holds each of them anyway, so that none is kept for
// being here.
var process receivers

// receivers is the sessions with a socket of their own, and the transports, that have a reader.
type receivers struct {
	mu         sync.Mutex           // nothing else is locked while it is held
	sessions   map[*UDPSession]bool // and whether it is to be woken after sleep
	transports map[*Transport]struct{}
}

func (r *receivers) addSession(s *UDPSession, sleeps bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = make(map[*UDPSession]bool)
	}
	r.sessions[s] = sleeps
}

// removeSession may be called more than once.
func (r *receivers) removeSession(s *UDPSession) {
	r.mu.Lock()
	sleeps := r.sessions[s]
	if delete(r.sessions, s); len(r.sessions) == 0 {
		r.sessions = nil // a map that was large stays so
	}
	r.mu.Unlock()
	if sleeps {
		s.cfg.sched.sleep.remove()
	}
}

func (r *receivers) addTransport(t *Transport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.transports == nil {
		r.transports = make(map[*Transport]struct{})
	}
	r.transports[t] = struct{}{}
}

func (r *receivers) removeTransport(t *Transport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.transports, t)
}

// lists returns all of them.
func (r *receivers) lists() (sessions []*UDPSession, transports []*Transport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sessions = make([]*UDPSession, 0, len(r.sessions))
	for s := range r.sessions {
		sessions = append(sessions, s)
	}
	for t := range r.transports {
		transports = append(transports, t)
	}
	return sessions, transports
}

// Sessions returns the sessions of the process, dialled and accepted, in no particular order: those that
// have not ended, as [UDPSession.Done] tells it, and whose socket works. Those that wait for Accept are
// among them, and those that were closed and are still delivering. Sessions that begin or end meanwhile
// may be there or not. The loop may call anything; no lock is held. It costs 8 bytes of memory for each
// session.
func Sessions() iter.Seq[*UDPSession] {
	return func(yield func(*UDPSession) bool) {
		sessions, transports := process.lists()
		for _, s := range sessions {
			if !yield(s) {
				return
			}
		}
		for _, t := range transports {
			for s := range t.sessions() {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Listeners returns the listeners of the process, in no particular order, those included that were
// closed and have sessions that have not ended.
func Listeners() iter.Seq[*Listener] {
	return func(yield func(*Listener) bool) {
		_, transports := process.lists()
		for _, t := range transports {
			if l := t.listener.Load(); l != nil && !yield(l) {
				return
			}
		}
	}
}

// Sessions returns the listener's sessions, as the function [Sessions] does those of the process.
func (l *Listener) Sessions() iter.Seq[*UDPSession] {
	return func(yield func(*UDPSession) bool) {
		for s := range l.t.sessions() {
			if !s.dialled && !yield(s) {
				return
			}
		}
	}
}
