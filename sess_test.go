package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

func TestReadMessages(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		mss := c.core.mss
		hurry(128, c, s)
		write := func(n int) {
			if m, err := c.Write(random(uint64(n), n)); m != n || err != nil {
				t.Errorf("wrote %d of %d bytes: %v", m, n, err)
			}
		}
		read := func(room, want int, from []byte) {
			t.Helper()
			b := make([]byte, room)
			n, err := s.Read(b)
			if err != nil || n != want || !bytes.Equal(b[:n], from[:n]) {
				t.Errorf("read %d bytes into %d, %v, want %d", n, room, err, want)
			}
		}
		for _, n := range []int{1, 10, mss - 1, mss} { // one Write, one Read
			write(n)
		}
		for _, n := range []int{1, 10, mss - 1, mss} {
			read(2*mss, n, random(uint64(n), n))
		}

		write(100) // short reads go on in the message, and end with it
		write(50)
		msg := random(100, 100)
		read(30, 30, msg)
		read(0, 0, msg)
		read(30, 30, msg[30:])
		read(60, 40, msg[60:])
		read(60, 50, random(50, 50))

		write(2*mss + 10) // more than a segment arrives as several messages
		msg = random(uint64(2*mss+10), 2*mss+10)
		read(4*mss, mss, msg)
		read(4*mss, mss, msg[mss:])
		read(4*mss, 10, msg[2*mss:])

		n, err := c.WriteBuffers([][]byte{[]byte("one"), nil, []byte("two"), {}, []byte("three")})
		if n != 11 || err != nil {
			t.Errorf("WriteBuffers: %d, %v", n, err)
		}
		for _, m := range []string{"one", "two", "three"} {
			read(100, len(m), []byte(m))
		}
		closeAll(c, s)
	})
}

func TestReadStream(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		hurry(128, c, s)
		c.SetStreamMode(true)
		s.SetStreamMode(true)
		data := random(1, 10_000)
		if n, err := c.WriteBuffers([][]byte{data[:1], data[1:5000], nil, data[5000:]}); n != len(data) || err != nil {
			t.Errorf("WriteBuffers: %d, %v", n, err)
		}
		w.settle()
		got := make([]byte, 20_000)
		n, err := s.Read(got[:7])
		if n != 7 || err != nil {
			t.Errorf("read %d of 7 bytes: %v", n, err)
		}
		m, err := s.Read(got[7:])
		if n+m != len(data) || err != nil || !bytes.Equal(got[:n+m], data) {
			t.Errorf("read %d bytes more of %d: %v", m, len(data), err)
		}
		closeAll(c, s)
	})
}

func TestReadAndWriteNothing(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		for _, f := range []func([]byte) (int, error){
			c.Read, c.Write,
			func([]byte) (int, error) { return c.WriteBuffers(nil) },
			func([]byte) (int, error) { return c.WriteBuffers([][]byte{nil, {}}) },
		} {
			if n, err := f(nil); n != 0 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		w.settle()
		if got := c.core.WaitSnd(); got != 0 {
			t.Errorf("%d segments for nothing", got)
		}
		c.SetDeadline(time.Now())
		for _, f := range []func([]byte) (int, error){c.Read, c.Write} {
			if _, err := f(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after the deadline: %v", err)
			}
		}
		closeAll(c, s)
		for _, f := range []func([]byte) (int, error){c.Read, c.Write} {
			if _, err := f(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}

// wantTimeout checks the error of something that a deadline has ended.
func wantTimeout(t *testing.T, err error) {
	t.Helper()
	var op *net.OpError
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%v (%T) is no timeout", err, err)
	}
}

// wantClosed checks the error of something that Close has ended.
func wantClosed(t *testing.T, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, net.ErrClosed) || !errors.Is(err, io.ErrClosedPipe) || !errors.As(err, &op) {
		t.Errorf("%v (%T), want a closed connection", err, err)
	}
}

// full makes a session that no Write finds room in, to a peer that does not exist.
func (w *world) full(cfg *config) *UDPSession {
	w.Helper()
	s := cfg.dial(1, &net.UDPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 9}, newSocket(w.bind("10.0.0.1:0"), true))
	s.SetWindowSize(4, 4)
	for range 4 {
		if _, err := s.Write([]byte("full")); err != nil {
			w.Fatal(err)
		}
	}
	return s
}

