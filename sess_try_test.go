package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// bell is what an event loop waits for: a notification that was not answered yet.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// wait waits for the next notification.
func (b bell) wait(what string) error {
	select {
	case <-b:
		return nil
	case <-time.After(time.Hour):
		return fmt.Errorf("%s: not notified", what)
	}
}

// counted returns a function and how often it was called.
func counted() (f func(), calls func() int) {
	var n atomic.Int64
	return func() { n.Add(1) }, func() int { synctest.Wait(); return int(n.Load()) }
}

func TestTryRead(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		client, server := w.pair(cfg)
		b := make([]byte, 100)
		try := func(b []byte, want string, wantErr error) {
			w.Helper()
			start := clock()
			n, err := server.TryRead(b)
			if string(b[:n]) != want || !errors.Is(err, wantErr) || wantErr == nil && err != nil {
				w.Errorf("TryRead: %q, %v, want %q, %v", b[:n], err, want, wantErr)
			}
			if clock() != start {
				w.Error("TryRead has waited")
			}
		}
		try(b, "", nil)
		client.Write([]byte("one"))
		client.Write([]byte("two"))
		w.awaitIdle()
		try(nil, "", nil)
		try(b[:2], "on", nil)
		try(b, "e", nil)
		try(b, "two", nil)
		try(b, "", nil)

		server.SetReadDeadline(time.Now().Add(-second))
		_, err := server.TryRead(b)
		wantTimeout(t, err)
		server.SetReadDeadline(time.Time{})

		client.Write([]byte("last"))
		client.Close()
		w.awaitIdle()
		try(b, "last", nil)
		try(b, "", io.EOF)
		try(b, "", io.EOF)
		server.Close()
		_, err = server.TryRead(b)
		wantClosed(t, err)
		_, err = server.TryRead(nil)
		wantClosed(t, err)
	})
}

// A Read that waits gets what arrives; a TryRead meanwhile finds nothing, and takes nothing of it.
func TestTryReadBesideRead(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		client.SetStreamMode(true)
		server.SetStreamMode(true)
		data := random(1, 500_000)
		var got bytes.Buffer
		read := make(chan error, 1)
		go func() {
			b := make([]byte, 3000)
			for got.Len() < len(data) {
				n, err := server.Read(b)
				if err != nil {
					read <- err
					return
				}
				got.Write(b[:n])
			}
			read <- nil
		}()
		go client.Write(data)
		for reading := true; reading; {
			select {
			case err := <-read:
				w.check(err)
				reading = false
			case <-time.After(3 * millisecond):
				synctest.Wait() // until the Read waits: something may have arrived at this moment
				if n, err := server.TryRead(make([]byte, 10)); n != 0 || err != nil {
					w.Errorf("TryRead: %d, %v", n, err)
				}
			}
		}
		if !bytes.Equal(got.Bytes(), data) {
			w.Error("the data arrived changed")
		}
		closeAll(client, server)
	})
}

func TestTryReadErrors(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		client, server := w.pair(cfg)
		notify, calls := counted()
		server.SetReadNotify(notify)
		server.TryRead(make([]byte, 1))
		client.Abort()
		w.awaitIdle()
		if calls() != 1 {
			w.Errorf("%d notifications of a reset", calls())
		}
		_, err := server.TryRead(make([]byte, 1))
		wantError(t, "read", err, syscall.ECONNRESET)
		_, err = server.TryWrite([]byte{1})
		wantError(t, "write", err, syscall.ECONNRESET)
		server.Close()
	})
	virtual(t, netem.Path{}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		client.CloseWrite()
		_, err := client.TryWrite([]byte{1})
		wantError(t, "write", err, syscall.EPIPE)
		closeAll(client, server)
	})
}

func TestTryWrite(t *testing.T) {
	for _, stream := range []bool{false, true} {
		virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
			client, server := w.pair(w.config(nil, 0, 0))
			for _, s := range []*UDPSession{client, server} {
				s.SetStreamMode(stream)
				s.SetWindowSize(16, 16)
			}
			data := random(1, 100*plainMSS)
			start := clock()
			n, err := client.TryWrite(data)
			if n != 16*plainMSS || err != nil || clock() != start {
				w.Fatalf("TryWrite: %d, %v after %v, want the window", n, err, time.Duration(clock()-start))
			}
			if n, err := client.TryWrite(data[n:]); n != 0 || err != nil {
				w.Errorf("TryWrite into a full window: %d, %v", n, err)
			}
			if n, err := client.TryWrite(nil); n != 0 || err != nil {
				w.Errorf("TryWrite of nothing: %d, %v", n, err)
			}
			got := make([]byte, n)
			if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, data[:n]) {
				w.Errorf("read: %v, equal %t", err, bytes.Equal(got, data[:n]))
			}
			if st := client.Stats(); st.BytesSent != uint64(n+5) {
				w.Errorf("%d bytes sent", st.BytesSent)
			}
			client.SetWriteDeadline(time.Now())
			_, err = client.TryWrite(data)
			wantTimeout(t, err)
			client.Close()
			_, err = client.TryWrite(data)
			wantClosed(t, err)
			server.Close()
		})
	}
}

