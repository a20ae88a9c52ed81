package kcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Abort ends a session at once: an open one, one that Close is delivering, and one whose Close
// waits. The peer is told.
func TestAbortMethod(t *testing.T) {
	for _, c := range []struct {
		name   string
		close  func(s *UDPSession) chan error // before it is aborted
		closed bool
	}{
		{"open", nil, false},
		{"closing", func(s *UDPSession) chan error { s.Close(); return nil }, true},
		{"waiting", func(s *UDPSession) chan error {
			done := make(chan error, 1)
			s.SetLinger(-1)
			go func() { done <- s.Close() }()
			return done
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				s, peer := w.pair(w.config(nil, 0, 0))
				defer peer.Abort()
				peer.SetUserTimeout(-1)
				w.watch(func(from, _ netip.AddrPort, b []byte) bool { // only the reset arrives
					for _, h := range segmentsOf(b) {
						if h.cmd == cmdRST {
							return true
						}
					}
					return from.Port() == 2000
				})
				s.SetUserTimeout(-1)
				s.Write(make([]byte, 100_000))
				var closed chan error
				if c.close != nil {
					closed = c.close(s)
				}
				w.sleep(100 * time.Millisecond)
				start := time.Now()
				w.check(s.Abort())
				if closed != nil {
					if err := <-closed; !errors.Is(err, net.ErrClosed) {
						t.Errorf("the Close that waited: %v", err)
					}
				}
				if took := time.Since(start); took > 0 {
					t.Errorf("it took %v", took)
				}
				<-s.Done()
				if err := s.Cause(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("cause %v", err)
				}
				w.awaitIdle()
				w.wantGone(s)
				_, err := peer.Read(make([]byte, 1))
				wantError(t, "read", err, syscall.ECONNRESET)
				if err := s.Abort(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("again: %v", err)
				}
			})
		})
	}
}

// Done is closed when nothing of a session goes on, Cause says why it has failed.
func TestDone(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		conn := w.bind("10.0.0.1:1")
		s, err := cfg.dialConn(w.convs.next(), l.Addr(), false, conn)
		w.check(err)
		s.Write([]byte("x"))
		peer, err := l.AcceptKCP()
		w.check(err)
		isDone := func(done <-chan struct{}) bool {
			select {
			case <-done:
				return true
			default:
				return false
			}
		}
		w.awaitIdle()
		if s.Cause() != nil || isDone(s.Done()) || isDone(peer.Done()) || isDone(l.Done()) {
			t.Fatal("over before it was closed")
		}
		w.check(s.Close())
		<-s.Done()
		go func() { w.check(conn.SetReadDeadline(time.Now().Add(time.Second))) }()
		if _, _, err := conn.ReadFrom(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("the PacketConn is not the caller's again: %v", err)
		}
		conn.Close()

		peer.SetIdleTimeout(time.Second)
		w.sleep(2 * time.Second)
		var timeout *PeerTimeoutError
		if err := peer.Cause(); !errors.As(err, &timeout) {
			t.Errorf("cause %v", err)
		}
		w.check(l.Close())
		w.awaitIdle()
		if isDone(l.Done()) || isDone(peer.Done()) {
			t.Error("over while a session is open")
		}
		w.check(peer.Close())
		<-peer.Done()
		<-l.Done()
		<-peer.Done() // again
	})
}

// AcceptContext gives up with its context, and leaves what arrives later to others.
func TestAcceptContext(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		_, err := l.AcceptContext(ctx)
		wantError(t, "accept", err, context.Canceled)
		c := w.dial(l.cfg, l)
		c.Write([]byte("x"))
		w.awaitIdle()
		_, err = l.AcceptContext(ctx) // is over, whatever waits
		wantError(t, "accept", err, context.Canceled)
		s, err := l.AcceptContext(context.Background())
		w.check(err)
		closeAll(c, s, l)
	})
}

