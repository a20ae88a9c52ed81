package kcp

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// echoes are the ways in which a program answers what it reads at once.
var echoes = map[string]func(s *UDPSession){
	"Read": func(s *UDPSession) {
		b := make([]byte, 2000)
		for {
			n, err := s.Read(b)
			if err != nil {
				return
			}
			s.Write(b[:n])
		}
	},
	"Read with a deadline": func(s *UDPSession) {
		b := make([]byte, 2000)
		for {
			s.SetReadDeadline(time.Now().Add(time.Minute))
			n, err := s.Read(b)
			if err != nil {
				return
			}
			s.Write(b[:n])
		}
	},
	"stream": func(s *UDPSession) {
		s.SetStreamMode(true)
		b := make([]byte, 64)
		for {
			if _, err := io.ReadFull(s, b); err != nil {
				return
			}
			s.WriteBuffers([][]byte{b[:10], b[10:]})
		}
	},
	"WriteTo": func(s *UDPSession) { io.Copy(s, s) },
	"TryRead": func(s *UDPSession) {
		b := make([]byte, 2000)
		s.SetReadNotify(func() {
			for n, err := s.TryRead(b); n > 0 && err == nil; n, err = s.TryRead(b) {
				s.TryWrite(b[:n])
			}
		})
	},
	"another goroutine": func(s *UDPSession) {
		ch := make(chan []byte)
		go func() {
			for b := range ch {
				s.Write(b)
			}
		}()
		defer close(ch)
		for {
			b := make([]byte, 2000)
			n, err := s.Read(b)
			if err != nil {
				return
			}
			ch <- b[:n]
		}
	},
}

// An acknowledgement that would go at once rides with the answer of a reader that answers at once:
// a round trip takes two datagrams, and no longer than without it.
func TestAckRidesWithAnswer(t *testing.T) {
	for name, echo := range echoes {
		for _, over := range []struct {
			name, crypt  string
			data, parity int
		}{{"plain", "plain", 0, 0}, {"aes", "aes", 0, 0}, {"fec", "plain", 10, 3}} {
			t.Run(name+"/"+over.name, func(t *testing.T) {
				virtual(t, netem.Path{Delay: ackPathDelay}, func(w *world) {
					c, s := w.pair(w.config(newCrypt(t, over.crypt), over.data, over.parity))
					ridesWithAnswer(w, c, s, echo)
				})
			})
		}
	}
}

// The same where the client is the one that answers, and over a PacketPusher.
func TestAckRidesWithAnswerOf(t *testing.T) {
	t.Run("the client", func(t *testing.T) {
		virtual(t, netem.Path{Delay: ackPathDelay}, func(w *world) {
			c, s := w.pair(w.config(nil, 0, 0))
			ridesWithAnswer(w, s, c, echoes["Read"])
		})
	})
	t.Run("a session on a PacketPusher", func(t *testing.T) {
		virtual(t, netem.Path{Delay: ackPathDelay}, func(w *world) {
			cfg := w.config(nil, 0, 0)
			l := newListener(cfg, newSocket(&pushingConn{Conn: w.bind("10.0.0.2:2000")}, true))
			c := w.dial(cfg, l)
			c.Write([]byte("hello"))
			s, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			s.Read(make([]byte, 10))
			ridesWithAnswer(w, c, s, echoes["Read"])
			l.Close()
		})
	})
}

// pushingConn is a PacketPusher that reads a PacketConn on a goroutine of its own.
type pushingConn struct {
	*netem.Conn
	receive atomic.Pointer[func(b []byte, addr net.Addr, err error)]
}

func (c *pushingConn) SetPacketReceiver(fn func(b []byte, addr net.Addr, err error)) {
	if c.receive.Swap(&fn) != nil {
		return
	}
	go func() {
		b := make([]byte, mtuLimit)
		for {
			n, addr, err := c.Conn.ReadFrom(b)
			if err != nil {
				return
			}
			if f := *c.receive.Load(); f != nil {
				f(b[:n], addr, nil)
			}
		}
	}()
}

const ackPathDelay = 10 * time.Millisecond

// ridesWithAnswer has s answer c by echo, over a path with ackPathDelay, and counts the datagrams.
func ridesWithAnswer(w *world, c, s *UDPSession, echo func(s *UDPSession)) {
	w.Helper()
	const trips = 50
	lowLatency(128, c, s)
	c.SetACKNoDelay(true)
	s.SetACKNoDelay(true)
	c.SetStreamMode(true)
	go echo(s)
	w.awaitIdle()
	sent := 0
	w.watch(func(_, _ netip.AddrPort, b []byte) bool {
		if contents, _ := parseContents(b); s.enc == nil || contents.kind() != fecTypeParity {
			sent++
		}
		return true
	})
	b, start := make([]byte, 64), time.Now()
	for range trips {
		c.Write(b)
		if _, err := io.ReadFull(c, b); err != nil {
			w.Fatal(err)
		}
	}
	if took := time.Since(start); took != trips*2*ackPathDelay {
		w.Errorf("%d round trips of %v took %v", trips, 2*ackPathDelay, took)
	}
	w.awaitIdle()
	w.watching.Lock()
	defer w.watching.Unlock()
	// The last answer is acknowledged alone. So may be what arrives with a question (PARAMS), or while a
	// timer flushes.
	if want := 2*trips + 1; sent < want || sent > want+trips/10 {
		w.Errorf("%d datagrams for %d round trips, want %d", sent, trips, want)
	}
	closeAll(c, s)
}

