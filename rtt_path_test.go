package kcp

import (
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// TestSlowPath: on a path slower than the first timeout every segment is sent twice until the
// round trip is known, and the acknowledgement of the first transmission is enough to know it.
func TestSlowPath(t *testing.T) {
	virtual(t, netem.Path{Delay: 400 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		for _, x := range []*UDPSession{c, s} {
			x.SetNoDelay(1, 10, 2, 1)
			x.SetWindowSize(256, 256)
		}
		before := w.snmp.Copy()
		if err := carry(c, s, 1<<20); err != nil {
			w.Fatal(err)
		}
		if srtt := c.GetSRTT(); srtt < 799 || srtt > 850 {
			w.Errorf("the round trip is 800 ms, smoothed %d", srtt)
		}
		if resent := w.snmp.Copy().RetransSegs - before.RetransSegs; resent > 1 {
			w.Errorf("%d segments sent again on a path without loss", resent)
		}
		c.Close()
		s.Close()
	})
}
