package kcp

import (
	"fmt"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

func TestConstructorErrors(t *testing.T) {
	conn, err := netem.New(1).Listen("10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	plain := udp(t, "127.0.0.1:0") // where other PacketConns may do without an address
	addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	const local = "127.0.0.1:0"
	for _, tt := range []struct {
		name string
		make func() (any, error)
		says string
	}{
		{"nil conn", func() (any, error) { return NewConn2(addr, nil, 0, 0, nil) }, "PacketConn"},
		{"typed nil conn", func() (any, error) { return NewConn3(1, addr, nil, 0, 0, (*net.UDPConn)(nil)) }, "PacketConn"},
		{"nil conn of NewConn", func() (any, error) { return NewConn("127.0.0.1:1", nil, 0, 0, nil) }, "PacketConn"},
		{"nil conn to serve", func() (any, error) { return ServeConn(nil, 0, 0, nil) }, "PacketConn"},
		{"nil address of a UDP socket", func() (any, error) { return NewConn2(nil, nil, 0, 0, plain) }, "address"},
		{"typed nil address of a UDP socket", func() (any, error) { return NewConn4(1, (*net.UDPAddr)(nil), nil, 0, 0, true, plain) }, "address"},
		{"no port at a UDP socket", func() (any, error) { return NewConn2(&net.UDPAddr{IP: net.IPv4zero}, nil, 0, 0, plain) }, "port"},
		{"negative data shards", func() (any, error) { return DialWithOptions(local, nil, -1, 3) }, "-1/3"},
		{"negative parity shards", func() (any, error) { return ListenWithOptions(local, nil, 10, -3) }, "10/-3"},
		{"too many shards", func() (any, error) { return ServeConn(nil, 200, 57, conn) }, "256"},
		{"absurd shards", func() (any, error) { return NewConn2(addr, nil, math.MaxInt, math.MaxInt, conn) }, "256"},
		{"nil AEAD", func() (any, error) { return DialWithOptions(local, NewAEADCrypt(nil), 0, 0) }, "AEAD"},
		{"nil AEAD to serve", func() (any, error) { return ServeConn(NewAEADCrypt(nil), 0, 0, conn) }, "AEAD"},
		{"no port", func() (any, error) { return Dial("127.0.0.1") }, "127.0.0.1"},
		{"unresolvable", func() (any, error) { return Dial("no such host:1") }, "no such host"},
		{"port out of range", func() (any, error) { return Listen("127.0.0.1:65536") }, "65536"},
		{"not an address of ours", func() (any, error) { return Listen("192.0.2.1:1") }, "192.0.2.1"},
	} {
		v, err := tt.make()
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v does not say %q", tt.name, err, tt.says)
		}
		if s := fmt.Sprint(v); s != "<nil>" {
			t.Errorf("%s: returned %s as well", tt.name, s)
		}
	}
}