func TestDeadlines(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		s := w.full(w.config(nil, 0, 0))
		s.SetUserTimeout(0) // nobody is there
		for _, op := range []struct {
			name string
			do   func([]byte) (int, error)
			set  func(time.Time) error
		}{
			{"read", s.Read, s.SetReadDeadline},
			{"write", s.Write, s.SetWriteDeadline},
			{"both", s.Read, s.SetDeadline},
		} {
			for _, tt := range []struct {
				name    string
				at      time.Duration // of the deadline, 0 for none
				moved   time.Duration // when it is moved, 0 for not
				movedTo time.Duration // 0 for cleared, and set to 10 s later on
				want    time.Duration
			}{
				{"past", -time.Hour, 0, 0, 0},
				{"future", 100 * time.Millisecond, 0, 0, 100 * time.Millisecond},
				{"first set while blocked", 0, time.Second, 2 * time.Second, 2 * time.Second},
				{"earlier", 5 * time.Second, time.Second, 3 * time.Second, 3 * time.Second},
				{"later", 2 * time.Second, time.Second, 5 * time.Second, 5 * time.Second},
				{"to the past", 5 * time.Second, time.Second, -time.Second, time.Second},
				{"cleared", 2 * time.Second, time.Second, 0, 10 * time.Second},
			} {
				start := time.Now()
				at := func(d time.Duration) time.Time {
					if d == 0 {
						return time.Time{}
					}
					return start.Add(d)
				}
				op.set(at(tt.at))
				if tt.moved != 0 {
					time.AfterFunc(tt.moved, func() { op.set(at(tt.movedTo)) })
					if tt.movedTo == 0 {
						time.AfterFunc(5*time.Second, func() { op.set(at(10 * time.Second)) })
					}
				}
				n, err := op.do(make([]byte, 10))
				if took := time.Since(start); n != 0 || took != tt.want {
					t.Errorf("%s, %s: %d bytes after %v, want a timeout after %v", op.name, tt.name, n, took, tt.want)
				}
				wantTimeout(t, err)
			}
			op.set(time.Time{})
		}
		s.Close()
	})
}

// The timer wakes who waits once, and does not run again and again until they have woken.
func TestDeadlineTimer(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		s := w.full(w.config(nil, 0, 0))
		s.Close() // so that nothing else makes it run
		s = w.dial(w.config(nil, 0, 0), w.listen(w.config(nil, 0, 0), "10.0.0.2:2000"))
		runs := 0
		s.task.run = func(now int64) {
			runs++
			s.onTimer(now)
		}
		s.SetDeadline(time.Now().Add(time.Second))
		_, err := s.Read(make([]byte, 1))
		wantTimeout(t, err)
		if runs > 1 {
			t.Errorf("the timer ran %d times", runs)
		}
		s.Close()
	})
}

// A deadline in the past does not take away what comes after it is cleared.
func TestDeadlineCleared(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		s.SetReadDeadline(time.Unix(1, 0))
		c.Write([]byte("patience"))
		w.settle()
		b := make([]byte, 20)
		_, err := s.Read(b)
		wantTimeout(t, err)
		s.SetReadDeadline(time.Time{})
		if n, err := s.Read(b); err != nil || string(b[:n]) != "patience" {
			t.Errorf("%q, %v", b[:n], err)
		}
		s.SetDeadline(time.Now().Add(1<<63 - 1)) // centuries ahead
		c.Write([]byte("more"))
		if n, err := s.Read(b); err != nil || string(b[:n]) != "more" {
			t.Errorf("%q, %v", b[:n], err)
		}
		closeAll(c, s)
	})
}

// A write larger than all windows says how much of it was queued when it is given up.
func TestWriteInterrupted(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		c.SetWindowSize(32, 32)
		s.SetWindowSize(32, 32)
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		data := random(1, 1<<20)
		n, err := c.Write(data)
		wantTimeout(t, err)
		if n == 0 || n > 70*c.core.mss {
			t.Errorf("%d bytes were queued, with windows of 32 segments", n)
		}
		c.SetWriteDeadline(time.Time{})
		done := make(chan error, 1)
		go func() {
			_, err := c.Write(data[n:])
			done <- err
		}()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("what arrived is not what was written: %v", err)
		}
		w.check(<-done)
		closeAll(c, s)
	})
}

