package kcp

import (
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

func TestCarry(t *testing.T) {
	virtual(t, netem.Path{Delay: 30 * time.Millisecond, Loss: 0.1}, func(w *world) {
		c, s := w.pair(w.config(nil, 10, 3))
		for _, x := range []*UDPSession{c, s} {
			x.SetNoDelay(1, 10, 2, 1)
			x.SetWindowSize(128, 128)
		}
		if err := carry(c, s, 1<<20); err != nil {
			w.Error(err)
		}
		c.Close()
		s.Close()
	})
}
