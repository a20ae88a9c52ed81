package kcp

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Nonsense is refused with the field's name and bound.
func TestSettingsRefused(t *testing.T) {
	for want, s := range map[string]Settings{
		"SendWindow -1: must be 1 to 65535, or 0 for the default":       {SendWindow: -1},
		"ReceiveWindow 65536: must be 1 to 65535, or 0 for the default": {ReceiveWindow: 65536, Profile: Bulk},
		"MaxWindow 127: must be 128 to 65535, or 0 for the default":     {MaxWindow: 127},
		"MaxWindow 65536: must be 128 to 65535, or 0 for the default":   {MaxWindow: 65536, ReceiveWindow: 10},
		"MTU 9001: must be 50 to 9000, or 0 for the default":            {MTU: 9001},
		"MTU 40: must be 50 to 9000":                                    {MTU: 40},
		"MTU 52: must be 53 to 9000":                                    {MTU: 52, Block: newCrypt(t, "gcm"), DataShards: 0},
		"Profile 4: must be 0 to 3":                                     {Profile: 4},
		"Profile -1: must be 0 to 3":                                    {Profile: -1},
		"KeepAlive 1ms: must be at least 10ms, or 0 for none":           {KeepAlive: time.Millisecond},
		"IdleTimeout -1ns: must be above 0, or 0 for none":              {IdleTimeout: -1},
		"at most 256":                         {DataShards: 250, ParityShards: 20},
		"RepairBudget 2.5: must be at most 2": {RepairBudget: 2.5},
		"RepairBudget NaN: must be at most 2": {RepairBudget: math.NaN()},
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
	for want, lc := range map[string]ListenConfig{
		"MaxSessions -1: must be above 0, or 0 for no limit":          {MaxSessions: -1},
		"MaxSessionsPerPrefix -2: must be above 0, or 0 for no limit": {MaxSessionsPerPrefix: -2},
	} {
		if _, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
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
		KeepAlive: time.Second, IdleTimeout: time.Minute, UserTimeout: -1, CloseTimeout: 2 * time.Second,
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
	if client.GetConv() != 7 || client.LocalAddr().String() != local.LocalAddr().String() || controlled != 1+l.(*Listener).sockets() {
		t.Errorf("conv %d from %v, %d controlled", client.GetConv(), client.LocalAddr(), controlled)
	}
	server := acceptHello(t, client, l.(*Listener))
	for _, s := range []*UDPSession{client, server} {
		st := s.Stats()
		if st.SendWindow != 100 || st.ReceiveWindow < autoWindow || !st.PeerExtended {
			t.Errorf("%+v", st)
		}
		want := innerSettings{
			interval: 10 * time.Millisecond, resend: 2, mtu: 1300, parity: 1, rate: 1 << 20,
			nodelay: true, stream: true, ackNoDelay: true, writeDelay: true,
			keepAlive: time.Second, idleTimeout: time.Minute, linger: 2 * time.Second,
		}
		if got := s.settings(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		s.SetLinger(0)
		s.Close()
	}
	failing := Dialer{Control: func(string, string, syscall.RawConn) error { return syscall.EPERM }}
	if _, err := failing.Dial("udp", "127.0.0.1:9"); !errors.Is(err, syscall.EPERM) {
		t.Errorf("Control fails: %v", err)
	}
}

func TestProfile(t *testing.T) {
	for p, want := range map[Profile]string{DefaultProfile: "default", LowLatency: "low latency", Balanced: "balanced", Bulk: "bulk", 9: "Profile(9)"} {
		if p.String() != want {
			t.Errorf("%q, want %q", p.String(), want)
		}
	}
}
