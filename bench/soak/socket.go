package soak

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A socket is a PacketConn that fails in the ways that sockets do, while it is rough.
type socket struct {
	*netem.Conn
	w     *world
	conn  net.PacketConn // as the library knows it
	rough atomic.Bool
	dead  atomic.Bool // its process was killed: what it sends is sent by nobody

	mu   sync.Mutex // guards the rest
	rand *rand.Rand
	old  [32][]byte // what was sent, to be replayed
	sent int
}

func (w *world) socket(c *netem.Conn, about ...any) *socket {
	s := &socket{Conn: c, w: w, rand: w.rand("socket", about)}
	s.conn = s
	return s
}

// offer lets the library know the socket as one that pushes, if there are such.
func (s *socket) offer(push bool) {
	if push && s.w.has(featPush) {
		s.conn = &pushSocket{socket: s}
	}
}

// refusals are errors of the system that a socket survives.
var refusals = []error{
	syscall.ENOBUFS, syscall.EAGAIN, syscall.EPERM, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
	syscall.ECONNREFUSED, syscall.ENETDOWN, syscall.EMSGSIZE, syscall.ENOMEM, syscall.EINTR,
}

// WriteTo sends b, unless something is wrong.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.dead.Load() {
		return len(b), nil
	}
	s.mu.Lock()
	fault, pause, err := "", time.Duration(0), error(nil)
	if s.rough.Load() {
		fault, pause, b, err = s.drawLocked(b, to)
	}
	s.mu.Unlock()
	if fault != "" {
		s.w.count(fault)
	}
	time.Sleep(pause)
	switch {
	case err != nil:
		return 0, &net.OpError{Op: "write", Net: "udp", Err: err}
	case fault == "short write":
		return len(b) / 2, nil
	case fault == "lost write":
		return len(b), nil
	}
	return s.Conn.WriteTo(b, to)
}

// drawLocked draws what happens to a datagram that is written, and returns what is sent in its place.
func (s *socket) drawLocked(b []byte, to net.Addr) (fault string, pause time.Duration, sent []byte, err error) {
	w, r := s.w, s.rand
	if w.replays {
		s.rememberLocked(b, to)
	}
	if w.has(featFaults) && chance(r, 0.04) {
		switch r.IntN(4) {
		case 0:
			return "refused write", 0, b, one(r, refusals...)
		case 1:
			return "short write", 0, b, nil
		case 2:
			return "lost write", 0, b, nil
		}
		if w.has(featMTU) { // others may wait for the lock of a probe, and virtual time does not pass then
			return "", 0, b, nil
		}
		return "slow write", between(r, ms, 200*ms), b, nil
	}
	if w.has(featCorrupt) && chance(r, 0.03) {
		if w.checked && chance(r, 0.5) {
			b = append([]byte(nil), b...)
			for range 1 + r.IntN(3) {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
			return "changed datagram", 0, b, nil
		}
		junk := make([]byte, r.IntN(1600))
		fill(junk, r.Uint64(), 0)
		s.Conn.WriteTo(junk, to)
		return "junk datagram", 0, b, nil
	}
	return "", 0, b, nil
}

// rememberLocked keeps b, and may send something old again, later and perhaps from elsewhere.
func (s *socket) rememberLocked(b []byte, to net.Addr) {
	i := s.sent % len(s.old)
	s.old[i] = append(s.old[i][:0], b...)
	s.sent++
	dest, ok := to.(*net.UDPAddr)
	if !ok || !chance(s.rand, 0.01) {
		return
	}
	again := append([]byte(nil), s.old[s.rand.IntN(min(s.sent, len(s.old)))]...)
	from := s.Bound().(*net.UDPAddr).AddrPort()
	if chance(s.rand, 0.5) {
		from = s.w.anywhere(s.rand)
	}
	s.w.after(between(s.rand, ms, 20*time.Minute), func() {
		s.w.count("replayed datagram")
		s.w.net.Inject(from, dest.AddrPort(), again)
	})
}

// ReadFrom reads a datagram, unless something is wrong.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	if s.rough.Load() && s.w.has(featFaults) {
		s.mu.Lock()
		fails, err := chance(s.rand, 0.02), one(s.rand, refusals...)
		s.mu.Unlock()
		if fails {
			s.w.count("failed read")
			return 0, nil, &net.OpError{Op: "read", Net: "udp", Err: err}
		}
	}
	return s.Conn.ReadFrom(b)
}

// AllowFragments implements kcp.Fragmenter.
func (s *socket) AllowFragments(allow bool) error {
	s.Conn.AllowFragments(allow)
	return nil
}

// kill ends the socket as the end of its process does: nothing more is sent.
func (s *socket) kill() {
	s.dead.Store(true)
	s.Conn.Close()
}

// A pushSocket is a socket that hands over what it receives.
type pushSocket struct {
	*socket
	receivers sync.Mutex
	fn        func(b []byte, addr net.Addr, err error)
}

// SetPacketReceiver implements kcp.PacketPusher.
func (p *pushSocket) SetPacketReceiver(fn func(b []byte, addr net.Addr, err error)) {
	p.receivers.Lock()
	defer p.receivers.Unlock()
	if first := p.fn == nil; fn != nil && first {
		go p.push()
	}
	p.fn = fn
}

func (p *pushSocket) push() {
	b := make([]byte, 9001)
	for {
		n, from, err := p.socket.ReadFrom(b)
		p.receivers.Lock()
		fn := p.fn
		p.receivers.Unlock()
		if fn == nil {
			return
		}
		fn(b[:n], from, err)
		if err != nil && p.dead.Load() || isClosed(err) {
			return
		}
	}
}
