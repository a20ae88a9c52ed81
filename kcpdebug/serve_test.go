package kcpdebug

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

var (
	serveAt   = flag.String("serve", "", "address at which TestServe serves the page, to look at it")
	serveMany = flag.Int("sessions", 60, "sessions that TestServe dials")
)

// TestServe serves the page in real time, with sessions over all kinds of paths in it, until it is
// interrupted: go test -run TestServe -serve 127.0.0.1:6060 -timeout 0
func TestServe(t *testing.T) {
	if *serveAt == "" {
		t.Skip("to look at the page, not for tests: see -serve")
	}
	network := netem.New(1)
	l, block := demoListener(t, network)
	for i := range *serveMany {
		demoSession(t, network, l, block, i)
	}
	http.Handle("/debug/kcp/", Handler())
	t.Logf("http://%s/debug/kcp/", *serveAt)
	t.Fatal(http.ListenAndServe(*serveAt, nil))
}

func demoListener(t testing.TB, network *netem.Network) (*kcp.Listener, kcp.BlockCrypt) {
	t.Helper()
	block, err := kcp.NewAESGCMCrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := network.Listen("192.0.2.1:4000")
	if err != nil {
		t.Fatal(err)
	}
	l, err := kcp.ServeConn(block, 10, 3, conn)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			go demoServe(s)
		}
	}()
	return l, block
}

// demoServe reads all, but where the first byte says slow.
func demoServe(s *kcp.UDPSession) {
	b := make([]byte, 4096)
	for {
		n, err := s.Read(b)
		if err != nil {
			return
		}
		if n > 0 && b[0] == 's' {
			time.Sleep(20 * time.Millisecond)
		}
		if n < 100 {
			s.Write(b[:n])
		}
	}
}

// demoSession dials the i-th session, over a path and with a load of its own.
func demoSession(t testing.TB, network *netem.Network, l *kcp.Listener, block kcp.BlockCrypt, i int) {
	t.Helper()
	host := netip.AddrFrom4([4]byte{198, 51, byte(100 + i/250), byte(1 + i%250)})
	conn, err := network.Listen(netip.AddrPortFrom(host, uint16(20000+i)).String())
	if err != nil {
		t.Fatal(err)
	}
	path := netem.Path{
		Delay: time.Duration(5+i*7%120) * time.Millisecond, Loss: []float64{0, 0, 0.001, 0.02, 0.08}[i%5],
		Bandwidth: int64(100_000 * (1 + i%7)), Queue: 100_000, Jitter: time.Duration(i%3) * time.Millisecond,
	}
	for _, ends := range [][2]net.Addr{{conn.LocalAddr(), l.Addr()}, {l.Addr(), conn.LocalAddr()}} {
		if err := network.SetPath(ends[0], ends[1], path); err != nil {
			t.Fatal(err)
		}
	}
	settings := kcp.Settings{Block: block}
	if i%6 == 5 {
		settings.Seal = kcp.SealOff
	}
	s, err := (&kcp.Dialer{Settings: settings}).DialConn(context.Background(), conn, l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, s)
	go demoLoad(s, i)
}

// demoLoad writes for ever.
func demoLoad(s *kcp.UDPSession, i int) {
	bulk, kind := make([]byte, 50_000), i%8
	every := time.Duration(200+100*(i%9)) * time.Millisecond
	if i >= 64 { // the others do little, as there may be thousands
		kind, every = 7, 20*every
	}
	switch kind {
	case 0, 1: // as much as the path carries
		for {
			if _, err := s.Write(bulk); err != nil {
				return
			}
		}
	case 2: // to a peer that reads slowly
		for j := range bulk {
			bulk[j] = 's'
		}
		for {
			if _, err := s.Write(bulk); err != nil {
				return
			}
		}
	case 3: // in bursts
		for range time.Tick(3 * time.Second) {
			if _, err := s.Write(bulk); err != nil {
				return
			}
		}
	case 4: // within a rate
		s.SetRateLimit(30_000)
		for {
			if _, err := s.Write(bulk); err != nil {
				return
			}
		}
	default: // now and then
		for range time.Tick(every) {
			if _, err := fmt.Fprintf(s, "message %d", i); err != nil {
				return
			}
		}
	}
}
