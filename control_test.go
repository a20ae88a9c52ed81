package kcp

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// inStartup says whether the session's default controller has not found the path's rate yet.
func (s *UDPSession) inStartup() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.core.cc.(*bbr).filled
}

// An application that sends little does not end startup: its rate is not the path's.
func TestThinTrafficKeepsStartup(t *testing.T) {
	for name, write := range map[string]func(*UDPSession, []byte) (int, error){
		"Write": (*UDPSession).Write, "TryWrite": (*UDPSession).TryWrite,
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				b := w.opened(w.config(nil, 0, 0), "10.0.0.2:2000", pipe(1_000_000, 0))
				go io.Copy(io.Discard, b.s)
				for range 100 {
					if _, err := write(b.c, make([]byte, 100)); err != nil {
						t.Fatal(err)
					}
					w.sleep(20 * time.Millisecond)
				}
				if !b.c.inStartup() {
					t.Error("startup is over")
				}
				b.close()
			})
		})
	}
}

// A sender whose window holds it back is not one without data: startup ends, and with it its pace.
func TestWindowLimitEndsStartup(t *testing.T) {
	path := pipe(scaled(5_000_000), 0.002)
	path.Delay = 100 * time.Millisecond
	path.Queue = int(path.Bandwidth) / 10
	virtual(t, netem.Path{}, func(w *world) {
		b := w.opened(w.config(nil, 0, 0), "10.0.0.2:2000", path)
		wnd := int(path.Bandwidth) / 5 / plainMSS * 13 / 10 // a little more than the path and less than its queue
		for _, s := range []*UDPSession{b.c, b.s} {
			s.SetWindowSize(wnd, wnd)
		}
		go tryWriteAll(b.c)
		go io.Copy(b.counter(), b.s)
		w.sleep(8 * time.Second)
		if b.c.inStartup() {
			t.Error("startup is not over")
		}
		b.want("then", 8*time.Second, float64(path.Bandwidth)*0.4, 1.06)
		b.close()
	})
}

// tryWriteAll writes until an error, with TryWrite as there is room.
func tryWriteAll(s *UDPSession) {
	room := make(chan bool, 1)
	s.SetWriteNotify(func() {
		select {
		case room <- true:
		default:
		}
	})
	for b := make([]byte, 100_000); ; {
		if n, err := s.TryWrite(b); err != nil {
			return
		} else if n < len(b) {
			<-room
		}
	}
}

// A window smaller than the path is used up, and not only three quarters of it.
func TestFixedWindowIsUsed(t *testing.T) {
	const wnd, rtt = 128, 200 * time.Millisecond
	virtual(t, netem.Path{}, func(w *world) {
		b := w.opened(w.config(nil, 0, 0), "10.0.0.2:2000", netem.Path{Delay: rtt / 2})
		for _, s := range []*UDPSession{b.c, b.s} {
			s.SetWindowSize(wnd, wnd)
			s.SetNoDelay(1, 10, 2, 0)
		}
		go io.Copy(b, zeros{})
		go io.Copy(b.counter(), b.s)
		w.sleep(4 * time.Second)
		b.want("window", 4*time.Second, 0.85*wnd*plainMSS/rtt.Seconds(), 1.03)
		b.close()
	})
}

// Jitter is taken neither for a queue nor for a faster or slower path.
func TestBulkOverJitter(t *testing.T) {
	path := pipe(scaled(5_000_000), 0)
	path.Jitter = 20 * time.Millisecond
	virtual(t, netem.Path{}, func(w *world) {
		b := w.bulk(w.config(nil, 0, 0), "10.0.0.2:2000", path)
		b.sleep(3 * time.Second)
		b.want("jitter", 6*time.Second, float64(path.Bandwidth)*0.88, 1.05)
		b.close()
	})
}

// fixedWindows is bulk over path, with windows of 1024 segments and a common low-latency timing.
func (w *world) fixedWindows(path netem.Path, interval int) *bulk {
	w.Helper()
	b := w.opened(w.config(nil, 0, 0), "10.0.0.2:2000", path)
	for _, s := range []*UDPSession{b.c, b.s} {
		s.SetWindowSize(1024, 1024)
		s.SetNoDelay(1, interval, 2, 0)
	}
	go io.Copy(b, zeros{})
	go io.Copy(b.counter(), b.s)
	return b
}

// Where the delay jitters by half of the round trip, the acknowledgements of a round trip together tell
// the rate, though the mean of what each tells is far below it: the rate does not sink from probe to
// probe.
func TestJitterDoesNotLowerTheRate(t *testing.T) {
	const ms = time.Millisecond
	path := netem.Path{Delay: 50 * ms, Jitter: 100 * ms, Bandwidth: lighter[int64](1_250_000, 500_000), Loss: 0.1}
	path.Queue = int(path.Bandwidth) / 10
	virtual(t, netem.Path{}, func(w *world) {
		b := w.fixedWindows(path, 10)
		b.sleep(10 * time.Second)
		b.want("jitter and loss", 20*time.Second, float64(path.Bandwidth)*0.76, 1.17)
		b.close()
	})
}

