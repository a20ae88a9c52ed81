package kcp

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// bounded makes the sessions of cfg share a bound of their own.
func (c *config) bounded(bytes int64) *config {
	c.memory = new(windowMemory)
	c.memory.bound.Store(bytes)
	return c
}

// slots is how many slots the rings of a session's windows have, and spare how many free packets it keeps.
func (s *UDPSession) slots() (send, receive, spare int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.core.snd.ring), len(s.core.rcv.ring), len(s.pool.free)
}

// What a burst over a fat path has taken is given back, at once where the session is inactive, and within
// seconds where it goes on with little.
func TestWindowMemoryGivenBack(t *testing.T) {
	for _, trickle := range []bool{false, true} {
		t.Run(fmt.Sprintf("trickle=%t", trickle), func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				cfg := w.config(nil, 0, 0).bounded(0)
				path := netem.Path{Delay: 100 * time.Millisecond, Bandwidth: scaled(31_000_000), Loss: 0.01}
				path.Queue = int(path.Bandwidth / 5)
				cfg.congestion = func() CongestionControl { return &knowing{path: path, window: 32 * IKCP_MTU_DEF} }
				b := w.opened(cfg, "10.0.0.2:2000", path)
				go io.Copy(struct{ io.Writer }{b.counter()}, b.s)
				w.awaitIdle()
				before := heapInUse()
				stop := time.Now().Add(3 * time.Second)
				for data := make([]byte, 64<<10); time.Now().Before(stop); {
					if _, err := b.c.Write(data); err != nil {
						t.Fatal(err)
					}
				}
				most := cfg.memory.used.Load()
				if least := int64(lighter(10<<20, 1<<20)); most < least {
					t.Errorf("%d kB are noted after a burst", most>>10)
				}
				wait := 4 * time.Second
				if trickle {
					wait = 24 * time.Second
				}
				for range wait / (100 * time.Millisecond) {
					if trickle {
						b.c.Write([]byte("x"))
					}
					w.sleep(100 * time.Millisecond)
				}
				if used := cfg.memory.used.Load(); used != 0 {
					t.Errorf("%d kB of %d are noted", used>>10, most>>10)
				}
				for _, s := range []*UDPSession{b.c, b.s} {
					if send, receive, spare := s.slots(); send > ringMin || receive > ringMin || spare > ringMin {
						t.Errorf("rings of %d and %d slots, %d packets", send, receive, spare)
					}
				}
				if left := heapInUse() - before; left > 2<<20 {
					t.Errorf("%d kB are left", left>>10)
				}
				b.close()
				w.sleep(closeTimeout)
				if n := w.snmp.Copy().WindowMemory; n != 0 {
					t.Errorf("the counters say %d bytes", n)
				}
			})
		})
	}
}

