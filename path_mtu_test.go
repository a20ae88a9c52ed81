package kcp

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// A search finds what passes, from whatever length is in use, with few probes.
func TestPathMTUSearch(t *testing.T) {
	b := &mtuBounds{floor: mtuFloor, base: mtuBase, most: mtuEthernet}
	var rtt rttEstimator
	rtt.init()
	for _, c := range []struct {
		carries, inUse int
		suspect        bool
		want, probes   int
	}{
		{1500, 1400, false, 1472, 1},
		{1500, 1200, false, 1472, 1},
		{1472, 1472, true, 1472, 2},
		{1400, 1400, false, 1400, 16},
		{1399, 1400, false, 1399, 40},
		{1252, 1472, true, 1250, 40},
		{548, 1472, true, 548, 40},
		{548, 1400, false, 548, 40},
		{500, 1400, false, 1400, 12}, // nothing is answered
		{500, 1400, true, 1400, 6},
	} {
		p := pathMTU{size: c.inUse}
		top := int(b.most)
		if c.suspect {
			top = c.inUse
		}
		now := int64(1)
		p.begin(now, top, c.suspect)
		for p.searching {
			if n := p.step(now, b); n > 0 {
				p.value = uint32(n)
				p.sent(now, &rtt)
				if p.answer(p.value + 1) {
					t.Fatal("a value that was not sent is an answer")
				}
				if n <= c.carries && !p.answer(p.value) {
					t.Fatal("the value that was sent is none")
				}
			}
			now = max(now, p.at)
		}
		if p.size != c.want && (p.size > c.carries || p.size < c.want-mtuResolution) || int(p.probes) > c.probes {
			t.Errorf("%+v: %d with %d probes", c, p.size, p.probes)
		}
		if p.answer(p.value) {
			t.Error("an answer counts after the search")
		}
	}
}

// fragmented makes the socket, over an emulated network, one that can send in fragments or not. By default
// it does not, and nobody is told of what was too long.
func fragmented(sock *socket) *socket {
	c := sock.conn.(*netem.Conn)
	sock.longest = jumboLimit // as where GRO is
	sock.fragment = func(to *destination) (reset func(), err error) {
		c.AllowFragments(to.fragments == fragmentsAllowed)
		return func() { c.AllowFragments(false) }, nil
	}
	return sock
}

// stream is a transfer whose receiver notes how it goes.
type stream struct {
	*world
	c    *UDPSession
	path netem.Path

	got     atomic.Int64
	last    time.Time
	longest time.Duration // without anything arriving
}

// size is the longest datagram that the sender makes now.
func (s *stream) size() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.c.mtu
}

// searching says whether the search goes on.
func (s *stream) searching() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	p := s.c.core.pmtu
	return p == nil || p.searching
}

// narrow makes the path to the receiver carry so many bytes in a datagram.
func (s *stream) narrow(mtu int) {
	s.Helper()
	s.path.MTU = mtu
	s.check(s.net.SetPath(s.c.LocalAddr(), s.c.RemoteAddr(), s.path))
}

// until lets time pass until f, and returns how much did.
func (s *stream) until(f func() bool, most time.Duration) time.Duration {
	begin := time.Now()
	for !f() && time.Since(begin) < most {
		s.sleep(10 * time.Millisecond)
	}
	return time.Since(begin)
}

// receive takes what arrives until r ends.
func (s *stream) receive(r io.Reader) {
	b := make([]byte, 64<<10)
	s.last = time.Now()
	for {
		n, err := r.Read(b)
		if err != nil {
			return
		}
		s.longest = max(s.longest, time.Since(s.last))
		s.last = time.Now()
		s.got.Add(int64(n))
	}
}

// streaming runs f beside a transfer from a session with cfg over path, to a peer of this package or a
// deployed one.
func streaming(t *testing.T, cfg func(*world) *config, old *unmarked.Config, path netem.Path, f func(s *stream)) {
	t.Helper()
	narrowing(t, cfg, old, path, func(s *stream) {
		go io.Copy(s.c, endless{})
		f(s)
	})
}

