package kcp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// QueueingDelay is what a window beyond the path leaves standing in its queue.
func TestQueueingDelay(t *testing.T) {
	noteSeed(t)
	r := rand.New(rand.NewPCG(testSeed, 14))
	worst, where := 0.0, ""
	for range lighter(50, 6) {
		rtt := time.Duration(5+r.IntN(200)) * time.Millisecond
		rate := 100_000 + r.IntN(2_000_000)
		queued := time.Duration(r.IntN(150)) * time.Millisecond // 0: less than the path holds
		window := int(float64(rate)*(rtt+queued).Seconds()) + 2*IKCP_MTU_DEF
		if queued == 0 {
			window = max(window/2, 2*IKCP_MTU_DEF)
		}
		path := netem.Path{
			Delay: rtt / 2, Bandwidth: int64(rate), Queue: 10 << 20, Loss: []float64{0, 0, 0.02}[r.IntN(3)],
			Jitter: time.Duration(r.IntN(2)*r.IntN(20)) * time.Millisecond,
		}
		name := fmt.Sprintf("%v + %v of queue, %d bytes a second, loss %v, jitter %v", rtt, queued, rate, path.Loss, path.Jitter)
		virtual(t, path, func(w *world) {
			cfg := w.config(nil, 0, 0)
			cfg.congestion = func() CongestionControl { return fixedControl{window, 0} }
			cfg.ackNoDelay = r.IntN(2) == 0
			s, peer := w.pair(cfg)
			l := w.load(s, peer)
			defer l.end()
			w.sleep(3 * time.Second)
			got := time.Duration(0)
			for range 20 {
				w.sleep(100 * time.Millisecond)
				got += s.Stats().QueueingDelay / 20
			}
			// Jitter of both ways makes the path as much longer. One datagram is under way on the
			// bottleneck, one more is allowed beyond the window.
			queued = max(0, queued-path.Jitter)
			slack := max(5*time.Millisecond, queued/10) + path.Jitter/2 + 3*IKCP_MTU_DEF*time.Second/time.Duration(rate)
			if path.Loss > 0 { // what is lost counts in the window until that is known, and does not queue
				slack += (rtt + queued) / 10
			}
			off := (got - queued).Abs()
			if share := off.Seconds() / slack.Seconds(); share > worst {
				worst, where = share, fmt.Sprintf("%v at %s", got, name)
			}
			if off > slack {
				t.Errorf("%v, want %v: %s", got, queued, name)
			}
		})
	}
	t.Logf("worst, %.0f%% of what is allowed: %s", 100*worst, where)
}

// A longer path counts as a queue for half a minute at most, a shorter one not at all; and a stream
// that sends little knows the queue of others.
func TestQueueingDelayPathChange(t *testing.T) {
	path := netem.Path{Delay: 20 * time.Millisecond}
	virtual(t, path, func(w *world) {
		s, peer := w.pair(w.config(nil, 0, 0))
		if d := s.Stats().QueueingDelay; d != 0 {
			t.Errorf("%v after one message", d)
		}
		l := w.reading(s, peer)
		defer l.end()
		want := func(when string, want time.Duration) {
			t.Helper()
			if d := s.Stats().QueueingDelay; (d - want).Abs() > 3*time.Millisecond {
				t.Errorf("%s: %v, want %v", when, d, want)
			}
		}
		l.stream(1000, 33*time.Millisecond, 5*time.Second)
		want("at rest", 0)
		path.Delay = 50 * time.Millisecond
		w.check(w.net.SetDefault(path))
		l.stream(1000, 33*time.Millisecond, 2*time.Second)
		want("longer", 40*time.Millisecond) // each acknowledgement might have waited for 20 ms
		l.stream(1000, 33*time.Millisecond, 30*time.Second)
		want("longer for half a minute", 0)
		path.Delay = 5 * time.Millisecond
		w.check(w.net.SetDefault(path))
		l.stream(1000, 33*time.Millisecond, 2*time.Second)
		want("shorter", 0)
		path.Delay = 20 * time.Millisecond
		w.check(w.net.SetDefault(path))
		w.sleep(time.Minute)
		l.stream(1000, 33*time.Millisecond, 2*time.Second)
		want("after a pause", 0)
	})
}
