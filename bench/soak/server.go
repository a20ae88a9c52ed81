package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// A server is a process that listens.
type server struct {
	w         *world
	at        string // which one it is
	sock      *socket
	transport *kcp.Transport // that its socket is shared by, nil where it is the listener's
	l         *kcp.Listener
	old       *unmarked.Listener

	tasks sync.WaitGroup

	mu       sync.Mutex
	ends     []*end
	accepted map[uint64]bool
	sessions []*kcp.UDPSession
	down     bool
}

// serve runs servers, one after the other, until the world is over, and then calls done with the last.
func (w *world) serve() (*server, error) {
	r := w.rand("serve")
	for number := 0; ; number++ {
		s, err := w.newServer(w.at, "server", number)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		w.server = s
		if number > 0 {
			w.restartAt = time.Now()
		}
		w.mu.Unlock()
		if s.transport != nil {
			s.tasks.Go(func() { s.readStrangers(true) })
		}
		for life := time.Now().Add(between(r, time.Minute, 6*time.Hour)); !w.isOver() && (!w.has(featRestarts) || time.Now().Before(life)); {
			w.sleep(between(r, time.Second, 10*time.Minute))
			s.sock.rough.Store(chance(r, 0.5) && w.peer != "listener")
			if w.has(featStalls) && chance(r, 0.2) {
				s.sock.Stall(between(r, ms, 10*time.Second))
				w.count("stall")
			}
		}
		if w.isOver() {
			s.sock.rough.Store(false)
			return s, nil
		}
		w.mu.Lock()
		w.restartAt = time.Now().Add(1000 * time.Hour)
		w.mu.Unlock()
		w.count("listener killed")
		s.kill()
		w.sleep(between(r, 10*ms, 2*time.Minute))
	}
}

func (w *world) newServer(addr string, about ...any) (*server, error) {
	c, err := w.net.Listen(addr)
	if err != nil {
		return nil, err
	}
	s := &server{w: w, at: fmt.Sprint(about...), sock: w.socket(c, about...), accepted: make(map[uint64]bool)}
	if w.peer == "listener" {
		s.old = unmarked.Listen(w.old, s.sock)
		s.tasks.Go(s.acceptOld)
		return s, nil
	}
	lc := w.listening
	lc.OwnConn = true
	s.sock.offer(chance(w.rand("push", s.at), 0.5))
	if w.shares() {
		if s.transport, err = kcp.NewTransport(s.sock.conn, true); err != nil {
			return nil, err
		}
		s.l, err = s.transport.Listen(&lc)
	} else {
		s.l, err = lc.ListenConn(s.sock.conn)
	}
	if err != nil {
		return nil, err
	}
	s.tasks.Go(s.accept)
	return s, nil
}

func (s *server) accept() {
	r := s.w.rand("accept", s.at)
	for {
		session, err := s.acceptOne(r)
		if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			continue
		}
		if err != nil {
			if !isClosed(err) && !s.sock.dead.Load() {
				s.w.fail("accepting: %v", err)
			}
			return
		}
		s.mu.Lock()
		s.sessions = append(s.sessions, session)
		s.mu.Unlock()
		s.tasks.Go(func() { s.greet(session) })
	}
}

// acceptOne accepts a session in one of the ways there are.
func (s *server) acceptOne(r *rand.Rand) (*kcp.UDPSession, error) {
	switch r.IntN(3) {
	case 0:
		ctx, cancel := context.WithTimeout(context.Background(), between(r, ms, time.Hour))
		defer cancel()
		return s.l.AcceptContext(ctx)
	case 1:
		s.l.SetDeadline(time.Now().Add(between(r, ms, time.Hour)))
		defer s.l.SetDeadline(time.Time{})
	}
	return s.l.AcceptKCP()
}

func (s *server) acceptOld() {
	for {
		session, err := s.old.Accept()
		if err != nil {
			return
		}
		s.tasks.Go(func() { s.greetOld(session) })
	}
}

// helloTime is how long a listener waits for the first bytes of a session.
const helloTime = 10 * time.Minute

// greet finds out whose a session is.
func (s *server) greet(session *kcp.UDPSession) {
	e := s.w.newEnd(nil, "server", s.sock)
	e.s = session
	session.SetReadDeadline(time.Now().Add(helloTime))
	head, err := hello(session, s.w.inMessages())
	if err != nil { // the client has died, or will be missed where it waits
		session.Close()
		return
	}
	session.SetReadDeadline(time.Time{})
	if !s.adopt(e, head) {
		session.Close()
	}
}

func (s *server) greetOld(session *unmarked.Session) {
	e := s.w.newEnd(nil, "server", s.sock)
	e.old = session
	if head, err := hello(session, false); err != nil || !s.adopt(e, head) {
		session.Kill()
	}
}

// hello reads what a session begins with: at least an id.
func hello(from io.Reader, whole bool) (head []byte, err error) {
	buf := make([]byte, 64<<10)
	if whole {
		n, err := from.Read(buf)
		return buf[:n], err
	}
	for len(head) < idSize && err == nil {
		var n int
		n, err = from.Read(buf[:100])
		head = append(head, buf[:n]...)
	}
	if len(head) >= idSize {
		err = nil
	}
	return head, err
}

// adopt makes e the other end of the connection that head begins, and says whether there is one.
func (s *server) adopt(e *end, head []byte) bool {
	w := s.w
	if len(head) < idSize {
		w.fail("a session began with %d bytes: %x", len(head), head)
		return false
	}
	id := binary.BigEndian.Uint64(head)
	w.mu.Lock()
	c := w.clients[id]
	w.mu.Unlock()
	answer := w.newID()
	if c == nil {
		w.fail("a session began with what nobody has written: %x", clip(head))
		return false
	}
	e.c = c
	twice, down := s.enter(e, id)
	if down {
		return false
	}
	if twice && w.peer == "" && (w.sealed || !c.rebound()) { // else its address was another
		e.fail("one connection was accepted twice by one listener")
		return false
	}
	e.link(id, answer)
	w.mu.Lock()
	w.answers[answer] = e
	if e.s != nil {
		w.ends[e.s] = e
	}
	w.mu.Unlock()
	if !c.adopt(e) || !e.check(head) {
		return false
	}
	e.start()
	return true
}

// enter makes e one of the process's, and says whether it had accepted the connection before, and whether it
// has ended.
func (s *server) enter(e *end, id uint64) (twice, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	twice = s.accepted[id]
	s.accepted[id] = true
	s.ends = append(s.ends, e)
	return twice, s.down
}

// kill ends the process: nothing more is sent, and everything of it is gone.
func (s *server) kill() {
	ends := s.fall()
	s.sock.kill()
	switch {
	case s.old != nil:
		s.old.Kill()
	case s.transport != nil:
		s.transport.Close()
	default:
		s.l.Close()
	}
	s.mu.Lock()
	sessions := s.sessions
	s.mu.Unlock()
	for _, session := range sessions {
		session.Abort()
	}
	for _, e := range ends {
		e.await(time.Minute)
	}
}

// fall notes that the process ends, and returns its ends of connections.
func (s *server) fall() []*end {
	s.mu.Lock()
	s.down = true
	ends := s.ends
	s.mu.Unlock()
	for _, e := range ends {
		e.mark(func() { e.gone, e.closed = true, true })
		e.hush()
		e.hurry.Store(true)
	}
	return ends
}