// Sessions whose peers leave a gap open and send what they can beyond it take a bounded share of the
// memory, and leave enough for others.
func TestGapsHoldBoundedMemory(t *testing.T) {
	const (
		sessions = 12
		bound    = 24 << 20
	)
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0).bounded(bound)
		l := w.listen(cfg, "10.0.0.2:2000")
		defer l.Close()
		go func() {
			for {
				s, err := l.AcceptKCP()
				if err != nil {
					return
				}
				go io.Copy(io.Discard, s)
			}
		}()
		before := heapInUse()
		body := make([]byte, 1300)
		var peers []*netem.Conn
		for i := range uint32(sessions) {
			peer := w.bind("10.0.0.3:0")
			peers = append(peers, peer)
			go func() {
				for b := make([]byte, mtuLimit); ; {
					if _, _, err := peer.ReadFrom(b); err != nil {
						return
					}
				}
			}()
			for _, sn := range append([]uint32{0}, sequence(2, 9000)...) {
				b := append(make([]byte, cfg.env.head, mtuLimit), segment(i+1, IKCP_CMD_PUSH, sn, body)...)
				peer.WriteTo(cfg.env.seal(b), l.Addr())
				if sn%100 == 0 {
					w.sleep(atOnce)
				}
			}
		}
		w.awaitIdle()
		used, held := cfg.memory.used.Load(), heapInUse()-before
		t.Logf("%d kB are noted, %d kB are held", used>>10, held>>10)
		const free = sessions * int64(windowMemoryFree)
		if used > bound || held > used+free+4<<20 {
			t.Errorf("%d kB are noted, %d kB are held", used>>10, held>>10)
		}
		if used < bound/2 {
			t.Error("hardly any memory was used")
		}
		if n := w.snmp.Copy(); n.WindowMemory != uint64(used) || n.WindowsCut == 0 {
			t.Errorf("counted: %d bytes, %d times cut", n.WindowMemory, n.WindowsCut)
		}
		// Another one still gets a window that is well above the least.
		c := w.dial(cfg, l)
		w.net.SetPath(c.LocalAddr(), l.Addr(), netem.Path{Delay: 50 * time.Millisecond})
		go c.Write(make([]byte, 8<<20))
		w.sleep(5 * time.Second)
		c.SetLinger(0)
		if st := c.Stats(); st.PeerWindow < autoWindow*3/2 || st.Unacknowledged > 0 {
			t.Errorf("a session of a friend has a window of %d, %d segments are unacknowledged", st.PeerWindow, st.Unacknowledged)
		}
		c.Close()
		for _, s := range l.known() {
			s.Abort()
		}
		w.awaitIdle()
		if used := cfg.memory.used.Load(); used != 0 {
			t.Errorf("%d bytes are noted of sessions that have ended", used)
		}
		for _, p := range peers {
			p.Close()
		}
	})
}

// sequence returns the numbers from first up to end.
func sequence(first, end uint32) (all []uint32) {
	for sn := first; sn < end; sn++ {
		all = append(all, sn)
	}
	return all
}

// upload sends n full segments to l as conversation 1 from peer, one by one, with what sealing it takes.
func (w *world) upload(peer *netem.Conn, cfg *config, l *Listener, n int) {
	body := make([]byte, 1300)
	for sn := range uint32(n) {
		b := append(make([]byte, cfg.env.head, mtuLimit), segment(1, IKCP_CMD_PUSH, sn, body)...)
		peer.WriteTo(cfg.env.seal(b), l.Addr())
		if sn%64 == 63 {
			w.sleep(atOnce)
		}
	}
	w.awaitIdle()
}

// Who sends from an address that may not be his gets no large window without a cipher, however fast what
// he sends is read. One that echoes a time stamp does, and so does one with the key.
func TestUnprovenWindow(t *testing.T) {
	for _, c := range []struct {
		crypt       string
		echoes      bool
		least, most int
	}{
		{"plain", false, autoWindow, unsureWindow}, {"plain", true, unsureWindow + 1, autoWindowMax},
		{"aes", false, unsureWindow + 1, autoWindowMax},
	} {
		t.Run(fmt.Sprintf("%s, echoes=%t", c.crypt, c.echoes), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 50 * time.Millisecond}, func(w *world) {
				cfg := w.config(newCrypt(t, c.crypt), 0, 0)
				l := w.listen(cfg, "10.0.0.2:2000")
				peer := w.bind("10.0.0.3:1")
				w.upload(peer, cfg, l, 1)
				s, err := l.AcceptKCP()
				w.check(err)
				go io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s})
				s.Write([]byte("data"))
				go func() {
					for b := make([]byte, mtuLimit); ; {
						n, _, err := peer.ReadFrom(b)
						if err != nil {
							return
						}
						if !c.echoes {
							continue
						}
						for _, h := range segmentsOf(b[:n]) {
							if h.cmd == IKCP_CMD_PUSH {
								ack := header{conv: 1, cmd: IKCP_CMD_ACK, wnd: 128, sn: h.sn, ts: h.ts}
								out := make([]byte, IKCP_OVERHEAD)
								ack.put(out)
								peer.WriteTo(out, l.Addr())
							}
						}
					}
				}()
				w.upload(peer, cfg, l, 40_000)
				if wnd := s.Stats().ReceiveWindow; wnd < c.least || wnd > c.most {
					t.Errorf("a window of %d segments, want %d to %d", wnd, c.least, c.most)
				}
				closeAll(peer, l)
				s.Abort()
			})
		})
	}
}

