package kcp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// When a socket takes what a crowded sender held, the timers that were left out are armed: a burst
// that the path then loses is retransmitted after an RTO.
func TestTimersAfterCrowd(t *testing.T) {
	for _, trimmed := range []bool{false, true} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			cfg := w.config(nil, 0, 0)
			l := w.listen(cfg, "10.0.0.2:2000")
			v := w.valve("10.0.0.1:0")
			c := cfg.dial(1, l.Addr(), newSocket(v, true))
			c.Write([]byte("hello"))
			s, err := l.AcceptKCP()
			w.check(err)
			w.check(l.Close())
			c.SetNoDelay(1, 100, 2, 1)
			c.SetWindowSize(1024, 1024)
			s.SetWindowSize(1024, 1024)
			go func() {
				b := make([]byte, 4096)
				for {
					if _, err := s.Read(b); err != nil {
						return
					}
				}
			}()
			w.awaitIdle()
			c.Write([]byte("x"))
			w.sleep(100 * time.Millisecond)
			if trimmed {
				w.sleep(3 * time.Second)
			}
			var drop atomic.Bool
			w.watch(func(from, to netip.AddrPort, b []byte) bool { return !drop.Load() })
			v.shut(0)
			c.SetWriteDelay(true)
			c.Write([]byte("arms the timer for 100 ms"))
			w.sleep(80 * time.Millisecond)
			c.SetWriteDelay(false) // flushes: the timer is early now
			c.Write(make([]byte, 300*1300))
			w.sleep(25 * time.Millisecond) // the timer has run
			drop.Store(true)               // the network loses all of it
			v.open()
			w.sleep(time.Millisecond)
			drop.Store(false) // and is back
			start := time.Now()
			for time.Since(start) < 70*time.Second {
				w.sleep(10 * time.Millisecond)
				c.mu.Lock()
				n, err := c.core.WaitSnd(), c.err
				c.mu.Unlock()
				if err != nil {
					t.Errorf("failed after %v: %v", time.Since(start), err)
					break
				}
				if n == 0 {
					break
				}
			}
			if d := time.Since(start); d > 500*time.Millisecond {
				t.Errorf("trimmed=%t: delivered after %v, RTO is %v", trimmed, d, time.Duration(c.rtts().rto))
			}
			closeAll(c, s)
		})
	}
}

// A delayed Write that waits for a crowded sender goes on when that has drained, with nothing in
// flight that could be acknowledged.
func TestDelayedWriteAfterCrowd(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		v, c, s := w.stuckPair()
		c.SetWriteDelay(true)
		v.shut(0)
		for range 300 {
			c.SendOOB([]byte("beside"))
		}
		done := make(chan error, 1)
		go func() { _, err := c.Write([]byte("hello")); done <- err }()
		w.sleep(50 * time.Millisecond)
		v.open()
		w.sleep(50 * time.Second)
		select {
		case err := <-done:
			w.check(err)
		default:
			c.mu.Lock()
			t.Errorf("Write waits 50 s after the socket took everything: pending %t crowded %t flushHeld %t", c.tx.pending(), c.tx.crowded(), c.flushHeld)
			c.mu.Unlock()
		}
		closeAll(c, s)
	})
}

// After Done nothing is written to the caller's PacketConn but what was in WriteTo before.
func TestNothingSentAfterDone(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		v := w.valve("10.0.0.1:0")
		c := cfg.dial(1, l.Addr(), newSocket(v, false))
		c.SetNoDelay(1, 10, 2, 1)
		c.SetWindowSize(512, 512)
		w.check(greeted(c, l))
		v.shut(0)
		go c.Write(make([]byte, 200*1376))
		w.sleep(10 * time.Millisecond)
		w.check(c.Abort())
		<-c.Done()
		var after atomic.Int32
		w.watch(func(from, to netip.AddrPort, b []byte) bool {
			if from == peerAddrOf(v.LocalAddr()).udp {
				after.Add(1)
			}
			return true
		})
		v.open()
		w.sleep(time.Second)
		if n := after.Load(); n > 1 {
			t.Errorf("%d datagrams are written to the caller's PacketConn after Done", n)
		}
		l.Close()
		v.Close()
	})
}

// greeted lets c and what l accepts know each other.
func greeted(c *UDPSession, l *Listener) error {
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	s, err := l.AcceptKCP()
	if err != nil {
		return err
	}
	s.Write([]byte("x"))
	_, err = c.Read(make([]byte, 10))
	s.SetLinger(0)
	return err
}

