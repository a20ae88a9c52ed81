package kcp

import (
	"iter"
	"sync"
)

// process is who receives in this process. A reader holds each of them anyway, so that none is kept for
// being here.
var process receivers

// receivers is the dialled sessions and the listeners that have a reader.
type receivers struct {
	mu        sync.Mutex // nothing else is locked while it is held
	dialled   map[*UDPSession]struct{}
	listeners map[*Listener]struct{}
}

func (r *receivers) addSession(s *UDPSession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dialled == nil {
		r.dialled = make(map[*UDPSession]struct{})
	}
	r.dialled[s] = struct{}{}
}

// removeSession may be called more than once.
func (r *receivers) removeSession(s *UDPSession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.dialled, s); len(r.dialled) == 0 {
		r.dialled = nil // a map that was large stays so
	}
}

func (r *receivers) addListener(l *Listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners == nil {
		r.listeners = make(map[*Listener]struct{})
	}
	r.listeners[l] = struct{}{}
}

func (r *receivers) removeListener(l *Listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.listeners, l)
}

// lists returns all of them.
func (r *receivers) lists() (dialled []*UDPSession, listeners []*Listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	dialled = make([]*UDPSession, 0, len(r.dialled))
	for s := range r.dialled {
		dialled = append(dialled, s)
	}
	for l := range r.listeners {
		listeners = append(listeners, l)
	}
	return dialled, listeners
}

// Sessions returns the sessions of the process, dialled and accepted, in no particular order: those that
// have not ended, as [UDPSession.Done] tells it, and whose socket works. Those that wait for Accept are
// among them, and those that were closed and are still delivering. Sessions that begin or end meanwhile
// may be there or not. The loop may call anything; no lock is held. It costs 8 bytes of memory for each
// session.
func Sessions() iter.Seq[*UDPSession] {
	return func(yield func(*UDPSession) bool) {
		dialled, listeners := process.lists()
		for _, s := range dialled {
			if !yield(s) {
				return
			}
		}
		for _, l := range listeners {
			for s := range l.Sessions() {
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
		_, listeners := process.lists()
		for _, l := range listeners {
			if !yield(l) {
				return
			}
		}
	}
}

// Sessions returns the listener's sessions, as the function [Sessions] does those of the process.
func (l *Listener) Sessions() iter.Seq[*UDPSession] {
	return func(yield func(*UDPSession) bool) {
		for i := range l.table {
			for _, s := range l.table[i].list() {
				if !yield(s) {
					return
				}
			}
		}
		for _, s := range l.seal.sessions() {
			if !yield(s) {
				return
			}
		}
	}
}
