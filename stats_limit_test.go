package kcp

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Each limit of what a session sends has a case that shows it, most of the time, and the times of
// all add up to the session's age.
func TestSendLimit(t *testing.T) {
	const slow = 1_250_000
	fast := lighter[int64](50_000_000, 10_000_000)
	path := func(rate int64) netem.Path {
		return netem.Path{Delay: 20 * time.Millisecond, Bandwidth: rate, Queue: 100_000}
	}
	lossy := path(fast)
	lossy.Loss = 0.3
	small := func(s, _ *UDPSession) {
		s.SetCongestionControl(fixedControl{1 << 30, 0})
		s.SetWindowSize(32, 0)
	}
	bulk := func(l *load) { go l.write() }
	for _, c := range []struct {
		name  string
		want  SendLimit
		path  netem.Path
		set   func(s, peer *UDPSession)
		start func(l *load) // nil for bulk that the peer does not read
	}{
		{"nothing is written", LimitApplication, path(slow), nil, func(*load) {}},
		{"a thin stream", LimitApplication, path(slow), nil, func(l *load) {
			go func() {
				for !l.stopped.Load() {
					l.s.Write(make([]byte, 500))
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}},
		{"SetWriteDelay", LimitApplication, path(slow), func(s, _ *UDPSession) { s.SetWriteDelay(true) }, func(l *load) {
			go func() {
				for !l.stopped.Load() {
					l.s.Write(make([]byte, 100))
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}},
		{"datagrams alone, twice the link", LimitPacing, path(slow), nil, func(l *load) {
			l.s.Write(make([]byte, 1000))
			go func() {
				for !l.stopped.Load() {
					l.s.SendDatagram(make([]byte, 1000))
					time.Sleep(400 * time.Microsecond)
				}
			}()
		}},
		{"a small send window", LimitSendWindow, path(fast), small, bulk},
		{"a small send window, nc=1", LimitSendWindow, path(fast), func(s, _ *UDPSession) {
			s.SetNoDelay(1, 10, 2, 1)
			s.SetWindowSize(64, 0)
		}, bulk},
		{"a small send window, TryWrite", LimitSendWindow, path(fast), func(s, _ *UDPSession) {
			s.SetNoDelay(1, 10, 2, 1)
			s.SetWindowSize(32, 0)
		}, (*load).try},
		{"a small send window, a lossy path", LimitSendWindow, lossy, small, bulk},
		{"a small send window, a lossy path, TryWrite", LimitSendWindow, lossy, small, (*load).try},
		{"a small receive window", LimitPeerWindow, path(fast), func(_, peer *UDPSession) { peer.SetWindowSize(0, 32) }, bulk},
		{"a peer that does not read", LimitPeerWindow, path(fast), nil, nil},
		{"a congestion window", LimitCongestionWindow, path(slow), func(s, _ *UDPSession) { s.SetCongestionControl(fixedControl{20_000, 0}) }, bulk},
		{"cubic", LimitCongestionWindow, path(slow), func(s, _ *UDPSession) { s.SetCongestionControl(NewCubic()) }, bulk},
		{"pacing", LimitPacing, path(fast), func(s, _ *UDPSession) { s.SetCongestionControl(fixedControl{1 << 30, 100_000}) }, bulk},
		{"bbr", LimitPacing, path(slow), nil, bulk},
		{"SetRateLimit", LimitRate, path(slow), func(s, _ *UDPSession) { s.SetRateLimit(200_000) }, bulk},
		{"SetBucket", LimitRate, path(slow), func(s, _ *UDPSession) { s.SetBucket(newTokenBucket(200_000, 3000)) }, bulk},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, c.path, func(w *world) {
				s, peer := w.pair(w.config(nil, 0, 0))
				if c.set != nil {
					c.set(s, peer)
				}
				w.sleep(3 * time.Second)
				var l *load
				if c.start == nil {
					l = &load{world: w, s: s, peer: peer}
					go l.write()
				} else {
					l = w.reading(s, peer)
					c.start(l)
				}
				defer l.end()
				w.sleep(2 * time.Second) // beyond the start
				w.wantLimit(s, c.want)
			})
		})
	}
}

// wantLimit checks that the limit is that one for three of the five seconds that follow, and that
// Stats says so at most times.
func (w *world) wantLimit(s *UDPSession, want SendLimit) {
	w.Helper()
	before, seen := s.Stats().TimeLimited, make(map[SendLimit]int)
	for range 500 {
		w.sleep(10 * time.Millisecond)
		seen[s.Stats().SendLimit]++
	}
	st := s.Stats()
	if d := st.TimeLimited[want] - before[want]; d < 3*time.Second || seen[want] < 250 {
		w.Errorf("limited by %v for %v of 5s; seen: %v; %v", want, d, seen, st.TimeLimited)
	}
	sum := time.Duration(0)
	for _, d := range st.TimeLimited {
		sum += d
	}
	if sum != st.Age {
		w.Errorf("%v in all, in a session of %v", sum, st.Age)
	}
}

// A writer that waits for room is not the limit, however long repairs keep the window from moving.
func TestSendLimitRepairs(t *testing.T) {
	for _, tries := range []bool{false, true} {
		path := netem.Path{Delay: 14 * time.Millisecond, Bandwidth: 64_000, Queue: 20_000}
		virtual(t, path, func(w *world) {
			s, peer := w.pair(w.config(nil, 0, 0))
			s.SetNoDelay(-1, -1, -1, 1)
			l := w.reading(s, peer)
			defer l.end()
			if tries {
				l.try()
			} else {
				go l.write()
			}
			w.sleep(time.Second)
			before := s.Stats().TimeLimited[LimitApplication]
			w.sleep(5 * time.Second)
			if d := s.Stats().TimeLimited[LimitApplication] - before; d > 100*time.Millisecond {
				t.Errorf("TryWrite %t: limited by the application for %v of 5s", tries, d)
			}
		})
	}
}

// try writes what it can, when it can, until it is stopped.
func (l *load) try() {
	l.s.SetWriteNotify(func() {
		for n := 1; n > 0 && !l.stopped.Load(); {
			n, _ = l.s.TryWrite(make([]byte, 10_000))
		}
	})
}

// A PacketConn that takes nothing is the limit, whatever is written.
func TestSendLimitSocket(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		cfg.rcvWnd = 4096
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		v, s := w.behindValve(cfg, l, 1)
		lowLatency(4096, s)
		w.awaitIdle()
		w.wantLimit(s, LimitApplication)
		v.shut(0)
		written := make(chan error, 1)
		go func() {
			_, err := s.Write(make([]byte, 20<<20))
			written <- err
		}()
		w.wantLimit(s, LimitSocket)
		s.SetLinger(0)
		s.Close()
		v.open()
		if err := <-written; err == nil {
			t.Error("20 MB were taken")
		}
		closeAll(v, l)
	})
}

