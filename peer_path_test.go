package kcp

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

func TestPathCheck(t *testing.T) {
	var rtt rttEstimator
	rtt.init()
	var c pathCheck
	if c.echoed(0); c.valid || c.due(0) {
		t.Error("valid or due without a wish")
	}
	c.wanted = true
	var now int64
	value, sent := uint64(0), 0
	for ; c.due(now) && sent < 100; sent++ {
		v := c.challenge(now, &rtt)
		if value != 0 && v != value || v == 0 {
			t.Fatalf("the value is %d, and was %d", v, value)
		}
		if value = v; c.due(now) {
			t.Fatal("due again at once")
		}
		c.echoed(value + 1)
		c.echoed(0)
		now = max(now, c.askAt)
	}
	if c.valid || sent != pathCheckTries {
		t.Errorf("valid: %t, sent %d times, want %d", c.valid, sent, pathCheckTries)
	}
	if c.echoed(value); !c.valid || c.due(now) {
		t.Error("not valid, or due, after the echo")
	}
}

// Who uploads to an accepted session without a cipher, and receives nothing whose ts he could echo, shows
// by the echo of a random value that he is where he seems to be: so his receive window follows the path.
// A peer without records keeps the window that deployed ones fill.
func TestPathCheckOfUpload(t *testing.T) {
	for _, records := range []bool{true, false} {
		t.Run(fmt.Sprintf("records=%t", records), func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				if !records {
					cfg.caps = capMark | capFIN
				}
				path := netem.Path{Delay: 200 * time.Millisecond, Bandwidth: 40_000_000, Queue: 8_000_000, Loss: 0.0005}
				cfg.congestion = func() CongestionControl { return &knowing{path: path, window: 32 * IKCP_MTU_DEF} }
				l := w.listen(cfg, "10.0.0.2:2000")
				c := w.dial(cfg, l)
				w.check(w.net.SetPath(c.LocalAddr(), l.Addr(), path))
				w.check(w.net.SetPath(l.Addr(), c.LocalAddr(), path))
				go io.Copy(c, rand.NewChaCha8([32]byte{3}))
				s, err := l.AcceptKCP()
				w.check(err)
				go io.Copy(io.Discard, s)
				w.sleep(lighter(6*time.Second, 4*time.Second))
				wnd := s.Stats().ReceiveWindow
				s.mu.Lock()
				check := s.core.pathCheck
				s.mu.Unlock()
				t.Logf("a window of %d segments", wnd)
				if larger := wnd > unsureWindow; larger != records || wnd < unsureWindow {
					t.Errorf("a window of %d segments", wnd)
				}
				if check.valid != records || check.sent > 2 || !records && check.sent > 0 {
					t.Errorf("%+v", check)
				}
				closeAll(c, s, l)
			})
		})
	}
}
