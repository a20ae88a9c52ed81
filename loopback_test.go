package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// loopback returns a session between two real sockets and its other end.
func loopback(t testing.TB, addr string, block BlockCrypt, data, parity int) (client, server *UDPSession) {
	t.Helper()
	l, err := ListenWithOptions(addr, block, data, parity)
	if err != nil {
		t.Skip(err) // IPv6 is not everywhere
	}
	defer l.Close()
	client, err = DialWithOptions(l.Addr().String(), block, data, parity)
	if err != nil {
		t.Fatal(err)
	}
	return client, greet(t, client, l)
}

// greet says hello from client and accepts it.
func greet(t testing.TB, client *UDPSession, l *Listener) (server *UDPSession) {
	t.Helper()
	if _, err := io.WriteString(client, "hello"); err != nil {
		t.Fatal(err)
	}
	l.SetDeadline(time.Now().Add(time.Minute))
	server, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Now().Add(time.Minute))
	defer server.SetReadDeadline(time.Time{})
	b := make([]byte, 10)
	if n, err := server.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	return server
}

func udp(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenUDP("udp", a)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestLoopback(t *testing.T) {
	for _, tt := range []struct{ listen, dial string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"[::1]:0", "::1"},
		{":0", "127.0.0.1"},
		{":0", "::1"},
		{"localhost:0", "localhost"},
		{"0.0.0.0:0", "127.0.0.1"},
		{"[::]:0", "127.0.0.1"}, // as an IPv4-mapped address
		{":0", "::ffff:127.0.0.1"},
	} {
		for _, crypt := range []string{"plain", "gcm"} {
			for _, own := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s-%s/%s/own=%t", tt.listen, tt.dial, crypt, own), func(t *testing.T) {
					block := newCrypt(t, crypt)
					l, err := ListenWithOptions(tt.listen, block, 10, 3)
					if err != nil {
						t.Skip(err)
					}
					defer l.Close()
					_, port, _ := net.SplitHostPort(l.Addr().String())
					to := net.JoinHostPort(tt.dial, port)
					var c *UDPSession
					if own {
						c, err = NewConn(to, block, 10, 3, udp(t, ":0"))
					} else {
						c, err = DialWithOptions(to, block, 10, 3)
					}
					if err != nil {
						t.Skip(err)
					}
					s := greet(t, c, l)
					hurry(256, c, s)
					if err := exchange(c, s, 200_000); err != nil {
						t.Error(err)
					}
					closeAll(c, s)
				})
			}
		}
	}
}

// A PacketConn of the caller's is left as it was, and can be used again.
func TestOwnPacketConn(t *testing.T) {
	for _, serve := range []bool{false, true} {
		t.Run(fmt.Sprintf("serve=%t", serve), func(t *testing.T) {
			near, far := udp(t, "127.0.0.1:0"), udp(t, "127.0.0.1:0")
			l, err := ServeConn(nil, 0, 0, far)
			if err != nil {
				t.Fatal(err)
			}
			c, err := NewConn2(far.LocalAddr(), nil, 0, 0, near)
			if err != nil {
				t.Fatal(err)
			}
			s := greet(t, c, l)
			if err := exchange(c, s, 50_000); err != nil {
				t.Error(err)
			}
			closeAll(l, c, s)
			if !serve {
				near, far = far, near
			}
			// The reader goes when the last acknowledgement is there. Until then it may
			// take what arrives, and the deadline that wakes it may be seen. So it is
			// tried again.
			done := make(chan struct{})
			var sender sync.WaitGroup
			sender.Go(func() {
				for tick := time.Tick(time.Millisecond); ; {
					select {
					case <-done:
						return
					case <-tick:
						near.WriteTo([]byte("plain"), far.LocalAddr())
					}
				}
			})
			b := make([]byte, 100)
			for {
				n, _, err := far.ReadFrom(b)
				if err == nil && string(b[:n]) == "plain" {
					break
				}
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
					break
				}
			}
			close(done)
			sender.Wait()
		})
	}
}

// masked is a PacketConn that embeds a *net.UDPConn and overrides what goes through it.
type masked struct {
	*net.UDPConn
	in, out atomic.Int64
}

func (m *masked) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := m.UDPConn.ReadFrom(b)
	for i := range b[:n] {
		b[i] ^= 0x5a
	}
	m.in.Add(1)
	return n, addr, err
}

