package kcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// An accepted session learns what its peer can do from the first datagram, or else asks: Close
// without a Write ends the peer's stream also when that mark was lost.
func TestAcceptedAsks(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("mark lost=%t", lost), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
				c := w.dial(w.config(nil, 0, 0), l)
				asked := 0
				w.watch(func(_, _ netip.AddrPort, b []byte) bool {
					if carries(b, IKCP_CMD_WASK) {
						asked++
						return asked > 1
					}
					if lost && asked <= 1 && carries(b, IKCP_CMD_WINS) { // what its receiver does not know
						(&header{conv: c.conv, cmd: IKCP_CMD_PUSH, sn: 1 << 20}).put(b)
					}
					return true
				})
				c.Write(make([]byte, 1376))
				s, err := l.AcceptKCP()
				w.check(err)
				if !lost {
					w.awaitIdle()
				}
				_, err = io.ReadFull(s, make([]byte, 1376))
				w.check(err)
				w.check(s.Close())
				c.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
				if lost != (asked == 2) {
					t.Errorf("asked %d times", asked)
				}
				closeAll(c, l)
			})
		})
	}
}

// Waiting for the peer fails in time when there is none, and when the dialling is cancelled.
func TestWaitForPeer(t *testing.T) {
	watchdog(t)
	hole := udp(t, "127.0.0.1:0")
	defer hole.Close()
	d := Dialer{WaitForPeer: true, Timeout: 50 * time.Millisecond}
	_, err := d.Dial("udp", hole.LocalAddr().String())
	wantError(t, "dial", err, syscall.ETIMEDOUT)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no context.DeadlineExceeded", err)
	}
	d.Timeout = 0
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = d.DialContext(ctx, "udp", hole.LocalAddr().String())
	wantError(t, "dial", err, context.Canceled)
	_, err = d.DialContext(ctx, "udp", "localhost:1")
	if err == nil {
		t.Error("dialled with a context that is over")
	}
	d.UserTimeout = 50 * time.Millisecond
	_, err = d.Dial("udp", hole.LocalAddr().String())
	wantError(t, "dial", err, syscall.ETIMEDOUT)
}

// A probe makes no session, is answered without one, and is sent again when it is lost. The first
// data still brings the mark.
func TestWaitForPeerVirtual(t *testing.T) {
	virtual(t, netem.Path{Delay: 50 * time.Millisecond, Loss: 0.2}, func(w *world) {
		for _, crypt := range []string{"plain", "gcm"} {
			l := w.listen(w.config(newCrypt(t, crypt), 3, 1), "10.0.0.2:2000")
			for range 50 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				s := w.dial(l.cfg, l)
				w.check(s.awaitPeer(ctx))
				cancel()
				w.wantSessions(l, 0)
				s.Write([]byte("x"))
				peer, err := l.AcceptKCP()
				w.check(err)
				w.awaitIdle()
				if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				s.Close()
				if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
				peer.Close()
				w.sleep(closeTimeout)
				w.wantSessions(l, 0)
			}
			l.Close()
			s := w.dial(l.cfg, l) // nobody listens any more
			s.SetUserTimeout(10 * time.Second)
			start := time.Now()
			err := s.awaitPeer(context.Background())
			wantPeerTimeout(t, s.opError("dial", err), 10*time.Second)
			if time.Since(start) != 10*time.Second {
				t.Errorf("after %v", time.Since(start))
			}
			s.Close()
		}
	})
}

// Where nobody listens, the kernel says so on a connected socket, and waiting for the peer ends at
// once: when it has said so twice, as one report may be of something else.
func TestWaitForPeerRefused(t *testing.T) {
	watchdog(t)
	closed := udp(t, "127.0.0.1:0")
	closed.Close()
	d := Dialer{WaitForPeer: true}
	start := time.Now()
	c, err := d.DialContext(t.Context(), "udp", closed.LocalAddr().String())
	if err == nil {
		c.Close()
	}
	if runtime.GOOS == "windows" { // which keeps it to itself
		t.Skip(err)
	}
	wantError(t, "dial", err, syscall.ECONNREFUSED)
	var ne net.Error
	if !errors.As(err, &ne) || ne.Timeout() {
		t.Errorf("%v is a timeout", err)
	}
	if took := time.Since(start); took > userTimeout/2 {
		t.Errorf("after %v", took)
	}
}

// One refusal ends nothing: neither the wait for a peer that is there, nor a session that has begun.
func TestRefusedOnce(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		c := w.dial(cfg, l)
		known := make(chan error, 1)
		go func() { known <- c.awaitPeer(context.Background()) }()
		w.sleep(time.Millisecond)
		c.refused()
		w.check(<-known)
		go echo(l)
		for range 3 {
			c.refused()
			w.check(ask(c, "still here"))
		}
		closeAll(c, l)
	})
}

// A refusal makes the dialler ask again at once, not after a timeout, and the second ends the wait.
func TestRefusedTwice(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		asked := 0
		w.watch(func(_, _ netip.AddrPort, b []byte) bool { asked++; return true })
		c := w.config(nil, 0, 0).dial(1, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2000}, newSocket(w.bind("10.0.0.1:0"), true))
		start := time.Now()
		known := make(chan error, 1)
		go func() { known <- c.awaitPeer(context.Background()) }()
		for range 2 {
			w.sleep(20 * time.Millisecond)
			c.refused()
		}
		if err := <-known; !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) != 40*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
		c.Abort()
	})
}