// A TryWrite beside a Write that waits queues nothing in the middle of it.
func TestTryWriteBesideWrite(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		s := w.full(w.config(nil, 0, 0))
		go s.Write([]byte("waits"))
		synctest.Wait()
		bell := newBell()
		if n, err := s.TryWrite([]byte("x")); n != 0 || err != nil {
			w.Errorf("TryWrite: %d, %v", n, err)
		}
		s.SetWriteNotify(bell.ring)
		if len(bell) > 0 {
			w.Error("notified of a full window")
		}
		s.SetWindowSize(64, 64)
		w.check(bell.wait("window opened"))
		if n, err := s.TryWrite([]byte("x")); n != 1 || err != nil {
			w.Errorf("TryWrite: %d, %v", n, err)
		}
		s.Abort()
	})
}

// When a notification comes, one after the other, and when none does.
func TestReadNotify(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		w.awaitIdle()
		notify, calls := counted()
		b := make([]byte, 100)
		want := func(n int, after string) {
			w.Helper()
			w.awaitIdle()
			if got := calls(); got != n {
				w.Fatalf("%d notifications after %s, want %d", got, after, n)
			}
		}
		server.SetReadNotify(notify)
		want(0, "setting it with nothing to be read")
		client.Write([]byte("a"))
		want(1, "the first data")
		want(1, "a second in which nothing happens")
		client.Write([]byte("b"))
		want(2, "more data, without a read")
		server.TryRead(b)
		want(2, "a read that leaves something")
		server.TryRead(b)
		server.TryRead(b)
		want(2, "a read that finds nothing")
		server.SetReadNotify(nil)
		client.Write([]byte("c"))
		want(2, "removing it")
		server.SetReadNotify(notify)
		want(3, "setting it with something to be read")
		for n, _ := server.TryRead(b); n > 0; n, _ = server.TryRead(b) {
		}
		server.SetReadDeadline(time.Now().Add(100 * millisecond))
		want(4, "the deadline")
		server.SetReadDeadline(time.Time{})
		if n, err := server.TryRead(b); n != 0 || err != nil {
			w.Fatalf("TryRead: %d, %v", n, err)
		}
		server.SetReadDeadline(time.Now().Add(-second))
		want(5, "a deadline in the past")
		server.SetReadDeadline(time.Time{})
		server.TryRead(b)
		client.CloseWrite()
		want(6, "the end of the stream")
		if _, err := server.TryRead(b); err != io.EOF {
			w.Error(err)
		}
		want(6, "reading the end")
		server.Close()
		client.Close()
		after := calls()
		server.SetReadNotify(notify) // by a program that did not know
		want(after+1, "setting it after Close")
	})
}

// Close is a thing to be notified of: an event loop has to drop the session.
func TestNotifyOfClose(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		read, reads := counted()
		write, writes := counted()
		client.SetReadNotify(read)
		client.SetWriteNotify(write)
		if reads() != 0 || writes() != 1 {
			w.Errorf("%d and %d notifications at first, want none and one", reads(), writes())
		}
		client.Close()
		if reads() != 1 || writes() != 2 {
			w.Errorf("%d and %d notifications, want one more of each", reads(), writes())
		}
		server.Close()
	})
}

// The session's lock is not held during a call, and calls are made one at a time; one that blocks
// stops nothing but those that follow, which become one.
func TestNotifyMayCall(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		var inside, calls atomic.Int32
		release := make(chan struct{})
		server.SetReadNotify(func() {
			if inside.Add(1) != 1 {
				w.Error("two calls at a time")
			}
			calls.Add(1)
			server.Stats()
			server.SetReadDeadline(time.Time{})
			server.TryRead(make([]byte, 100))
			server.Write([]byte("an answer"))
			<-release
			inside.Add(-1)
		})
		for range 5 {
			client.Write([]byte("x"))
			w.awaitIdle()
		}
		if n := calls.Load(); n != 1 {
			w.Errorf("%d calls while the first blocks", n)
		}
		if server.Stats().Unread != 4 {
			w.Errorf("%d segments arrived meanwhile", server.Stats().Unread)
		}
		close(release)
		w.awaitIdle()
		if n := calls.Load(); n != 2 {
			w.Errorf("%d calls, want one for all that came meanwhile", n)
		}
		closeAll(client, server)
	})
}

