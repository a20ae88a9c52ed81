package kcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A listener one of whose sockets broke takes no sessions that nobody could accept.
func TestBrokenListenerTakesNothing(t *testing.T) {
	cfg := standalone(t, nil, 0, 0)
	l := newListener(cfg, newSocket(hole{newPostOffices("hole")[0]}, true))
	defer l.Close()
	reader := newTransportReader(l.t, l.t.socks[0])
	receive := func(conv uint32) {
		from := peerAddr{udp: netip.MustParseAddrPort("10.0.0.1:1000")}
		reader.receive([]inbound{{data: segment(conv, IKCP_CMD_PUSH, 0, []byte("hello")), from: from}}, clock())
	}
	receive(1)
	reader.readFailed(net.ErrClosed)
	receive(2)
	if s, err := l.AcceptKCP(); err != nil || s.GetConv() != 1 {
		t.Errorf("what came before: %v, %v", s, err)
	} else {
		s.SetLinger(0)
		s.Close()
	}
	if s, err := l.AcceptKCP(); err == nil {
		t.Errorf("accepted %d", s.GetConv())
	}
}

// What the backlog has no room for, also of peers that were asked, is dropped, and its sender tries
// again.
func TestListenerBacklog(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		var clients []*UDPSession
		for range 2*acceptBacklog + 1 {
			c := w.dial(cfg, l)
			io.WriteString(c, "hello")
			clients = append(clients, c)
		}
		w.sleep(50 * time.Millisecond)
		w.wantSessions(l, 2*acceptBacklog)
		accepted := make([]*UDPSession, 0, len(clients))
		for range clients {
			s, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			accepted = append(accepted, s)
		}
		w.wantSessions(l, 2*acceptBacklog+1)
		buf := make([]byte, 10)
		for _, s := range accepted {
			if n, err := s.Read(buf); err != nil || string(buf[:n]) != "hello" {
				t.Errorf("read %q, %v", buf[:n], err)
			}
		}
		for _, s := range append(clients, accepted...) {
			s.Close()
		}
		l.Close()
	})
}

func TestAcceptDeadline(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		start := time.Now()
		accept := func() (time.Duration, error) {
			_, err := l.Accept()
			return time.Since(start), err
		}
		after := func(d, set time.Duration) {
			time.AfterFunc(d, func() { l.SetDeadline(start.Add(set)) })
		}
		for _, tt := range []struct {
			name           string
			at             time.Duration // of the deadline
			moved, movedTo time.Duration // when and to what, 0 for not
			want           time.Duration
		}{
			{"past", -time.Second, 0, 0, 0},
			{"future", time.Second, 0, 0, time.Second},
			{"earlier", time.Minute, time.Second, 2 * time.Second, 2 * time.Second},
			{"later", 2 * time.Second, time.Second, time.Minute, time.Minute},
			{"at once", time.Minute, time.Second, -time.Second, time.Second},
		} {
			start = time.Now()
			l.SetDeadline(start.Add(tt.at))
			if tt.moved != 0 {
				after(tt.moved, tt.movedTo)
			}
			took, err := accept()
			if took != tt.want || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v after %v, want it after %v", tt.name, err, took, tt.want)
			}
			var ne net.Error
			if !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: %v is no timeout", tt.name, err)
			}
		}
		if err := l.SetWriteDeadline(time.Now()); err == nil {
			t.Error("a write deadline was accepted")
		}
		l.SetDeadline(time.Time{})
		start = time.Now()
		time.AfterFunc(time.Hour, func() { l.Close() })
		if took, err := accept(); took != time.Hour || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v after %v, want a closed listener after an hour", err, took)
		}
		for _, err := range []error{l.Close(), l.SetDeadline(time.Now())} {
			if !errors.Is(err, net.ErrClosed) || !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}

