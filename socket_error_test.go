package kcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// failing is a PacketConn whose reads return an error of the test's from some time on.
type failing struct {
	*netem.Conn
	mu  sync.Mutex
	err error
}

// fail makes all reads fail with err, also one that waits.
func (f *failing) fail(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	f.Conn.SetReadDeadline(time.Now())
}

func (f *failing) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := f.Conn.ReadFrom(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, nil, f.err
	}
	return n, addr, err
}

// ownError is an error of a program's own, with an opinion on Timeout.
type ownError struct{ timeout bool }

func (ownError) Error() string   { return "tunnel is gone" }
func (e ownError) Timeout() bool { return e.timeout }

// A read error of a PacketConn of the program's ends the session, or the listener and its sessions,
// at once. What they return has the error in it, and is a timeout if that is one.
func TestReadErrorEnds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fail    func(*failing)
		want    error
		timeout bool
	}{
		{"deadline", func(f *failing) { f.SetReadDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded, true},
		{"deadline passed", func(f *failing) { f.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, true},
		{"ErrDeadlineExceeded", func(f *failing) { f.fail(os.ErrDeadlineExceeded) }, os.ErrDeadlineExceeded, true},
		{"net.ErrClosed", func(f *failing) { f.fail(net.ErrClosed) }, net.ErrClosed, false},
		{"closed", func(f *failing) { f.Conn.Close() }, net.ErrClosed, false},
		{"own", func(f *failing) { f.fail(ownError{}) }, ownError{}, false},
		{"own timeout", func(f *failing) { f.fail(fmt.Errorf("idle: %w", ownError{true})) }, ownError{true}, true},
		{"ETIMEDOUT", func(f *failing) { f.fail(syscall.ETIMEDOUT) }, syscall.ETIMEDOUT, true},
	} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/own=%t", tt.name, own), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					near, far := &failing{Conn: w.bind("10.0.0.1:0")}, &failing{Conn: w.bind("10.0.0.2:2000")}
					cfg := w.config(nil, 0, 0)
					l := newListener(cfg, newSocket(far, own))
					c := cfg.dial(1, far.LocalAddr(), newSocket(near, own))
					s := acceptHello(t, c, l)
					l.SetDeadline(time.Time{})
					w.awaitIdle()
					ended := make(chan error)
					for op, f := range map[string]func() error{
						"client": func() error { _, err := c.Read(make([]byte, 1)); return err },
						"server": func() error { _, err := s.Read(make([]byte, 1)); return err },
						"accept": func() error { _, err := l.Accept(); return err },
					} {
						go func() {
							err := f()
							w.wantBroken(op, err, tt.want, tt.timeout)
							ended <- err
						}()
					}
					tt.fail(near)
					tt.fail(far)
					for range 3 {
						select {
						case <-ended:
						case <-time.After(2 * time.Second):
							t.Fatal("nothing ends")
						}
					}
					_, err := c.Write([]byte("more"))
					w.wantBroken("write", err, tt.want, tt.timeout)
					_, err = l.Accept()
					w.wantBroken("accept again", err, tt.want, tt.timeout)
					closeAll(c, s, l)
					near.Conn.Close()
					far.Conn.Close()
				})
			})
		}
	}
}

// wantBroken checks the error of something that a failed socket has ended.
func (w *world) wantBroken(what string, err, cause error, timeout bool) {
	w.Helper()
	var ne net.Error
	var op *net.OpError
	if !errors.Is(err, cause) || !errors.Is(err, syscall.ECONNABORTED) || !errors.As(err, &op) || !errors.As(err, &ne) {
		w.Errorf("%s: %v (%T), want %v", what, err, err, cause)
	} else if ne.Timeout() != timeout {
		w.Errorf("%s: Timeout() = %t", what, ne.Timeout())
	} else if t := (interface{ Temporary() bool })(nil); errors.As(err, &t) && t.Temporary() {
		w.Errorf("%s: temporary: servers would accept again, for ever", what)
	}
}

// A PacketConn that is at its end is not the end of the stream, which may be cut short.
func TestReadErrorEOF(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		near := &failing{Conn: w.bind("10.0.0.1:0")}
		cfg := w.config(nil, 0, 0)
		c := cfg.dial(1, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2000}, newSocket(near, true))
		near.fail(io.EOF)
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("%v (%T)", err, err)
		}
		c.Close()
	})
}

