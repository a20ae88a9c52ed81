package kcp

import (
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Small writes, while much is in flight on a very short path, wait until they fill a message of
// segments, or for the next acknowledgement; elsewhere nothing waits. What waits is not forgotten
// where no acknowledgement comes. A write that fills a message does not wait.
func TestWritesGather(t *testing.T) {
	const run = 46
	for _, c := range []struct {
		name      string
		trip      time.Duration
		bulk      int // segments in flight
		run, held int // held of 10 segments, and four tenths of that of 50
		lost      bool
	}{
		{"short path", 200 * time.Microsecond, 100, run, 10, false},
		{"acknowledgements lost", 200 * time.Microsecond, 100, run, 10, true},
		{"little in flight", 200 * time.Microsecond, 35, run, 0, false},
		{"longer path", 2 * time.Millisecond, 100, run, 0, false},
		{"no offload", 200 * time.Microsecond, 100, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := netem.Path{Delay: c.trip / 2}
			virtual(t, path, func(w *world) {
				cfg := w.config(nil, 0, 0)
				cfg.noDelay, cfg.stream, cfg.sndWnd, cfg.rcvWnd = [4]int{1, 10, 2, 1}, true, 1024, 1024
				client, server := w.pair(cfg)
				defer closeAll(client, server)
				w.sleep(100 * time.Millisecond) // nothing is in flight any more
				client.mu.Lock()
				client.gsoSegments = c.run
				mss := client.core.mss
				client.mu.Unlock()
				write := func(segments, held int) {
					t.Helper()
					if _, err := client.Write(make([]byte, segments*mss)); err != nil {
						t.Fatal(err)
					}
					client.mu.Lock()
					defer client.mu.Unlock()
					if got := client.core.snd.queued(); got != held {
						t.Errorf("%d segments wait behind %d written, want %d", got, segments, held)
					}
				}
				write(10, 0)
				w.sleep(100 * time.Millisecond)
				write(c.bulk, 0)
				write(10, c.held)
				write(40, c.held*4/10)
				if c.lost {
					w.check(w.net.SetDefault(netem.Path{Delay: c.trip / 2, Loss: 1}))
					w.sleep(50 * time.Millisecond)
					w.check(w.net.SetDefault(path))
				}
				start := time.Now()
				if _, err := io.ReadFull(server, make([]byte, (60+c.bulk)*mss)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); !c.lost && took > 2*c.trip {
					t.Errorf("the last byte was there after %v", took)
				}
				if !c.lost { // which congestion control would answer
					w.sleep(100 * time.Millisecond)
					write(c.bulk, 0)
					write(50, 0) // not small
				}
			})
		})
	}
}
