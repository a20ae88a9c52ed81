package kcp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// host is a listener that can be killed: it disappears without a word, as a process does.
type host struct {
	*Listener
	conn *netem.Conn
}

func (w *world) host(cfg *config, addr string) *host {
	w.Helper()
	conn := w.bind(addr)
	return &host{newListener(cfg, newSocket(conn, true)), conn}
}

// kill lets the host disappear, and what it holds.
func (h *host) kill() {
	h.conn.Close()
	h.Close()
}

// ciphers are one of each kind of envelope.
func ciphers(t *testing.T) map[string]BlockCrypt {
	cfb, err := NewAESBlockCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]BlockCrypt{"plain": nil, "CFB": cfb, "GCM": NewAEADCrypt(gcm)}
}

// A client finds out that the server was restarted: from what it has written, or from keepalive probes
// while it reads.
func TestServerRestarted(t *testing.T) {
	for name, block := range ciphers(t) {
		for _, tt := range []struct {
			name      string
			keepalive time.Duration
			write     bool
			within    time.Duration
		}{
			{"writing", 0, true, 2500 * time.Millisecond},
			{"reading, with keepalive", time.Second, false, 3 * time.Second},
			{"both", time.Second, true, 2500 * time.Millisecond},
		} {
			for _, first := range []bool{false, true} { // whether the restart comes within the first segments
				t.Run(fmt.Sprintf("%s/%s/first=%t", name, tt.name, first), func(t *testing.T) {
					virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
						cfg := w.config(block, 0, 0)
						cfg.keepAlive = int64(tt.keepalive)
						h := w.host(cfg, "10.0.0.2:2000")
						go echo(h.Listener)
						c := w.dial(cfg, h.Listener)
						w.check(ask(c, "hello"))
						if !first {
							for range 50 {
								w.check(ask(c, "again"))
							}
						}
						w.awaitIdle()
						h.kill()
						h = w.host(cfg, "10.0.0.2:2000")
						go echo(h.Listener)
						start := time.Now()
						if tt.write {
							_, err := c.Write([]byte("are you there?"))
							w.check(err)
						}
						c.SetDeadline(time.Now().Add(time.Minute))
						_, err := c.Read(make([]byte, 1))
						took := time.Since(start)
						t.Logf("noticed after %v", took)
						wantError(t, "read", err, syscall.ECONNRESET)
						if took > tt.within {
							t.Errorf("noticed after %v, want at most %v", took, tt.within)
						}
						_, err = c.Write([]byte("x"))
						wantError(t, "write", err, syscall.ECONNRESET)
						c.Close()
						h.Close()
					})
				})
			}
		}
	}
}

// A bulk upload to a server that is restarted ends soon, whatever was in flight, unless nothing had
// been acknowledged: then the new server has all of it.
func TestServerRestartedUnderUpload(t *testing.T) {
	for _, datagrams := range []int{1, 2, 5, 20, 60, 100, 1000} {
		t.Run(fmt.Sprint(datagrams), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 20 * time.Millisecond, Bandwidth: 1e6}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				first := make([]byte, 2) // that each server read first
				take := func(l *Listener, first *byte) {
					for s, err := l.AcceptKCP(); err == nil; s, err = l.AcceptKCP() {
						go func() {
							b := make([]byte, 1000)
							if _, err := s.Read(b); err == nil {
								*first = b[0]
							}
							io.Copy(io.Discard, s)
							s.Close()
						}()
					}
				}
				h := w.host(cfg, "10.0.0.2:2000")
				go take(h.Listener, &first[0])
				c := w.dial(cfg, h.Listener)
				end := time.Now().Add(8 * time.Second)
				failed := make(chan time.Time)
				var wrote error
				go func() {
					b := make([]byte, 1000)
					for b[0] = 1; wrote == nil && time.Now().Before(end); b[0] = 2 {
						_, wrote = c.Write(b)
					}
					failed <- time.Now()
				}()
				for c.sent() < datagrams {
					w.sleep(time.Millisecond)
				}
				h.kill()
				h = w.host(cfg, "10.0.0.2:2000")
				go take(h.Listener, &first[1])
				start := time.Now()
				took := (<-failed).Sub(start)
				t.Logf("after %v: %v; first %v", took, wrote, first)
				switch {
				case wrote == nil:
					if first[0] != 0 || first[1] != 1 {
						t.Errorf("no error, and the servers read %d first", first)
					}
				case !errors.Is(wrote, syscall.ECONNRESET) || took > 5*time.Second || first[1] != 0:
					t.Errorf("after %v: %v; the servers read %d first", took, wrote, first)
				}
				c.Close()
				h.Close()
			})
		})
	}
}