// narrowing is streaming without the transfer.
func narrowing(t *testing.T, cfg func(*world) *config, old *unmarked.Config, path netem.Path, f func(s *stream)) {
	t.Helper()
	virtual(t, netem.Path{Delay: path.Delay}, func(w *world) {
		s := &stream{world: w, path: path}
		c := cfg(w)
		c.stream = true
		if old != nil {
			old.Stream = true
			l := unmarked.Listen(*old, w.bind("10.0.0.2:2000"))
			s.c = c.dial(1, l.Addr(), fragmented(newSocket(w.bind("10.0.0.1:0"), true)))
			s.narrow(path.MTU)
			go func() {
				if p, err := l.Accept(); err == nil {
					s.receive(p)
				}
			}()
			defer l.Kill()
		} else {
			l := newListener(c, fragmented(newSocket(w.bind("10.0.0.2:2000"), true)))
			s.c = c.dial(1, l.Addr(), fragmented(newSocket(w.bind("10.0.0.1:0"), true)))
			s.narrow(path.MTU)
			go func() {
				if p, err := l.AcceptKCP(); err == nil {
					s.receive(p)
				}
			}()
			defer l.Close()
		}
		f(s)
		s.c.Abort()
	})
}

// endless is a stream of zeros.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// sessionKinds are the sessions that the length of datagrams is found for.
var sessionKinds = []struct {
	name string
	cfg  func(w *world) *config
	old  *unmarked.Config
}{
	{"plain", func(w *world) *config { return w.config(nil, 0, 0) }, nil},
	{"sealed", func(w *world) *config { return w.config(newCrypt(w.T, "gcm"), 0, 0) }, nil},
	{"aes", func(w *world) *config { return unsealed(w.config(newCrypt(w.T, "aes"), 0, 0)) }, nil},
	{"repairs", func(w *world) *config { return w.config(nil, 10, 3) }, nil},
	{"deployed", func(w *world) *config { return w.config(nil, 0, 0) }, &unmarked.Config{ReceiveWindow: 128}},
	{"deployed, FEC", func(w *world) *config { return w.config(nil, 10, 3) }, &unmarked.Config{ReceiveWindow: 128}},
}

var mtuPath = netem.Path{Delay: 20 * time.Millisecond, Bandwidth: 500_000, Overhead: 28}

func TestPathMTU(t *testing.T) {
	for i, kind := range sessionKinds {
		for _, mtu := range []int{1252, 0, 1400, 548} {
			if mtu != 1252 && i > 0 && raceEnabled {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d", kind.name, mtu), func(t *testing.T) {
				path := mtuPath
				path.MTU = mtu
				want := mtu
				if mtu == 0 {
					want = mtuEthernet
				}
				streaming(t, kind.cfg, kind.old, path, func(s *stream) {
					took := s.until(func() bool { return s.size() > want-mtuResolution-2 && s.size() <= want }, 15*time.Second)
					s.until(func() bool { return !s.searching() }, 15*time.Second)
					s.c.mu.Lock()
					defer s.c.mu.Unlock()
					p := s.c.core.pmtu
					t.Logf("%d after %v, %d probes, %d unanswered, longest stall %v", s.c.mtu, took, p.probes, p.unanswered, s.longest)
					if s.c.mtu > want || s.c.mtu < want-mtuResolution || p.searching {
						t.Errorf("datagrams of %d bytes, want %d: %+v", s.c.mtu, want, *p)
					}
				})
			})
		}
	}
}

// narrowStall bounds how long nothing arrives when a path becomes narrower.
const narrowStall = 3 * time.Second

