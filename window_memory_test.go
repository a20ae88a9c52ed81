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
		if st := c.Stats(); st.PeerWindow < 2*autoWindow || st.Unacknowledged > 0 {
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
