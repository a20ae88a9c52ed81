package kcp

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// knowing is a controller that knows the path: it doubles what is in flight each round trip, up to two
// bandwidth-delay products, and paces at the path's rate at most. What it does not reach, windows keep
// it from.
type knowing struct {
	path   netem.Path
	window int
}

func (c *knowing) rtt() time.Duration { return 2 * c.path.Delay }
func (c *knowing) bdp() int {
	return int(float64(c.path.Bandwidth) * c.rtt().Seconds())
}

func (c *knowing) Sent(time.Duration, int, int)         {}
func (c *knowing) Lost(time.Duration, int, int, bool)   {}
func (c *knowing) Spurious(time.Duration, int)          {}
func (c *knowing) Window() int                          { return c.window }
func (c *knowing) Acked(_ time.Duration, s *RateSample) { c.window = min(c.window+s.Acked, 2*c.bdp()) }
func (c *knowing) PacingRate() int64 {
	return min(c.path.Bandwidth*98/100, int64(2*float64(c.window)/c.rtt().Seconds()))
}

// fat opens a bulk session with untouched windows over path, controlled by knowing. The way back
// loses as much.
func (w *world) fat(cfg *config, path netem.Path) *bulk {
	w.Helper()
	path.Queue = int(float64(path.Bandwidth) * path.Delay.Seconds())
	cfg.congestion = func() CongestionControl { return &knowing{path: path, window: 32 * IKCP_MTU_DEF} }
	return w.bulk(cfg, "10.0.0.2:2000", path)
}

// windowLimited lets time pass, and returns the share of it in which a window alone kept data from being
// sent, and which window that was.
func (b *bulk) windowLimited(d time.Duration) (send, peer float64) {
	const step = time.Millisecond
	for range d / step {
		b.sleep(step)
		b.c.mu.Lock()
		k := b.c.core
		if span := k.snd.nxt - k.snd.una; k.cc.Window()-k.snd.bytesInFlight > IKCP_MTU_DEF {
			if span >= k.flow.peerWnd {
				peer++
			} else if span >= k.flow.sendWnd {
				send++
			}
		}
		b.c.mu.Unlock()
	}
	return send / float64(d/step), peer / float64(d/step)
}

// Windows that nobody has set keep nothing back on long and fast paths: neither the start, which doubles
// each round trip, nor what follows, while the oldest segment is repaired, once or several times.
func TestWindowsFollowFatPaths(t *testing.T) {
	for _, c := range []struct {
		rate   int64 // bytes a second
		rtt    time.Duration
		loss   float64
		jitter time.Duration
	}{
		{125_000_000, 200 * time.Millisecond, 0.002, 0},
		{31_000_000, 600 * time.Millisecond, 0.016, 0},
		{31_000_000, 200 * time.Millisecond, 0, 0},
		{12_500_000, 200 * time.Millisecond, 0.01, 0},
		{12_500_000, 100 * time.Millisecond, 0.1, 0},
		{12_500_000, 200 * time.Millisecond, 0.002, 60 * time.Millisecond},
		{2_500_000, 600 * time.Millisecond, 0.05, 0},
	} {
		if raceEnabled && c.rate > 3_000_000 {
			c.rate /= 10
		}
		t.Run(fmt.Sprintf("%d MB per s, %v, %g%%, jitter %v", c.rate/1e6, c.rtt, c.loss*100, c.jitter), func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				b := w.fat(w.config(nil, 0, 0), netem.Path{Delay: c.rtt / 2, Bandwidth: c.rate, Loss: c.loss, Jitter: c.jitter})
				send, peer := b.windowLimited(10 * c.rtt)
				if send+peer > 0.01 {
					t.Errorf("at the start the send window holds back in %.1f%% of the time, the peer's in %.1f%%", 100*send, 100*peer)
				}
				const rounds = 4
				before := b.s.arrived()
				send, peer = b.windowLimited(rounds * c.rtt)
				arrived := float64(b.s.arrived()-before) * plainMSS / (rounds * c.rtt).Seconds() / float64(c.rate) / (1 - c.loss)
				t.Logf("%.2f of what the path carries; windows of %d and %d segments", arrived, b.c.Stats().SendWindow, b.s.Stats().ReceiveWindow)
				// At a tenth of the rate jitter leaves few segments to a round.
				if arrived < lighter(0.93, 0.9) || send+peer > 0.01 {
					t.Errorf("the send window holds back in %.1f%% of the time, the peer's in %.1f%%", 100*send, 100*peer)
				}
				b.c.SetLinger(0)
				b.close()
			})
		})
	}
}