// Peers that stop acknowledging, or whose readers stop, when windows are large hold a bounded share of the
// memory together.
func TestStoppedPeersHoldBoundedMemory(t *testing.T) {
	const bound = 16 << 20
	for _, c := range []struct {
		name string
		stop func(w *world, flows []*bulk)
	}{
		{"acknowledgements", func(w *world, flows []*bulk) {
			for _, b := range flows {
				b.check(b.net.SetPath(b.s.LocalAddr(), b.c.LocalAddr(), netem.Path{Loss: 1}))
			}
		}},
		{"readers", func(w *world, flows []*bulk) {
			for _, b := range flows {
				b.s.SetReadDeadline(time.Now())
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				cfg := w.config(nil, 0, 0).bounded(bound)
				path := netem.Path{Delay: 100 * time.Millisecond, Bandwidth: scaled(5_000_000)}
				path.Queue = int(path.Bandwidth / 5)
				var flows []*bulk
				for i := range 6 {
					cfg := *cfg
					cfg.congestion = func() CongestionControl { return &knowing{path: path, window: 32 * IKCP_MTU_DEF} }
					flows = append(flows, w.bulk(&cfg, fmt.Sprintf("10.0.0.2:%d", 2000+i), path))
				}
				before := heapInUse()
				w.sleep(3 * time.Second)
				c.stop(w, flows)
				w.sleep(8 * time.Second)
				used, held := cfg.memory.used.Load(), heapInUse()-before
				t.Logf("%d kB are noted, %d kB are held", used>>10, held>>10)
				const beside = 12*int64(windowMemoryFree) + 6*restMax*packetCost // the least, and what Writes have begun
				if used > bound+beside || held > bound+beside+4<<20 {
					t.Error("too much")
				}
				for _, b := range flows {
					b.c.Abort()
					b.s.Abort()
				}
				w.awaitIdle()
				if used := cfg.memory.used.Load(); used != 0 {
					t.Errorf("%d bytes are noted of sessions that have ended", used)
				}
			})
		})
	}
}

// A bound of a session's windows holds, also one that is set while it carries much, and the process's
// memory is no matter of windows that the program has set.
func TestMaxWindow(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0).bounded(1)
		cfg.maxWnd = 1000
		b := w.fat(cfg, netem.Path{Delay: 100 * time.Millisecond, Bandwidth: 12_500_000})
		windows := func(send, receive int) {
			t.Helper()
			w.sleep(3 * time.Second)
			if st, r := b.c.Stats(), b.s.Stats(); st.SendWindow != send || r.ReceiveWindow != receive {
				t.Errorf("windows of %d and %d segments, want %d and %d", st.SendWindow, r.ReceiveWindow, send, receive)
			}
		}
		windows(1000, autoWindow)
		cfg.memory.bound.Store(-1)
		windows(1000, 1000)
		for _, s := range []*UDPSession{b.c, b.s} {
			w.check(s.SetMaxWindow(500))
		}
		windows(500, 500)
		b.c.SetWindowSize(700, 0)
		b.s.SetWindowSize(0, 600)
		cfg.memory.bound.Store(1)
		windows(700, 600)
		for _, n := range []int{-1, 1, autoWindow - 1, autoWindowMax + 1} {
			if err := b.c.SetMaxWindow(n); err == nil {
				t.Errorf("SetMaxWindow(%d) is no error", n)
			}
		}
		b.close()
	})
}
