//go:build !kcpgeneric

package kcp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// batchedSocket wraps a connected datagram socket of any family for batched system calls.
func batchedSocket(t *testing.T, conn *net.UnixConn) *socket {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{conn: conn, owned: true, connected: true, batch: &batchIO{raw: raw}}
	s.initWrites()
	return s
}

// trunk is the far end of a socket that is full after a few datagrams, as long as it is shut. It
// hands what it reads to the port of its conv.
type trunk struct {
	conn *net.UnixConn
	near *net.UnixConn
	gate sync.Mutex // held while nothing is read

	mu    sync.Mutex
	ports map[uint32]*port
}

// newTrunk returns a trunk, and the socket that it is the far end of. What the kernel queues
// between them is some ten datagrams each way; as with a UDP socket a full one is writable again
// later.
func newTrunk(t *testing.T) (*trunk, *socket) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		conn, err := net.FilePacketConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = conn.(*net.UnixConn)
	}
	tr := &trunk{conn: conns[0], near: conns[1], ports: make(map[uint32]*port)}
	go tr.read()
	return tr, batchedSocket(t, conns[1])
}

func (tr *trunk) read() {
	for b := make([]byte, mtuLimit); ; {
		tr.gate.Lock()
		tr.gate.Unlock() //lint:ignore SA2001 it is held while nothing is to be read
		n, err := tr.conn.Read(b)
		if err != nil {
			return
		}
		tr.mu.Lock()
		p := tr.ports[segmentConv(b)]
		tr.mu.Unlock()
		if p != nil {
			select {
			case p.in <- append([]byte(nil), b[:n]...):
			default:
			}
		}
	}
}

// shut makes the near end full, and has fill write to it.
func (tr *trunk) shut(t *testing.T, fill func()) {
	t.Helper()
	tr.gate.Lock()
	raw, err := tr.near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nobodys := segment(1<<31, IKCP_CMD_WASK, 0, nil)
	raw.Control(func(fd uintptr) {
		for err == nil {
			err = unix.Send(int(fd), nobodys, unix.MSG_DONTWAIT)
		}
	})
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	go fill()
	time.Sleep(50 * time.Millisecond) // nothing shows when it waits
}

// port is the PacketConn of one session at the far end.
type port struct {
	*trunk
	in   chan []byte
	done chan struct{}
	once sync.Once
}

func (tr *trunk) port(conv uint32) *port {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	p := &port{trunk: tr, in: make(chan []byte, 4096), done: make(chan struct{})}
	tr.ports[conv] = p
	return p
}

func (p *port) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-p.in:
		return copy(b, d), letter("near"), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo loses what the near end does not read.
func (p *port) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	p.conn.Write(b)
	return len(b), nil
}

func (p *port) Close() error                     { p.once.Do(func() { close(p.done) }); return nil }
func (p *port) LocalAddr() net.Addr              { return letter("far") }
func (p *port) SetDeadline(time.Time) error      { return nil }
func (p *port) SetReadDeadline(time.Time) error  { return nil }
func (p *port) SetWriteDeadline(time.Time) error { return nil }

// A full socket stops neither its reader, nor timers, nor callers, but a Write that finds no room,
// until its deadline. All goes on when there is room again.
func TestFullSocket(t *testing.T) {
	const (
		sessions = 3 // the first fills the socket
		bound    = time.Second
	)
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, sched *TimedSched, c, s *UDPSession) // with the second
	}{
		{"reader", func(t *testing.T, _ *TimedSched, c, s *UDPSession) {
			b := make([]byte, 100)
			for range 20 {
				if _, err := c.Write([]byte("message")); err != nil {
					t.Error(err)
				}
				if _, err := s.Read(b); err != nil {
					t.Error(err)
				}
			}
		}},
		{"timers", func(t *testing.T, sched *TimedSched, _, s *UDPSession) {
			s.SetNoDelay(1, 10, 2, 1)
			s.SetWriteDelay(true)
			s.Write([]byte("for the timer to send"))
			ran := make(chan bool)
			sched.Put(func() { close(ran) }, time.Now().Add(50*time.Millisecond))
			<-ran
		}},
		{"small Write", func(t *testing.T, _ *TimedSched, _, s *UDPSession) {
			if _, err := s.Write([]byte("small")); err != nil {
				t.Error(err)
			}
		}},
		{"setter", func(t *testing.T, _ *TimedSched, _, s *UDPSession) {
			s.SetWriteDelay(true)
			s.Write([]byte("for the setter to send"))
			s.SetWriteDelay(false)
		}},
		{"Write with a deadline", func(t *testing.T, _ *TimedSched, _, s *UDPSession) {
			s.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			_, err := s.Write(make([]byte, 10<<20))
			wantTimeout(t, err)
		}},
		{"Close", func(t *testing.T, _ *TimedSched, _, s *UDPSession) {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var cfgs [2]*config
			for i := range cfgs {
				cfgs[i] = standalone(t, nil, 0, 0)
			}
			tr, near := newTrunk(t)
			defer tr.conn.Close()
			l := newListener(cfgs[0], near)
			var clients, servers [sessions]*UDPSession
			for i := range sessions {
				clients[i] = cfgs[1].dial(uint32(i), letter("near"), newSocket(tr.port(uint32(i)), true))
				servers[i] = acceptHello(t, clients[i], l)
				servers[i].SetACKNoDelay(true)
				for _, s := range []*UDPSession{clients[i], servers[i]} {
					s.SetLinger(0)
					defer s.Close()
				}
				if err := ask2(clients[i], servers[i]); err != nil { // windows are known
					t.Fatal(err)
				}
			}
			defer l.Close()
			servers[0].SetNoDelay(1, 10, 2, 1)
			servers[0].SetWindowSize(512, 512)
			done := make(chan error, 1)
			tr.shut(t, func() { done <- carry(servers[0], clients[0], 1<<20) })
			within(t, bound, tt.name, func() { tt.do(t, cfgs[0].sched, clients[1], servers[1]) })
			tr.gate.Unlock()
			within(t, 10*time.Second, "what filled the socket", func() {
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// ask2 carries a few bytes in both directions.
func ask2(a, b *UDPSession) error {
	for _, way := range [][2]*UDPSession{{a, b}, {b, a}} {
		if _, err := way[0].Write([]byte("hello")); err != nil {
			return err
		}
		if _, err := io.ReadFull(way[1], make([]byte, 5)); err != nil {
			return err
		}
	}
	return nil
}

// A Close with linger 0 closes a socket of the session's own before it returns, also one that is
// full and that a Write waits for.
func TestAbortFullSocket(t *testing.T) {
	cfg := standalone(t, nil, 0, 0)
	tr, near := newTrunk(t)
	defer tr.conn.Close()
	c := cfg.dial(1, letter("far"), near)
	c.SetNoDelay(1, 10, 2, 1)
	written := make(chan error, 1)
	tr.shut(t, func() { _, err := c.Write(make([]byte, 8<<20)); written <- err })
	defer tr.gate.Unlock()
	c.SetLinger(0)
	within(t, time.Second, "Close", func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := near.conn.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close has returned, and the socket is open: %v", err)
		}
	})
	within(t, time.Second, "the Write", func() { wantClosed(t, <-written) })
}
