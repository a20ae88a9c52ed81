package kcp

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// The whole of nettest, over loopback and over an emulated path that loses: nettest takes its time
// from the clock, so that one is in real time too.
func TestNettest(t *testing.T) {
	for _, tt := range []struct {
		name         string
		crypt        string
		data, parity int
		lossy        bool
	}{
		{"plain", "plain", 0, 0, false},
		{"aes", "aes", 0, 0, false},
		{"gcm", "gcm", 0, 0, false},
		{"fec", "plain", 3, 1, false},
		{"lossy", "gcm", 3, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			block := newCrypt(t, tt.crypt)
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				var client, server *UDPSession
				if tt.lossy {
					client, server = emulated(t, block, tt.data, tt.parity)
				} else {
					client, server = loopback(t, "127.0.0.1:0", block, tt.data, tt.parity)
				}
				for _, s := range []*UDPSession{client, server} {
					s.SetStreamMode(true)
					s.SetNoDelay(1, 10, 2, 1)
				}
				return client, server, func() {
					for _, s := range []*UDPSession{client, server} {
						s.SetLinger(0)
						s.Close()
					}
				}, nil
			})
		})
	}
}

// emulated returns both ends of a session over an emulated path of 2 ms round trip that loses 3%
// each way.
func emulated(t testing.TB, block BlockCrypt, data, parity int) (client, server *UDPSession) {
	t.Helper()
	path := netem.Path{Delay: time.Millisecond, Loss: 0.03}
	a, b, err := netem.Pipe(testSeed, path, path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ServeConn(block, data, parity, b)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = NewConn3(realConvs().next(), b.LocalAddr(), block, data, parity, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Network().Close() })
	return client, acceptHello(t, client, l)
}
