package kcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// idleHeap returns how much heap an end of a session holds that has been idle for some minutes: of count sessions
// with that config, which use has worked with. Of all, each listener's end follows the dialling one.
func idleHeap(t *testing.T, path netem.Path, count int, config func(w *world) *config, use func(w *world, all []*UDPSession)) (bytes int64) {
	virtual(t, path, func(w *world) {
		cfg := config(w)
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
		use(w, all)
		w.sleep(3 * time.Minute)
		bytes = (heapInUse() - before) / int64(len(all))
		for _, s := range all {
			s.Abort()
		}
		l.Close()
	})
	return bytes
}
