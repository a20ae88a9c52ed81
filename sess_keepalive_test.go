package kcp

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// wantPeerTimeout checks that err says that nothing was heard for silent.
func wantPeerTimeout(t *testing.T, err error, silent time.Duration) {
	t.Helper()
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	var pe *PeerTimeoutError
	if !errors.As(err, &pe) || !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("%v is no PeerTimeoutError", err)
	} else if off := pe.Silent - silent; off < -20*time.Millisecond || off > 50*time.Millisecond {
		t.Errorf("nothing heard for %v, want %v", pe.Silent, silent)
	}
}

// Probes keep an idle session, with any peer that answers them.
func TestKeepAlive(t *testing.T) {
	for _, extended := range []bool{false, true} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			cfg := w.config(nil, 0, 0)
			if !extended {
				cfg = deployed(cfg)
			}
			s, peer := w.join(w.config(nil, 0, 0), cfg)
			w.sleep(10 * time.Second)
			w.check(s.SetKeepAlivePeriod(15 * time.Second))
			w.check(s.SetIdleTimeout(16 * time.Second))
			asked, told := 0, 0
			w.watch(func(_, _ netip.AddrPort, b []byte) bool {
				if carries(b, IKCP_CMD_WASK) {
					asked++
				}
				if carries(b, IKCP_CMD_WINS) {
					told++
				}
				return true
			})
			w.sleep(time.Hour)
			if asked < 238 || asked > 240 || told != asked { // every 15 s and a round trip
				t.Errorf("%d probes and %d answers in an hour", asked, told)
			}
			w.check(exchange(s, peer, 1000))
			w.awaitIdle()
			// The peer is not there any more.
			w.watch(func(_, _ netip.AddrPort, b []byte) bool {
				asked++
				return false
			})
			w.check(s.SetIdleTimeout(0))
			asked = 0
			start := time.Now()
			_, err := s.Read(make([]byte, 1))
			wantPeerTimeout(t, err, 150*time.Second)
			if took := time.Since(start); asked != keepAliveProbes || took < 149*time.Second || took > 150*time.Second {
				t.Errorf("%d probes, gave up after %v", asked, took)
			}
			_, err = s.Write([]byte("x"))
			wantPeerTimeout(t, err, 150*time.Second)
			s.SetLinger(0)
			closeAll(s, peer)
		})
	}
}

// An idle session without any of that has no timer.
func TestIdleCostsNothing(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		s, peer := w.pair(w.config(nil, 3, 1))
		w.sleep(10 * time.Second)
		for _, s := range []*UDPSession{s, peer} {
			if s.timerArmed() {
				t.Error("a timer runs")
			}
		}
		w.sleep(24 * time.Hour)
		w.check(exchange(s, peer, 1000))
		closeAll(s, peer)
	})
}

func TestIdleTimeout(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		cfg.idle = int64(time.Minute) // of the listener's Settings
		s, peer := w.join(w.config(nil, 0, 0), cfg)
		for range 5 { // what is heard is life
			w.sleep(50 * time.Second)
			_, err := s.Write([]byte("x"))
			w.check(err)
			_, err = io.ReadFull(peer, make([]byte, 1))
			w.check(err)
		}
		_, err := peer.Read(make([]byte, 1))
		wantPeerTimeout(t, err, time.Minute)
		// The other end is told when it is closed, as it may live.
		w.check(peer.Close())
		w.awaitIdle()
		_, err = s.Read(make([]byte, 1))
		wantError(t, "read", err, syscall.ECONNRESET)
		closeAll(s)
	})
}

// A peer that answers probes of its full window is alive, however long that stays full.
func TestUserTimeout(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.1}, func(w *world) {
		s, peer := w.pair(w.config(nil, 0, 0))
		s.SetWindowSize(32, 32)
		peer.SetWindowSize(32, 32)
		w.check(s.SetUserTimeout(30 * time.Second))
		data := random(1, 200_000+restMax*plainMSS) // more than is queued
		done := make(chan error, 1)
		go func() {
			_, err := s.Write(data)
			done <- err
		}()
		w.sleep(2 * time.Hour)
		select {
		case err := <-done:
			t.Fatalf("write: %v", err)
		default:
		}
		_, err := io.ReadFull(peer, make([]byte, len(data)))
		w.check(err)
		w.check(<-done)
		w.awaitIdle()
		// An idle session is not concerned.
		w.sleep(time.Hour)
		w.watch(func(_, _ netip.AddrPort, b []byte) bool { return false })
		start, silent := time.Now(), s.Stats().LastHeard
		if silent < time.Hour {
			t.Errorf("heard %v ago in an idle hour", silent)
		}
		s.Write([]byte("x"))
		_, err = s.Read(make([]byte, 1))
		wantPeerTimeout(t, err, time.Since(start)+silent)
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("after %v", took)
		}
		w.check(s.SetUserTimeout(-1))
		closeAll(s, peer)
	})
}

func TestKeepAliveSettings(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		s := w.full(w.config(nil, 0, 0))
		for _, err := range []error{s.SetKeepAlivePeriod(time.Nanosecond), s.SetKeepAlivePeriod(-1), s.SetIdleTimeout(-1)} {
			if err == nil {
				t.Error("nonsense is accepted")
			}
		}
		w.check(s.SetIdleTimeout(1<<63 - 1))
		w.check(s.SetUserTimeout(1<<63 - 1))
		w.check(s.SetKeepAlivePeriod(1<<63 - 1))
		w.check(s.SetLinger(math.MaxInt))
		w.check(s.SetLinger(0))
		s.Close()
		for _, err := range []error{s.SetKeepAlivePeriod(time.Second), s.SetIdleTimeout(1), s.SetUserTimeout(1)} {
			wantClosed(t, err)
		}
	})
}

func TestDeadPeer(t *testing.T) {
	for _, nodelay := range []int{0, 1} {
		for _, accepted := range []bool{false, true} {
			t.Run(fmt.Sprintf("nodelay=%d/accepted=%t", nodelay, accepted), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					s, peer := w.pair(w.config(nil, 0, 0))
					if accepted {
						s, peer = peer, s
					}
					s.SetNoDelay(nodelay, 10, 2, 1)
					peer.Write([]byte("last words"))
					w.awaitIdle()
					w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return false })
					errs := make(chan error, 1)
					start := time.Now()
					go func() {
						_, err := s.Write(random(1, 8<<20))
						errs <- err
					}()
					b := make([]byte, 20)
					if n, err := s.Read(b); err != nil || string(b[:n]) != "last words" {
						t.Errorf("%q, %v", b[:n], err)
					}
					_, err := s.Read(b)
					for _, err := range []error{err, <-errs, s.SendOOB(nil)} {
						var ne net.Error
						if !errors.Is(err, syscall.ETIMEDOUT) || !errors.As(err, &ne) || !ne.Timeout() {
							t.Errorf("%v is no timeout", err)
						}
						if errors.Is(err, net.ErrClosed) {
							t.Errorf("%v: nobody has closed it", err)
						}
					}
					if took := time.Since(start); took != userTimeout {
						t.Errorf("dead after %v", took)
					}
					s.Close()
					w.wantGone(s)
					peer.Close()
				})
			})
		}
	}
}

// An outage shorter than the dead peer's is survived.
func TestOutage(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		lowLatency(32, c, s)
		w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return false })
		time.AfterFunc(9*time.Second, func() { w.net.SetTap(nil) })
		w.check(exchange(c, s, 100_000))
		closeAll(c, s)
	})
}
