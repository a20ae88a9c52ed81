package kcp

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// gamePath loses a twentieth, and has a queue of a tenth of a second.
var gamePath = netem.Path{Delay: 20 * time.Millisecond, Loss: 0.05, Bandwidth: 250_000, Queue: 25_000, Overhead: 28}

// A server that sends 60 datagrams of 200 bytes a second to each of its players, beside a stream that takes what
// the path carries: those that the path does not lose arrive, and none waits for what the stream has lost, which
// takes a round trip and more.
func TestGameBesideStream(t *testing.T) {
	players := lighter(50, 5)
	alone, beside := gameRound(t, players, false), gameRound(t, players, true)
	for i, r := range []gameResult{alone, beside} {
		t.Logf("beside a stream %t: %.1f%% arrive, after %v (p50), %v (p99), %v at most; %d bytes/s of the stream to each",
			i == 1, 100*r.share, r.p50, r.p99, r.most, r.stream)
		if r.share < 0.94 {
			t.Errorf("%.3f of them arrive, and the path loses 0.05", r.share)
		}
	}
	if most := gamePath.Delay + 2*time.Millisecond; alone.p99 > most {
		t.Errorf("alone: p99 of %v, want %v", alone.p99, most)
	}
	// The queue of the path is the stream's too.
	if most := gamePath.Delay + 40*time.Millisecond; beside.p99 > most {
		t.Errorf("beside a stream: p99 of %v, want %v", beside.p99, most)
	}
	if beside.stream < 100_000 {
		t.Errorf("the stream had %d bytes/s", beside.stream)
	}
}

// gameResult is what the players of a round see.
type gameResult struct {
	share          float64 // of the datagrams that arrive
	p50, p99, most time.Duration
	stream         int64 // bytes a second to each
}

// gameRound has a server send to so many players for a while, beside a stream or not.
func gameRound(t *testing.T, players int, stream bool) (r gameResult) {
	const (
		frames = 180
		frame  = time.Second / 60
	)
	virtual(t, gamePath, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		cfg.stream = true
		l := w.listen(cfg, "10.0.0.2:2000")
		var (
			mu    sync.Mutex
			waits []time.Duration
			bytes int64
		)
		var all []io.Closer
		for range players {
			c := w.dial(cfg, l)
			w.check(ignore(io.WriteString(c, "hello")))
			s, err := l.AcceptKCP()
			w.check(err)
			w.check(ignore(io.ReadFull(s, make([]byte, 5))))
			all = append(all, c, s)
			go func() {
				for {
					b, err := c.ReceiveDatagram(context.Background())
					if err != nil {
						return
					}
					mu.Lock()
					waits = append(waits, time.Duration(time.Now().UnixNano()-int64(binary.LittleEndian.Uint64(b))))
					mu.Unlock()
				}
			}()
			go func() {
				n, _ := io.Copy(io.Discard, c)
				mu.Lock()
				bytes += n
				mu.Unlock()
			}()
		}
		w.sleep(time.Second)
		var playing sync.WaitGroup
		for _, s := range slices.Collect(l.Sessions()) {
			if stream {
				go io.Copy(s, endless{})
			}
			playing.Go(func() {
				time.Sleep(time.Second)
				b := make([]byte, 200)
				for range frames {
					binary.LittleEndian.PutUint64(b, uint64(time.Now().UnixNano()))
					w.check(s.SendDatagram(b))
					time.Sleep(frame)
				}
			})
		}
		playing.Wait()
		w.awaitIdle()
		for _, s := range all {
			s.(*UDPSession).Abort()
		}
		l.Close()
		w.awaitIdle()
		slices.Sort(waits)
		n := len(waits)
		r = gameResult{
			share: float64(n) / float64(players*frames),
			p50:   waits[n/2], p99: waits[n*99/100], most: waits[n-1],
			stream: bytes / int64(players) / 5,
		}
	})
	return r
}
