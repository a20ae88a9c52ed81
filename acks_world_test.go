package kcp

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// carriedSegments calls f with each segment of the plain datagrams that one address sends another.
func (w *world) carriedSegments(f func(from netip.Addr, h *header, body []byte) (pass bool)) {
	w.watch(func(from, _ netip.AddrPort, b []byte) bool {
		pass := true
		for len(b) >= IKCP_OVERHEAD {
			var h header
			h.parse(b)
			b = b[IKCP_OVERHEAD:]
			pass = f(from.Addr(), &h, b[:min(int(h.len), len(b))]) && pass
			b = b[min(int(h.len), len(b)):]
		}
		return pass
	})
}

// A peer without extensions that sends to us gets one ACK for each two segments in order, with the ts
// of the older one. Behind a gap it gets one for each, so that it repeats what is missing as soon as
// it always did: when as many later ones are acknowledged as it waits for.
func TestUnmarkedSenderIsAcknowledged(t *testing.T) {
	const (
		rtt, every = 40 * time.Millisecond, 2 * time.Millisecond
		missing    = 501
	)
	virtual(t, netem.Path{Delay: rtt / 2}, func(w *world) {
		s, peer := w.meet(w.config(nil, 0, 0), 7, false, unmarked.Config{SendWindow: 256, Resend: 2, Stream: true})
		s.SetWindowSize(256, 256)
		var (
			sentAt        []time.Time // of missing
			acks, grams   int
			behind, until int
			ts            = make(map[uint32]uint32) // of each segment
		)
		w.carriedSegments(func(from netip.Addr, h *header, _ []byte) bool {
			switch {
			case from == netip.MustParseAddr("10.0.0.1") && h.cmd == IKCP_CMD_PUSH:
				ts[h.sn] = h.ts
				grams++
				if h.sn == missing {
					sentAt = append(sentAt, time.Now())
					return len(sentAt) > 1
				}
			case from == netip.MustParseAddr("10.0.0.2") && h.cmd == IKCP_CMD_ACK:
				if acks++; h.len > 0 || h.una > h.sn && h.ts != ts[h.sn] && h.ts != ts[h.sn-1] {
					w.Errorf("an acknowledgement that a deployed peer is not sent: %+v", *h)
				}
				if h.una == missing && h.sn > missing {
					behind++
					until = max(until, int(h.sn-missing))
				}
			}
			return true
		})
		failed := make(chan error, 1)
		go func() { failed <- carry(slowly{peer, every}, s, 2000*1000) }()
		w.check(<-failed)
		switch {
		case len(sentAt) != 2:
			w.Errorf("segment %d was sent %d times", missing, len(sentAt))
		case sentAt[1].Sub(sentAt[0]) > rtt+2*every+2*10*time.Millisecond: // its timer twice
			w.Errorf("it was repeated after %v", sentAt[1].Sub(sentAt[0]))
		}
		if behind != until {
			w.Errorf("%d acknowledgements of %d segments behind the gap", behind, until)
		}
		if w.Logf("%d acknowledgements of %d segments", acks, grams); acks > grams*55/100 {
			w.Errorf("%d acknowledgements of %d segments", acks, grams)
		}
		closeAll(s, peer)
	})
}

// slowly writes a thousand bytes every so often.
type slowly struct {
	end
	every time.Duration
}

func (s slowly) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = s.end.Write(b[n:min(n+1000, len(b))])
		n += m
		time.Sleep(s.every)
	}
	return n, err
}

// asymmetric makes the paths from one session's socket to the other's, and back.
func (w *world) asymmetric(from, to *UDPSession, there, back netem.Path) {
	w.Helper()
	w.check(w.net.SetPath(from.LocalAddr(), to.LocalAddr(), there))
	w.check(w.net.SetPath(to.LocalAddr(), from.LocalAddr(), back))
}

// streamFor writes to from as fast as it takes it, and returns the bytes that arrive a second over the
// time d, after a warm-up, and how many of acknowledgements are sent for each of them meanwhile.
func (w *world) streamFor(from, to *UDPSession, warmup, d time.Duration) (rate, reverse float64) {
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := from.Write(b); err != nil {
				return
			}
		}
	}()
	var got atomic.Int64
	go func() {
		b := make([]byte, 256<<10)
		for {
			n, err := to.Read(b)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	back := func() float64 { return float64(w.net.Stats(to.LocalAddr(), from.LocalAddr()).SentBytes) }
	w.sleep(warmup)
	bytes, acks := got.Load(), back()
	w.sleep(d)
	bytes = got.Load() - bytes
	return float64(bytes) / d.Seconds(), (back() - acks) / float64(bytes)
}

// Acknowledgements take few bytes of what is delivered, and a slow way back does not slow what it
// carries them for, whatever the ends' settings.
func TestReversePathLimitsBulk(t *testing.T) {
	const mb = 1e6
	for _, c := range []struct {
		name          string
		forward, back int64
		loss          float64
		rate, reverse float64 // at least and at most
		lowLatency    bool
	}{
		{"5 MB/s", 5 * mb, 0, 0, 4.7 * mb, 0.0021, false},
		{"5 MB/s, 1% lost", 5 * mb, 0, 0.01, 4.6 * mb, 0.005, false},
		{"5 MB/s, 1% lost, low latency", 5 * mb, 0, 0.01, 4.5 * mb, 0.012, true},
		{"10 MB/s, 60 KB/s back", 10 * mb, 60_000, 0, 9.4 * mb, 0.0025, false},
		{"10 MB/s, 60 KB/s back, low latency", 10 * mb, 60_000, 0, 9.4 * mb, 0.004, true},
		{"20 MB/s, 100 KB/s back", 20 * mb, 100_000, 0, 18.5 * mb, 0.0025, false},
		{"20 MB/s, 100 KB/s back, 0.1% lost", 20 * mb, 100_000, 0.001, 18 * mb, 0.004, false},
	} {
		if raceEnabled && c.forward > 5*mb {
			continue
		}
		for seed := range uint64(lighter(3, 1)) {
			t.Run(fmt.Sprintf("%s/%d", c.name, seed), func(t *testing.T) {
				virtualSeed(t, seed, netem.Path{Delay: 30 * time.Millisecond}, func(w *world) {
					client, server := w.pair(w.config(nil, 0, 0))
					for _, s := range []*UDPSession{client, server} {
						s.SetStreamMode(true)
						if c.lowLatency {
							s.SetNoDelay(1, 10, 2, 0)
							s.SetACKNoDelay(true)
						}
					}
					w.asymmetric(client, server,
						netem.Path{Delay: 30 * time.Millisecond, Loss: c.loss, Bandwidth: c.forward, Queue: int(c.forward * 6 / 100)},
						netem.Path{Delay: 30 * time.Millisecond, Loss: c.loss, Bandwidth: c.back, Queue: 30_000})
					rate, reverse := w.streamFor(client, server, 3*time.Second, 5*time.Second)
					w.Logf("%.2f MB/s, %.4f back", rate/mb, reverse)
					if rate < c.rate || reverse > c.reverse {
						w.Errorf("%.2f MB/s and %.4f back, want %.2f and %.4f", rate/mb, reverse, c.rate/mb, c.reverse)
					}
					client.Abort()
					server.Abort()
				})
			})
		}
	}
}
