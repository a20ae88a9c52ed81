package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

func TestReadMessages(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		const mss = plainMSS
		lowLatency(128, c, s)
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
		lowLatency(128, c, s)
		c.SetStreamMode(true)
		s.SetStreamMode(true)
		data := random(1, 10_000)
		if n, err := c.WriteBuffers([][]byte{data[:1], data[1:5000], nil, data[5000:]}); n != len(data) || err != nil {
			t.Errorf("WriteBuffers: %d, %v", n, err)
		}
		w.awaitIdle()
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
		w.awaitIdle()
		if got := c.Stats().Unacknowledged; got != 0 {
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

func TestDeadlines(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		s := w.full(w.config(nil, 0, 0))
		s.SetUserTimeout(-1) // nobody is there
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
		runs := s.countTimer()
		s.SetDeadline(time.Now().Add(time.Second))
		_, err := s.Read(make([]byte, 1))
		wantTimeout(t, err)
		if runs.Load() > 1 {
			t.Errorf("the timer ran %d times", runs.Load())
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
		w.awaitIdle()
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

// Several goroutines write and read at once, while others turn every knob. A Write's bytes stay
// together.
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
				lowLatency(32, c, s)
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
							x.SetDeadline(time.Now().Add(patience()))
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

// waitingRead starts a Read and returns once it waits; what it has read comes through the channel.
func (s *UDPSession) waitingRead() <-chan string {
	got := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		n, _ := s.Read(b)
		got <- string(b[:n])
	}()
	synctest.Wait()
	return got
}

// What one Read returns is contiguous, also when another comes before it has run.
func TestReadsHaveNoHole(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // who is woken runs when this goroutine waits
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		s.SetStreamMode(true)
		sn := s.nextSn()
		data := func(i uint32, body string) []byte { return segment(s.GetConv(), IKCP_CMD_PUSH, sn+i, []byte(body)) }
		woken := s.waitingRead()
		s.receives(data(1, "b"), data(0, "a")) // one to the reader, one to the window
		time.AfterFunc(time.Millisecond, func() { s.receives(data(2, "c")) })
		b := make([]byte, 4)
		n, err := s.Read(b)
		s.receives(data(2, "c")) // before the other has run, if this one did not wait
		if first := <-woken; first != "ab" || string(b[:n]) != "c" || err != nil {
			t.Errorf("read %q, and %q, %v", first, b[:n], err)
		}
		s.SetLinger(0)
		closeAll(c, s)
	})
}

// The mode that counts is the one when data arrives.
func TestModeOfWaitingRead(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		s.SetStreamMode(true)
		got := s.waitingRead()
		s.SetStreamMode(false)
		next := s.nextSn()
		s.receives(segment(s.GetConv(), IKCP_CMD_PUSH, next, []byte("one")), segment(s.GetConv(), IKCP_CMD_PUSH, next+1, []byte("two")))
		if got := <-got; got != "one" {
			t.Errorf("read %q in message mode", got)
		}
		s.SetLinger(0)
		closeAll(c, s)
	})
}