// The same with a peer as there are many, whose windows are set, in both directions.
func TestWindowsWithDeployedPeer(t *testing.T) {
	const window = 8192
	path := netem.Path{Delay: 100 * time.Millisecond, Bandwidth: scaled(12_500_000), Loss: 0.002}
	path.Queue = int(path.Bandwidth / 5)
	for _, theirs := range []bool{false, true} {
		t.Run(fmt.Sprintf("they send=%t", theirs), func(t *testing.T) {
			virtual(t, netem.Path{Delay: path.Delay}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				cfg.congestion = func() CongestionControl { return &knowing{path: path, window: 32 * IKCP_MTU_DEF} }
				wnd := lighter(window, window/8)
				s, peer := w.meet(cfg, 1, true, unmarked.Config{
					SendWindow: wnd / 4, ReceiveWindow: wnd, NoDelay: true, Resend: 2, Stream: true, ACKNoDelay: true,
				})
				from, to := end(s), end(peer)
				if theirs {
					from, to = peer, s
				}
				w.check(w.net.SetPath(s.LocalAddr(), s.RemoteAddr(), path))
				w.check(w.net.SetPath(s.RemoteAddr(), s.LocalAddr(), path))
				var got atomic.Int64
				go io.Copy(from, rand.NewChaCha8([32]byte{3}))
				go io.Copy(countWriter{&got}, struct{ io.Reader }{to})
				w.sleep(3 * time.Second)
				before := got.Load()
				w.sleep(2 * time.Second)
				st := s.Stats()
				rate := float64(got.Load()-before) / 2
				t.Logf("%.2f MB/s; windows of %d, %d of the peer, %d", rate/1e6, st.SendWindow, st.PeerWindow, st.ReceiveWindow)
				share := 0.9
				if theirs { // by their window: the last loss of it is repaired before more is sent
					share = 0.4 * float64(wnd/4*1376*5) / float64(path.Bandwidth)
				}
				if rate < share*float64(path.Bandwidth) {
					t.Errorf("want %.2f MB/s", share*float64(path.Bandwidth)/1e6)
				}
				s.Abort()
			})
		})
	}
}

// A window that is set is what is in flight, however fast the path is and whatever memory is left, and
// what waits to be read.
func TestSetWindowsAreExact(t *testing.T) {
	for _, wnd := range lighter([]int{32, 128, 1000, 4096, 20_000, 65_535}, []int{32, 1000, 4096}) {
		for _, nc := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d, nc=%d", wnd, nc), func(t *testing.T) {
				path := netem.Path{Delay: 100 * time.Millisecond, Bandwidth: 1 << 29, Queue: 1 << 28}
				virtual(t, path, func(w *world) {
					cfg := w.config(nil, 0, 0).bounded(1)
					cfg.sndWnd, cfg.rcvWnd = wnd, wnd
					c, s := w.pair(cfg)
					if nc == 1 {
						c.SetNoDelay(0, 100, 3, 1)
					} else {
						c.SetCongestionControl(&knowing{path: path, window: 1 << 30})
					}
					go io.Copy(c, rand.NewChaCha8([32]byte{3}))
					most := 0
					for range 100 {
						w.sleep(10 * time.Millisecond)
						most = max(most, c.Stats().InFlight)
					}
					w.sleep(2 * time.Second)
					if unread := s.Stats().Unread; most != wnd || unread != wnd {
						t.Errorf("%d in flight, %d wait to be read", most, unread)
					}
					c.Abort()
					s.Abort()
				})
			})
		}
	}
}

// When a path becomes slow, what is queued becomes as much as that needs.
func TestSendWindowFollowsDown(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		fast := netem.Path{Delay: 100 * time.Millisecond, Bandwidth: scaled(12_500_000)}
		b := w.fat(w.config(nil, 0, 0), fast)
		b.sleep(3 * time.Second)
		most := b.c.Stats()
		slow := netem.Path{Delay: 20 * time.Millisecond, Bandwidth: scaled(1_000_000), Queue: int(scaled(40_000))}
		b.become(slow)
		w.check(b.c.SetCongestionControl(&knowing{path: slow, window: 32 * IKCP_MTU_DEF}))
		b.sleep(20 * time.Second)
		st, r := b.c.Stats(), b.s.Stats()
		t.Logf("windows of %d and %d segments, %d unacknowledged", st.SendWindow, r.ReceiveWindow, st.Unacknowledged)
		if st.SendWindow != autoWindow || most.SendWindow < 4*autoWindow || r.ReceiveWindow > unsureWindow {
			t.Errorf("the send window was %d and is %d, the receive window %d", most.SendWindow, st.SendWindow, r.ReceiveWindow)
		}
		b.close()
	})
}

// What a large window has under way when a session is closed is delivered, though that takes longer than
// the linger time.
func TestCloseDeliversLargeWindow(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		path := netem.Path{Delay: 300 * time.Millisecond, Bandwidth: scaled(12_500_000)}
		b := w.fat(w.config(nil, 0, 0), path)
		b.sleep(8 * time.Second)
		slow := path
		slow.Bandwidth = scaled(2_500_000) // six seconds' worth of what is queued
		b.become(slow)
		sent := b.c.Stats().BytesSent
		w.check(b.c.SetCongestionControl(&knowing{path: slow, window: 32 * IKCP_MTU_DEF}))
		w.check(b.c.Close())
		b.sleep(time.Minute)
		if got := uint64(b.got.Load()) + 1; got < sent { // and hello
			t.Errorf("%d of %d bytes were delivered", got, sent)
		}
		b.s.Close()
	})
}
