package kcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

func TestSetDUP(t *testing.T) {
	for _, crypt := range crypts {
		t.Run(crypt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.2}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, crypt.name), 3, 1))
				c.SetDUP(2)
				s.SetDUP(-1)
				w.awaitIdle()
				before := w.net.Stats(c.LocalAddr(), s.LocalAddr()).Sent
				nonces := make(map[uint64]bool)
				w.watch(func(_, _ netip.AddrPort, b []byte) bool {
					// With Salsa20 these 8 bytes are the nonce. With the others they depend on all
					// of it or are a part of it.
					nonces[binary.LittleEndian.Uint64(b)] = true
					return true
				})
				total := w.net.Total().Sent
				w.check(exchange(c, s, 200_000))
				w.awaitIdle()
				sent := w.net.Stats(c.LocalAddr(), s.LocalAddr()).Sent - before
				if sent%3 != 0 {
					t.Errorf("%d datagrams are not a multiple of 3", sent)
				}
				if n := int(w.net.Total().Sent - total); crypt.name != "plain" && len(nonces) != n {
					t.Errorf("%d nonces for %d datagrams", len(nonces), n)
				}
				if w.snmp.Copy().RetransSegs == 0 {
					t.Error("nothing was sent again")
				}
				closeAll(c, s)
			})
		})
	}
}

func TestSetWriteDelay(t *testing.T) {
	const (
		interval = 50 * time.Millisecond
		writes   = 30 // fewer than the peer's window takes
	)
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%t", stream), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 100 * time.Millisecond}, func(w *world) {
				made := time.Now()
				c, s := w.pair(w.config(nil, 0, 0))
				c.SetNoDelay(1, int(interval.Milliseconds()), 2, 1)
				c.SetWindowSize(1024, 1024)
				c.SetStreamMode(stream)
				c.SetWriteDelay(true)
				w.awaitIdle()
				w.sleep(interval - (time.Since(made)-interval/2)%interval) // to a tick
				start := time.Now()
				var sent []time.Duration
				segs := 0
				w.watch(func(from, _ netip.AddrPort, b []byte) bool {
					if from.Port() != 2000 {
						sent = append(sent, time.Since(start))
						segs += len(segmentsOf(b))
					}
					return true
				})
				for range writes {
					c.Write(random(1, 10))
					w.sleep(time.Millisecond)
				}
				w.sleep(interval)
				w.watching.Lock()
				if len(sent) != 1 || sent[0] > interval {
					t.Errorf("%d small writes left at %v, not in one datagram at %v", writes, sent, interval)
				}
				if want := map[bool]int{false: writes, true: 1}[stream]; segs != want {
					t.Errorf("%d segments, not %d", segs, want)
				}
				w.watching.Unlock()
				// Switched off, it lets go what it held.
				w.awaitIdle()
				w.watching.Lock()
				sent, start = nil, time.Now()
				w.watching.Unlock()
				c.Write(random(1, 10))
				c.SetWriteDelay(false)
				w.awaitIdle()
				if len(sent) == 0 || sent[0] > 0 {
					t.Errorf("held back after the delay was switched off: %v", sent)
				}
				closeAll(c, s)
			})
		})
	}
}

func TestSetACKNoDelay(t *testing.T) {
	const (
		delay    = 20 * time.Millisecond
		interval = 300 * time.Millisecond
	)
	for _, nodelay := range []bool{false, true} {
		t.Run(fmt.Sprint(nodelay), func(t *testing.T) {
			virtual(t, netem.Path{Delay: delay}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				s.SetNoDelay(1, int(interval.Milliseconds()), 2, 1)
				s.SetACKNoDelay(nodelay)
				w.awaitIdle()
				start := time.Now()
				acked := time.Duration(0)
				w.watch(func(from, _ netip.AddrPort, b []byte) bool {
					if h := segmentsOf(b)[0]; h.cmd == IKCP_CMD_ACK && acked == 0 {
						acked = time.Since(start)
					}
					return true
				})
				c.Write([]byte("one segment"))
				w.sleep(time.Second)
				want := delay
				if !nodelay {
					want += time.Duration(ackDelayMax)
				}
				if acked != want {
					t.Errorf("acknowledged after %v, want %v", acked, want)
				}
				closeAll(c, s)
			})
		})
	}
}

