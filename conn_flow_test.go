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
)

// stall writes size bytes to a peer that reads nothing, for so long.
func (w *world) stall(c, s *UDPSession, size int, pause time.Duration) (done chan error) {
	w.Helper()
	done = make(chan error, 1)
	go func() {
		_, err := c.Write(random(3, size))
		done <- err
	}()
	w.sleep(pause)
	select {
	case err := <-done:
		w.Fatalf("the write did not wait: %v", err)
	default:
	}
	return done
}

// wakeUp reads what stall wrote.
func (w *world) wakeUp(s *UDPSession, size int, done chan error) {
	w.Helper()
	s.SetDeadline(time.Now().Add(patience()))
	got := make([]byte, size)
	_, err := io.ReadFull(s, got)
	w.check(err)
	w.check(<-done)
	if string(got) != string(random(3, size)) {
		w.Error("bytes arrived changed")
	}
}

func TestStalledReader(t *testing.T) {
	const size = 300_000 + restMax*plainMSS // more than is queued
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		lowLatency(32, c, s)
		done := w.stall(c, s, size, time.Minute)
		asked := 0
		w.watch(func(_, _ netip.AddrPort, b []byte) bool {
			for _, h := range segmentsOf(b) {
				switch h.cmd {
				case IKCP_CMD_WASK:
					asked++
				case IKCP_CMD_PUSH:
					t.Errorf("segment %d sent into a closed window", h.sn)
				}
			}
			return true
		})
		w.sleep(10 * time.Minute)
		if asked < 4 || asked > 20 {
			t.Errorf("asked for the window %d times in ten minutes", asked)
		}
		w.net.SetTap(nil)
		start := time.Now()
		w.wakeUp(s, size, done)
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("the window was open only after %v", took)
		}
		closeAll(c, s)
	})
}

// The sender asks when the announcement that reopens the window is lost.
func TestWindowAnnouncementLost(t *testing.T) {
	const size = 300_000 + restMax*plainMSS // more than is queued
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		lowLatency(32, c, s)
		done := w.stall(c, s, size, 5*time.Second)
		lost := 0
		w.watch(func(_, _ netip.AddrPort, b []byte) bool {
			for _, h := range segmentsOf(b) {
				if h.cmd == IKCP_CMD_WINS && h.wnd > 0 && lost < 2 {
					lost++
					return false
				}
			}
			return true
		})
		w.wakeUp(s, size, done)
		if lost != 2 {
			t.Errorf("%d announcements were lost, not 2", lost)
		}
		closeAll(c, s)
	})
}

// What was sent into a window that has shrunk since is not answered. The peer is alive all the
// same, and reads on some time.
func TestWindowShrinks(t *testing.T) {
	for _, size := range []int{20_000, 100_000} { // all of it in flight, and more
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				lowLatency(32, c, s)
				s.SetWindowSize(32, 2)
				done := make(chan error, 1)
				go func() {
					_, err := c.Write(random(3, size))
					done <- err
				}()
				w.sleep(30 * time.Minute)
				start := time.Now()
				w.wakeUp(s, size, done)
				if took := time.Since(start); took > 3*time.Minute { // the longest wait for a probe is 2
					t.Errorf("took %v to go on", took)
				}
				closeAll(c, s)
			})
		})
	}
}

// Nothing that is sent into a window is acknowledged that has shrunk to less than what it holds, and of
// which the sender has not heard. The user timeout does not end the session as long as the peer answers.
func TestWindowShrinksUnheard(t *testing.T) {
	for _, vanishes := range []bool{false, true} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			const timeout, size = 30 * time.Second, 15 * plainMSS
			c, s := w.pair(w.config(nil, 0, 0))
			lowLatency(64, c, s)
			w.check(c.SetUserTimeout(timeout))
			w.check(carryUnread(c, size))
			w.awaitIdle()
			s.SetWindowSize(64, 8)
			w.check(carryUnread(c, size))
			w.sleep(30 * time.Minute)
			if vanishes {
				w.check(w.net.SetDefault(netem.Path{Loss: 1}))
				start := time.Now()
				_, err := c.Read(make([]byte, 1))
				wantError(t, "read", err, syscall.ETIMEDOUT)
				if took := time.Since(start); took > 2*timeout+IKCP_PROBE_LIMIT*time.Millisecond {
					t.Errorf("took %v to miss the peer", took)
				}
			} else {
				w.check(readSame(s, size))
				w.check(readSame(s, size))
				w.check(exchange(c, s, 10_000))
			}
			closeAll(c, s)
		})
	}
}

// carryUnread writes what readSame reads.
func carryUnread(to io.Writer, size int) error {
	_, err := to.Write(random(3, size))
	return err
}

func readSame(from io.Reader, size int) error {
	got := make([]byte, size)
	if _, err := io.ReadFull(from, got); err != nil {
		return err
	}
	if string(got) != string(random(3, size)) {
		return errors.New("bytes arrived changed")
	}
	return nil
}

// A sender that takes the peer's window for larger than it is does not wait longer and longer for
// what had no room.
func TestSmallReceiveWindow(t *testing.T) {
	for _, nc := range []int{0, 1} {
		t.Run(fmt.Sprintf("nc=%d", nc), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 50 * time.Millisecond, Loss: 0.25}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				lowLatency(128, c, s)
				c.SetNoDelay(0, 50, 0, nc)
				s.SetWindowSize(1, 1)
				start := time.Now()
				w.check(exchange(c, s, 80_000))
				if took := time.Since(start); took > 5*time.Minute {
					t.Errorf("took %v", took)
				}
				closeAll(c, s)
			})
		})
	}
}

// What is beyond the peer's window is not sent again before there is room for it: it would crowd
// out what the peer waits for where a queue is short.
func TestNothingBeyondTheWindow(t *testing.T) {
	const delay = 10 * time.Millisecond
	virtual(t, netem.Path{Delay: delay}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		lowLatency(32, c, s)
		s.SetWindowSize(32, 5)
		w.awaitIdle()
		type announcement struct {
			known time.Time // to the sender
			edge  uint32
		}
		var said []announcement
		w.watch(func(from, _ netip.AddrPort, b []byte) bool {
			for _, h := range segmentsOf(b) {
				if from.Port() == 2000 {
					said = append(said, announcement{time.Now().Add(delay), h.una + uint32(h.wnd)})
					continue
				}
				newest := uint32(1 << 30) // the first flight goes by what the hello said
				for _, a := range said {
					if !time.Now().Before(a.known) {
						newest = a.edge
					}
				}
				if h.cmd == IKCP_CMD_PUSH && h.sn >= newest {
					t.Errorf("segment %d sent, the window ends at %d", h.sn, newest)
				}
			}
			return true
		})
		w.check(carry(c, s, 100_000))
		closeAll(c, s)
	})
}