// A client that was restarted gets a session of its own, though it has the address and conversation
// of the old one, and neither end reads what belongs to the other session.
func TestClientRestarted(t *testing.T) {
	for name, block := range ciphers(t) {
		for _, inFlight := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/inFlight=%t", name, inFlight), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
					cfg := w.config(block, 0, 0)
					l := w.listen(cfg, "10.0.0.2:2000")
					conn := w.bind("10.0.0.1:1000")
					c := cfg.dial(7, l.Addr(), newSocket(conn, true))
					c.Write([]byte("old0"))
					old, err := l.AcceptKCP()
					w.check(err)
					b := make([]byte, 100)
					n, err := old.Read(b)
					w.check(err)
					if string(b[:n]) != "old0" {
						t.Errorf("read %q", b[:n])
					}
					w.awaitIdle()
					if inFlight { // towards the client that dies
						conn.Close()
						old.Write([]byte("old answer"))
					} else {
						conn.Close()
					}
					w.sleep(100 * time.Millisecond)
					start := time.Now()
					conn = w.bind("10.0.0.1:1000")
					again := cfg.dial(7, l.Addr(), newSocket(conn, true))
					again.Write([]byte("new0"))
					fresh, err := l.AcceptKCP()
					w.check(err)
					t.Logf("accepted after %v", time.Since(start))
					n, err = fresh.Read(b)
					w.check(err)
					if string(b[:n]) != "new0" {
						t.Errorf("read %q", b[:n])
					}
					fresh.Write([]byte("new answer"))
					n, err = again.Read(b)
					w.check(err)
					if string(b[:n]) != "new answer" {
						t.Errorf("read %q", b[:n])
					}
					_, err = old.Read(b)
					wantError(t, "read", err, syscall.ECONNRESET)
					if took := time.Since(start); took > 3*time.Second {
						t.Errorf("it took %v", took)
					}
					old.Close()
					w.check(exchange(again, fresh, 5000))
					closeAll(again, fresh, c, l)
				})
			})
		}
	}
}

// Forged numbers, and forged answers that there is no such session, end nothing at any rate, also
// where much is lost.
func TestForgedNumbers(t *testing.T) {
	for _, loss := range []float64{0, 0.1} {
		for _, every := range []time.Duration{time.Millisecond, 90 * time.Millisecond, 333 * time.Millisecond, 1100 * time.Millisecond} {
			for _, number := range []uint32{0, 12345} {
				t.Run(fmt.Sprintf("loss=%v/every=%v/number=%d", loss, every, number), func(t *testing.T) {
					virtual(t, netem.Path{Delay: 30 * time.Millisecond, Loss: loss}, func(w *world) {
						c, s := w.pair(w.config(nil, 0, 0))
						for range int(time.Minute / every) {
							for _, victim := range []*UDPSession{c, s} {
								h := header{conv: c.conv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN, wnd: 100, ts: number}
								b := make([]byte, IKCP_OVERHEAD)
								h.put(b)
								victim.inject(b)
							}
							w.sleep(every)
						}
						w.check(exchange(c, s, 5000))
						if k, o := c.core.peer.asked, s.core.peer.asked; k+o > 1000 {
							t.Errorf("asked %d and %d times", k, o)
						}
						closeAll(c, s)
					})
				})
			}
		}
	}
}

