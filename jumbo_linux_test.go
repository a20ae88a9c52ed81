package kcp

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// Jumbo datagrams over the loopback interface, with segmentation offload and without, and over a link that
// carries them, which becomes one of Ethernet's. What is sent arrives, and nothing else.
func TestJumboLinks(t *testing.T) {
	t.Run("loopback", func(t *testing.T) { jumboLink(t, listenUDPAt(t, "127.0.0.1:0"), listenUDPAt(t, "127.0.0.1:0"), nil) })
	t.Run("loopback, IPv6", func(t *testing.T) { jumboLink(t, listenUDPAt(t, "[::1]:0"), listenUDPAt(t, "[::1]:0"), nil) })
	t.Run("loopback, no offload", func(t *testing.T) {
		t.Setenv("KCP_NO_OFFLOAD", "1")
		jumboLink(t, listenUDPAt(t, "127.0.0.1:0"), listenUDPAt(t, "127.0.0.1:0"), nil)
	})
	t.Run("veth", func(t *testing.T) {
		near, far := newNamespace(t), newNamespace(t)
		joinNamespaces(t, near, "kcp0", far, "kcp1", "10.9.0.1/24", "10.9.0.2/24", "9000")
		jumboLink(t, near.listenUDP(t, "udp", "10.9.0.1:0"), far.listenUDP(t, "udp", "10.9.0.2:4000"), func() {
			near.need(t, []string{"ip", "link", "set", "kcp0", "mtu", "1500"})
			far.need(t, []string{"ip", "link", "set", "kcp1", "mtu", "1500"})
		})
	})
}

func listenUDPAt(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Skip(err)
	}
	growBuffers(c.(*net.UDPConn))
	return c.(*net.UDPConn)
}

// jumboLink finds the length of datagrams from one socket to another, and again once narrow was called.
func jumboLink(t *testing.T, from, to *net.UDPConn, narrow func()) {
	watchdog(t)
	settings := Settings{MTU: jumboLimit, StreamMode: true}
	l, err := (&ListenConfig{Settings: settings, OwnConn: true}).ListenConn(to)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := (&Dialer{Settings: settings, OwnConn: true}).DialConn(context.Background(), from, l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	want := jumboLimit - 28
	if from.LocalAddr().(*net.UDPAddr).IP.To4() == nil {
		want = jumboLimit - 48
	}
	s := acceptHello(t, c, l)
	defer s.Abort()
	for range 2 {
		begin := time.Now()
		for c.Stats().MTU != want || s.Stats().MTU != want {
			if err := exchange(c, s, 1_000_000); err != nil {
				t.Fatal(err)
			}
			if time.Since(begin) > realPatience {
				t.Fatalf("datagrams of %d and %d bytes, want %d", c.Stats().MTU, s.Stats().MTU, want)
			}
		}
		t.Logf("%d bytes after %v", want, time.Since(begin))
		if err := exchange(c, s, 3_000_000); err != nil {
			t.Fatal(err)
		}
		if narrow == nil {
			break
		}
		narrow()
		want = mtuEthernet
	}
}

// BenchmarkJumbo is bulk over the loopback interface, with datagrams of Ethernet's and with jumbo ones.
func BenchmarkJumbo(b *testing.B) {
	for _, offload := range []string{"", "1"} {
		for _, block := range []string{"", "gcm"} {
			for _, mtu := range []int{0, jumboLimit} {
				b.Run(fmt.Sprintf("no offload %q, cipher %q, MTU %d", offload, block, mtu), func(b *testing.B) {
					b.Setenv("KCP_NO_OFFLOAD", offload)
					settings := Settings{MTU: mtu, StreamMode: true, Profile: Bulk}
					if block != "" {
						settings.Block = newCrypt(b, block)
					}
					jumboBulk(b, settings)
				})
			}
		}
	}
}

func jumboBulk(b *testing.B, settings Settings) {
	l, err := (&ListenConfig{Settings: settings, OwnConn: true}).ListenConn(listenUDPAt(b, "127.0.0.1:0"))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	c, err := (&Dialer{Settings: settings, OwnConn: true}).DialConn(context.Background(), listenUDPAt(b, "127.0.0.1:0"), l.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Abort()
	s := acceptHello(b, c, l)
	defer s.Abort()
	const piece = 1 << 20
	buf := make([]byte, piece)
	pass := func(n int) {
		done := make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.Discard, s, int64(n)*piece)
			done <- err
		}()
		for range n {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	pass(32) // until the length is found
	b.SetBytes(piece)
	b.ResetTimer()
	pass(b.N)
	b.StopTimer()
	b.ReportMetric(float64(c.Stats().MTU), "bytes/datagram")
}
