package kcp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A delayed write goes out at the next tick of an interval that runs freely: half an interval after
// the session was made, and each interval from then on, whenever it is written. While nothing is
// written no timer runs.
func TestWriteDelayTicks(t *testing.T) {
	const interval = 20 * time.Millisecond
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		made := time.Now()
		c := w.dial(w.config(nil, 0, 0), l)
		c.SetNoDelay(1, int(interval/time.Millisecond), 2, 1)
		c.SetWriteDelay(true)
		var left []time.Duration
		w.watch(func(from, _ netip.AddrPort, b []byte) bool {
			if segs := segmentsOf(b); from.Port() != 2000 && slices.ContainsFunc(segs, func(h header) bool { return h.cmd == IKCP_CMD_PUSH }) {
				left = append(left, time.Since(made))
			}
			return true
		})
		writes := []struct{ at, leaves time.Duration }{ // since the session was made
			{3 * time.Millisecond, 10 * time.Millisecond},
			{10 * time.Millisecond, 30 * time.Millisecond}, // at a tick: the next one
			{31 * time.Millisecond, 50 * time.Millisecond},
			{49 * time.Millisecond, 50 * time.Millisecond}, // shares the datagram
			{1049 * time.Millisecond, 1050 * time.Millisecond},
			{7*time.Second + 11*time.Millisecond, 7*time.Second + 30*time.Millisecond},
		}
		var want []time.Duration
		for _, write := range writes {
			w.sleep(write.at - time.Since(made))
			_, err := c.Write([]byte("x"))
			w.check(err)
			if !slices.Contains(want, write.leaves) {
				want = append(want, write.leaves)
			}
		}
		w.awaitIdle()
		if !slices.Equal(left, want) {
			t.Errorf("datagrams left after %v, want %v", left, want)
		}
		w.sleep(time.Minute)
		runs := c.countTimer()
		w.sleep(time.Minute)
		if runs.Load() > 0 {
			t.Errorf("the timer ran %d times in an idle minute", runs.Load())
		}
		// Another interval has other ticks, from the same moment on.
		left = nil
		c.SetNoDelay(1, 50, 2, 1)
		at := time.Since(made)
		c.Write([]byte("x"))
		w.awaitIdle()
		if tick := 25*time.Millisecond + (at - 25*time.Millisecond).Truncate(50*time.Millisecond) + 50*time.Millisecond; len(left) != 1 || left[0] != tick {
			t.Errorf("written after %v it left after %v, want %v", at, left, tick)
		}
		closeAll(c, l)
	})
}

// A request and its answer, both delayed, take one interval, and not one each.
func TestWriteDelayPingPong(t *testing.T) {
	const interval = 20 * time.Millisecond
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		cfg.noDelay, cfg.writeDelay = [4]int{1, int(interval / time.Millisecond), 2, 1}, true
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		c := w.dial(cfg, l)
		w.check(ask(c, "hello"))
		for range 100 {
			start := time.Now()
			w.check(ask(c, string(random(1, 100))))
			if took := time.Since(start); took > interval {
				t.Fatalf("a request took %v", took)
			}
		}
		closeAll(c, l)
	})
}