// What overflows in a short queue, when much is lost anyway, is not taken for the path's own loss.
func TestOverflowIsNotThePathsLoss(t *testing.T) {
	path := netem.Path{Delay: 1370 * time.Microsecond, Bandwidth: 2_370_000, Queue: 7000, Loss: 0.17}
	virtual(t, netem.Path{}, func(w *world) {
		b := w.fixedWindows(path, 20)
		b.sleep(lighter(6*time.Second, 2*time.Second))
		b.want("then", 2*time.Second, float64(path.Bandwidth)*0.75, 1.15/(1-path.Loss))
		b.close()
	})
}

// By chance, much of what was sent arrives in one of twelve short round trips: that is not the path's rate.
func TestChanceDoesNotRaiseTheRate(t *testing.T) {
	path := netem.Path{Delay: 10 * time.Millisecond, Bandwidth: 533_000, Queue: 5700, Loss: 0.18}
	virtual(t, netem.Path{}, func(w *world) {
		b := w.fixedWindows(path, 20)
		b.sleep(5 * time.Second)
		b.want("then", lighter(20*time.Second, 10*time.Second), float64(path.Bandwidth)*0.68, 1.09/(1-path.Loss))
		b.close()
	})
}

// What pacing releases at once fits into a queue of a tenth of a short round trip.
func TestPacingFitsShortQueues(t *testing.T) {
	path := netem.Path{Delay: 2 * time.Millisecond, Bandwidth: 12_000_000, Queue: 6000}
	virtual(t, netem.Path{}, func(w *world) {
		b := w.bulk(w.config(nil, 0, 0), "10.0.0.2:2000", path)
		d := lighter(time.Second, 300*time.Millisecond)
		b.sleep(d)
		b.want("short queue", d, float64(path.Bandwidth)*0.9, 1.08)
		b.close()
	})
}

// Where a probe for bandwidth overflows a short queue, and the send window then waits for the repairs, probes
// become shorter: most of them lose nothing, and the window goes on.
func TestProbesFitShortQueues(t *testing.T) {
	path := netem.Path{Delay: 70 * time.Millisecond, Bandwidth: 1_000_000, Queue: 30_000}
	virtual(t, netem.Path{}, func(w *world) {
		b := w.fixedWindows(path, 20)
		for _, s := range []*UDPSession{b.c, b.s} {
			s.SetWindowSize(145, 145)
		}
		b.sleep(5 * time.Second)
		b.want("short queue", 20*time.Second, float64(path.Bandwidth)*0.93, 1.03)
		b.close()
	})
}

// An answer after an exchange of a byte takes as few round trips as a window of 32 segments needs.
func TestAnswerAfterThinTraffic(t *testing.T) {
	for _, tt := range []struct {
		size int
		most time.Duration
	}{{10_000, 67 * time.Millisecond}, {50_000, 130 * time.Millisecond}, {200_000, 210 * time.Millisecond}} {
		t.Run(fmt.Sprint(tt.size), func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				b := w.opened(w.config(nil, 0, 0), "10.0.0.2:2000", pipe(5_000_000, 0))
				back := pipe(5_000_000, 0)
				w.check(w.net.SetPath(b.s.LocalAddr(), b.c.LocalAddr(), back))
				go func() {
					if _, err := io.ReadFull(b.s, make([]byte, 1)); err == nil {
						b.s.Write(make([]byte, tt.size))
					}
				}()
				w.sleep(time.Second)
				start := time.Now()
				b.c.Write([]byte{1})
				_, err := io.ReadFull(b.c, make([]byte, tt.size))
				w.check(err)
				took := time.Since(start)
				t.Logf("%d bytes after %v", tt.size, took)
				if took > tt.most {
					t.Errorf("%d bytes after %v, want %v", tt.size, took, tt.most)
				}
				b.close()
			})
		})
	}
}

// One datagram takes long on a slow path, and few are in flight: the queue that stays is less than one,
// whatever the round trip of the first, small ones was, and however long acknowledgements may wait.
func TestShortQueueOnSlowPaths(t *testing.T) {
	for _, c := range []struct {
		rate int64
		rtt  time.Duration
		loss float64
	}{
		{37_000, 2 * time.Millisecond, 0.004}, {41_000, 38 * time.Millisecond, 0}, {60_000, 10 * time.Millisecond, 0.01},
		{25_000, 100 * time.Millisecond, 0}, {100_000, 20 * time.Millisecond, 0.01},
	} {
		t.Run(fmt.Sprintf("%d KB per s, %v, %v lost", c.rate/1000, c.rtt, c.loss), func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				path := netem.Path{Delay: c.rtt / 2, Bandwidth: c.rate, Queue: 20_000, Loss: c.loss}
				b := w.bulk(w.config(nil, 0, 0), "10.0.0.2:2000", path)
				b.sleep(10 * time.Second)
				got := b.got.Load()
				const samples = 600
				var sum time.Duration
				for range samples {
					b.sleep(50 * time.Millisecond)
					sum += b.c.Stats().RTT
				}
				datagram := time.Duration(IKCP_MTU_DEF * int64(time.Second) / c.rate)
				queue := sum/samples - c.rtt - datagram
				rate := float64(b.got.Load()-got) / (samples * 0.05)
				share := rate / ((1 - c.loss) * float64(c.rate) * plainMSS / IKCP_MTU_DEF)
				t.Logf("%.2f of the rate, a queue of %v, where a datagram takes %v", share, queue, datagram)
				if share < 0.85 || queue > datagram*3/4 {
					t.Error("want 0.85, and three quarters of a datagram at most")
				}
				b.close()
			})
		})
	}
}