// Several goroutines write and read at once, while others turn every knob. A Write's
// bytes stay together.
func TestConcurrentUse(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%t", stream), func(t *testing.T) {
			virtual(t, netem.Path{Delay: time.Millisecond, Loss: 0.02}, func(w *world) {
				const (
					writers = 8
					writes  = 20
					size    = 5000
				)
				c, s := w.pair(w.config(newCrypt(t, "aes"), 3, 1))
				hurry(32, c, s)
				c.SetStreamMode(stream)
				var wg sync.WaitGroup
				for i := range writers {
					wg.Go(func() {
						for range writes {
							if n, err := c.Write(bytes.Repeat([]byte{byte(i)}, size)); n != size || err != nil {
								t.Errorf("%d, %v", n, err)
							}
						}
					})
				}
				stop := make(chan struct{})
				var knobs sync.WaitGroup
				knobs.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						case <-time.After(time.Millisecond):
						}
						for _, x := range []*UDPSession{c, s} {
							x.SetNoDelay(i%2, 10+i%30, 2, 1)
							x.SetWindowSize(16+i%50, 16+i%70)
							x.SetMtu(1000 + i%500)
							x.SetACKNoDelay(i%2 == 0)
							x.SetWriteDelay(i%3 == 0)
							x.SetDUP(i % 2)
							x.SetRateLimit(uint32(i%2) * 10_000_000)
							x.SetOOBHandler(func([]byte) {})
							x.SendOOB([]byte("beside"))
							x.SetDeadline(time.Now().Add(patience))
							_ = x.GetRTO() + uint32(x.GetSRTT()+x.GetSRTTVar()) + x.GetConv() + uint32(x.GetOOBMaxSize())
							_, _ = x.LocalAddr(), x.RemoteAddr()
						}
					}
				})
				block := make([]byte, size)
				for range writers * writes {
					if _, err := io.ReadFull(s, block); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(block, bytes.Repeat(block[:1], size)) {
						t.Fatal("two writes are mixed")
					}
				}
				wg.Wait()
				close(stop)
				knobs.Wait()
				closeAll(c, s)
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

// wantGone checks that nothing is left of a session but its name.
func (w *world) wantGone(s *UDPSession) {
	w.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing.ended || !s.closing.gone || len(s.queue) > 0 || s.core.WaitSnd() > 0 || s.core.rcv.held > 0 || s.task.index >= 0 {
		w.Errorf("ended %t, gone %t, %d datagrams, %d+%d segments, timer %d", s.closing.ended, s.closing.gone,
			len(s.queue), s.core.WaitSnd(), s.core.rcv.held, s.task.index)
	}
	if l := s.listener; l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.sessions[sessionKey{s.to.peerAddr, s.core.conv}] != nil || l.recent[s.to.peerAddr] == s {
			w.Error("the listener still knows it")
		}
	} else if c, err := w.net.Listen(s.LocalAddr().String()); err != nil {
		w.Errorf("the socket is still open: %v", err)
	} else {
		c.Close()
	}
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
						hurry(1024, from, to)
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
						w.sleep(lingerTime)
						w.wantGone(from)
						to.Close()
						w.sleep(lingerTime)
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
				w.settle()
				var last time.Time
				w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { last = time.Now(); return false })
				s.Write(random(1, 20_000))
				peer.Write(random(1, 20_000))
				w.settle()
				closed := time.Now()
				s.Close()
				w.sleep(lingerTime - time.Millisecond)
				s.mu.Lock()
				if s.closing.ended {
					t.Error("gave up early")
				}
				s.mu.Unlock()
				w.sleep(time.Millisecond)
				w.wantGone(s)
				peer.Close()
				w.sleep(lingerTime)
				w.wantGone(peer)
				if n := len(w.sched.workers[0].tasks); n > 0 {
					t.Errorf("%d timers are left", n)
				}
				if d := last.Sub(closed); d < 0 || d > 2*lingerTime {
					t.Errorf("the last datagram left %v after Close", d)
				}
			})
		})
	}
}

// A closed session takes its peer's data and throws it away, so that the peer is not
// held up by one that only finishes writing.
func TestCloseBothAtOnce(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.1}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		hurry(64, c, s)
		for _, x := range []*UDPSession{c, s} {
			x.Write(random(1, 50_000))
			x.Close()
		}
		w.sleep(lingerTime)
		w.wantGone(c)
		w.wantGone(s)
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
					w.settle()
					w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return false })
					errs := make(chan error, 1)
					start := time.Now()
					go func() {
						_, err := s.Write(random(1, 1<<20))
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
		hurry(32, c, s)
		w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return false })
		time.AfterFunc(9*time.Second, func() { w.net.SetTap(nil) })
		w.check(exchange(c, s, 100_000))
		closeAll(c, s)
	})
}