// A late segment, or a forged one, with an una from before makes an idle session ask, and ends neither
// it nor the peer, whatever else both have to say meanwhile.
func TestLateUna(t *testing.T) {
	for _, cmd := range []uint8{IKCP_CMD_PUSH, IKCP_CMD_ACK, IKCP_CMD_WASK, IKCP_CMD_WINS} {
		for _, atServer := range []bool{false, true} {
			t.Run(fmt.Sprintf("cmd=%d/server=%t", cmd, atServer), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					c, s := w.pair(w.config(nil, 0, 0))
					w.check(pingPong(c, s, 3))
					w.sleep(5 * time.Second)
					victim := c
					if atServer {
						victim = s
					}
					h := header{conv: c.conv, cmd: cmd, wnd: 128, una: 1}
					if cmd != IKCP_CMD_PUSH {
						h.frg = capMark | capFIN
					}
					if cmd == IKCP_CMD_WINS {
						h.ts = victim.core.peer.number
					}
					victim.inject(segmentOf(h))
					w.sleep(20 * time.Second)
					w.check(pingPong(c, s, 3))
					closeAll(c, s)
				})
			})
		}
	}
}

// Copies of datagrams that arrive up to minutes late end no session, whatever the peer is.
func TestLateCopies(t *testing.T) {
	for seed := range uint64(36) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			virtualSeed(t, seed, netem.Path{Delay: 10 * time.Millisecond, Loss: []float64{0, 0.05, 0.3}[seed%3]}, func(w *world) {
				rng := rand.New(rand.NewPCG(seed, 1))
				fec := int(seed / 3 % 2 * 2)
				a, b := w.config(nil, fec, fec), w.config(nil, fec, fec)
				switch seed / 6 % 3 {
				case 1:
					deployed(a)
				case 2:
					deployed(b)
				}
				sent := make(map[bool][][]byte) // by whether it was sent to the server
				w.watch(func(_, to netip.AddrPort, b []byte) bool {
					server := to.Port() == 2000
					sent[server] = append(sent[server], bytes.Clone(b))
					return true
				})
				c, s := w.join(a, b)
				ends := map[bool]*UDPSession{false: c, true: s}
				for range 50 {
					for range rng.IntN(4) {
						server := rng.IntN(2) == 0
						w.watching.Lock()
						late := bytes.Clone(sent[server][rng.IntN(len(sent[server]))])
						w.watching.Unlock()
						ends[server].inject(late)
					}
					w.sleep(time.Duration(rng.Int64N(int64(3 * time.Second))))
					w.check(pingPong(c, s, 1))
				}
				closeAll(c, s)
			})
		})
	}
}

// Two ends that have dialled each other acknowledge nothing that their windows have no room for.
func TestBothDialSmallWindows(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		ca, cb := w.bind("10.0.0.1:1000"), w.bind("10.0.0.2:1000")
		a := w.config(nil, 0, 0).dial(7, cb.LocalAddr(), newSocket(ca, true))
		b := w.config(nil, 0, 0).dial(7, ca.LocalAddr(), newSocket(cb, true))
		for _, s := range []*UDPSession{a, b} {
			s.SetWindowSize(128, 4)
			for range 20 {
				s.Write([]byte("x"))
			}
		}
		for _, s := range []*UDPSession{a, b} {
			s.SetReadDeadline(time.Now().Add(20 * time.Second))
			_, err := io.ReadFull(s, make([]byte, 20))
			w.check(err)
		}
		closeAll(a, b)
	})
}

