package kcp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// jumboKinds are the sessions that may have jumbo datagrams.
var jumboKinds = []struct {
	name  string
	block string // "" for none
}{{"plain", ""}, {"sealed", "gcm"}, {"sealed, aes", "aes"}}

// jumboConfig is that of both ends, who say that they read datagrams of mtu bytes.
func jumboConfig(block string, mtu int) func(w *world) *config {
	return func(w *world) *config {
		s := Settings{MTU: mtu}
		if block != "" {
			s.Block = newCrypt(w.T, block)
		}
		return w.settle(s, PrivateKey{})
	}
}

// Between two ends that say so datagrams become as long as the path carries, and as short again as it does.
func TestJumbo(t *testing.T) {
	const most = jumboLimit - 28
	for _, kind := range jumboKinds {
		t.Run(kind.name, func(t *testing.T) {
			path := mtuPath
			path.Delay = 5 * time.Millisecond
			path.Bandwidth = 500_000
			path.MTU = most
			streaming(t, jumboConfig(kind.block, jumboLimit), nil, path, func(s *stream) {
				found := s.until(func() bool { return s.size() == most }, 5*time.Second)
				began := s.got.Load()
				s.sleep(time.Second)
				goodput := s.got.Load() - began
				s.longest = 0
				s.narrow(1472)
				took := s.until(func() bool { return s.size() == mtuEthernet }, 10*time.Second)
				s.until(func() bool { return !s.searching() }, 15*time.Second)
				s.sleep(time.Second)
				stall := s.longest
				want, up := mtuEthernet, time.Duration(0)
				if kind.block == "" {
					s.narrow(most)
					want, up = most, s.until(func() bool { return s.size() == most }, 3*time.Minute)
				}
				t.Logf("found after %v, %d bytes/s; 1472 after %v, longest stall %v; up again after %v", found, goodput, took, stall, up)
				if s.size() != want || goodput < 460_000 || took > 5*time.Second || stall > narrowStall {
					t.Errorf("datagrams of %d bytes", s.size())
				}
			})
		})
	}
}

// Nobody is sent a jumbo datagram who has not said that he reads it, and none goes under a cipher that may not
// take it.
func TestJumboRefused(t *testing.T) {
	for _, c := range []struct {
		name        string
		here, there func(w *world) *config
		want        int
	}{
		{"one end", jumboConfig("", jumboLimit), func(w *world) *config { return w.config(nil, 0, 0) }, mtuEthernet},
		{"the other", func(w *world) *config { return w.config(nil, 0, 0) }, jumboConfig("", jumboLimit), mtuEthernet},
		{"less", jumboConfig("", jumboLimit), jumboConfig("", 4000), 4000},
		{"BlockCrypt", func(w *world) *config { return unsealed(jumboConfig("aes", jumboLimit)(w)) },
			func(w *world) *config { return unsealed(jumboConfig("aes", jumboLimit)(w)) }, mtuEthernet},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, mtuPath, func(w *world) {
				l := newListener(c.there(w), fragmented(newSocket(w.bind("10.0.0.2:2000"), true)))
				s := &stream{world: w, path: mtuPath, c: c.here(w).dial(1, l.Addr(), fragmented(newSocket(w.bind("10.0.0.1:0"), true)))}
				s.c.SetStreamMode(true)
				go func() {
					if p, err := l.AcceptKCP(); err == nil {
						s.receive(p)
					}
				}()
				s.c.Write(make([]byte, 4_000_000))
				s.until(func() bool { return s.size() == c.want && !s.searching() }, 5*time.Second)
				s.sleep(5 * time.Second)
				if s.size() != c.want || s.got.Load() < 1_000_000 {
					t.Errorf("datagrams of %d bytes, want %d", s.size(), c.want)
				}
				s.c.Abort()
				l.Close()
			})
		})
	}
	for _, s := range []Settings{{MTU: jumboLimit + 1}, {MTU: 4000, DataShards: 10, ParityShards: 3}, {MTU: 1501, FixedMTU: true}} {
		if _, err := s.resolve(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("MTU %d", s.MTU)) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// A jumbo datagram is taken out of the pools and put back once, copies of it, too.
func TestJumboBuffers(t *testing.T) {
	path := mtuPath
	path.Delay, path.Bandwidth = time.Millisecond, 5_000_000
	streaming(t, jumboConfig("gcm", jumboLimit), nil, path, func(s *stream) {
		s.c.SetDUP(1)
		s.until(func() bool { return s.size() == jumboLimit-28 }, 5*time.Second)
		s.sleep(time.Second)
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		if s.c.mtu != jumboLimit-28 {
			t.Errorf("datagrams of %d bytes", s.c.mtu)
		}
		for _, p := range s.c.pool.free {
			if cap(p.data) > mtuLimit {
				t.Fatal("a packet that nobody uses has a large buffer")
			}
		}
	})
}