// Everything that setters set is expressible as Settings, also over a PacketConn of the caller's.
func TestSettingsOverPacketConn(t *testing.T) {
	heard := make(chan string, 1)
	settings := Settings{
		DataShards: 3, ParityShards: 1,
		Timing:     &Timing{NoDelay: true, Interval: 20 * time.Millisecond, Resend: 4},
		Congestion: NewConservation, Redundancy: -1, RateLimit: 1 << 30,
		KeepAlive: time.Minute, DSCP: 46, ReadBuffer: 1 << 20, WriteBuffer: 1 << 20,
		OOBHandler: func(s *UDPSession, b []byte) { heard <- string(b) },
	}
	here, there := udp(t, "127.0.0.1:0"), udp(t, "127.0.0.1:0")
	l, err := (&ListenConfig{Settings: settings, OwnConn: true}).ListenConn(there)
	if err != nil {
		t.Fatal(err)
	}
	d := Dialer{Settings: settings, WaitForPeer: true, Timeout: 10 * time.Second, Conv: 9}
	s, err := d.DialConn(context.Background(), here, l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendOOB([]byte("beside")); err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("x"))
	peer, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendOOB([]byte("beside")); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "beside" {
		t.Errorf("heard %q", got)
	}
	s.mu.Lock()
	k := s.core
	if k.interval != int64(20*time.Millisecond) || k.resend != 4 || !k.rtt.nodelay || k.ackNoDelay || !k.conserveOnly ||
		k.dup.percent != 0 || k.limitPacer.rate != 1<<30 || s.conv != 9 || s.keepalive.period != int64(time.Minute) {
		t.Errorf("%+v", k)
	}
	s.mu.Unlock()
	for _, c := range []*UDPSession{s, peer} {
		c.SetLinger(0)
	}
	closeAll(s, peer, l)
	<-s.Done()
	<-l.Done()
	if _, err := there.WriteTo(nil, here.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener's own PacketConn is open: %v", err)
	}
	if _, err := here.WriteTo(nil, there.LocalAddr()); err != nil {
		t.Errorf("the caller's PacketConn is closed: %v", err)
	}
	here.Close()

	for name, s := range map[string]Settings{
		"Interval":    {Timing: &Timing{Interval: time.Millisecond}},
		"Resend":      {Timing: &Timing{Interval: time.Second, Resend: -1}},
		"Redundancy":  {Redundancy: 101},
		"DSCP":        {DSCP: 64},
		"ReadBuffer":  {ReadBuffer: -1},
		"WriteBuffer": {WriteBuffer: -1},
		"RateLimit":   {RateLimit: -1},
	} {
		if _, err := s.resolve(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a socket has not is an errors.ErrUnsupported, also where Settings ask for it.
func TestUnsupported(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		for name, err := range map[string]error{
			"DSCP of a PacketConn":  c.SetDSCP(1),
			"DSCP of an accepted":   s.SetDSCP(1),
			"buffer of an accepted": s.SetWriteBuffer(1 << 16),
			"OOB without FEC":       c.SendOOB(nil),
			"write deadline":        new(Listener).SetWriteDeadline(time.Time{}),
		} {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: %v", name, err)
			}
		}
		conn := w.bind("10.0.0.3:1")
		d := Dialer{Settings: Settings{DSCP: 1}}
		if _, err := d.DialConn(context.Background(), conn, c.LocalAddr()); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("DSCP in Settings: %v", err)
		}
		w.check(conn.Close()) // it is still the caller's
		closeAll(c, s)
	})
}

// After Close, setters that return an error return net.ErrClosed, and the others do nothing.
func TestSettersAfterClose(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 3, 1))
		closeAll(c, s)
		w.awaitIdle()
		for name, err := range map[string]error{
			"SetDeadline":          c.SetDeadline(time.Time{}),
			"SetReadDeadline":      c.SetReadDeadline(time.Time{}),
			"SetWriteDeadline":     c.SetWriteDeadline(time.Time{}),
			"SetLinger":            c.SetLinger(1),
			"SetKeepAlive":         c.SetKeepAlive(true),
			"SetKeepAlivePeriod":   c.SetKeepAlivePeriod(time.Second),
			"SetIdleTimeout":       c.SetIdleTimeout(time.Second),
			"SetUserTimeout":       c.SetUserTimeout(time.Second),
			"SetMinParity":         c.SetMinParity(1),
			"SetRedundancy":        c.SetRedundancy(1),
			"SetCongestionControl": c.SetCongestionControl(NewCubic()),
			"SetOOBHandler":        c.SetOOBHandler(nil),
			"SetDSCP":              c.SetDSCP(1),
			"SetReadBuffer":        c.SetReadBuffer(1),
			"SetWriteBuffer":       c.SetWriteBuffer(1),
			"CloseRead":            c.CloseRead(),
			"CloseWrite":           c.CloseWrite(),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if c.SetMtu(1000) {
			t.Error("SetMtu")
		}
		c.SetNoDelay(1, 10, 2, 1)
		c.SetWindowSize(1, 1)
		c.SetStreamMode(true)
		c.SetACKNoDelay(true)
		c.SetWriteDelay(true)
		c.SetDUP(1)
		c.SetRateLimit(1)
	})
}

// SetKeepAlive is net.TCPConn's: on and off, with the period that was set.
func TestKeepAliveAsTCP(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		var conn interface {
			SetKeepAlive(bool) error
			SetKeepAlivePeriod(time.Duration) error
		} = c
		period := func() time.Duration {
			c.mu.Lock()
			defer c.mu.Unlock()
			return time.Duration(c.keepalive.period)
		}
		w.check(conn.SetKeepAlive(true))
		if p := period(); p != 15*time.Second {
			t.Errorf("%v by default", p)
		}
		w.check(conn.SetKeepAlivePeriod(time.Second))
		w.check(conn.SetKeepAlive(false))
		if p := period(); p != 0 {
			t.Errorf("%v when off", p)
		}
		w.check(conn.SetKeepAlive(true))
		if p := period(); p != time.Second {
			t.Errorf("%v, want what was set last", p)
		}
		if conn.SetKeepAlivePeriod(time.Millisecond) == nil {
			t.Error("a period of 1 ms was taken")
		}
		closeAll(c, s)
		if _, err := io.ReadAll(s); err == nil {
			t.Error("read after Close")
		}
	})
}
