package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// frames writes messages of that size, numbered and filled by their number, and reads them at the other
// end, where each has to be whole and later than the one before. It returns how long after its writing
// each that came was read.
func frames(w *world, from, to *UDPSession, n, size int, every, life time.Duration) (took []time.Duration) {
	w.Helper()
	start, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, from.MaxMessageSize())
		for last := -1; last != n; {
			m, err := to.Read(b)
			if err != nil {
				w.Errorf("after message %d of %d: %v", last, n, err)
				return
			}
			i := int(binary.LittleEndian.Uint32(b))
			if i <= last || m != size || !bytes.Equal(b[4:m], random(uint64(i), size-4)) {
				w.Errorf("%d bytes of message %d came behind message %d", m, i, last)
				return
			}
			if last = i; i < n {
				took = append(took, time.Since(start)-time.Duration(i)*every)
			}
		}
	}()
	for i := range n + 1 {
		b := append(binary.LittleEndian.AppendUint32(nil, uint32(i)), random(uint64(i), size-4)...)
		var expires time.Time // the last one does not
		if life > 0 && i < n {
			expires = start.Add(time.Duration(i)*every + life)
		}
		if err := from.WriteMessage(b, expires); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Error(err)
			break
		}
		time.Sleep(time.Until(start.Add(time.Duration(i+1) * every)))
	}
	<-done
	return took
}

// What has expired is not sent and does not hold up what follows: frames arrive in time, or not at all. To a
// peer that does not know that they are late instead.
func TestMessagesExpire(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name        string
		path        netem.Path
		size        int
		life        time.Duration
		old         bool
		share       float64       // arrive at least
		least, most time.Duration // the slowest percent
	}{
		{"slow link", netem.Path{Delay: 20 * ms, Bandwidth: 1e6, Queue: 5e4}, 20000, 150 * ms, false, 0.7, 0, 250 * ms},
		{"slow link, for ever", netem.Path{Delay: 20 * ms, Bandwidth: 1e6, Queue: 5e4}, 20000, 0, false, 1, time.Second, time.Hour},
		{"slow link, old peer", netem.Path{Delay: 20 * ms, Bandwidth: 1e6, Queue: 5e4}, 20000, 150 * ms, true, 0.8, 300 * ms, time.Hour},
		{"20% lost", netem.Path{Delay: 30 * ms, Loss: 0.2}, 5000, 120 * ms, false, 0.55, 0, 300 * ms},
		{"small, 20% lost", netem.Path{Delay: 30 * ms, Loss: 0.2}, 300, 120 * ms, false, 0.85, 0, 300 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.path
			path.Loss = 0
			virtual(t, path, func(w *world) {
				cfg := w.config(nil, 0, 0)
				other := *cfg
				if c.old {
					deployed(&other)
				}
				client, server := w.join(cfg, &other)
				client.SetNoDelay(1, 10, 2, 0)
				w.check(w.net.SetDefault(c.path))
				const n = 600
				took := frames(w, client, server, n, c.size, time.Second/60, c.life)
				a, b := client.Stats(), server.Stats()
				t.Logf("%d of %d, p99 %v; %d segments expired, %d messages skipped", len(took), n, p99(took), a.Expired, b.Skipped)
				if share := float64(len(took)) / n; share < c.share {
					t.Errorf("%.2f arrived, want %.2f", share, c.share)
				}
				if late := p99(took); late < c.least || late > c.most {
					t.Errorf("the slowest took %v, want %v to %v", late, c.least, c.most)
				}
				if c.life == 0 || c.old {
					if a.Expired+b.Skipped > 0 {
						t.Errorf("%d segments expired, %d messages", a.Expired, b.Skipped)
					}
				} else if a.Expired == 0 || b.Skipped == 0 {
					t.Error("none expired")
				}
				closeAll(client, server)
			})
		})
	}
}

// Whatever expires and is lost, what is read is messages as they were written, in order.
func TestMessagesAreWhole(t *testing.T) {
	path := netem.Path{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.15, Duplicate: 0.05}
	for seed := range uint64(lighter(8, 3)) {
		virtualSeed(t, testSeed+seed, path, func(w *world) {
			r := rand.New(rand.NewPCG(testSeed, seed))
			client, server := w.pair(w.config(nil, 0, 0))
			const n = 300
			read := make(chan error, 1)
			go func() {
				b := make([]byte, client.MaxMessageSize())
				for last := -1; last < n; {
					m, err := server.Read(b)
					if err != nil {
						read <- err
						return
					}
					i := int(binary.LittleEndian.Uint32(b))
					if i <= last || !bytes.Equal(b[4:m], random(uint64(i), m-4)) {
						read <- fmt.Errorf("%d bytes of message %d behind %d", m, i, last)
						return
					}
					last = i
				}
				read <- nil
			}()
			for i := range n + 1 {
				b := append(binary.LittleEndian.AppendUint32(nil, uint32(i)), random(uint64(i), r.IntN(9000))...)
				var expires time.Time
				if r.IntN(3) > 0 && i < n {
					expires = time.Now().Add(time.Duration(1+r.IntN(80)) * time.Millisecond)
				}
				if err := client.WriteMessage(b, expires); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
			}
			w.check(<-read)
			closeAll(client, server)
		})
	}
}

func TestMessageErrors(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		most := client.MaxMessageSize()
		for _, size := range []int{0, most + 1} {
			if err := client.WriteMessage(make([]byte, size), time.Time{}); err == nil {
				t.Errorf("a message of %d bytes was taken, at most %d", size, most)
			}
		}
		w.check(client.WriteMessage(make([]byte, most), time.Time{}))
		if n, err := server.Read(make([]byte, most+1)); n != most || err != nil {
			t.Errorf("read %d bytes, %v, want %d", n, err, most)
		}
		wantTimeout(t, client.WriteMessage([]byte{1}, time.Now()))
		client.SetStreamMode(true)
		if err := client.WriteMessage([]byte{1}, time.Time{}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v in stream mode", err)
		}
		client.SetStreamMode(false)
		client.Close()
		wantClosed(t, client.WriteMessage([]byte{1}, time.Time{}))
		closeAll(server)
	})
}

// A message that waits for room expires there.
func TestMessageExpiresWaiting(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		client.SetWindowSize(16, 16)
		w.check(w.net.SetDefault(netem.Path{Delay: 10 * time.Millisecond, Bandwidth: 10_000, Queue: 1e5}))
		w.check(client.WriteMessage(make([]byte, 50_000), time.Time{}))
		start := time.Now()
		wantTimeout(t, client.WriteMessage([]byte{1}, start.Add(300*time.Millisecond)))
		if took := time.Since(start); took != 300*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		client.Abort()
		server.Abort()
	})
}