// A closed listener makes no sessions; the ones it had go on, and those nobody has accepted end.
func TestListenerClose(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		a, b, late := w.dial(cfg, l), w.dial(cfg, l), w.dial(cfg, l)
		io.WriteString(a, "accepted")
		s, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(b, "never")
		w.awaitIdle()
		w.wantSessions(l, 2)
		l.Close()
		w.sleep(closeTimeout) // until its end needs no more answers
		w.wantSessions(l, 1)
		io.WriteString(late, "too late")
		w.awaitIdle()
		w.wantSessions(l, 1)
		w.check(exchangeAfter(s, a, "accepted"))
		s.Close()
		w.sleep(closeTimeout)
		w.wantSessions(l, 0)
		if c, err := w.net.Listen("10.0.0.2:2000"); err != nil {
			t.Errorf("the socket outlives its last session: %v", err)
		} else {
			c.Close()
		}
		closeAll(a, b, late)
	})
}

// exchangeAfter reads what was said before, and then exchanges some data.
func exchangeAfter(a, b *UDPSession, said string) error {
	if _, err := io.ReadFull(a, make([]byte, len(said))); err != nil {
		return err
	}
	return exchange(a, b, 10_000)
}

// Sessions cost no goroutines.
func TestListenerManySessions(t *testing.T) {
	const clients, each = 100, 100
	virtual(t, netem.Path{}, func(w *world) {
		cfg := deployed(w.config(nil, 0, 0))
		cfg.maxUnproven = 0
		l := w.listen(cfg, "10.0.0.2:2000")
		var sessions []*UDPSession
		conns := make([]*netem.Conn, clients)
		for i := range conns {
			conns[i] = w.bind(fmt.Sprintf("10.0.1.%d:1000", i))
		}
		goroutines := w.goroutines()
		for _, c := range conns {
			for conv := range uint32(each) {
				c.WriteTo(segment(conv, IKCP_CMD_PUSH, 0, []byte("hello")), l.Addr())
			}
			for range each {
				s, err := l.AcceptKCP()
				if err != nil {
					t.Fatal(err)
				}
				sessions = append(sessions, s)
			}
		}
		w.wantSessions(l, clients*each)
		w.awaitIdle() // until they are acknowledged
		if n := w.goroutines() - goroutines; n > 1 {
			t.Errorf("%d goroutines more for %d sessions", n, len(sessions))
		}
		buf := make([]byte, 10)
		for _, s := range sessions {
			if n, err := s.Read(buf); err != nil || string(buf[:n]) != "hello" {
				t.Fatalf("read %q, %v", buf[:n], err)
			}
			s.Close()
		}
		w.wantSessions(l, 0)
		l.Close()
		w.sleep(time.Hour) // nothing is left on the scheduler
		if n := w.sched.timers(); n > 0 {
			t.Errorf("%d timers are left", n)
		}
	})
}

func TestGoroutines(t *testing.T) {
	const clients, each = 10, 100
	stacks := func() (n int) { // of this package, but the test's own
		b := make([]byte, 1<<20)
		for _, g := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
			if strings.Contains(g, "readLoop") || strings.Contains(g, "timerWorker") {
				n++
			}
		}
		return n
	}
	before := stacks()
	lc := ListenConfig{MaxUnprovenPerPrefix: -1}
	nl, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := nl.(*Listener)
	l.SetDeadline(time.Now().Add(time.Minute))
	var sessions []*UDPSession
	for range clients {
		c := udp(t, "127.0.0.1:0")
		for conv := range uint32(each) {
			if _, err := c.WriteTo(segment(conv, IKCP_CMD_PUSH, 0, []byte("hello")), l.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		for range each {
			s, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, s)
		}
	}
	with := stacks()
	for _, s := range sessions {
		s.Close()
	}
	l.Close()
	t.Logf("goroutines of the package: %d before, %d with %d sessions, %d right after closing them",
		before, with, len(sessions), stacks())
	if most := l.sockets() + runtime.NumCPU(); with-before > most {
		t.Errorf("%d goroutines for %d sessions, want %d", with-before, len(sessions), most)
	}
}
