package kcp

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// An idle sealed session holds at most a kilobyte more than one that is not.
func TestSealedIdleMemory(t *testing.T) {
	count := lighter(2000, 200)
	var held [2]int64
	for kind := range held {
		virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
			cfg := w.config(newCrypt(t, "gcm"), 0, 0)
			if kind == 0 {
				unsealed(cfg)
			}
			l := w.listen(cfg, "10.0.0.2:2000")
			before := heapInUse()
			var all []*UDPSession
			for i := range count {
				c := cfg.dial(uint32(i), l.Addr(), newSocket(w.bind(fmt.Sprintf("10.0.%d.%d:1000", 4+i>>8, i&255)), true))
				c.Write([]byte("x"))
				s, err := l.AcceptKCP()
				w.check(err)
				if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				s.Write([]byte("y"))
				io.ReadFull(c, make([]byte, 1))
				all = append(all, c, s)
			}
			w.sleep(3 * time.Minute)
			held[kind] = (heapInUse() - before) / int64(len(all))
			for _, s := range all {
				s.Abort()
			}
			l.Close()
		})
	}
	t.Logf("%d bytes an end of a session, %d sealed: %d more", held[0], held[1], held[1]-held[0])
	if more := held[1] - held[0]; more > 1<<10 {
		t.Errorf("%d bytes more an end", more)
	}
}