// A session does not wait for a bulk session that shares its slow PacketConn.
func TestTurnsOnSlowPacketConn(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		v := w.valve("10.0.0.2:2000")
		l := newListener(cfg, newSocket(v, true))
		var cs, ss []*UDPSession
		for i := range 2 {
			c := cfg.dial(uint32(i+1), l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
			_, err := c.Write([]byte("hello"))
			w.check(err)
			s, err := l.AcceptKCP()
			w.check(err)
			cs, ss = append(cs, c), append(ss, s)
		}
		ss[0].SetNoDelay(1, 10, 2, 1)
		ss[0].SetWindowSize(1024, 1024)
		cs[0].SetWindowSize(1024, 1024)
		go echoMessages(ss[1])
		cs[0].Write([]byte("x"))
		w.awaitIdle()
		v.shut(time.Millisecond) // each WriteTo takes 1 ms
		go ss[0].Write(make([]byte, 1000*1376))
		w.sleep(20 * time.Millisecond)
		start := time.Now()
		w.check(ask(cs[1], "who"))
		if d := time.Since(start); d > 50*time.Millisecond {
			t.Errorf("echo took %v", d)
		}
		v.open()
		for i := range cs {
			closeAll(cs[i], ss[i])
		}
		l.Close()
	})
}

// echoMessages answers each message but the first with itself.
func echoMessages(s *UDPSession) {
	b := make([]byte, 2000)
	s.Read(b)
	for {
		n, err := s.Read(b)
		if err != nil {
			return
		}
		s.Write(b[:n])
	}
}

// Cause is the first: a session that was closed before its peer vanished was closed.
func TestCauseOfClosed(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		c.SetUserTimeout(time.Second)
		w.watch(func(_, _ netip.AddrPort, _ []byte) bool { return false })
		c.Write([]byte("x"))
		c.Close()
		w.sleep(3 * time.Second)
		if err := c.Cause(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("cause %v", err)
		}
		s.Close()
	})
}

// Abort ends a session, and frees its port, also when it drains.
func TestAbortDraining(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		c.Write([]byte("x"))
		w.check(c.Close())
		w.sleep(500 * time.Millisecond)
		start := time.Now()
		w.check(c.Abort())
		<-c.Done()
		if d := time.Since(start); d > 0 {
			t.Errorf("it took %v", d)
		}
		w.wantGone(c)
		s.Close()
	})
}

// slowPacketConn takes a millisecond for each datagram.
type slowPacketConn struct{ *netem.Conn }

func (s slowPacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	time.Sleep(time.Millisecond)
	return s.Conn.WriteTo(b, to)
}

// Sessions that share a slow PacketConn use it at the same time.
func TestSlowPacketConnShared(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := newListener(cfg, newSocket(slowPacketConn{w.bind("10.0.0.2:2000")}, true))
		var cs, ss []*UDPSession
		for i := range 8 {
			c := cfg.dial(uint32(i+1), l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
			c.Write([]byte("hello"))
			s, err := l.AcceptKCP()
			w.check(err)
			s.SetNoDelay(1, 10, 2, 1)
			s.SetWindowSize(1024, 1024)
			cs, ss = append(cs, c), append(ss, s)
		}
		w.awaitIdle()
		start := time.Now()
		var wg sync.WaitGroup
		for i := range cs {
			wg.Go(func() { ss[i].Write(make([]byte, 400_000)) })
			wg.Go(func() { io.CopyN(io.Discard, cs[i], 400_000) })
		}
		wg.Wait()
		d := time.Since(start)
		if d > time.Second { // 2400 datagrams, one by one, take more than 2 s
			t.Errorf("8 times 400 kB took %v", d)
		}
		for i := range cs {
			cs[i].Close()
			ss[i].Close()
		}
		l.Close()
	})
}

// preempted delays the SetReadDeadline of a timer worker or write loop, as a scheduler may.
type preempted struct{ *valve }

func (p preempted) SetReadDeadline(at time.Time) error {
	b := make([]byte, 16<<10)
	if st := string(b[:runtime.Stack(b, false)]); strings.Contains(st, "timerWorker") && !at.IsZero() {
		time.Sleep(5 * time.Millisecond)
	}
	return p.valve.SetReadDeadline(at)
}

// After Done the session does not touch the read deadline of the caller's PacketConn.
func TestDeadlineAfterDone(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		v := w.valve("10.0.0.1:0")
		pc := preempted{v}
		c := cfg.dial(1, l.Addr(), newSocket(pc, false))
		w.check(greeted(c, l))
		v.shut(0)
		c.Write(make([]byte, 5000))
		w.sleep(10 * time.Millisecond)
		w.check(c.Abort()) // the timer ends it after 100 ms
		<-c.Done()
		// The PacketConn is ours again.
		w.check(pc.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
		start := time.Now()
		var err error
		for err == nil {
			b := make([]byte, 2000)
			_, _, err = pc.ReadFrom(b)
		}
		if d := time.Since(start); err == nil || d != 50*time.Millisecond {
			t.Error("the session has touched the deadline of a PacketConn that it had given back")
		}
		v.open()
		l.Close()
		v.Close()
	})
}
