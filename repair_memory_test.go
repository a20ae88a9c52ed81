package kcp

import (
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Idle sessions that have sent and taken repairs hold some kilobytes more than those without FEC, and not the packets
// that a decoder keeps.
func TestRepairIdleMemory(t *testing.T) {
	var held [2]int64
	for kind := range held {
		config := func(w *world) *config {
			cfg := w.config(nil, 10*kind, 3*kind)
			cfg.noDelay = [4]int{1, 10, 2, 0}
			return cfg
		}
		held[kind] = idleHeap(t, netem.Path{Delay: 20 * ms, Loss: 0.1}, lighter(100, 20), config, func(w *world, all []*UDPSession) {
			repaired := make(chan uint64, len(all)/2)
			for i := 0; i < len(all); i += 2 {
				go func() {
					for range 60 {
						all[i].Write(make([]byte, 300))
						time.Sleep(5 * ms)
					}
				}()
				go func() {
					io.ReadFull(all[i+1], make([]byte, 1+60*300))
					repaired <- all[i+1].Stats().FECRecovered
				}()
			}
			sum := uint64(0)
			for range len(all) / 2 {
				sum += <-repaired
			}
			if kind == 1 && sum == 0 {
				t.Error("nothing was rebuilt")
			}
		})
	}
	t.Logf("%d bytes an end of a session, %d with FEC and repairs: %d more", held[0], held[1], held[1]-held[0])
	if more := held[1] - held[0]; more > 8<<10 { // a packet or two that a pool keeps among them
		t.Errorf("%d bytes more an end", more)
	}
}