// A path that becomes narrower and wider again in mid-transfer: what is too long goes on in fragments within a
// few timeouts, datagrams are found that fit, and after the raise timer the longer ones again.
func TestPathMTUChanges(t *testing.T) {
	for i, kind := range sessionKinds {
		for _, delay := range []time.Duration{20, 5, 100, 250} {
			if delay != 20 && (i > 0 || raceEnabled) || raceEnabled && i%2 == 0 {
				continue
			}
			path := mtuPath
			path.Delay = delay * time.Millisecond
			path.Queue = 256 << 10
			t.Run(fmt.Sprintf("%s, %v", kind.name, 2*path.Delay), func(t *testing.T) {
				streaming(t, kind.cfg, kind.old, path, func(s *stream) {
					s.until(func() bool { return s.size() == mtuEthernet }, 20*time.Second)
					s.sleep(5 * time.Second)
					before, began := s.longest, s.got.Load()
					s.longest = 0
					s.narrow(1252)
					took := s.until(func() bool { return s.size() > 1252-mtuResolution && s.size() <= 1252 }, 30*time.Second)
					s.sleep(10*time.Second - took%time.Second)
					goodput := float64(s.got.Load()-began) / (took + 10*time.Second).Seconds()
					stall := s.longest
					s.narrow(1472)
					up := s.until(func() bool { return s.size() == mtuEthernet }, 3*time.Minute)
					t.Logf("%d bytes after %v, longest stall %v (before %v), %.0f bytes/s; up after %v", s.size(), took, stall, before, goodput, up)
					if stall > narrowStall || took > 15*time.Second || s.size() != mtuEthernet {
						t.Errorf("stall of %v, found after %v, up to %d after %v", stall, took, s.size(), up)
					}
				})
			})
		}
	}
}

// An outage is no narrow path: the length stays.
func TestPathMTUOutage(t *testing.T) {
	for _, kind := range sessionKinds[:5] {
		t.Run(kind.name, func(t *testing.T) {
			streaming(t, kind.cfg, kind.old, mtuPath, func(s *stream) {
				s.sleep(5 * time.Second)
				probes := s.c.Stats().MTUProbes
				s.narrow(1)
				s.sleep(20 * time.Second)
				sent := s.c.Stats().MTUProbes - probes
				s.narrow(0)
				got := s.got.Load()
				s.sleep(20 * time.Second)
				t.Logf("%d probes", sent)
				if st := s.c.Stats(); st.MTU != mtuEthernet || st.BlackHoles != 0 || sent > 40 {
					t.Errorf("datagrams of %d bytes, %d black holes, %d probes in the outage", st.MTU, st.BlackHoles, sent)
				}
				if n := s.got.Load() - got; n < 4_000_000 {
					t.Errorf("%d bytes afterwards", n)
				}
			})
		})
	}
}

// A path that has become another one begins at the base.
func TestPathMTURestart(t *testing.T) {
	streaming(t, sessionKinds[0].cfg, nil, mtuPath, func(s *stream) {
		s.sleep(2 * time.Second)
		before := s.size()
		s.c.mu.Lock()
		s.c.restartMTULocked()
		s.c.mu.Unlock()
		base := s.size()
		s.sleep(2 * time.Second)
		if after := s.size(); before != mtuEthernet || base != mtuBase || after != mtuEthernet {
			t.Errorf("datagrams of %d, %d and %d bytes", before, base, after)
		}
	})
}

// What the program has set is the most. Without Don't Fragment, and where it wants none, there is no search. No
// more is sent than the peer reads.
func TestMTUAsked(t *testing.T) {
	plain := func(w *world) *config { return w.config(nil, 0, 0) }
	for _, c := range []struct {
		name string
		cfg  func(w *world) *config
		set  func(s *UDPSession)
		mtu  int
		want int
	}{
		{"Settings.MTU", func(w *world) *config { return w.settle(Settings{MTU: 1400}, PrivateKey{}) }, nil, 0, 1400},
		{"Settings.MTU, narrow path", func(w *world) *config { return w.settle(Settings{MTU: 1400}, PrivateKey{}) }, nil, 1300, 1300},
		{"Settings.FixedMTU", func(w *world) *config { return w.settle(Settings{FixedMTU: true}, PrivateKey{}) }, nil, 0, 1400},
		{"SetMtu", plain, func(s *UDPSession) { s.SetMtu(1350) }, 0, 1350},
		{"SetMtu, small", plain, func(s *UDPSession) { s.SetMtu(50) }, 0, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := mtuPath
			path.MTU = c.mtu
			streaming(t, c.cfg, nil, path, func(s *stream) {
				if c.set != nil {
					c.set(s.c)
				}
				s.sleep(8 * time.Second)
				st := s.c.Stats()
				if st.MTU > c.want || st.MTU < c.want-mtuResolution || (st.MTUProbes > 0) != (c.want > 50 && !s.c.cfg.fixedMTU) {
					t.Errorf("datagrams of %d bytes, want %d; %d probes", st.MTU, c.want, st.MTUProbes)
				}
			})
		})
	}
	n := alone(t) // of a peer that reads less
	n.boundMTU(mtuBounds{floor: 500, base: 1200, most: 1450, ethernet: 1450, behind: 22})
	n.params.peer = params{known: true, datagram: 1300}
	if n.limitToPeer(); n.mtu != 1300-22 || n.mtuMost() != 1300-22 {
		t.Errorf("%d, %d at most", n.mtu, n.mtuMost())
	}
	virtual(t, mtuPath, func(w *world) { // PacketConns of the program's
		c, s := w.pair(w.config(nil, 0, 0))
		w.check(exchange(c, s, 100_000))
		for _, s := range []*UDPSession{c, s} {
			if st := s.Stats(); st.MTU != IKCP_MTU_DEF || st.MTUProbes != 0 {
				t.Errorf("datagrams of %d bytes, %d probes", st.MTU, st.MTUProbes)
			}
		}
		closeAll(c, s)
	})
}

