package soak

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// backTime is for how long a session may go back to the socket that it had before: a little less than it
// keeps that.
const backTime = 8 * time.Second

// roam gives a dialled session other sockets, which it has to survive.
func (e *end) roam() {
	r := e.rand("roam")
	for e.rest(between(r, time.Second, time.Hour)) {
		before := e.sock()
		if e.rebind(r) && chance(r, 0.3) && e.rest(between(r, ms, backTime)) {
			e.goBack(before)
		}
	}
}

// rebind gives the session another socket, and says whether it has taken it.
func (e *end) rebind(r *rand.Rand) bool {
	e.moving.Lock()
	defer e.moving.Unlock()
	nc, err := e.w.net.Listen(e.c.weather.host() + ":0")
	if err != nil {
		e.fail("a socket: %v", err)
		return false
	}
	to, before, sealed := e.w.socket(nc, "rebind", nc.LocalAddr().String()), e.sock(), e.s.Stats().Sealed
	if e.c.site == nil {
		e.c.weather.join(to)
	}
	to.offer(chance(r, 0.5))
	err = e.s.Rebind(to.conn)
	e.w.ops.Add(1)
	if err == nil {
		e.w.count("rebind")
		e.at.Store(to)
		if e.c.site != nil || !e.w.sealed {
			e.fail("Rebind of a session that is not sealed, or is over a Transport")
		}
		return true
	}
	if e.c.site == nil {
		e.c.weather.join(before)
	}
	if !errors.Is(err, errors.ErrUnsupported) && !e.over(err) || e.c.site == nil && sealed && !e.over(err) {
		e.fail("Rebind: %v", err)
	}
	if err := nc.Close(); err != nil {
		e.fail("the PacketConn of a Rebind that has failed is not its caller's any more: %v", err)
	}
	return false
}

// goBack gives the session the socket back that it had before.
func (e *end) goBack(before *socket) {
	e.moving.Lock()
	defer e.moving.Unlock()
	now := e.sock()
	e.c.weather.join(before)
	if err := e.s.Rebind(before.conn); err != nil {
		e.c.weather.join(now)
		if !e.over(err) {
			e.fail("Rebind to the socket before: %v", err)
		}
		return
	}
	e.w.count("rebind")
	e.at.Store(before)
}

// paths checks what a PathHandler is told.
type paths struct {
	w *world

	mu   sync.Mutex
	last map[*kcp.UDPSession]kcp.PathChange
	busy map[*kcp.UDPSession]bool
}

func (p *paths) changed(s *kcp.UDPSession, c kcp.PathChange) {
	p.mu.Lock()
	if p.last == nil {
		p.last, p.busy = make(map[*kcp.UDPSession]kcp.PathChange), make(map[*kcp.UDPSession]bool)
	}
	before, known := p.last[s]
	if known && (before.Local.String() != c.FormerLocal.String() || before.Remote.String() != c.FormerRemote.String()) {
		p.w.fail("a path changed to %v, %v and then from %v, %v", before.Local, before.Remote, c.FormerLocal, c.FormerRemote)
	}
	if p.busy[s] {
		p.w.fail("a PathHandler is called for a session twice at a time")
	}
	p.last[s], p.busy[s] = c, true
	p.mu.Unlock()
	time.Sleep(ms)
	s.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, s)
}
