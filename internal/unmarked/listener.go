package unmarked

import (
	"encoding/binary"
	"net"
	"sync"
)

// A Listener makes sessions of what arrives at a PacketConn.
type Listener struct {
	cfg  *Config
	conn net.PacketConn

	mu       sync.Mutex // guards all below
	arrived  sync.Cond
	sessions map[string]*Session // by address alone
	backlog  []*Session
	closed   bool
}

// Listen listens at conn, which is the listener's from now on.
func Listen(cfg Config, conn net.PacketConn) *Listener {
	l := &Listener{cfg: cfg.complete(), conn: conn, sessions: make(map[string]*Session)}
	l.arrived.L = &l.mu
	go l.read()
	return l
}

func (l *Listener) read() {
	b := make([]byte, mtuMax)
	for {
		n, from, err := l.conn.ReadFrom(b)
		if err != nil {
			l.Kill()
			return
		}
		payload, err := l.cfg.open(b[:n])
		if err != nil {
			continue
		}
		if s := l.session(from, payload); s != nil {
			s.receive(payload)
		}
	}
}

// session returns the session of a datagram, which it makes if there is none, nil if the datagram is
// none's.
func (l *Listener) session(from net.Addr, payload []byte) *Session {
	conv, sn, known := first(payload)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sessions[from.String()]
	if s != nil && known && conv != s.conv && sn == 0 {
		l.mu.Unlock()
		s.Kill()
		l.mu.Lock()
		s = nil
	}
	if s != nil || !known || l.closed {
		return s
	}
	s = newSession(l.cfg, l.conn, from, conv)
	s.onClose = func() { l.forget(s) }
	l.sessions[from.String()] = s
	l.backlog = append(l.backlog, s)
	l.arrived.Broadcast()
	return s
}

// first returns the conversation and the sn of a datagram's first segment, if they can be seen. An
// out-of-band datagram passes for sn 0.
func first(payload []byte) (conv, sn uint32, known bool) {
	kind, _, body := peel(payload)
	switch {
	case kind == fecOOB && len(body) >= 6:
		return binary.LittleEndian.Uint32(body[2:]), 0, true
	case kind == fecData && len(body) >= 2:
		payload = body[2:]
	case kind != 0:
		return 0, 0, false
	}
	if len(payload) < overhead {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint32(payload), binary.LittleEndian.Uint32(payload[12:]), true
}

// forget takes a closed session out of the table.
func (l *Listener) forget(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[s.peer.String()] == s {
		delete(l.sessions, s.peer.String())
	}
}

// Accept waits for a session.
func (l *Listener) Accept() (*Session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.backlog) == 0 {
		if l.closed {
			return nil, ErrClosed
		}
		l.arrived.Wait()
	}
	s := l.backlog[0]
	l.backlog = l.backlog[1:]
	return s, nil
}

// Sessions is how many there are, accepted or not.
func (l *Listener) Sessions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sessions)
}

// Addr returns the address of the PacketConn.
func (l *Listener) Addr() net.Addr { return l.conn.LocalAddr() }

// Kill ends the listener, all its sessions and the PacketConn, as a process that is killed does.
func (l *Listener) Kill() {
	l.mu.Lock()
	l.closed = true
	l.arrived.Broadcast()
	var all []*Session
	for _, s := range l.sessions {
		all = append(all, s)
	}
	l.mu.Unlock()
	l.conn.Close()
	for _, s := range all {
		s.Kill()
	}
}
