//go:build !kcpgeneric

package kcp

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRawAddr(t *testing.T) {
	for _, c := range []struct {
		addr string
		six  bool
		want string // "" for what cannot be sent there
	}{
		{"192.0.2.1:65535", false, "192.0.2.1:65535"},
		{"192.0.2.1:1", true, "192.0.2.1:1"}, // by way of an IPv4-mapped address
		{"[2001:db8::7]:53", true, "[2001:db8::7]:53"},
		{"[fe80::1%3]:53", true, "[fe80::1%3]:53"},
		{"[2001:db8::7]:53", false, ""},
	} {
		r := makeRawAddr(netip.MustParseAddrPort(c.addr), c.six)
		got := ""
		if r.n > 0 {
			got = parseRawAddr(r.b[:r.n]).String()
		}
		if got != c.want {
			t.Errorf("%s, six %v: %q, want %q", c.addr, c.six, got, c.want)
		}
	}
	for n := range unix.SizeofSockaddrInet6 {
		parseRawAddr(make([]byte, n)) // whatever the kernel says, no panic
	}
}
