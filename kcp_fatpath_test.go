package kcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
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
				if arrived < 0.93 || send+peer > 0.01 {
					t.Errorf("the send window holds back in %.1f%% of the time, the peer's in %.1f%%", 100*send, 100*peer)
				}
				b.c.SetLinger(0)
				b.close()
			})
		})
	}
}
