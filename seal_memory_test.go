package kcp

import (
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// An idle sealed session holds at most a kilobyte more than one that is not.
func TestSealedIdleMemory(t *testing.T) {
	var held [2]int64
	for kind := range held {
		config := func(w *world) *config {
			cfg := w.config(newCrypt(t, "gcm"), 0, 0)
			if kind == 0 {
				unsealed(cfg)
			}
			return cfg
		}
		held[kind] = idleHeap(t, netem.Path{Delay: time.Millisecond}, lighter(2000, 200), config, func(w *world, all []*UDPSession) {
			for i := 0; i < len(all); i += 2 {
				c, s := all[i], all[i+1]
				if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				s.Write([]byte("y"))
				io.ReadFull(c, make([]byte, 1))
			}
		})
	}
	t.Logf("%d bytes an end of a session, %d sealed: %d more", held[0], held[1], held[1]-held[0])
	if more := held[1] - held[0]; more > 1<<10 {
		t.Errorf("%d bytes more an end", more)
	}
}