// A session that is over is limited by nothing, and its time goes on.
func TestSendLimitClosed(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		for _, abort := range []bool{false, true} {
			s, peer := w.pair(w.config(nil, 0, 0))
			w.sleep(time.Second)
			if abort {
				s.Abort()
			} else {
				s.Close()
			}
			io.Copy(io.Discard, peer)
			peer.Close()
			w.sleep(time.Second)
			before := s.Stats()
			w.wantLimit(s, LimitNone)
			if d := s.Stats().TimeLimited[LimitApplication]; d != before.TimeLimited[LimitApplication] {
				t.Errorf("%v limited by the application, %v before", d, before.TimeLimited[LimitApplication])
			}
		}
	})
}

func TestSendLimitString(t *testing.T) {
	for l, want := range map[SendLimit]string{
		LimitNone: "none", LimitApplication: "application", LimitSendWindow: "send window", LimitPeerWindow: "peer window",
		LimitCongestionWindow: "congestion window", LimitPacing: "pacing", LimitRate: "rate limit", LimitSocket: "socket",
		LimitSocket + 1: "SendLimit(8)", 255: "SendLimit(255)",
	} {
		if got := l.String(); got != want || fmt.Sprint(l) != want {
			t.Errorf("%d is %q, want %q", uint8(l), got, want)
		}
	}
}

// fixedControl has a fixed window and rate.
type fixedControl struct {
	window int
	rate   int64
}

func (fixedControl) Sent(time.Duration, int, int)       {}
func (fixedControl) Acked(time.Duration, *RateSample)   {}
func (fixedControl) Lost(time.Duration, int, int, bool) {}
func (fixedControl) Spurious(time.Duration, int)        {}
func (c fixedControl) Window() int                      { return c.window }
func (c fixedControl) PacingRate() int64                { return c.rate }

// Drivers that take turns with a clock read before do not make a time negative, and the times still
// add up.
func TestLimitTimesOfLateDrivers(t *testing.T) {
	c := limitClock{limit: LimitApplication, since: 100}
	c.note(110, LimitPacing)
	c.note(108, LimitSocket)
	c.note(109, LimitPacing)
	var want LimitTimes
	want[LimitApplication], want[LimitPacing] = 10, 5
	if got := c.times(115); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
