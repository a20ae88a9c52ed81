package kcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// What a stuck session with large windows, copies and parity holds beyond its window.
func TestStuckCopies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wnd    int
		dup    int
		mtu    int
		data   int
		parity int
		stream bool
		small  bool
	}{
		{name: "wnd 4096", wnd: 4096},
		{name: "wnd 4096 dup 16", wnd: 4096, dup: 16},
		{name: "wnd 4096 fec 1/20", wnd: 4096, data: 1, parity: 20},
		{name: "wnd 4096 small mtu", wnd: 4096, mtu: 60},
		{name: "wnd 4096 small writes", wnd: 4096, small: true},
		{name: "wnd 4096 small writes stream", wnd: 4096, small: true, stream: true},
		{name: "wnd 65535", wnd: 65535},
		{name: "wnd 20000 dup 16", wnd: 20000, dup: 16},
	} {
		if raceEnabled && tt.wnd > 4096 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				peer := w.bind("10.0.0.2:2000")
				v := w.valve("10.0.0.1:0")
				c := w.config(nil, tt.data, tt.parity).dial(1, peer.LocalAddr(), newSocket(v, true))
				c.SetNoDelay(1, 10, 2, 1)
				c.SetWindowSize(tt.wnd, 128)
				c.SetDUP(tt.dup)
				c.SetMinParity(tt.parity)
				c.SetStreamMode(tt.stream)
				if tt.mtu != 0 {
					c.SetMtu(tt.mtu)
				}
				// a peer that takes as much as there is
				h := header{conv: 1, cmd: IKCP_CMD_WINS, wnd: 65535}
				b := make([]byte, IKCP_OVERHEAD)
				h.put(b)
				peer.WriteTo(b, c.LocalAddr())
				w.awaitIdle()
				v.shut(0)
				before := heapInUse()
				go func() {
					if tt.small {
						for {
							if _, err := c.Write([]byte("x")); err != nil {
								return
							}
						}
					}
					c.Write(make([]byte, tt.wnd*c.core.dataRoom()))
				}()
				w.sleep(time.Second)
				held := heapInUse() - before
				c.mu.Lock()
				window := int64(c.core.WaitSnd()) * 1600
				q := len(c.tx.queue) + c.tx.batch.left()
				c.mu.Unlock()
				w.sleep(10 * time.Second)
				later := heapInUse() - before
				t.Logf("%d kB held, of which %d kB the window: %d datagrams queued; after 10 s %d kB", held>>10, window>>10, q, later>>10)
				if over := max(held, later) - window; over > 10<<20 {
					t.Errorf("%d MB are held beside the window", over>>20)
				}
				c.SetLinger(0)
				v.open()
				closeAll(c, peer)
			})
		})
	}
}

var _ = fmt.Sprint