// An acknowledgement does not wait for a reader that has something else to do, that answers later, or
// that answers with less than a message of its own.
func TestAckDoesNotWaitForAnswer(t *testing.T) {
	const delay = 20 * time.Millisecond
	for name, read := range map[string]func(s *UDPSession){
		"busy":     func(s *UDPSession) { s.Read(make([]byte, 10)); time.Sleep(time.Second) },
		"reads on": func(s *UDPSession) { io.Copy(io.Discard, s) },
		"later": func(s *UDPSession) {
			s.Read(make([]byte, 10))
			time.Sleep(time.Millisecond)
			s.Write([]byte("answer"))
		},
		"write delay": func(s *UDPSession) {
			s.SetWriteDelay(true)
			s.Read(make([]byte, 10))
			s.Write([]byte("answer"))
		},
		"closes":    func(s *UDPSession) { s.Read(make([]byte, 10)); s.Close() },
		"CloseRead": func(s *UDPSession) { s.CloseRead() },
		"deadline": func(s *UDPSession) {
			s.SetReadDeadline(time.Now().Add(time.Hour))
			s.Read(make([]byte, 10))
		},
		"piecemeal": func(s *UDPSession) { s.Read(make([]byte, 1)) },
		"WriteTo":   func(s *UDPSession) { s.WriteTo(io.Discard) },
		"notified": func(s *UDPSession) {
			s.SetReadNotify(func() { s.TryRead(make([]byte, 10)) })
		},
		"nobody": func(*UDPSession) {},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: delay}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				s.SetNoDelay(1, 300, 2, 1)
				s.SetACKNoDelay(true)
				w.awaitIdle()
				go read(s)
				w.awaitIdle()
				var acked time.Duration
				start := time.Now()
				w.watch(func(from, _ netip.AddrPort, b []byte) bool {
					for _, h := range segmentsOf(b) {
						if h.cmd == IKCP_CMD_ACK && from.String() == s.LocalAddr().String() && acked == 0 {
							acked = time.Since(start)
						}
					}
					return true
				})
				c.Write([]byte("one"))
				w.sleep(time.Second)
				w.watching.Lock()
				defer w.watching.Unlock()
				if acked < delay || acked > delay+time.Nanosecond {
					t.Errorf("acknowledged after %v, want %v", acked, delay)
				}
				closeAll(c, s)
			})
		})
	}
}

// The same over UDP, of several sessions of one listener, where goroutines run as the scheduler likes:
// few round trips take more than two datagrams.
func TestAckRidesWithAnswerUDP(t *testing.T) {
	const (
		clients = 4
		trips   = 1000
	)
	l, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetDeadline(time.Now().Add(realPatience))
	go func() {
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			s.SetACKNoDelay(true)
			go func() {
				defer s.Close()
				echoes["Read"](s)
			}()
		}
	}()
	before := DefaultSnmp.Copy().OutPkts
	var wg sync.WaitGroup
	for range clients {
		c := dialUDP(t, l.Addr().String(), nil, 0, 0)
		defer c.Close()
		c.SetACKNoDelay(true)
		c.SetDeadline(time.Now().Add(realPatience))
		wg.Go(func() {
			b := make([]byte, 64)
			for range trips {
				if _, err := c.Write(b); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(c, b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	// Half of what it is where no acknowledgement rides, and half of the rest.
	if n := float64(DefaultSnmp.Copy().OutPkts-before) / (clients * trips); n > 3 {
		t.Errorf("%.2f datagrams a round trip", n)
	} else {
		t.Logf("%.2f datagrams a round trip", n)
	}
}

// Nothing waits for turns of other goroutines where these take long, as they do not block.
func TestYieldToBusyGoroutines(t *testing.T) {
	var s socket
	for range 100 {
		s.yield(clock())
	}
	if s.longTurns < longTurnsMax && s.yieldFrom.Load() != 0 {
		t.Errorf("%d long turns, and nothing is to wait", s.longTurns)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 8 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !stop.Load() {
			}
		})
	}
	defer wg.Wait()
	defer stop.Store(true)
	for end := time.Now().Add(realPatience); s.yieldFrom.Load() <= clock(); {
		if s.yield(clock()); time.Now().After(end) {
			t.Fatalf("%d long turns in a row, and the next one is waited for", s.longTurns)
		}
	}
}
