package kcp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

func TestLoopback(t *testing.T) {
	for _, tt := range []struct {
		listen, dial string
		six          bool // needs IPv6
	}{
		{"127.0.0.1:0", "127.0.0.1", false},
		{"[::1]:0", "::1", true},
		{":0", "127.0.0.1", false},
		{":0", "::1", true},
		{"localhost:0", "localhost", false},
		{"0.0.0.0:0", "127.0.0.1", false},
		{"[::]:0", "127.0.0.1", true}, // as an IPv4-mapped address
		{":0", "::ffff:127.0.0.1", false},
	} {
		for _, crypt := range []string{"plain", "gcm"} {
			for _, own := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s-%s/%s/own=%t", tt.listen, tt.dial, crypt, own), func(t *testing.T) {
					if tt.six {
						needIPv6(t)
					}
					block := newCrypt(t, crypt)
					l, err := ListenWithOptions(tt.listen, block, 10, 3)
					if err != nil {
						t.Fatal(err)
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
						t.Fatal(err)
					}
					s := acceptHello(t, c, l)
					lowLatency(256, c, s)
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
			s := acceptHello(t, c, l)
			if err := exchange(c, s, 50_000); err != nil {
				t.Error(err)
			}
			// The end that closes first leaves its socket when its FIN is acknowledged. Then nobody
			// acknowledges the other's, which takes the linger time to give up.
			if serve {
				closeAll(l, s)
				await(t, "the end of the listener", l.Done())
			} else {
				closeAll(c)
				await(t, "the end of the session", c.Done())
				near, far = far, near
			}
			defer closeAll(l, c, s)
			for _, s := range []*UDPSession{c, s} {
				defer s.SetLinger(0)
			}
			if _, err := near.WriteTo([]byte("plain"), far.LocalAddr()); err != nil {
				t.Error(err)
			}
			far.SetReadDeadline(time.Now().Add(realPatience))
			for b := make([]byte, 100); ; {
				n, _, err := far.ReadFrom(b)
				if err != nil {
					t.Fatal(err)
				}
				if string(b[:n]) == "plain" { // and not what the other end has sent at last
					break
				}
			}
		})
	}
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
	s := acceptHello(t, c, l)
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
		s := acceptHello(t, c, l)
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

// What a PacketConn reports of the path, or of its buffers, ends nothing. What it refuses to send
// is counted.
func TestPassingErrors(t *testing.T) {
	passing := []error{
		syscall.ENOBUFS, syscall.ECONNREFUSED, syscall.EMSGSIZE, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		&net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("sendto", syscall.ENOBUFS)},
		&net.OpError{Op: "read", Net: "udp", Err: os.NewSyscallError("recvfrom", syscall.ECONNREFUSED)},
		fmt.Errorf("wrapped: %w", syscall.EPERM),
	}
	path := []error{syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.ENETDOWN}
	virtual(t, netem.Path{}, func(w *world) {
		offices := newPostOffices("a", "b")
		for _, o := range offices {
			o.readErr = append(path, passing...)
			o.writeErr = passing
		}
		cfg := w.config(nil, 0, 0)
		l := newListener(cfg, newSocket(offices[0], true))
		c := cfg.dial(1, letter("a"), newSocket(offices[1], true))
		s := acceptHello(t, c, l)
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
			s := acceptHello(t, c, l)
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
				if err := await(t, "an error", errs); !errors.Is(err, tt.want) || !errors.Is(err, syscall.ECONNABORTED) || !errors.As(err, &op) {
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
