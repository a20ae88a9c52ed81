package kcp

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Small writes, while much is in flight on a very short path, wait until they fill a send with
// segmentation offload, or for the next acknowledgement; elsewhere nothing waits. Where no
// acknowledgement comes, a timer sends what waits. A write that fills a send does not wait.
func TestWritesGather(t *testing.T) {
	const gso = 46
	for _, c := range []struct {
		name      string
		trip      time.Duration
		bulk      int // segments in flight
		gso, held int // held of 10 segments, and four tenths of that of 50
		lost      bool
	}{
		{"short path", 200 * time.Microsecond, 100, gso, 10, false},
		{"acknowledgements lost", 200 * time.Microsecond, 100, gso, 10, true},
		{"little in flight", 200 * time.Microsecond, 35, gso, 0, false},
		{"longer path", 2 * time.Millisecond, 100, gso, 0, false},
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
				client.setGSO(c.gso)
				write := func(segments, held int) {
					t.Helper()
					if _, err := client.Write(make([]byte, segments*plainMSS)); err != nil {
						t.Fatal(err)
					}
					synctest.Wait() // it is sent
					if st := client.Stats(); st.Unacknowledged-st.InFlight != held {
						t.Errorf("%d segments wait behind %d written, want %d", st.Unacknowledged-st.InFlight, segments, held)
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
				if _, err := io.ReadFull(server, make([]byte, (60+c.bulk)*plainMSS)); err != nil {
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

// A write larger than what is queued of one says how much was queued when it is given up: a window's
// worth, and then restMax segments, whatever time there is.
func TestWriteInterrupted(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		c.SetWindowSize(32, 32)
		s.SetWindowSize(32, 32)
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		data := random(1, 8<<20)
		n, err := c.Write(data)
		wantTimeout(t, err)
		if segments := n / plainMSS; n%plainMSS != 0 || segments < restMax || segments > restMax+70 {
			t.Errorf("%d bytes were queued, with windows of 32 segments", n)
		}
		if st := c.Stats(); st.Unacknowledged > restMax+32 || st.BytesQueued != (st.Unacknowledged-st.InFlight)*plainMSS {
			t.Errorf("%d segments are unacknowledged, %d in flight, and %d bytes queued", st.Unacknowledged, st.InFlight, st.BytesQueued)
		}
		c.SetWriteDeadline(time.Time{})
		done := make(chan error, 1)
		go func() {
			_, err := c.Write(data[n:])
			done <- err
		}()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("what arrived is not what was written: %v", err)
		}
		w.check(<-done)
		closeAll(c, s)
	})
}
