package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A Close with a negative linger waits for the delivery while an out-of-band handler of the session
// runs, and in the handler itself.
func TestCloseWaitsBesideHandler(t *testing.T) {
	const size = 5000
	for _, inside := range []bool{false, true} {
		for _, accepted := range []bool{false, true} {
			t.Run(fmt.Sprintf("inside=%t/accepted=%t", inside, accepted), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 50 * time.Millisecond}, func(w *world) {
					s, peer := w.pair(w.config(nil, 3, 2))
					if accepted {
						s, peer = peer, s
					}
					go io.Copy(io.Discard, peer)
					w.check(s.SetLinger(-1))
					deliver := func() {
						_, err := s.Write(random(1, size))
						w.check(err)
						w.check(s.Close())
						if n := peer.Stats().BytesReceived; n != size+uint64(len("hello")) {
							t.Errorf("Close has returned, and %d of %d bytes are delivered", n, size+len("hello"))
						}
					}
					entered, release, done := make(chan bool), make(chan bool), make(chan bool)
					w.check(s.SetOOBHandler(func([]byte) {
						close(entered)
						if inside {
							deliver()
							close(done)
						} else {
							<-release
						}
					}))
					w.check(peer.SendOOB([]byte("beside")))
					<-entered
					if !inside {
						go func() { deliver(); close(done) }()
					}
					within(t, time.Minute, "Close", func() { <-done })
					close(release)
					peer.Close()
					w.awaitIdle()
				})
			})
		}
	}
}

// A handler that blocks stops neither other sessions of its listener nor its own session's stream.
// What comes for it meanwhile waits in order, as far as it is not much, and takes no goroutine when
// it is handled.
func TestBlockedHandler(t *testing.T) {
	const (
		flood = 20_000
		bound = 8 << 20
	)
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 3, 2)
		l := w.listen(cfg, "10.0.0.2:2000")
		var clients, servers [2]*UDPSession
		for i := range clients {
			clients[i] = cfg.dial(uint32(i), l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
			_, err := clients[i].Write([]byte("hello"))
			w.check(err)
			servers[i], err = l.AcceptKCP()
			w.check(err)
		}
		w.awaitIdle()
		goroutines := w.goroutines()
		entered, release := make(chan bool, 1), make(chan bool)
		var heard []int
		running := false
		w.check(servers[0].SetOOBHandler(func(b []byte) {
			if running {
				t.Error("two calls at once")
			}
			running = true
			if heard = append(heard, int(b[0])<<8|int(b[1])); len(heard) == 1 {
				entered <- true
				<-release
			}
			running = false
		}))
		before := heapInUse()
		b := make([]byte, 1000)
		for i := range flood {
			b[0], b[1] = byte(i>>8), byte(i)
			w.check(clients[0].SendOOB(b))
			if i%100 == 99 {
				w.sleep(time.Millisecond)
			}
		}
		<-entered
		w.awaitIdle()
		if held := heapInUse() - before; held > bound {
			t.Errorf("%d kB are held for a handler that blocks, want at most %d", held>>10, bound>>10)
		}
		for i, what := range []string{"the stream beside the handler", "another session"} {
			within(t, time.Second, what, func() {
				_, err := clients[i].Write([]byte("message"))
				w.check(err)
				_, err = io.ReadFull(servers[i], make([]byte, len("hellomessage")))
				w.check(err)
			})
		}
		close(release)
		w.awaitIdle()
		w.check(clients[0].SendOOB([]byte{0xff, 0xff}))
		w.awaitIdle()
		if n := len(heard); n < 2 || !slices.IsSorted(heard) || heard[0] != 0 || heard[n-1] != 0xffff {
			t.Errorf("%d heard, in order %t", n, slices.IsSorted(heard))
		}
		if n := w.goroutines(); n > goroutines {
			t.Errorf("%d goroutines, %d before the handler", n, goroutines)
		}
		for i := range clients {
			closeAll(clients[i], servers[i])
		}
		l.Close()
	})
}

