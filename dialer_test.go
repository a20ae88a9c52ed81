package kcp

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Nonsense is refused with the field's name and bound.
func TestSettingsRefused(t *testing.T) {
	for want, s := range map[string]Settings{
		"SendWindow -1: must be 1 to 65535, or 0 for the default":       {SendWindow: -1},
		"ReceiveWindow 65536: must be 1 to 65535, or 0 for the default": {ReceiveWindow: 65536, Profile: Bulk},
		"MTU 1501: must be 1 to 1500, or 0 for the default":             {MTU: 1501},
		"MTU 40: must be 50 to 1500":                                    {MTU: 40},
		"MTU 52: must be 53 to 1500":                                    {MTU: 52, Block: newCrypt(t, "gcm"), DataShards: 0},
		"Profile 4: must be 0 to 3":                                     {Profile: 4},
		"Profile -1: must be 0 to 3":                                    {Profile: -1},
		"KeepAlive 1ms: must be at least 10ms, or 0 for none":           {KeepAlive: time.Millisecond},
		"IdleTimeout -1ns: must be above 0, or 0 for none":              {IdleTimeout: -1},
		"at most 256": {DataShards: 250, ParityShards: 20},
	} {
		d, lc := Dialer{Settings: s}, ListenConfig{Settings: s}
		_, derr := d.Dial("udp", "127.0.0.1:1")
		_, lerr := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
		for _, err := range []error{derr, lerr} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
	for _, network := range []string{"tcp5", "unix", "", "ip"} {
		_, derr := new(Dialer).Dial(network, "127.0.0.1:1")
		_, lerr := new(ListenConfig).Listen(context.Background(), network, "127.0.0.1:0")
		for _, err := range []error{derr, lerr} {
			if !errors.As(err, new(net.UnknownNetworkError)) {
				t.Errorf("%q: %v", network, err)
			}
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.1", ":70000", "no such host.invalid:1"} {
		if c, err := new(Dialer).Dial("udp", addr); err == nil {
			c.Close()
			t.Errorf("%s is accepted", addr)
		}
	}
	if _, err := (&Dialer{Timeout: -1}).Dial("udp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "Timeout") {
		t.Error(err)
	}
	if _, err := (&Dialer{LocalAddr: &net.TCPAddr{}}).Dial("udp", "127.0.0.1:1"); err == nil {
		t.Error("a TCP address to dial from")
	}
}

// Settings reach the sessions of both kinds.
func TestSettingsApplied(t *testing.T) {
	controlled := 0
	control := func(network, address string, c syscall.RawConn) error {
		controlled++
		return nil
	}
	settings := Settings{
		Block: newCrypt(t, "gcm"), DataShards: 3, ParityShards: 1, Profile: LowLatency, SendWindow: 100, MTU: 1300,
		StreamMode: true, ACKNoDelay: true, WriteDelay: true, RateLimit: 1 << 20,
		KeepAlive: time.Second, IdleTimeout: time.Minute, UserTimeout: -1, Linger: 2 * time.Second,
	}
	lc := ListenConfig{Settings: settings, Control: control}
	l, err := lc.Listen(context.Background(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	local := udp(t, "127.0.0.1:0")
	local.Close()
	d := Dialer{Settings: settings, Control: control, LocalAddr: local.LocalAddr(), Conv: 7, WaitForPeer: true, Timeout: 5 * time.Second}
	c, err := d.DialContext(t.Context(), "udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := c.(*UDPSession)
	if client.GetConv() != 7 || client.LocalAddr().String() != local.LocalAddr().String() || controlled != 1+len(l.(*Listener).socks) {
		t.Errorf("conv %d from %v, %d controlled", client.GetConv(), client.LocalAddr(), controlled)
	}
	server := greet(t, client, l.(*Listener))
	for _, s := range []*UDPSession{client, server} {
		st := s.Stats()
		if st.SendWindow != 100 || st.ReceiveWindow < autoWindow || !st.PeerExtended {
			t.Errorf("%+v", st)
		}
		s.mu.Lock()
		if s.core.interval != int64(10*time.Millisecond) || s.core.resend != 2 || !s.core.rtt.nodelay || s.core.mtu != 1300-16 ||
			!s.stream || !s.core.stream || !s.core.ackNoDelay || !s.writeDelay || s.core.limitPacer.rate != 1<<20 || s.enc == nil ||
			s.keepalive.period != int64(time.Second) || s.keepalive.idle != int64(time.Minute) || s.keepalive.user != 0 ||
			s.closing.linger != 2*time.Second {
			t.Errorf("%+v", s)
		}
		s.mu.Unlock()
		s.SetLinger(0)
		s.Close()
	}
	failing := Dialer{Control: func(string, string, syscall.RawConn) error { return syscall.EPERM }}
	if _, err := failing.Dial("udp", "127.0.0.1:9"); !errors.Is(err, syscall.EPERM) {
		t.Errorf("Control fails: %v", err)
	}
}

// Waiting for the peer fails in time when there is none, and when the dialling is cancelled.
func TestWaitForPeer(t *testing.T) {
	hole := udp(t, "127.0.0.1:0")
	defer hole.Close()
	d := Dialer{WaitForPeer: true, Timeout: 50 * time.Millisecond}
	_, err := d.Dial("udp", hole.LocalAddr().String())
	wantError(t, "dial", err, syscall.ETIMEDOUT)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no context.DeadlineExceeded", err)
	}
	d.Timeout = 0
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = d.DialContext(ctx, "udp", hole.LocalAddr().String())
	wantError(t, "dial", err, context.Canceled)
	_, err = d.DialContext(ctx, "udp", "localhost:1")
	if err == nil {
		t.Error("dialled with a context that is over")
	}
	d.UserTimeout = 50 * time.Millisecond
	_, err = d.Dial("udp", hole.LocalAddr().String())
	wantError(t, "dial", err, syscall.ETIMEDOUT)
}

// A probe makes no session, is answered without one, and is sent again when it is lost. The
// first data still brings the mark.
func TestWaitForPeerVirtual(t *testing.T) {
	virtual(t, netem.Path{Delay: 50 * time.Millisecond, Loss: 0.2}, func(w *world) {
		for _, crypt := range []string{"plain", "gcm"} {
			l := w.listen(w.config(newCrypt(t, crypt), 3, 1), "10.0.0.2:2000")
			for range 50 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				s := w.dial(l.cfg, l)
				w.check(s.await(ctx))
				cancel()
				w.wantSessions(l, 0)
				s.Write([]byte("x"))
				peer, err := l.AcceptKCP()
				w.check(err)
				w.settle()
				if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				s.Close()
				if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
				peer.Close()
				w.sleep(lingerTime)
				w.wantSessions(l, 0)
			}
			l.Close()
			s := w.dial(l.cfg, l) // nobody listens any more
			s.SetUserTimeout(10 * time.Second)
			start := time.Now()
			err := s.await(context.Background())
			wantPeerTimeout(t, s.opError("dial", err), 10*time.Second)
			if time.Since(start) != 10*time.Second {
				t.Errorf("after %v", time.Since(start))
			}
			s.Close()
		}
	})
}

func TestProfile(t *testing.T) {
	for p, want := range map[Profile]string{DefaultProfile: "default", LowLatency: "low latency", Balanced: "balanced", Bulk: "bulk", 9: "Profile(9)"} {
		if p.String() != want {
			t.Errorf("%q, want %q", p.String(), want)
		}
	}
}