func TestOOB(t *testing.T) {
	for _, crypt := range crypts {
		t.Run(crypt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, crypt.name), 3, 2))
				hurry(64, c, s)
				most := c.GetOOBMaxSize()
				overhead := c.cfg.headroom() + c.cfg.env.tail + oobConvField
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
				w.settle()
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
				w.settle()
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
		c, s := w.join(w.config(nil, 0, 0), w.config(nil, 3, 2))
		if err := c.SendOOB([]byte("x")); err == nil || !strings.Contains(err.Error(), "FEC") {
			t.Errorf("without FEC: %v", err)
		}
		if n := c.GetOOBMaxSize(); n != 0 {
			t.Errorf("at most %d bytes without FEC", n)
		}
		var heard string // it hears what the peer sends all the same
		c.SetOOBHandler(func(b []byte) { heard = string(b) })
		w.check(s.SendOOB([]byte("hear")))
		w.settle()
		if heard != "hear" {
			t.Errorf("heard %q", heard)
		}
		// One for another conversation, as long as none, and one too short.
		before := w.snmp.Copy().InErrs
		s.mu.Lock()
		s.datagramLocked(clock(), framed(oobSeqid, fecTypeOOB, binary.LittleEndian.AppendUint32(nil, s.core.conv+1)))
		s.datagramLocked(clock(), framed(oobSeqid, fecTypeOOB, []byte{1, 2, 3}))
		s.driveLocked(clock(), false)
		s.unlockAndHandOver()
		if n := w.snmp.Copy().InErrs - before; n != 2 {
			t.Errorf("%d errors counted, not 2", n)
		}
		closeAll(c, s)
	})
}

// The handler runs on the reader's goroutine and no other: a Write that called it could
// deadlock on a mutex that its caller holds and the handler takes. It is not called any
// more after Close.
func TestOOBHandlerGoroutine(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 3, 2))
		calls := 0
		s.SetOOBHandler(func([]byte) { calls++ })
		oob := framed(oobSeqid, fecTypeOOB, binary.LittleEndian.AppendUint32(nil, s.core.conv))
		s.mu.Lock()
		s.datagramLocked(clock(), oob) // as a reader does, and settles it a little later
		s.mu.Unlock()
		s.Write([]byte("x"))
		if calls != 0 {
			t.Error("Write called the handler")
		}
		c.SendOOB(nil)
		w.settle()
		if calls != 2 {
			t.Errorf("%d calls, not 2", calls)
		}
		w.watch(func(from, _ netip.AddrPort, _ []byte) bool { return from.Port() != 2000 })
		s.Write([]byte("keeps it lingering"))
		s.Close()
		c.SendOOB(nil)
		w.settle()
		if calls != 2 {
			t.Error("called after Close")
		}
		c.Close()
	})
}

func TestConstructorErrors(t *testing.T) {
	conn, err := netem.New(1).Listen("10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	const local = "127.0.0.1:0"
	for _, tt := range []struct {
		name string
		make func() (any, error)
		says string
	}{
		{"nil conn", func() (any, error) { return NewConn2(addr, nil, 0, 0, nil) }, "PacketConn"},
		{"typed nil conn", func() (any, error) { return NewConn3(1, addr, nil, 0, 0, (*net.UDPConn)(nil)) }, "PacketConn"},
		{"nil conn of NewConn", func() (any, error) { return NewConn("127.0.0.1:1", nil, 0, 0, nil) }, "PacketConn"},
		{"nil conn to serve", func() (any, error) { return ServeConn(nil, 0, 0, nil) }, "PacketConn"},
		{"nil address", func() (any, error) { return NewConn2(nil, nil, 0, 0, conn) }, "address"},
		{"typed nil address", func() (any, error) { return NewConn4(1, (*net.UDPAddr)(nil), nil, 0, 0, true, conn) }, "address"},
		{"negative data shards", func() (any, error) { return DialWithOptions(local, nil, -1, 3) }, "-1/3"},
		{"negative parity shards", func() (any, error) { return ListenWithOptions(local, nil, 10, -3) }, "10/-3"},
		{"too many shards", func() (any, error) { return ServeConn(nil, 200, 57, conn) }, "256"},
		{"absurd shards", func() (any, error) { return NewConn2(addr, nil, math.MaxInt, math.MaxInt, conn) }, "256"},
		{"nil AEAD", func() (any, error) { return DialWithOptions(local, NewAEADCrypt(nil), 0, 0) }, "AEAD"},
		{"nil AEAD to serve", func() (any, error) { return ServeConn(NewAEADCrypt(nil), 0, 0, conn) }, "AEAD"},
		{"no port", func() (any, error) { return Dial("127.0.0.1") }, "127.0.0.1"},
		{"unresolvable", func() (any, error) { return Dial("no such host:1") }, "no such host"},
		{"port out of range", func() (any, error) { return Listen("127.0.0.1:65536") }, "65536"},
		{"not an address of ours", func() (any, error) { return Listen("192.0.2.1:1") }, "192.0.2.1"},
	} {
		v, err := tt.make()
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v does not say %q", tt.name, err, tt.says)
		}
		if s := fmt.Sprint(v); s != "<nil>" {
			t.Errorf("%s: returned %s as well", tt.name, s)
		}
	}
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
