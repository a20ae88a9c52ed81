package kcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// forged is a first datagram as anybody can send from any address: with the mark, or as a deployed
// peer's.
func forged(conv uint32, marked bool) (b []byte) {
	if marked {
		b = segmentOf(header{conv: conv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN, wnd: 128, ts: 99})
	}
	return append(b, segment(conv, IKCP_CMD_PUSH, 0, []byte("x"))...)
}

// An application that does nothing with a forged connection, or ends it, sends the stranger whose
// address was forged no more than a few small datagrams.
func TestForgedAmplification(t *testing.T) {
	for _, tt := range []struct {
		name   string
		serve  func(w *world, s *UDPSession)
		within float64 // times the bytes that came
	}{
		{"close", func(_ *world, s *UDPSession) { s.Close() }, 2.5},
		{"close later", func(w *world, s *UDPSession) { w.sleep(time.Second); s.Close() }, 3},
		{"read and close", func(_ *world, s *UDPSession) { s.Read(make([]byte, 9)); s.Close() }, 2.5},
		{"close and wait", func(_ *world, s *UDPSession) { s.SetLinger(-1); s.Close() }, 2.5},
		{"abort", func(_ *world, s *UDPSession) { s.Abort() }, 2},
		{"CloseWrite", func(w *world, s *UDPSession) { s.CloseWrite(); w.sleep(50 * time.Second); s.Close() }, 3},
		{"hold", func(w *world, s *UDPSession) { w.sleep(50 * time.Second); s.Close() }, 3},
		{"keepalive", func(w *world, s *UDPSession) {
			s.SetKeepAlivePeriod(time.Second)
			w.sleep(50 * time.Second)
			s.Close()
		}, 3},
		{"zero window", func(w *world, s *UDPSession) {
			s.Write([]byte("banner")) // which the window keeps back
			w.sleep(50 * time.Second)
			s.Close()
		}, 3},
	} {
		for _, marked := range []bool{false, true} {
			for _, shards := range []int{0, 3} {
				t.Run(fmt.Sprintf("%s/marked=%t/fec=%d", tt.name, marked, shards), func(t *testing.T) {
					virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
						l := w.listen(w.config(nil, shards, shards/2), "10.0.0.2:2000")
						peer := w.bind("10.0.0.1:1000")
						back, datagrams := 0, 0
						w.watch(func(from, _ netip.AddrPort, b []byte) bool {
							if from.Port() == 2000 {
								back += len(b)
								datagrams++
							}
							return true
						})
						b := forged(1, marked)
						if tt.name == "zero window" {
							for at := 6; at < len(b); at += IKCP_OVERHEAD {
								b[at], b[at+1] = 0, 0
							}
						}
						sent, err := peer.WriteTo(b, l.Addr())
						w.check(err)
						s, err := l.AcceptKCP()
						w.check(err)
						tt.serve(w, s)
						w.sleep(2 * time.Minute)
						t.Logf("%d bytes in %d datagrams for %d: %.1f times", back, datagrams, sent, float64(back)/float64(sent))
						most := tt.within
						if shards > 0 { // each has a header more
							most = min(3, most*(IKCP_OVERHEAD+fecHeaderSize)/IKCP_OVERHEAD)
						}
						if float64(back) > most*float64(sent) {
							t.Errorf("more than %.1f times", most)
						}
						closeAll(s, l)
					})
				})
			}
		}
	}
}

// A peer that was only slow to prove itself still hears of the end, though the FIN was lost: it is
// heard again, or the reset at the end of the linger time tells it.
func TestFINLostToUnproven(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		for _, request := range []int{1, 100} {
			l := w.listen(w.config(nil, 0, 0), fmt.Sprintf("10.0.0.2:%d", 2000+request))
			c := w.dial(l.cfg, l)
			lost := 0
			w.watch(func(from, _ netip.AddrPort, b []byte) bool {
				if carries(b, cmdFIN) && from.Addr().String() == "10.0.0.2" {
					lost++
					return lost > 1
				}
				return true
			})
			c.Write(make([]byte, request))
			s, err := l.AcceptKCP()
			w.check(err)
			s.Read(make([]byte, request))
			w.awaitIdle()
			s.Close()
			c.SetReadDeadline(time.Now().Add(time.Minute))
			start := time.Now()
			_, err = c.Read(make([]byte, 1))
			if request > 1 && err != io.EOF || request == 1 && time.Since(start) > 2*closeTimeout {
				t.Errorf("%d bytes: %v after %v", request, err, time.Since(start))
			}
			w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return true })
			closeAll(c, l)
		}
	})
}

