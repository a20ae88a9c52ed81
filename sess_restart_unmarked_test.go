package kcp

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// A server without extensions is killed, and started anew at its port, where it knows nothing. The
// next datagram makes a session there, a probe too, which it answers: with una 0.
func TestUnmarkedPeerRestarts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		segments int // acknowledged before
		writes   bool
	}{
		{"reader", 1, false},
		{"reader, after more than a window", 200, false},
		{"writer", 1, true},
		{"writer, after more than a window", 200, true},
	} {
		for _, fec := range []int{0, 2} {
			for _, down := range []time.Duration{0, 500 * time.Millisecond} {
				t.Run(fmt.Sprintf("%s/fec=%d/down %v", tt.name, fec, down), func(t *testing.T) {
					virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
						theirs := unmarked.Config{SendWindow: 128, ReceiveWindow: 128, DataShards: fec, ParityShards: fec}
						l := unmarked.Listen(theirs, w.bind("10.0.0.2:2000"))
						s := w.config(nil, fec, fec).dial(7, l.Addr(), newSocket(w.bind("10.0.0.1:1000"), true))
						s.SetUserTimeout(5 * time.Second)
						s.SetKeepAlivePeriod(time.Second)
						s.SetIdleTimeout(3 * time.Second)
						go func() {
							for range tt.segments {
								s.Write([]byte("x"))
							}
						}()
						peer, err := l.Accept()
						w.check(err)
						_, err = io.ReadFull(peer, make([]byte, tt.segments))
						w.check(err)
						w.check(pingPong(peer, s, 1))
						w.sleep(300 * time.Millisecond)
						l.Kill()
						time.Sleep(down)
						anew := unmarked.Listen(theirs, w.bind("10.0.0.2:2000"))
						answers, unas := 0, make(map[uint32]int)
						w.watch(func(from, _ netip.AddrPort, b []byte) bool {
							if c, ok := parseContents(b); ok && from.Port() == 2000 && c.hasConv {
								answers++
								for _, h := range segmentsOf(c.body) {
									unas[h.una]++
								}
							}
							return true
						})
						start := time.Now()
						s.SetDeadline(start.Add(time.Minute))
						accepted := 0
						for err == nil {
							if !tt.writes {
								_, err = s.Read(make([]byte, 1))
								continue
							}
							if _, err = s.Write([]byte("request")); err == nil {
								accepted++
								time.Sleep(100 * time.Millisecond)
							}
						}
						took := time.Since(start).Round(10 * time.Millisecond)
						if took > 10*time.Second || !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.ECONNRESET) {
							t.Errorf("%v after %v, %d writes accepted, %d segments unacknowledged; %d answers with una %v",
								err, took, accepted, s.Stats().Unacknowledged, answers, unas)
						}
						s.Abort()
						anew.Kill()
					})
				})
			}
		}
	}
}

// A client without extensions is killed and started anew at its port. Its new session gets all that
// it writes, and the old one nothing of it.
func TestUnmarkedClientRestarts(t *testing.T) {
	for _, again := range []uint32{8, 7} {
		t.Run(fmt.Sprintf("conv 7, then %d", again), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
				client := func(conv uint32) *unmarked.Session {
					return unmarked.Dial(unmarked.Config{}, w.bind("10.0.0.1:1000"), l.Addr(), conv)
				}
				c := client(7)
				c.Write([]byte("hello"))
				old, err := l.AcceptKCP()
				w.check(err)
				w.check(old.SetKeepAlivePeriod(time.Second))
				w.check(old.SetIdleTimeout(3 * time.Second))
				_, err = io.ReadFull(old, make([]byte, 5))
				w.check(err)
				w.check(pingPong(old, c, 5))
				c.Kill()
				w.sleep(300 * time.Millisecond) // longer than a late datagram would be
				c = client(again)
				start := time.Now()
				go func() { // as a program does
					n, err := old.Read(make([]byte, 1))
					if n != 0 || !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.ECONNRESET) {
						w.Errorf("the old session has read %d bytes, %v", n, err)
					}
					if took := time.Since(start); took > 3*time.Second {
						w.Errorf("the old session failed after %v", took)
					}
					old.Close()
				}()
				l.SetDeadline(time.Now().Add(30 * time.Second))
				const text = "everything that the new client says"
				for _, b := range []byte(text) {
					c.Write([]byte{b})
				}
				fresh, err := l.AcceptKCP()
				w.check(err)
				got := make([]byte, len(text))
				_, err = io.ReadFull(fresh, got)
				w.check(err)
				if string(got) != text {
					t.Errorf("read %q", got)
				}
				t.Logf("all was read after %v", time.Since(start))
				closeAll(l, fresh)
				c.Kill()
			})
		})
	}
}