func (m *masked) WriteTo(b []byte, addr net.Addr) (int, error) {
	c := bytes.Clone(b)
	for i := range c {
		c[i] ^= 0x5a
	}
	m.out.Add(1)
	return m.UDPConn.WriteTo(c, addr)
}

func TestWrappedPacketConn(t *testing.T) {
	near, far := &masked{UDPConn: udp(t, "127.0.0.1:0")}, &masked{UDPConn: udp(t, "127.0.0.1:0")}
	l, err := ServeConn(nil, 3, 2, far)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConn(far.LocalAddr().String(), nil, 3, 2, near)
	if err != nil {
		t.Fatal(err)
	}
	s := greet(t, c, l)
	if err := exchange(c, s, 50_000); err != nil {
		t.Error(err)
	}
	for _, m := range []*masked{near, far} {
		if m.in.Load() < 20 || m.out.Load() < 20 {
			t.Errorf("%d reads and %d writes went through the wrapper", m.in.Load(), m.out.Load())
		}
	}
	if err := c.SetReadBuffer(1 << 16); err != nil {
		t.Error(err)
	}
	closeAll(l, c, s)
}

// letter is a net.Addr of a network of its own.
type letter string

func (letter) Network() string  { return "post" }
func (l letter) String() string { return string(l) }

// postOffice is a PacketConn whose addresses are no UDP addresses. Its errors come
// first, one for each call.
type postOffice struct {
	name   letter
	in     chan parcel
	out    map[letter]*postOffice
	closed chan struct{}
	once   sync.Once

	mu                sync.Mutex
	readErr, writeErr []error
}

type parcel struct {
	from letter
	b    []byte
}

func newPostOffices(names ...letter) []*postOffice {
	all := make(map[letter]*postOffice)
	offices := make([]*postOffice, len(names))
	for i, n := range names {
		offices[i] = &postOffice{name: n, in: make(chan parcel, 1000), out: all, closed: make(chan struct{})}
		all[n] = offices[i]
	}
	return offices
}

func next(mu *sync.Mutex, errs *[]error) error {
	mu.Lock()
	defer mu.Unlock()
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (o *postOffice) ReadFrom(b []byte) (int, net.Addr, error) {
	if err := next(&o.mu, &o.readErr); err != nil {
		return 0, nil, err
	}
	select {
	case p := <-o.in:
		return copy(b, p.b), p.from, nil
	case <-o.closed:
		return 0, nil, net.ErrClosed
	}
}

func (o *postOffice) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := next(&o.mu, &o.writeErr); err != nil {
		return 0, err
	}
	select {
	case <-o.closed:
		return 0, net.ErrClosed
	case o.out[to.(letter)].in <- parcel{o.name, bytes.Clone(b)}:
	}
	return len(b), nil
}

func (o *postOffice) Close() error                     { o.once.Do(func() { close(o.closed) }); return nil }
func (o *postOffice) LocalAddr() net.Addr              { return o.name }
func (o *postOffice) SetDeadline(time.Time) error      { return nil }
func (o *postOffice) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline is the only way to wake a reader of a PacketConn that stays open.
func (o *postOffice) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		return o.Close()
	}
	return nil
}

