package kcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// An accepted session learns what its peer can do from whichever datagram comes first, or else asks:
// Close without a Write ends the peer's stream also when there was no mark in it.
func TestAcceptedAsks(t *testing.T) {
	for _, marked := range []bool{true, false} {
		t.Run(fmt.Sprintf("marked=%t", marked), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
				c := w.dial(w.config(nil, 0, 0), l)
				c.mu.Lock()
				c.core.caps.announcing = marked
				c.mu.Unlock()
				asked, sent := 0, 0
				w.watch(func(from, _ netip.AddrPort, b []byte) bool {
					if carries(b, IKCP_CMD_WASK) {
						asked++
						return asked > 1
					}
					if from.Port() != 2000 && carries(b, IKCP_CMD_PUSH) {
						sent++
						return sent > 1 // which of the datagrams comes first does not matter
					}
					return true
				})
				c.Write(make([]byte, 2*1376))
				s, err := l.AcceptKCP()
				w.check(err)
				_, err = io.ReadFull(s, make([]byte, 2*1376))
				w.check(err)
				w.check(s.Close())
				c.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
				if marked != (asked == 0) || !marked && asked != 2 {
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
	events := &recorder{types: make(map[string]int)}
	d.Tracer = func(*UDPSession) Tracer { return events }
	_, err := d.Dial("udp", hole.LocalAddr().String())
	wantError(t, "dial", err, syscall.ETIMEDOUT)
	if c := events.of(EventClosed); len(c) != 1 || c[0].Reason != "timeout" || !errors.Is(c[0].Err, syscall.ETIMEDOUT) {
		t.Errorf("the tracer is told that it was closed so: %+v", c)
	}
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
			l := w.listen(unsealed(w.config(newCrypt(t, crypt), 3, 1)), "10.0.0.2:2000") // a sealed one is there before data
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