// A client that was restarted does not wait for a closed session whose last datagrams the socket has
// not taken yet.
func TestClientRestartedWhileDraining(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		conn := w.bind("10.0.0.1:1000")
		c := l.cfg.dial(7, l.Addr(), newSocket(conn, true))
		c.Write([]byte("hello"))
		old, err := l.AcceptKCP()
		w.check(err)
		w.awaitIdle()
		conn.Close()
		c.Abort()
		drained := old.drain()
		c = l.cfg.dial(7, l.Addr(), newSocket(w.bind("10.0.0.1:1000"), true))
		c.Write([]byte("hello"))
		l.SetDeadline(time.Now().Add(time.Second))
		fresh, err := l.AcceptKCP()
		drained()
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadFull(fresh, make([]byte, 5))
		w.check(err)
		w.check(exchange(c, fresh, 1000))
		closeAll(c, fresh, l)
	})
}

// drain ends a session as if somebody were sending for it, until the function that it returns is
// called.
func (s *UDPSession) drain() (drained func()) {
	s.mu.Lock()
	s.tx.busy = true
	s.closeLocked()
	s.abortLocked(clock())
	s.closing.lingerUntil = never
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.tx.busy = false
		s.unlockAndSend(false)
	}
}

// Nor do they where the peer does not answer for a while, as in a blackout or on a slow and lossy path,
// and they come as often as questions are asked. On the lossy path that holds for nearly every run, but
// not all: a forger paced like the questions may succeed.
func TestForgedNumbersUnanswered(t *testing.T) {
	for _, tt := range []struct {
		delay, blackout time.Duration
		loss            float64
	}{{30 * time.Millisecond, 2 * time.Second, 0}, {30 * time.Millisecond, 5 * time.Second, 0}, {400 * time.Millisecond, 0, 0.3}} {
		for _, every := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, time.Second, 2500 * time.Millisecond} {
			for _, number := range []uint32{0, 12345} {
				t.Run(fmt.Sprintf("%v/every=%v/number=%d", tt, every, number), func(t *testing.T) {
					virtualSeed(t, testSeed+1, netem.Path{Delay: tt.delay, Loss: tt.loss}, func(w *world) {
						c, s := w.pair(w.config(nil, 0, 0))
						w.check(exchange(c, s, 5000))
						start := time.Now()
						w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool {
							at := time.Since(start) - 3*time.Second
							return at < 0 || at > tt.blackout
						})
						h := header{conv: c.conv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN, wnd: 100, ts: number}
						for time.Since(start) < time.Minute {
							c.inject(segmentOf(h))
							s.inject(segmentOf(h))
							w.sleep(every)
						}
						w.check(exchange(c, s, 5000))
						closeAll(c, s)
					})
				})
			}
		}
	}
}

// An una that somebody forges over lost segments costs the data, but not the knowledge of it: the
// sender fails, though what comes later is acknowledged one by one, and the peer has something to say.
func TestForgedUnaOverLoss(t *testing.T) {
	for _, talks := range []bool{false, true} {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprintf("talks=%t/extensions=%t", talks, !old), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
					cfg := w.config(nil, 0, 0)
					if old {
						deployed(cfg)
					}
					c, s := w.join(w.config(nil, 0, 0), cfg)
					lost := true
					w.watch(func(from, _ netip.AddrPort, _ []byte) bool { return !lost || from.Port() == 2000 })
					for range 3 {
						c.Write(make([]byte, 1000))
					}
					w.sleep(10 * time.Millisecond)
					c.inject(segmentOf(header{conv: c.conv, cmd: IKCP_CMD_PUSH, sn: 0, wnd: 128, una: c.core.snd.nxt}))
					lost = false
					start := time.Now()
					var err error
					for sent := 0; err == nil; sent += 1000 {
						if _, err = c.Write(make([]byte, 1000)); time.Since(start) > time.Minute {
							t.Fatalf("%d bytes were written", sent)
						}
						if talks {
							s.Write([]byte("x"))
						}
						time.Sleep(10 * time.Millisecond)
					}
					took := time.Since(start)
					t.Logf("%v after %v", err, took)
					if !errors.Is(err, syscall.ECONNRESET) || took > 10*time.Second {
						t.Errorf("%v after %v", err, took)
					}
					c.Abort()
					s.Abort()
				})
			})
		}
	}
}