// In message mode what fits into one segment of the MTU asked for is one message, also where the path has become
// narrower, and datagrams are as long as they may be.
func TestMTUMessages(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		l := newListener(w.config(nil, 0, 0), fragmented(newSocket(w.bind("10.0.0.2:2000"), true)))
		c := w.config(nil, 0, 0).dial(1, l.Addr(), fragmented(newSocket(w.bind("10.0.0.1:0"), true)))
		message := random(1, IKCP_MTU_DEF-IKCP_OVERHEAD)
		var s *UDPSession
		for i := range 400 {
			if i == 200 {
				w.check(w.net.SetPath(c.LocalAddr(), l.Addr(), netem.Path{Delay: 10 * time.Millisecond, MTU: 1252}))
			}
			c.Write(message)
			if i == 0 {
				var err error
				s, err = l.AcceptKCP()
				w.check(err)
			}
			b := make([]byte, 2000)
			s.SetReadDeadline(time.Now().Add(patience()))
			if n, err := s.Read(b); err != nil || n != len(message) {
				t.Fatalf("message %d: %d bytes, %v, want %d", i, n, err, len(message))
			}
			w.sleep(20 * time.Millisecond)
		}
		if st := c.Stats(); st.MTU > 1252 || st.MTU < 1252-mtuResolution || st.BlackHoles != 1 {
			t.Errorf("datagrams of %d bytes, %d black holes", st.MTU, st.BlackHoles)
		}
		most := c.MaxDatagramSize()
		w.check(c.SendDatagram(random(2, most)))
		if err := c.SendDatagram(random(2, most+1)); err == nil {
			t.Error("a datagram was taken that is too long")
		}
		b, err := s.ReceiveDatagram(context.Background())
		if err != nil || len(b) != most || most != c.Stats().MTU-IKCP_OVERHEAD {
			t.Errorf("%d of %d bytes, %v", len(b), most, err)
		}
		closeAll(c, s, l)
	})
}

// Whoever forges a PROBE gets an answer that is not longer, and who forges answers has to guess.
func TestForgedProbes(t *testing.T) {
	n := alone(t)
	n.caps.own = capMark | capFIN | capRecords
	for _, list := range [][]byte{
		appendProbe(nil, recordProbe, 7),
		append(appendProbe(appendProbe(nil, recordProbe, 5), recordProbe, 7), record(recordPad, make([]byte, 1000)...)...),
	} {
		sent := len(n.sent)
		b := withRecords(n.fromPeer(header{cmd: IKCP_CMD_WINS, frg: n.caps.own}), list)
		n.input(n.l.now, b, true)
		n.drive()
		if len(n.sent) != sent+1 {
			t.Fatalf("%d answers", len(n.sent)-sent)
		}
		if h := n.sent[sent]; h.cmd != IKCP_CMD_WINS || int(h.len) != probeOKSize || probeOKSize > len(list) {
			t.Errorf("%+v", h)
		}
	}
	p := n.searchedMTU()
	p.begin(n.l.now, 1400, false)
	p.probe, p.value, p.tries = 1400, 7, 1
	for _, list := range [][]byte{appendProbe(nil, recordProbeOK, 8), appendProbe(nil, recordProbe, 7)} {
		n.input(n.l.now, withRecords(n.fromPeer(header{cmd: IKCP_CMD_WINS, frg: n.caps.own}), list), true)
	}
	if p.echoed {
		t.Error("another value is an answer")
	}
	n.input(n.l.now, withRecords(n.fromPeer(header{cmd: IKCP_CMD_WINS, frg: n.caps.own}), appendProbe(nil, recordProbeOK, 7)), true)
	if !p.echoed {
		t.Error("the value is none")
	}
}