// Two event loops that do nothing but what they are notified of move everything, on a bad path, with
// reads and writes of any size, pauses at any time, and functions that are set again.
func TestNotifyNeverLost(t *testing.T) {
	for seed := range lighter(uint64(60), 12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			path := netem.Path{Delay: 5 * millisecond, Jitter: 5 * millisecond, Loss: 0.05}
			virtualSeed(t, testSeed+seed, path, func(w *world) {
				rnd := seeded(seed, 0x707)
				client, server := w.pair(w.config(nil, 0, 0))
				wnd := 1 + rnd.IntN(40)
				for _, s := range []*UDPSession{client, server} {
					s.SetNoDelay(1, 10, 2, rnd.IntN(2))
					s.SetWindowSize(wnd, max(wnd, 8))
					s.SetStreamMode(rnd.IntN(2) == 0)
					s.SetWriteDelay(rnd.IntN(4) == 0)
				}
				data := random(seed, 1+rnd.IntN(300_000))
				back := random(seed+1, 1+rnd.IntN(100_000))
				done := make(chan error, 4)
				loop := func(f func(*UDPSession, *rand.Rand, []byte) error, s *UDPSession, data []byte) {
					rnd := rand.New(rand.NewPCG(rnd.Uint64(), 1))
					go func() { done <- f(s, rnd, data) }()
				}
				loop(writeOnNotify, client, data)
				loop(readOnNotify, server, data)
				loop(writeOnNotify, server, back)
				loop(readOnNotify, client, back)
				for range 4 {
					if err := <-done; err != nil {
						w.Error(err)
					}
				}
				closeAll(client, server)
			})
		})
	}
}

// pause does something else for a while, or not.
func pause(rnd *rand.Rand) {
	if rnd.IntN(4) == 0 {
		time.Sleep(time.Duration(rnd.IntN(20_000)) * time.Microsecond)
	}
}

func writeOnNotify(s *UDPSession, rnd *rand.Rand, data []byte) error {
	bell := newBell()
	s.SetWriteNotify(bell.ring)
	for len(data) > 0 {
		if err := bell.wait("write"); err != nil {
			return err
		}
		for len(data) > 0 {
			pause(rnd)
			size := min(len(data), 1+rnd.IntN(20_000))
			n, err := s.TryWrite(data[:size])
			if err != nil {
				return err
			}
			if data = data[n:]; n < size {
				break
			}
		}
		if rnd.IntN(10) == 0 {
			s.SetWriteNotify(nil)
			pause(rnd)
			s.SetWriteNotify(bell.ring)
		}
	}
	s.SetWriteNotify(nil)
	return s.CloseWrite()
}

func readOnNotify(s *UDPSession, rnd *rand.Rand, want []byte) error {
	bell := newBell()
	s.SetReadNotify(bell.ring)
	defer s.SetReadNotify(nil)
	for buf := make([]byte, 10_000); ; {
		if err := bell.wait("read"); err != nil {
			return fmt.Errorf("%w, %d bytes left", err, len(want))
		}
		for {
			pause(rnd)
			n, err := s.TryRead(buf[:1+rnd.IntN(len(buf))])
			if n > len(want) || !bytes.Equal(buf[:n], want[:n]) {
				return errors.New("the data arrived changed")
			}
			want = want[n:]
			if err == io.EOF && len(want) == 0 {
				return nil
			} else if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
		if rnd.IntN(10) == 0 {
			pause(rnd)
			s.SetReadNotify(bell.ring)
		}
	}
}

// Where the socket takes nothing, TryWrite does not wait either, and there is a notification when it
// goes on.
func TestTryWriteBlockedConn(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		cfg.sndWnd, cfg.rcvWnd, cfg.noDelay[3] = 4096, 4096, 1
		l := w.listen(cfg, "10.0.0.2:2000")
		conn := &gatedConn{w.bind("10.0.0.1:0"), make(chan struct{}, 1)}
		s := cfg.dial(1, l.Addr(), newSocket(conn, true))
		go echo(l)
		w.check(ask(s, "hello"))

		conn.gate <- struct{}{}
		data := make([]byte, plainMSS)
		start, total := clock(), 0
		for n := 1; n > 0; {
			var err error
			n, err = s.TryWrite(data)
			w.check(err)
			total += n
			synctest.Wait()
		}
		bell := newBell()
		s.SetWriteNotify(bell.ring)
		synctest.Wait()
		if clock() != start || total == 0 || len(bell) > 0 || s.Stats().Unacknowledged >= 3000 {
			w.Errorf("%d bytes after %v, %d notifications; %d segments wait", total,
				time.Duration(clock()-start), len(bell), s.Stats().Unacknowledged)
		}
		<-conn.gate
		w.check(bell.wait("socket"))
		s.Abort()
		l.Close()
	})
}

// gatedConn is a PacketConn whose WriteTo waits for its gate.
type gatedConn struct {
	net.PacketConn
	gate chan struct{} // full while it is closed
}

func (c *gatedConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	c.gate <- struct{}{}
	defer func() { <-c.gate }()
	return c.PacketConn.WriteTo(b, addr)
}

// Sessions that are notified have no goroutine, and neither they nor a TryRead that finds nothing
// have anything allocated.
func TestNotifyCosts(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		w.awaitIdle()
		before := w.goroutines()
		notify, calls := counted()
		server.SetReadNotify(notify)
		client.SetWriteNotify(notify)
		w.sleep(time.Minute)
		if n := w.goroutines(); n > before || calls() != 1 {
			w.Errorf("%d goroutines, %d before; %d calls", n, before, calls())
		}
		if server.timerArmed() || client.timerArmed() {
			w.Error("a timer is armed for nothing")
		}
		b := make([]byte, 100)
		if n := testing.AllocsPerRun(100, func() { server.TryRead(b) }); n != 0 {
			w.Errorf("%v allocations for a TryRead that finds nothing", n)
		}
		closeAll(client, server)
	})
}