// Where nothing arrives that is sent, the user timeout ends the session, whatever the peer says.
func TestOneWayBlackHole(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("extensions=%t", !old), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				if old {
					deployed(cfg)
				}
				c, s := w.join(w.config(nil, 0, 0), cfg)
				c.SetUserTimeout(10 * time.Second)
				w.watch(func(from, _ netip.AddrPort, _ []byte) bool { return from.Port() == 2000 })
				over := make(chan struct{})
				go func() {
					defer close(over)
					for s.Cause() == nil {
						s.Write([]byte("still here"))
						time.Sleep(100 * time.Millisecond)
					}
				}()
				go io.Copy(io.Discard, c)
				start := time.Now()
				var err error
				for err == nil && time.Since(start) < 5*time.Minute {
					_, err = c.Write(make([]byte, 100))
					time.Sleep(10 * time.Millisecond)
				}
				took := time.Since(start).Round(time.Millisecond)
				var timeout *PeerTimeoutError
				if !errors.As(err, &timeout) || timeout.Unacknowledged < 9*time.Second || took > 11*time.Second {
					t.Errorf("%v after %v", err, took)
				}
				t.Logf("%v after %v", err, took)
				c.Abort()
				s.Abort()
				<-over
			})
		})
	}
}

// inject lets a session take a datagram as if it came from its peer.
func (s *UDPSession) inject(b []byte) {
	d := []inbound{{data: append(make([]byte, 0, 1500), b...), from: s.path().peerAddr}}
	if s.owner == nil {
		s.newReader(s.path()).receive(d, clock())
		return
	}
	s.mu.Lock()
	now := clock()
	c, ok := parseContents(b)
	s.datagramLocked(now, b, &c, ok)
	s.driveLocked(now, false)
	s.unlockAndSend(false)
}

// sent is the number of datagrams that a session has sent.
func (s *UDPSession) sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.total.OutPkts)
}

// A datagram that comes late, when the session is idle, or is forged, has an una that the peer has
// passed long ago. It ends nothing, though the peer is asked.
func TestUnaBehind(t *testing.T) {
	for _, every := range []time.Duration{time.Minute, 200 * time.Millisecond} {
		for _, loss := range []float64{0, 0.3} {
			for _, cmd := range []uint8{IKCP_CMD_ACK, IKCP_CMD_WASK, IKCP_CMD_WINS} {
				for _, mark := range []uint8{0, capMark | capFIN} {
					t.Run(fmt.Sprintf("every=%v/loss=%v/cmd=%d/mark=%x", every, loss, cmd, mark), func(t *testing.T) {
						virtual(t, netem.Path{Delay: 30 * time.Millisecond, Loss: loss}, func(w *world) {
							c, s := w.pair(w.config(nil, 0, 0))
							w.check(exchange(c, s, 5000))
							w.awaitIdle()
							h := header{conv: c.conv, cmd: cmd, frg: mark, wnd: 100}
							for range int(time.Minute / every) {
								if h.ts = 0; mark != 0 {
									h.ts = s.core.peer.own
								}
								c.inject(segmentOf(h))
								if h.ts != 0 {
									h.ts = c.core.peer.own
								}
								if every < time.Minute {
									s.inject(segmentOf(h))
								}
								w.sleep(every)
							}
							w.check(exchange(c, s, 5000))
							closeAll(c, s)
						})
					})
				}
			}
		}
	}
}

// Window updates that come seconds late, while nothing else comes, do not end a session either.
func TestLateWindowUpdates(t *testing.T) {
	for _, every := range []time.Duration{60 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 30 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				w.check(exchange(c, s, 5000))
				w.awaitIdle()
				w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return false })
				h := header{conv: c.conv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN, wnd: 100, ts: s.core.peer.own}
				for range int(4 * time.Second / every) {
					c.inject(segmentOf(h))
					w.sleep(every)
				}
				w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return true })
				w.check(exchange(c, s, 5000))
				closeAll(c, s)
			})
		})
	}
}