// A session of which nothing but the first datagram came is given up in time, whatever the
// application waits for, and not if its peer is there: that answers a probe, or has acknowledged
// something, or goes on sending.
func TestUnprovenTimeout(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   func(lc *ListenConfig)
		peer  func(w *world, l *Listener) *UDPSession // nil for a forged one
		more  int                                     // forged ones that follow, a second apart
		ended time.Duration                           // 0 for never
	}{
		{"forged", func(*ListenConfig) {}, nil, 0, unprovenTimeout},
		{"forged, 5s", func(lc *ListenConfig) { lc.UnprovenTimeout = 5 * time.Second }, nil, 0, 5 * time.Second},
		{"forged, never", func(lc *ListenConfig) { lc.UnprovenTimeout = -1 }, nil, 0, 0},
		{"forged, keepalive", func(lc *ListenConfig) { lc.KeepAlive = time.Second }, nil, 0, 30 * time.Second},
		{"forged, idle", func(lc *ListenConfig) { lc.IdleTimeout = time.Second }, nil, 0, time.Second},
		{"forged, more of them", func(*ListenConfig) {}, nil, 3, 3*time.Second + unprovenTimeout},
		{"silent", func(*ListenConfig) {}, func(w *world, l *Listener) *UDPSession {
			return w.dial(w.config(nil, 0, 0), l)
		}, 0, 0},
		{"silent, deployed", func(*ListenConfig) {}, func(w *world, l *Listener) *UDPSession {
			return w.dial(deployed(w.config(nil, 0, 0)), l)
		}, 0, 0},
		{"silent, FEC", func(*ListenConfig) {}, func(w *world, l *Listener) *UDPSession {
			return w.dial(deployed(w.config(nil, 2, 1)), l)
		}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				var lc ListenConfig
				tt.set(&lc)
				cfg, err := lc.resolve()
				w.check(err)
				cfg.sched, cfg.snmp = w.sched, w.snmp
				l := w.listen(cfg, "10.0.0.2:2000")
				if tt.peer == nil {
					forger := w.bind("10.0.0.9:1")
					forger.WriteTo(forged(1, false), l.Addr())
					for i := range tt.more {
						time.AfterFunc(time.Duration(i+1)*time.Second, func() { forger.WriteTo(forged(1, false), l.Addr()) })
					}
				} else {
					c := tt.peer(w, l)
					c.Write([]byte("x"))
					defer c.Abort()
				}
				s, err := l.AcceptKCP()
				w.check(err)
				s.Read(make([]byte, 1))
				start := time.Now()
				s.SetReadDeadline(start.Add(time.Hour))
				_, err = s.Read(make([]byte, 1))
				took := time.Since(start).Round(time.Second)
				if want := tt.ended; want == 0 && took != time.Hour || want != 0 && (took != want || !errors.Is(err, syscall.ETIMEDOUT)) {
					t.Errorf("%v after %v, want %v", err, took, want)
				}
				closeAll(s, l)
			})
		})
	}
}

// A peer that only sends has nothing to acknowledge. It is asked while it is there, and so not given up when its
// path fails for longer than a peer that may be forged is waited for.
func TestUnprovenOnlySends(t *testing.T) {
	for _, theirs := range []func(*config) *config{func(cfg *config) *config { return cfg }, deployed} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
			c := w.dial(theirs(w.config(nil, 0, 0)), l)
			c.Write([]byte("x"))
			s, err := l.AcceptKCP()
			w.check(err)
			challenges, down := 0, false
			w.watch(func(from, _ netip.AddrPort, b []byte) bool {
				if from.Port() == 2000 && carries(b, IKCP_CMD_PUSH) {
					challenges++
				}
				return !down
			})
			for range 10 {
				w.sleep(time.Second)
				c.Write([]byte("x"))
			}
			w.sleep(time.Second)
			down = true
			w.sleep(2 * unprovenTimeout)
			if err := s.Cause(); err != nil || challenges != 1 {
				t.Errorf("%v, %d challenges", err, challenges)
			}
			closeAll(c, s, l)
			c.Abort()
		})
	}
}

// Peers that are there and silent are kept on a path that loses a lot.
func TestUnprovenTimeoutLossy(t *testing.T) {
	virtual(t, netem.Path{Delay: 50 * time.Millisecond, Loss: 0.1}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		const clients = 100
		for range clients {
			c := w.dial(w.config(nil, 0, 0), l)
			c.Write([]byte("subscribe, please"))
			defer c.Abort()
		}
		for range clients {
			_, err := l.AcceptKCP()
			w.check(err)
		}
		w.sleep(2 * unprovenTimeout)
		for _, s := range l.known() {
			w.check(s.Cause())
			s.Abort()
		}
		l.Close()
	})
}

