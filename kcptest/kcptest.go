package kcptest

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// closing is how long sessions go on that were closed: by default no longer than five seconds.
const closing = 6 * time.Second

// running is held by Run. All sessions of a process share their timers, which cannot serve several
// bubbles at a time.
var running sync.Mutex

// Run runs f as a test in virtual time, which begins at midnight UTC of January 1, 2000, over a network of
// its own. The seed determines everything random on the network. f has to close what it opens, or leave
// that to t.Cleanup; then sessions have six seconds to end, and everything that is still bound is closed.
// The test fails if a session was not closed, mostly with a panic of synctest's on top, as its timers go on.
//
// The sessions of a process share their timers, so tests in virtual time run one after the other, those
// that are parallel too, and no session may be open outside of one meanwhile: Run fails the test if there
// is any. Run must not be called inside f, and f must not call t.Run or t.Parallel.
func Run(t *testing.T, seed uint64, f func(t *testing.T, n *Network)) {
	t.Helper()
	running.Lock()
	defer running.Unlock()
	if open := openSessions(); open > 0 {
		t.Fatalf("kcptest: sessions open outside of virtual time: %d; close them first", open)
	}
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, seed)
		t.Cleanup(func() { n.end(seed) }) // after those of f
		f(t, n)
	})
}

func newNetwork(t *testing.T, seed uint64) *Network {
	n := &Network{t: t, net: netem.New(seed)}
	n.net.SetTap(n.pass)
	return n
}

// end lets what was closed end, and then closes everything.
func (n *Network) end(seed uint64) {
	time.Sleep(closing)
	n.net.Close()
	synctest.Wait()
	if open := openSessions(); open > 0 {
		n.t.Errorf("kcptest: sessions that were not closed: %d", open)
	}
	if n.t.Failed() {
		n.t.Logf("kcptest: the network's seed was %d", seed)
	}
}

func openSessions() uint64 { return kcp.DefaultSnmp.Copy().CurrEstab }
