package kcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// shares lets flows with these controllers share a bottleneck, each beginning three seconds after the one
// before it, and returns the share of each in what they carry from eight seconds after the last.
func (w *world) shares(neck netem.Path, rtt, d time.Duration, controls ...func() CongestionControl) (shares []float64) {
	w.Helper()
	n, err := w.net.NewBottleneck(neck)
	w.check(err)
	var flows []*bulk
	for i, control := range controls {
		cfg := w.config(nil, 0, 0)
		cfg.congestion = control
		b := w.bulk(cfg, fmt.Sprintf("10.0.0.%d:2000", i+2), netem.Path{Delay: rtt / 2})
		w.check(w.net.SetRoute(b.c.LocalAddr(), b.s.LocalAddr(), n))
		flows = append(flows, b)
		w.sleep(3 * time.Second)
	}
	w.sleep(8 * time.Second)
	for _, f := range flows {
		shares = append(shares, -float64(f.got.Load()))
	}
	w.sleep(d)
	sum := 0.0
	for i, f := range flows {
		shares[i] += float64(f.got.Load())
		sum += shares[i]
	}
	for i, f := range flows {
		shares[i] /= sum
		f.close()
	}
	rate := sum / d.Seconds()
	w.Logf("%.2f of %.2f MB/s", shares, rate/1e6)
	if rate < 0.85*float64(neck.Bandwidth) {
		w.Errorf("together %.2f MB/s of %.2f", rate/1e6, float64(neck.Bandwidth)/1e6)
	}
	return shares
}

// One flow beside CUBIC leaves it a quarter of the link, and keeps about as much. So it does beside BBR's first
// version, whose two bandwidth-delay products in flight are a queue that stands.
func TestSharesWithOthers(t *testing.T) {
	bbr1 := func() CongestionControl { return new(bbr1) }
	bbr := func() CongestionControl { return newBBR(1) }
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		rate  int64
		rtt   time.Duration
		all   []func() CongestionControl
		least float64
	}{
		{"after BBRv1", 1_000_000, 20 * ms, []func() CongestionControl{bbr1, bbr}, 0.25},
		{"after CUBIC", 500_000, 60 * ms, []func() CongestionControl{NewCubic, nil}, 0.2},
		{"before CUBIC", 500_000, 60 * ms, []func() CongestionControl{nil, NewCubic}, 0.2},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				neck := netem.Path{Bandwidth: c.rate, Queue: int(c.rate * 60 / 1000)}
				for i, share := range w.shares(neck, c.rtt, 30*time.Second, c.all...) {
					if share < c.least {
						t.Errorf("flow %d has %.2f of what they carry, want %.2f", i+1, share, c.least)
					}
				}
			})
		})
	}
}
