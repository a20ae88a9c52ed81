package kcp

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A negative linger makes Close wait for the delivery, or say why there was none.
func TestLingerWaits(t *testing.T) {
	virtual(t, netem.Path{Delay: 100 * time.Millisecond, Loss: 0.2}, func(w *world) {
		s, peer := w.pair(w.config(nil, 0, 0))
		lowLatency(32, s, peer)
		go io.Copy(io.Discard, peer)
		w.check(s.SetLinger(-1))
		s.SetDeadline(time.Now().Add(time.Minute))
		s.Write(random(1, 30_000))
		start := time.Now()
		w.check(s.Close())
		if n := peer.Stats().BytesReceived; n != 30_005 || time.Since(start) < 200*time.Millisecond {
			t.Errorf("%d bytes after %v", n, time.Since(start))
		}
		peer.Close()
		s = w.full(w.config(nil, 0, 0))
		s.SetLinger(-1)
		start = time.Now()
		err := s.Close()
		wantError(t, "close", err, syscall.ETIMEDOUT)
		if took := time.Since(start); took != userTimeout {
			t.Errorf("gave up after %v", took)
		}
	})
}

// Ten thousand times a byte and Close, dialled and accepted, on a path that loses a tenth.
func TestByteAndClose(t *testing.T) {
	count := lighter(10_000, 3000)
	for _, accepted := range []bool{false, true} {
		t.Run(fmt.Sprintf("accepted=%t", accepted), func(t *testing.T) {
			t.Parallel()
			virtual(t, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.1}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				l := w.listen(cfg, "10.0.0.2:2000")
				arrived, ended := 0, 0
				var mu sync.Mutex
				one := func(s *UDPSession) {
					s.SetReadDeadline(time.Now().Add(time.Minute))
					n, err := s.Read(make([]byte, 9))
					_, end := s.Read(make([]byte, 1))
					s.Close()
					mu.Lock()
					defer mu.Unlock()
					if n == 1 && err == nil {
						arrived++
					}
					if end == io.EOF {
						ended++
					}
				}
				go func() {
					for {
						s, err := l.AcceptKCP()
						if err != nil {
							return
						}
						if accepted {
							s.Write([]byte{1})
							s.Close()
						} else {
							go one(s)
						}
					}
				}()
				for range count {
					s := w.dial(cfg, l)
					s.Write([]byte{1})
					if accepted {
						go one(s)
					} else {
						s.Close()
					}
					time.Sleep(time.Millisecond)
				}
				w.sleep(time.Minute + 2*closeTimeout) // the deadline of a Read that no FIN came for
				mu.Lock()
				defer mu.Unlock()
				if arrived != count {
					t.Errorf("%d of %d arrived", arrived, count)
				}
				if ended < count*999/1000 {
					t.Errorf("%d of %d ended", ended, count)
				}
				t.Logf("%d bytes and %d ends of %d", arrived, ended, count)
				w.wantSessions(l, 0)
				l.Close()
			})
		})
	}
}

// Close wakes whoever waits, any number of them.
func TestCloseWakes(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		s := w.full(w.config(nil, 0, 0))
		errs := make(chan error)
		const each = 3
		for range each {
			go func() { _, err := s.Read(make([]byte, 1)); errs <- err }()
			go func() { _, err := s.Write(make([]byte, 1)); errs <- err }()
		}
		synctest.Wait()
		s.Close()
		for range 2 * each {
			wantClosed(t, <-errs)
		}
		_, werr := s.Write(nil)
		_, rerr := s.Read(nil)
		for _, err := range []error{
			werr, rerr, s.Close(), s.SetDeadline(time.Time{}), s.SetReadDeadline(time.Time{}),
			s.SetWriteDeadline(time.Time{}), s.SendOOB(nil), s.SetOOBHandler(nil),
		} {
			wantClosed(t, err)
		}
		s.SetWindowSize(10, 10) // of no use, but allowed
		s.SetMtu(1000)
		s.SetRateLimit(1)
		s.SetNoDelay(1, 10, 2, 1)
		s.SetWriteDelay(false)
	})
}

// What was written before Close arrives.
func TestCloseDelivers(t *testing.T) {
	for _, size := range []int{1, 10_000, 1_000_000} {
		for _, accepted := range []bool{false, true} {
			for _, delay := range []bool{false, true} {
				name := fmt.Sprintf("%d/accepted=%t/delay=%t", size, accepted, delay)
				t.Run(name, func(t *testing.T) {
					virtual(t, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.2, Reorder: 0.1}, func(w *world) {
						from, to := w.pair(w.config(newCrypt(t, "gcm"), 5, 2))
						lowLatency(1024, from, to)
						if accepted {
							from, to = to, from
						}
						from.SetWriteDelay(delay)
						data := random(5, size)
						go func() {
							if _, err := from.Write(data); err != nil {
								t.Error(err)
							}
							from.Close()
						}()
						to.SetReadDeadline(time.Now().Add(time.Minute))
						got := make([]byte, size)
						n, err := io.ReadFull(to, got)
						if err != nil || !bytes.Equal(got, data) {
							t.Errorf("after %d bytes: %v", n, err)
						}
						w.sleep(closeTimeout)
						w.wantGone(from)
						to.Close()
						w.sleep(closeTimeout)
						w.wantGone(to)
					})
				})
			}
		}
	}
}

// A closed session gives up on a dead peer after the linger time.
func TestCloseLingers(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		t.Run(fmt.Sprintf("accepted=%t", accepted), func(t *testing.T) {
			virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
				s, peer := w.pair(w.config(nil, 3, 2))
				if accepted {
					s, peer = peer, s
				}
				w.awaitIdle()
				var last time.Time
				w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { last = time.Now(); return false })
				s.Write(random(1, 20_000))
				peer.Write(random(1, 20_000))
				w.awaitIdle()
				closed := time.Now()
				s.Close()
				w.sleep(closeTimeout - time.Millisecond)
				if s.state() >= stateDraining {
					t.Error("gave up early")
				}
				w.sleep(time.Millisecond)
				w.wantGone(s)
				peer.Close()
				w.sleep(closeTimeout)
				w.wantGone(peer)
				if n := w.sched.timers(); n > 0 {
					t.Errorf("%d timers are left", n)
				}
				if d := last.Sub(closed); d < 0 || d > 2*closeTimeout {
					t.Errorf("the last datagram left %v after Close", d)
				}
			})
		})
	}
}

// A closed session takes its peer's data and throws it away, so that the peer is not held up by one
// that only finishes writing.
func TestCloseBothAtOnce(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.1}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		lowLatency(64, c, s)
		for _, x := range []*UDPSession{c, s} {
			x.Write(random(1, 50_000))
			x.Close()
		}
		w.sleep(closeTimeout)
		w.wantGone(c)
		w.wantGone(s)
	})
}

// When Close returns from a session that has nothing to deliver, nothing reads from the caller's
// PacketConn any more.
func TestCloseLeavesPacketConn(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		for range 100 {
			conn := w.bind("10.0.0.1:0")
			s, err := w.config(nil, 0, 0).dialConn(1, l.Addr(), false, conn)
			if err != nil {
				t.Fatal(err)
			}
			w.check(s.Close())
			select {
			case <-s.path().sock.done:
			default:
				t.Fatal("its reader still reads")
			}
			w.check(conn.Close())
		}
		w.check(l.Close())
	})
}
