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