func TestForeignAddresses(t *testing.T) {
	offices := newPostOffices("a", "b", "c")
	l, err := ServeConn(nil, 0, 0, offices[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range offices[1:] {
		c, err := NewConn4(1, letter("a"), nil, 0, 0, true, o)
		if err != nil {
			t.Fatal(err)
		}
		s := greet(t, c, l)
		if s.RemoteAddr() != o.name || c.RemoteAddr() != letter("a") {
			t.Errorf("peers %v and %v", s.RemoteAddr(), c.RemoteAddr())
		}
		if err := exchange(c, s, 20_000); err != nil {
			t.Error(err)
		}
		defer closeAll(c, s)
	}
	l.Close()
}

// What a PacketConn reports of the path, or of its buffers, ends nothing. What it
// refuses to send is counted.
func TestPassingErrors(t *testing.T) {
	passing := []error{
		syscall.ENOBUFS, syscall.ECONNREFUSED, syscall.EMSGSIZE, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		&net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("sendto", syscall.ENOBUFS)},
		&net.OpError{Op: "read", Net: "udp", Err: os.NewSyscallError("recvfrom", syscall.ECONNREFUSED)},
		fmt.Errorf("wrapped: %w", syscall.EPERM),
	}
	virtual(t, netem.Path{}, func(w *world) {
		offices := newPostOffices("a", "b")
		for _, o := range offices {
			o.readErr = passing
			o.writeErr = passing
		}
		cfg := w.config(nil, 0, 0)
		l := newListener(cfg, newSocket(offices[0], true))
		c := cfg.dial(1, letter("a"), newSocket(offices[1], true))
		s := greet(t, c, l)
		w.check(exchange(c, s, 20_000))
		if n := w.snmp.Copy().OutErrs; n != uint64(2*len(passing)) {
			t.Errorf("%d refusals counted of %d", n, 2*len(passing))
		}
		closeAll(l, c, s)
	})
}

// A PacketConn that is closed or broken for good ends what lives on it, at once.
func TestBrokenPacketConn(t *testing.T) {
	cut := errors.New("cable cut")
	for _, tt := range []struct {
		name string
		do   func(*postOffice)
		want error
	}{
		{"closed", func(o *postOffice) { o.Close() }, net.ErrClosed},
		{"read fails", func(o *postOffice) {
			o.mu.Lock()
			o.readErr = []error{cut}
			o.mu.Unlock()
			o.in <- parcel{"nobody", nil} // the error comes behind it
		}, cut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			offices := newPostOffices("a", "b")
			l, err := ServeConn(nil, 0, 0, offices[0])
			if err != nil {
				t.Fatal(err)
			}
			c, err := NewConn2(letter("a"), nil, 0, 0, offices[1])
			if err != nil {
				t.Fatal(err)
			}
			s := greet(t, c, l)
			errs := make(chan error, 3)
			for _, x := range []*UDPSession{c, s} {
				go func() { _, err := x.Read(make([]byte, 1)); errs <- err }()
			}
			l.SetDeadline(time.Time{})
			go func() { _, err := l.Accept(); errs <- err }()
			for _, o := range offices {
				tt.do(o)
			}
			var op *net.OpError
			for range 3 {
				if err := <-errs; !errors.Is(err, tt.want) || !errors.Is(err, syscall.ECONNABORTED) || !errors.As(err, &op) {
					t.Errorf("%v, want %v", err, tt.want)
				}
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNABORTED) {
				t.Errorf("write: %v", err)
			}
			closeAll(c, s, l)
		})
	}
}

// A timer that runs while the session ends, and finds its reader late, does not keep the session
// from leaving.
func TestTimerBesideEnd(t *testing.T) {
	l, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	go echo(l)
	c, err := DialWithOptions(l.Addr().String(), nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(c, "who is there?"); err != nil {
		t.Fatal(err)
	}
	c.SetLinger(1)
	c.Close()
	for ended := false; !ended; runtime.Gosched() {
		c.mu.Lock()
		ended = c.closing.ended
		c.mu.Unlock()
	}
	now := clock()
	c.sock.looked.Store(now)
	c.sock.late.Store(true)
	c.onTimer(now)
	select {
	case <-c.sock.done:
	case <-time.After(10 * time.Second):
		t.Error("the socket is still open")
	}
	l.Close()
}

func TestGoroutines(t *testing.T) {
	const clients, each = 10, 100
	stacks := func() (n int) { // of this package, but the test's own
		b := make([]byte, 1<<20)
		for _, g := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
			if strings.Contains(g, "readLoop") || strings.Contains(g, "timerWorker") {
				n++
			}
		}
		return n
	}
	before := stacks()
	l, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.SetDeadline(time.Now().Add(time.Minute))
	var sessions []*UDPSession
	for range clients {
		c := udp(t, "127.0.0.1:0")
		for conv := range uint32(each) {
			if _, err := c.WriteTo(segment(conv, IKCP_CMD_PUSH, 0, []byte("hello")), l.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		for range each {
			s, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, s)
		}
	}
	with := stacks()
	for _, s := range sessions {
		s.Close()
	}
	l.Close()
	t.Logf("goroutines of the package: %d before, %d with %d sessions, %d right after closing them",
		before, with, len(sessions), stacks())
	if most := len(l.socks) + runtime.NumCPU(); with-before > most {
		t.Errorf("%d goroutines for %d sessions, want %d", with-before, len(sessions), most)
	}
}
