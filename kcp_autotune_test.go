package kcp

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// What is in flight follows the reader: a slow one keeps the window small.
func TestReceiveWindowFollowsReader(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		b := w.opened(w.config(nil, 0, 0), "10.0.0.2:2000", pipe(5_000_000, 0))
		go io.Copy(b, rand.NewChaCha8([32]byte{3}))
		buf := make([]byte, 10_000)
		for range 300 {
			b.s.Read(buf)
			b.sleep(10 * time.Millisecond)
		}
		if wnd := b.s.Stats().ReceiveWindow; wnd > 4*autoWindow {
			t.Errorf("a window of %d segments for a slow reader", wnd)
		}
		go io.Copy(struct{ io.Writer }{b.counter()}, b.s)
		b.sleep(3 * time.Second)
		if wnd := b.s.Stats().ReceiveWindow; wnd < 2*214 || wnd > autoWindowMax {
			t.Errorf("a window of %d segments for a path of 214", wnd)
		}
		b.close()
	})
}

// With nc=1 a window far larger than a very fast path can use makes no queue there: little waits,
// and the link is full all the same. Up to 10 Gbit/s the window is used to the full, and so it is
// where something else than the path is the bound.
func TestFastPathsHoldNoQueue(t *testing.T) {
	const window = 4096
	for _, c := range []struct {
		name        string
		trip        time.Duration
		rate        int64
		nc, peer    int
		least, most int // segments that wait
	}{
		{"20 Gbit/s", 100 * time.Microsecond, 2_500_000_000, 1, window, 256, 2048},
		{"8 Gbit/s", 500 * time.Microsecond, 1_000_000_000, 1, window, window / 10 * 7, window},
		{"400 Mbit/s", 20 * time.Millisecond, 50_000_000, 1, window, window / 10 * 7, window},
		{"400 Mbit/s, congestion control", 200 * time.Microsecond, 50_000_000, 0, window, window / 10 * 7, window},
		{"20 Gbit/s, congestion control", 500 * time.Microsecond, 2_500_000_000, 0, window, window / 10 * 7, window},
		{"20 Gbit/s, a small window at the peer", 100 * time.Microsecond, 2_500_000_000, 1, 64, window / 10 * 7, window},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				cfg.noDelay = [4]int{1, 10, 2, c.nc}
				cfg.sndWnd, cfg.rcvWnd, cfg.stream = window, c.peer, true
				b := w.bulk(cfg, "10.0.0.2:1", netem.Path{Delay: c.trip / 2, Bandwidth: c.rate, Queue: 1 << 30})
				defer b.close()
				warm := 20 * time.Millisecond
				if raceEnabled && c.peer == window {
					warm /= 2
				}
				b.sleep(warm)
				if got, _ := b.during(2 * time.Millisecond); c.peer == window && got < 0.9*float64(c.rate) {
					t.Errorf("%.0f bytes a second arrive", got)
				}
				const rest = copyBuffer/plainMSS + 1 // of a Write that has begun
				if n := b.c.Stats().Unacknowledged; n < c.least || n > c.most+rest {
					t.Errorf("%d segments wait, want %d to %d", n, c.least, c.most+rest)
				}
			})
		})
	}
}

// A reader that reads everything at once is not slow, however much one batch brings.
func TestReceiveWindowGrowsWithBatches(t *testing.T) {
	for _, batch := range []int{16, 64, 80, autoWindow} {
		k := NewKCP(1, func([]byte, int) {})
		k.autotune()
		k.SetStreamMode(true)
		now, sn := int64(time.Second), uint32(0)
		buf := make([]byte, 1<<16)
		for range 12 { // round trips of 20 ms
			for left := int(k.rcv.wnd); left > 0; left -= batch {
				for range min(batch, left) {
					k.input(now, segment(1, IKCP_CMD_PUSH, sn, []byte("abc")), true)
					sn++
				}
				k.read(buf)
				now += int64(100 * time.Microsecond)
			}
			k.flush(now)
			now += int64(20 * time.Millisecond)
		}
		if k.rcv.wnd < unsureWindow {
			t.Errorf("batches of %d: a window of %d", batch, k.rcv.wnd)
		}
	}
}
