package main

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// idle is how long a peer may be silent. The read deadline is a thing to be notified of, too.
const idle = time.Minute

// server sends back what it receives, on any number of sessions with a few goroutines: one accepts,
// and some serve the sessions that something has happened to.
type server struct {
	mu      sync.Mutex
	work    sync.Cond
	ready   []*peer // something has happened to them, and nobody serves them
	closed  bool
	open    int
	workers sync.WaitGroup
}

// peer is a session of the server's.
type peer struct {
	server  *server
	session *kcp.UDPSession
	rest    []byte // read, and not written yet; used by whoever serves the peer

	// The server's lock guards these.
	notified bool // something has happened since it was served
	serving  bool // somebody serves it
}

// newServer starts to serve with so many goroutines.
func newServer(workers int) *server {
	s := new(server)
	s.work.L = &s.mu
	for range workers {
		s.workers.Go(s.serve)
	}
	return s
}

// accept takes sessions until the listener is closed.
func (s *server) accept(l *kcp.Listener) error {
	for {
		session, err := l.AcceptKCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		session.SetStreamMode(true)
		session.SetReadDeadline(time.Now().Add(idle))
		p := &peer{server: s, session: session}
		s.mu.Lock()
		s.open++
		s.mu.Unlock()
		session.SetReadNotify(p.notify) // at once, as its first data has arrived
	}
}

// notify makes somebody serve the peer. A peer that is served will be once more.
func (p *peer) notify() {
	s := p.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.notified && !p.serving {
		s.ready = append(s.ready, p)
		s.work.Signal()
	}
	p.notified = true
}

// serve serves peers, one after the other, until the server is closed.
func (s *server) serve() {
	buf := make([]byte, 64<<10) // one for a goroutine, and none for a session
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.ready) == 0 && !s.closed {
			s.work.Wait()
		}
		if s.closed {
			return
		}
		p := s.ready[0]
		s.ready = s.ready[1:]
		p.notified, p.serving = false, true
		s.mu.Unlock()
		err := p.echo(buf)
		if err != nil { // io.EOF, if the peer has closed
			p.session.SetReadNotify(nil)
			p.session.SetWriteNotify(nil)
			p.session.Close()
		}
		s.mu.Lock()
		switch p.serving = false; {
		case err != nil:
			s.open--
		case p.notified:
			s.ready = append(s.ready, p)
		}
	}
}

// echo sends back what has arrived, as far as there is room, and waits for nothing. While there is
// no room it reads nothing, so that the peer is slowed down, too.
func (p *peer) echo(buf []byte) error {
	for {
		if len(p.rest) == 0 {
			n, err := p.session.TryRead(buf)
			if n == 0 || err != nil {
				return err
			}
			p.session.SetReadDeadline(time.Now().Add(idle))
			p.rest = buf[:n]
		}
		n, err := p.session.TryWrite(p.rest)
		if err != nil {
			return err
		}
		if p.rest = p.rest[n:]; len(p.rest) > 0 {
			p.rest = append([]byte(nil), p.rest...) // buf is needed for others
			p.session.SetWriteNotify(p.notify)
			return nil
		}
	}
}

// sessions returns how many are open.
func (s *server) sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// close ends the goroutines. Sessions that are open stay so.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.work.Broadcast()
	s.mu.Unlock()
	s.workers.Wait()
}
