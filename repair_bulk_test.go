package kcp

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A transfer without FEC is the same to the byte, and at the same time, whether or not the peer takes repairs.
func TestBulkWithoutFEC(t *testing.T) {
	var sums [2][32]byte
	for i, features := range []uint32{ownFeatures, ownFeatures &^ featureRepairs} {
		virtualSeed(t, 1, netem.Path{}, func(w *world) {
			b := w.opened(w.config(nil, 0, 0), "10.0.0.2:2000", pipe(500_000, 0.05))
			w.awaitIdle()
			for _, s := range []*UDPSession{b.c, b.s} {
				s.mu.Lock()
				s.core.params.peer = params{known: true, features: features}
				s.mu.Unlock()
			}
			sum, datagrams, began, base := sha256.New(), 0, time.Now(), uint32(0)
			w.watch(func(from, _ netip.AddrPort, d []byte) bool {
				for _, h := range segmentsOf(d) {
					if datagrams == 0 {
						base = h.ts // where a clock begins is random, and what a WINS tells as ts
					}
					if h.ts -= base; h.cmd != IKCP_CMD_PUSH && h.cmd != IKCP_CMD_ACK {
						h.ts = 0
					}
					fmt.Fprintln(sum, time.Since(began), from.Addr(), len(d), h)
				}
				datagrams++
				return true
			})
			b.start()
			b.sleep(3 * time.Second)
			w.net.SetTap(nil)
			if sums[i] = [32]byte(sum.Sum(nil)); datagrams < 1000 {
				t.Errorf("%d datagrams only", datagrams)
			}
			b.close()
		})
	}
	if sums[0] != sums[1] {
		t.Error("repairs that the peer would take change it")
	}
}

// shareAtLoss has a flow with so many data shards, 0 for no FEC, share a bottleneck with CUBIC over paths that lose
// 5%, and returns the goodput of both.
func (w *world) shareAtLoss(data, parity int) (ours, cubic float64) {
	const rate, during = 500_000, 15 * time.Second
	n, err := w.net.NewBottleneck(netem.Path{Bandwidth: rate, Queue: rate * 60 / 1000})
	w.check(err)
	var flows [2]*bulk
	for i, cfg := range []*config{w.config(nil, data, parity), w.config(nil, 0, 0)} {
		if i == 1 {
			cfg.congestion = NewCubic
		}
		flows[i] = w.bulk(cfg, fmt.Sprintf("10.0.0.%d:2000", i+2), netem.Path{Delay: 20 * ms, Loss: 0.05})
		w.check(w.net.SetRoute(flows[i].c.LocalAddr(), flows[i].s.LocalAddr(), n))
		w.sleep(3 * time.Second)
	}
	before := [2]int64{flows[0].got.Load(), flows[1].got.Load()}
	w.sleep(during)
	defer flows[0].close()
	defer flows[1].close()
	return float64(flows[0].got.Load()-before[0]) / during.Seconds(), float64(flows[1].got.Load()-before[1]) / during.Seconds()
}

// A transfer that has more queued than two round trips send spends nothing on repairs: neither it nor CUBIC
// beside it has less than without them.
func TestRepairsLeaveOthersTheirShare(t *testing.T) {
	var ours, cubic [2]float64
	for seed := range uint64(lighter(2, 1)) {
		for i, data := range []int{0, 10} {
			virtualSeed(t, seed+1, netem.Path{}, func(w *world) {
				a, b := w.shareAtLoss(data, data*3/10)
				ours[i] += a
				cubic[i] += b
			})
		}
	}
	t.Logf("of CUBIC's goodput %.3f, of ours %.3f", cubic[1]/cubic[0], ours[1]/ours[0])
	if cubic[1] < 0.94*cubic[0] || ours[1] < 0.94*ours[0] {
		t.Errorf("repairs leave CUBIC %.3f of its goodput, and us %.3f of ours, want 0.94", cubic[1]/cubic[0], ours[1]/ours[0])
	}
}