func TestSetRateLimit(t *testing.T) {
	const seconds = 5
	for _, tt := range []struct {
		crypt  string
		shards int
		rate   uint32
		write  int
		dup    int
	}{
		{"plain", 0, 100_000, 16 << 10, 0},
		{"plain", 0, 3_000_000, 16 << 10, 0},
		{"aes", 3, 100_000, 16 << 10, 0},
		{"gcm", 10, 1_000_000, 16 << 10, 0},
		{"gcm", 10, 50_000, 50, 0},
		{"plain", 0, 100_000, 16 << 10, 1},
	} {
		t.Run(fmt.Sprintf("%s/fec=%d/%d/%d/dup=%d", tt.crypt, tt.shards, tt.rate, tt.write, tt.dup), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, tt.crypt), tt.shards, tt.shards))
				lowLatency(1024, c, s)
				c.SetRateLimit(tt.rate)
				c.SetDUP(tt.dup)
				go io.Copy(io.Discard, s)
				go func() {
					for b := make([]byte, tt.write); ; {
						if _, err := c.Write(b); err != nil {
							return
						}
					}
				}()
				w.sleep(time.Second)
				before := w.net.Stats(c.LocalAddr(), s.LocalAddr()).SentBytes
				w.sleep(seconds * time.Second)
				got := float64(w.net.Stats(c.LocalAddr(), s.LocalAddr()).SentBytes-before) / seconds
				if want := float64(tt.rate); got < 0.98*want || got > 1.02*want {
					t.Errorf("sent %.0f bytes a second, limit %.0f: %+.1f%%", got, want, 100*(got/want-1))
				}
				c.SetRateLimit(0)
				closeAll(c, s)
			})
		})
	}
}

func TestSetMtuLive(t *testing.T) {
	for _, tt := range []struct {
		crypt    string
		shards   int
		overhead int
	}{{"plain", 0, 0}, {"plain", 3, 8}, {"aes", 3, 36}, {"gcm", 3, 36}} {
		t.Run(fmt.Sprintf("%s/fec=%d", tt.crypt, tt.shards), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.05}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, tt.crypt), tt.shards, tt.shards))
				lowLatency(64, c, s)
				for _, mtu := range []int{1500, 100, 1400, 300, 61 + tt.overhead, 1000} {
					if !c.SetMtu(mtu) || !s.SetMtu(mtu) {
						t.Fatalf("MTU %d refused", mtu)
					}
					w.limitMtu(mtu)
					w.check(exchange(c, s, mtu*40))
					w.awaitIdle()
				}
				least := max(IKCP_OVERHEAD+tt.overhead, mtuMin-1)
				for _, mtu := range []int{1501, least, 0, -1, math.MaxInt} {
					if c.SetMtu(mtu) {
						t.Errorf("MTU %d accepted", mtu)
					}
				}
				if !c.SetMtu(least + 1) {
					t.Errorf("MTU %d refused", least+1)
				}
				w.limitMtu(1000)
				c.Write([]byte("byte by byte"))
				_, err := io.ReadFull(s, make([]byte, 12))
				w.check(err)
				closeAll(c, s)
			})
		})
	}
}

func TestSetWindowSizeLive(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.02}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		lowLatency(32, c, s)
		stop := make(chan bool)
		go func() {
			defer close(stop)
			for _, n := range []int{1, 1000, 2, 100_000, -1, 0, 5, 300, 1, 64} {
				time.Sleep(200 * time.Millisecond)
				c.SetWindowSize(n, 1000-n)
				s.SetWindowSize(n, n)
			}
		}()
		w.check(exchange(c, s, 5_000_000))
		<-stop
		closeAll(c, s)
	})
}

// What concerns the socket is the listener's affair.
func TestAcceptedSessionRefuses(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		for _, err := range []error{s.SetDSCP(46), s.SetReadBuffer(1 << 20), s.SetWriteBuffer(1 << 20)} {
			if err == nil || !strings.Contains(err.Error(), "listener") {
				t.Errorf("%v does not send us to the listener", err)
			}
		}
		w.check(c.SetReadBuffer(1 << 20)) // of netem's Conn
		for _, err := range []error{c.SetDSCP(46), c.SetWriteBuffer(1)} {
			if err == nil {
				t.Error("a setting that the PacketConn does not have was accepted")
			}
		}
		for _, dscp := range []int{-1, 64} {
			if err := c.SetDSCP(dscp); err == nil || !strings.Contains(err.Error(), "63") {
				t.Errorf("DSCP %d: %v", dscp, err)
			}
		}
		for _, x := range []*UDPSession{c, s} {
			failure := errors.New("mine")
			err := x.Control(func(conn net.PacketConn) error {
				if conn.LocalAddr().String() != x.LocalAddr().String() {
					t.Errorf("a connection at %v, want %v", conn.LocalAddr(), x.LocalAddr())
				}
				return failure
			})
			if err != failure {
				t.Errorf("Control returned %v", err)
			}
		}
		closeAll(c, s)
	})
}
