package kcp

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Idle sessions that have sent and taken repairs hold some kilobytes more than those without FEC, and not the packets
// that a decoder keeps.
func TestRepairIdleMemory(t *testing.T) {
	count := lighter(100, 20)
	var held [2]int64
	for kind := range held {
		virtual(t, netem.Path{Delay: 20 * ms, Loss: 0.1}, func(w *world) {
			cfg := w.config(nil, 10*kind, 3*kind)
			cfg.noDelay = [4]int{1, 10, 2, 0}
			l := w.listen(cfg, "10.0.0.2:2000")
			before := heapInUse()
			var all []*UDPSession
			for i := range count {
				c := cfg.dial(uint32(i), l.Addr(), newSocket(w.bind(fmt.Sprintf("10.0.%d.%d:1000", 4+i>>8, i&255)), true))
				c.Write([]byte("x"))
				s, err := l.AcceptKCP()
				w.check(err)
				all = append(all, c, s)
			}
			repaired := make(chan uint64, count)
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
			for range count {
				sum += <-repaired
			}
			if kind == 1 && sum == 0 {
				t.Error("nothing was rebuilt")
			}
			w.sleep(3 * time.Minute)
			held[kind] = (heapInUse() - before) / int64(len(all))
			for _, s := range all {
				s.Abort()
			}
			l.Close()
		})
	}
	t.Logf("%d bytes an end of a session, %d with FEC and repairs: %d more", held[0], held[1], held[1]-held[0])
	if more := held[1] - held[0]; more > 8<<10 { // a packet or two that a pool keeps among them
		t.Errorf("%d bytes more an end", more)
	}
}