// A PacketConn that can be told what may go on in fragments has its path's MTU found, too.
type fragmentingConn struct{ *netem.Conn }

func (c fragmentingConn) AllowFragments(allow bool) error {
	c.Conn.AllowFragments(allow)
	return nil
}

func TestFragmenter(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond, MTU: 1000}, func(w *world) {
		lc := ListenConfig{OwnConn: true}
		l, err := lc.ListenConn(fragmentingConn{w.bind("10.0.0.2:2000")})
		w.check(err)
		defer l.Close()
		d := Dialer{OwnConn: true}
		c, err := d.DialConn(context.Background(), fragmentingConn{w.bind("10.0.0.1:0")}, l.Addr())
		w.check(err)
		defer c.Close()
		go c.Write(make([]byte, 200_000))
		s, err := l.AcceptKCP()
		w.check(err)
		defer s.Close()
		_, err = io.ReadFull(s, make([]byte, 200_000))
		w.check(err)
		w.sleep(5 * time.Second)
		if mtu := c.Stats().MTU; mtu > 1000 || mtu < 1000-2*mtuResolution {
			t.Errorf("datagrams of %d bytes on a path that carries 1000", mtu)
		}
	})
}

// Datagrams of a medium length are lost for that, too, where no longer one tells of it: on a path that carries
// less than nearly all do, from the first one on, and when it becomes so, also beside short ones that arrive.
func TestPathMTUMedium(t *testing.T) {
	for i, kind := range sessionKinds[:4] {
		for _, first := range []bool{true, false} {
			if raceEnabled && i > 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s, first %v", kind.name, first), func(t *testing.T) {
				path := mtuPath
				if first {
					path.MTU = 600
				}
				narrowing(t, kind.cfg, kind.old, path, func(s *stream) {
					sent := int64(0)
					for i := range 30 {
						if i == 10 {
							s.narrow(600)
						}
						n, err := s.c.Write(make([]byte, []int{40, 800}[i%2]))
						s.check(err)
						sent += int64(n)
						s.sleep(time.Second)
					}
					s.until(func() bool { return s.got.Load() == sent }, 10*time.Second)
					if s.got.Load() != sent || s.longest > 15*time.Second {
						t.Errorf("%d of %d bytes, nothing for %v; datagrams of %d bytes", s.got.Load(), sent, s.longest, s.size())
					}
				})
			})
		}
	}
}

// The loss of a longer datagram, which is never sent again as its message has expired, hides nothing of the
// losses of shorter ones.
func TestPathMTUExpired(t *testing.T) {
	narrowing(t, sessionKinds[0].cfg, nil, mtuPath, func(s *stream) {
		write := func(expires time.Time) {
			size := s.c.core.mss
			if expires.IsZero() {
				size -= 40
			}
			s.check(s.c.WriteMessage(make([]byte, size), expires))
		}
		s.c.SetStreamMode(false)
		s.until(func() bool {
			s.check(s.c.WriteMessage(make([]byte, 5000), time.Time{}))
			return s.size() == mtuEthernet && !s.searching()
		}, 20*time.Second)
		s.sleep(time.Second)
		s.narrow(1300)
		before := s.got.Load()
		write(time.Now().Add(50 * time.Millisecond))
		s.sleep(time.Second)
		write(time.Time{})
		took := s.until(func() bool { return s.got.Load() > before }, 20*time.Second)
		if s.until(func() bool { return s.size() <= 1300 }, 5*time.Second); took > 5*time.Second || s.size() > 1300 {
			t.Errorf("arrives after %v, in datagrams of %d bytes", took, s.size())
		}
	})
}
