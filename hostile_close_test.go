package kcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A Listener.Close with sessions that nobody has accepted returns soon.
func TestListenerCloseOrphans(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frg   uint8
		close time.Duration
		user  time.Duration
	}{
		{"default", 0, 0, 0},
		{"CloseTimeout<0", 0, -1, 0},
		{"CloseTimeout<0, UserTimeout<0", 0, -1, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				cfg, err := Settings{CloseTimeout: tt.close, UserTimeout: tt.user}.resolve()
				if err != nil {
					t.Fatal(err)
				}
				cfg.sched, cfg.snmp = w.sched, w.snmp
				l := w.listen(cfg, "10.0.0.2:2000")
				peer := w.bind("10.0.0.1:1")
				const n = 20
				for i := range uint32(n) { // of a peer that says nothing of extensions, and vanishes
					peer.WriteTo(segment(i, IKCP_CMD_PUSH, 0, []byte("x")), l.Addr())
				}
				w.awaitIdle()
				peer.Close()
				start := time.Now()
				done := make(chan bool)
				go func() { l.Close(); close(done) }()
				select {
				case <-done:
				case <-time.After(12 * time.Hour):
				}
				took := time.Since(start)
				t.Logf("Listener.Close with %d sessions that nobody accepted: %v", n, took)
				if took > 10*time.Second {
					t.Errorf("Listener.Close took %v", took)
				}
				// so that the bubble ends
				for _, s := range l.known() {
					s.Abort()
				}
				w.sleep(time.Second)
				for _, s := range l.known() {
					s.Abort()
				}
				<-done
			})
		})
	}
}

// stickyClose is a PacketConn whose Close, or SetReadDeadline, waits.
type stickyClose struct {
	*netem.Conn
	release  chan bool
	deadline bool
}

func (c *stickyClose) Close() error {
	if !c.deadline {
		<-c.release
	}
	return c.Conn.Close()
}

func (c *stickyClose) SetReadDeadline(t time.Time) error {
	if c.deadline {
		<-c.release
	}
	return c.Conn.SetReadDeadline(t)
}

// A PacketConn whose Close waits keeps no other session waiting.
func TestStickyClose(t *testing.T) {
	for _, deadline := range []bool{false, true} {
		t.Run(fmt.Sprintf("deadline=%t", deadline), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				l := w.listen(cfg, "10.0.0.2:2000")
				go echo(l)
				sticky := &stickyClose{Conn: w.bind("10.0.0.1:0"), release: make(chan bool), deadline: deadline}
				c := cfg.dial(1, l.Addr(), newSocket(sticky, !deadline))
				w.check(ask(c, "hello"))
				other := cfg.dial(2, l.Addr(), newSocket(w.bind("10.0.0.3:0"), true))
				w.check(ask(other, "hello"))
				w.awaitIdle()
				if deadline { // leaves by the timer: its peer vanishes
					here := peerAddrOf(sticky.LocalAddr()).udp
					w.watch(func(from, to netip.AddrPort, _ []byte) bool { return from != here && to != here })
				}
				c.Write([]byte("last"))
				go c.Close()
				w.sleep(10 * time.Second)
				ran := make(chan bool, 1)
				at := time.Now()
				w.sched.Put(func() { ran <- true }, time.Now())
				select {
				case <-ran:
				case <-time.After(time.Minute):
					t.Errorf("no timer of any session has run for %v", time.Since(at))
				}
				close(sticky.release)
				closeAll(other, l)
			})
		})
	}
}

var _ = []any{errors.Is, net.ErrClosed, runtime.GC, synctest.Wait}
