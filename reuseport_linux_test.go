//go:build !kcpgeneric

package kcp

import (
	"context"
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A listener has a socket for each processor, all at one address, and the peers are dealt out among
// them.
func TestListenerReusePort(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	controls := 0
	lc := ListenConfig{Control: func(string, string, syscall.RawConn) error { controls++; return nil }}
	for _, listen := range []struct {
		name string
		f    func() (net.Listener, error)
	}{
		{"Listen", func() (net.Listener, error) { return Listen("127.0.0.1:0") }},
		{"ListenConfig", func() (net.Listener, error) { return lc.Listen(context.Background(), "udp", ":0") }},
	} {
		t.Run(listen.name, func(t *testing.T) {
			nl, err := listen.f()
			if err != nil {
				t.Fatal(err)
			}
			l := nl.(*Listener)
			if n := l.sockets(); n != 4 {
				t.Fatalf("%d sockets", n)
			}
			at := make(map[string]bool)
			if err := l.Control(func(conn net.PacketConn) error { at[conn.LocalAddr().String()] = true; return nil }); err != nil {
				t.Fatal(err)
			}
			if len(at) != 1 {
				t.Errorf("sockets at %v", at)
			}
			if other, err := Listen(l.Addr().String()); err == nil || !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a second listener at the address: %v", err)
				if err == nil {
					other.Close()
				}
			}

			go echo(l)
			_, port, _ := net.SplitHostPort(l.Addr().String())
			used := make(map[*socket]int)
			for range 64 {
				s := dialUDP(t, "127.0.0.1:"+port, nil, 0, 0)
				defer s.Close()
				s.SetDeadline(time.Now().Add(10 * time.Second))
				if err := ask(s, "who is there?"); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range l.known() {
				used[s.path().sock]++
			}
			if len(used) != 4 {
				t.Errorf("64 sessions on %d sockets", len(used))
			}
			if err := l.SetDSCP(46); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if controls != 4 {
		t.Errorf("Control was called for %d sockets of 4", controls)
	}
}

// A listener that has one socket after all has one as if it had never meant to have more: nobody
// else can bind to its address.
func TestReusePortUndone(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	calls := 0
	lc := ListenConfig{Control: func(string, string, syscall.RawConn) error {
		if calls++; calls > 1 {
			return errors.New("one is enough")
		}
		return nil
	}}
	nl, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := nl.(*Listener)
	defer l.Close()
	if n := l.sockets(); n != 1 {
		t.Fatalf("%d sockets", n)
	}
	if on := sockopt(t, l.Control, unix.SOL_SOCKET, unix.SO_REUSEPORT); on != 0 {
		t.Errorf("SO_REUSEPORT is %d", on)
	}
}