// A silent peer whose first datagram was small is asked more than once: a probe may be lost.
func TestUnprovenProbesLost(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		c := w.dial(deployed(w.config(nil, 0, 0)), l)
		probes := 0
		w.watch(func(from, _ netip.AddrPort, b []byte) bool {
			if from.Port() == 2000 && carries(b, IKCP_CMD_WASK) {
				probes++
				return probes > 1
			}
			return true
		})
		c.Write([]byte("x"))
		s, err := l.AcceptKCP()
		w.check(err)
		w.sleep(2 * unprovenTimeout)
		if err := s.Cause(); err != nil || probes != 2 {
			t.Errorf("%v after %d probes", err, probes)
		}
		closeAll(c, s, l)
	})
}

// What forged connections hold is given back.
func TestForgedMemory(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		cfg.maxUnprovenPerPrefix = 0
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		peer := w.bind("10.0.0.1:1000")
		before := w.goroutines()
		const count = 1000
		for conv := range uint32(count) {
			peer.WriteTo(forged(conv, false), l.Addr())
			w.sleep(time.Millisecond)
		}
		w.sleep(time.Second)
		if n := l.Stats().Sessions; n != count {
			t.Fatalf("%d sessions of %d", n, count)
		}
		w.sleep(2 * userTimeout)                                                // the echo is data that the peer owes an answer to
		if n, g := l.Stats().Sessions, w.goroutines()-before; n != 0 || g > 1 { // the scheduler's
			t.Errorf("%d sessions and %d goroutines are left", n, g)
		}
		l.Close()
		peer.Close()
	})
}

// A listener has no more sessions than its limits say, of all, or of one address; where one ends
// there is room again. What is dropped is counted, and comes again.
func TestMaxSessions(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lc       ListenConfig
		hosts    []string
		each, in int // sessions that each host dials, and that are there in the end
	}{
		{"none", ListenConfig{}, []string{"10.0.0.1", "10.0.0.3"}, 20, 40},
		{"all", ListenConfig{MaxSessions: 7}, []string{"10.0.0.1", "10.0.0.3"}, 20, 7},
		{"address", ListenConfig{MaxSessionsPerPrefix: 5}, []string{"10.0.0.1", "10.0.0.3"}, 20, 10},
		{"both", ListenConfig{MaxSessions: 7, MaxSessionsPerPrefix: 5}, []string{"10.0.0.1", "10.0.0.3"}, 20, 7},
		{"IPv6 /64", ListenConfig{MaxSessionsPerPrefix: 5}, []string{"fd00::1", "fd00::ffff", "fd00:0:0:1::1"}, 20, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				cfg, err := tt.lc.resolve()
				w.check(err)
				cfg.sched, cfg.snmp = w.sched, w.snmp
				at := "10.0.0.2:2000"
				if tt.hosts[0][0] == 'f' {
					at = "[fd00::2]:2000"
				}
				l := w.listen(cfg, at)
				var clients []*UDPSession
				for _, host := range tt.hosts {
					for range tt.each {
						c := cfg.dial(w.convs.next(), l.Addr(), newSocket(w.bind(net.JoinHostPort(host, "0")), true))
						c.Write([]byte("hello"))
						clients = append(clients, c)
					}
				}
				w.sleep(100 * time.Millisecond)
				st := l.Stats()
				if st.Sessions != tt.in || st.Backlog != tt.in || int(st.Refused) != len(clients)-tt.in {
					t.Errorf("%+v, want %d sessions", st, tt.in)
				}
				if tt.in < len(clients) { // one ends, and another gets in
					s, err := l.AcceptKCP()
					w.check(err)
					s.Abort()
					w.sleep(5 * time.Second)
					if st := l.Stats(); st.Sessions != tt.in {
						t.Errorf("%d sessions after one has ended", st.Sessions)
					}
				}
				for _, c := range clients {
					c.Abort()
				}
				for _, s := range l.known() {
					s.Abort()
				}
				w.awaitIdle()
				if len(l.from) != 0 || l.Stats().Sessions != 0 {
					t.Errorf("%d prefixes, %d sessions are left", len(l.from), l.Stats().Sessions)
				}
				l.Close()
			})
		})
	}
}