// A session that leaves a PacketConn takes its own read deadline off it, and no other: one that the
// program has set, and that has ended the session, stays.
func TestReadDeadlineStays(t *testing.T) {
	for _, expired := range []bool{false, true} {
		t.Run(fmt.Sprint("expired=", expired), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				conn := w.bind("10.0.0.1:0")
				cfg := w.config(nil, 0, 0)
				c := cfg.dial(1, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2000}, newSocket(conn, false))
				if expired {
					conn.SetReadDeadline(time.Now().Add(time.Second))
					if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
					}
				}
				w.check(c.Close())
				<-c.Done()
				read := make(chan error, 1)
				go func() { _, _, err := conn.ReadFrom(make([]byte, 1)); read <- err }()
				select {
				case err := <-read:
					if !expired || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the program's own read: %v", err)
					}
				case <-time.After(time.Second):
					if expired {
						t.Error("the program's deadline is gone")
					}
				}
				conn.Close()
			})
		})
	}
}

// A PacketConn that is no socket of the kernel's, and goes on failing, is broken, whatever the error
// would be of one.
func TestReadErrorForEver(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		near := &failing{Conn: w.bind("10.0.0.1:0")}
		cfg := w.config(nil, 0, 0)
		c := cfg.dial(1, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2000}, newSocket(near, true))
		start := time.Now()
		near.fail(syscall.ECONNRESET)
		c.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := c.Read(make([]byte, 1))
		w.wantBroken("read", err, syscall.ECONNRESET, false)
		if took := time.Since(start); took < 5*time.Second || took > time.Minute {
			t.Errorf("after %v", took)
		}
		c.Close()
	})
}

// bare is a PacketConn that has ReadFrom and WriteTo only: any other method is the nil one's, and
// panics.
type bare struct {
	net.PacketConn
	conn *netem.Conn
}

func (b bare) ReadFrom(p []byte) (int, net.Addr, error)     { return b.conn.ReadFrom(p) }
func (b bare) WriteTo(p []byte, addr net.Addr) (int, error) { return b.conn.WriteTo(p, addr) }

// A PacketConn whose other methods panic works, and ends without any of the package's goroutines
// panicking, where nobody could recover.
func TestBarePacketConn(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprint("own=", own), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				near, far := bare{conn: w.bind("10.0.0.1:0")}, bare{conn: w.bind("10.0.0.2:2000")}
				cfg := w.config(nil, 0, 0)
				l := newListener(cfg, newSocket(far, own))
				c := cfg.dial(1, far.conn.LocalAddr(), newSocket(near, own))
				s := acceptHello(t, c, l)
				w.check(exchange(c, s, 20_000))
				c.SetReadDeadline(time.Now())
				_, err := c.Read(make([]byte, 1))
				wantTimeout(t, err)
				l.SetDeadline(time.Now())
				_, err = l.Accept()
				wantTimeout(t, err)
				w.check(c.Close())
				w.check(s.Close())
				w.awaitIdle()
				if err := l.Close(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
					t.Error(err)
				}
				w.awaitIdle()
				near.conn.Close() // which ends the readers
				far.conn.Close()
				<-c.Done()
				<-s.Done()
				<-l.Done()
			})
		})
	}
}

// The kernel's sockets end what lives on them in the same way, by batched reads too.
func TestReadDeadlineUDP(t *testing.T) {
	watchdog(t)
	near, far := udp(t, "127.0.0.1:0"), udp(t, "127.0.0.1:0")
	l, err := ServeConn(nil, 0, 0, far)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConn2(far.LocalAddr(), nil, 0, 0, near)
	if err != nil {
		t.Fatal(err)
	}
	s := acceptHello(t, c, l)
	l.SetDeadline(time.Time{})
	near.SetReadDeadline(time.Now().Add(time.Millisecond))
	far.SetReadDeadline(time.Now())
	for _, wait := range []func() error{
		func() error { _, err := c.Read(make([]byte, 1)); return err },
		func() error { _, err := s.Read(make([]byte, 1)); return err },
		func() error { _, err := l.Accept(); return err },
	} {
		var op *net.OpError
		if err := wait(); !errors.As(err, &op) || !op.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("%v (%T)", err, err)
		}
	}
	closeAll(c, s, l)
	await(t, "the end of the session", c.Done())
	await(t, "the end of the listener", l.Done())
}
