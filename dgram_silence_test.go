package kcp

import (
	"context"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A sender of datagrams whose path dies, of which it hears nothing, does not go on at the path's rate, and is
// back at it once the path is.
func TestSilentPathSlowsDatagrams(t *testing.T) {
	path := netem.Path{Delay: 30 * time.Millisecond, Bandwidth: 1e6, Queue: 60_000}
	virtual(t, path, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		during := func(d time.Duration) uint64 {
			before := client.Stats().UnreliableSent
			sendEvery(w, client, 2*time.Millisecond, d, 1000)
			return client.Stats().UnreliableSent - before
		}
		go func() {
			for {
				if _, err := server.ReceiveDatagram(context.Background()); err != nil {
					return
				}
			}
		}()
		during(3 * time.Second)
		alive := during(2 * time.Second)
		silent := path
		silent.Loss = 1
		w.check(w.net.SetDefault(silent))
		during(2 * time.Second)
		dead := during(2 * time.Second)
		w.check(w.net.SetDefault(path))
		during(2 * time.Second)
		again := during(2 * time.Second)
		t.Logf("2 s: %d datagrams, %d on a dead path, %d on the mended", alive, dead, again)
		if dead > alive/4 {
			t.Errorf("%d datagrams were sent in 2 s while nothing was heard, %d before", dead, alive)
		}
		if again < alive*8/10 {
			t.Errorf("%d in 2 s after the path was back, %d before", again, alive)
		}
		closeAll(client, server)
	})
}