// Sessions whose handlers block are closed like any other, and no handler is called afterwards.
func TestCloseBesideBlockedHandler(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		s, peer := w.pair(w.config(nil, 3, 2))
		release := make(chan bool)
		calls := 0
		w.check(s.SetOOBHandler(func([]byte) { calls++; <-release }))
		for range 3 {
			w.check(peer.SendOOB([]byte("beside")))
		}
		w.awaitIdle()
		_, err := s.Write(random(1, 5000))
		w.check(err)
		within(t, atOnce, "Close", func() { w.check(s.Close()) })
		within(t, time.Second, "what was written", func() {
			peer.SetReadDeadline(time.Now().Add(time.Minute))
			if b, err := io.ReadAll(peer); len(b) != 5000 || err != nil {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
		w.check(peer.Close())
		w.sleep(closeTimeout / 2)
		w.wantGone(s)
		close(release)
		synctest.Wait()
		if calls != 1 {
			t.Errorf("%d calls, of them %d after Close", calls, calls-1)
		}
	})
}

func TestOOB(t *testing.T) {
	for _, crypt := range crypts {
		t.Run(crypt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, crypt.name), 3, 2))
				lowLatency(64, c, s)
				w.awaitIdle() // each knows that the other one receives, and the bound of what goes to strangers is off
				most := c.GetOOBMaxSize()
				overhead := c.overhead() + convSize
				if most != IKCP_MTU_DEF-overhead {
					t.Errorf("at most %d bytes, with %d bytes of headers", most, overhead)
				}
				w.limitMtu(IKCP_MTU_DEF)
				said := [][]byte{{}, []byte("a"), random(1, 100), random(2, most)}
				var heard, answers [][]byte
				s.SetOOBHandler(func(b []byte) {
					heard = append(heard, bytes.Clone(b))
					w.check(s.SendOOB(append([]byte{1}, b[:min(len(b), 10)]...)))
				})
				c.SetOOBHandler(func(b []byte) { answers = append(answers, bytes.Clone(b)) })
				done := make(chan error, 1)
				go func() { done <- exchange(c, s, 100_000) }() // is not disturbed
				for _, b := range said {
					w.check(c.SendOOB(b))
					w.sleep(time.Millisecond)
				}
				w.check(<-done)
				w.awaitIdle()
				if len(heard) != len(said) || len(answers) != len(said) {
					t.Fatalf("%d said, %d heard, %d answered", len(said), len(heard), len(answers))
				}
				for i := range said {
					if want := append([]byte{1}, said[i][:min(len(said[i]), 10)]...); !bytes.Equal(heard[i], said[i]) || !bytes.Equal(answers[i], want) {
						t.Errorf("said %x, heard %x, answered %x", said[i], heard[i], answers[i])
					}
				}
				if err := c.SendOOB(make([]byte, most+1)); err == nil || !strings.Contains(err.Error(), fmt.Sprint(most)) {
					t.Errorf("a payload of %d bytes: %v", most+1, err)
				}
				c.SetMtu(100)
				if got := c.GetOOBMaxSize(); got != max(0, 100-overhead) {
					t.Errorf("at most %d bytes with an MTU of 100", got)
				}
				// Nobody listens any more, and strangers are not heard.
				s.SetOOBHandler(nil)
				w.check(c.SendOOB([]byte("silence")))
				w.awaitIdle()
				if n := len(heard); n != len(said) {
					t.Errorf("%d heard", n)
				}
				closeAll(c, s)
			})
		})
	}
}

func TestOOBRefused(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		var heard string // it hears what the peer sends all the same
		plain := w.config(nil, 0, 0)
		plain.oobHandler = func(_ *UDPSession, b []byte) { heard = string(b) }
		c, s := w.join(plain, w.config(nil, 3, 2))
		if err := c.SendOOB([]byte("x")); err == nil || !strings.Contains(err.Error(), "FEC") {
			t.Errorf("without FEC: %v", err)
		}
		if n := c.GetOOBMaxSize(); n != 0 {
			t.Errorf("at most %d bytes without FEC", n)
		}
		w.check(s.SendOOB([]byte("hear")))
		w.awaitIdle()
		if heard != "hear" {
			t.Errorf("heard %q", heard)
		}
		// One for another conversation, as long as none, and one too short.
		before := w.snmp.Copy().InErrs
		s.receives(
			framed(oobSeqid, fecTypeOOB, binary.LittleEndian.AppendUint32(nil, s.GetConv()+1)),
			framed(oobSeqid, fecTypeOOB, []byte{1, 2, 3}))
		if n := w.snmp.Copy().InErrs - before; n != 2 {
			t.Errorf("%d errors counted, not 2", n)
		}
		closeAll(c, s)
	})
}

// The handler has a goroutine of its own: it may take a mutex that the caller of a Write holds. It
// is not called any more after Close.
func TestOOBHandlerGoroutine(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 3, 2))
		var mu sync.Mutex
		calls := 0
		s.SetOOBHandler(func([]byte) {
			mu.Lock()
			defer mu.Unlock()
			calls++
		})
		oob := framed(oobSeqid, fecTypeOOB, binary.LittleEndian.AppendUint32(nil, s.GetConv()))
		mu.Lock()
		s.receives(oob)
		s.Write([]byte("x"))
		mu.Unlock()
		w.check(c.SendOOB(nil))
		w.awaitIdle()
		if calls != 2 {
			t.Errorf("%d calls, not 2", calls)
		}
		w.watch(func(from, _ netip.AddrPort, _ []byte) bool { return from.Port() != 2000 })
		s.Write([]byte("keeps it lingering"))
		s.Close()
		w.check(c.SendOOB(nil))
		w.awaitIdle()
		if calls != 2 {
			t.Error("called after Close")
		}
		c.Close()
	})
}
