package kcp

import (
	"io"
	"iter"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// countIn counts how often s is in a sequence.
func countIn(all iter.Seq[*UDPSession], s *UDPSession) (n int) {
	for other := range all {
		if other == s {
			n++
		}
	}
	return n
}

// A session is listed once from the start to its end, in the process and, if it was accepted, in its
// listener, sealed or not.
func TestSessions(t *testing.T) {
	for name, block := range map[string]string{"unsealed": "", "sealed": "gcm"} {
		t.Run(name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				if block != "" {
					cfg = w.config(newCrypt(t, block), 0, 0)
				}
				l := w.listen(cfg, "10.0.0.2:2000")
				c := w.dial(cfg, l)
				io.WriteString(c, "hello")
				s, err := l.AcceptKCP()
				w.check(err)
				if got := s.Stats().Sealed; got != (block != "") {
					t.Errorf("sealed: %v", got)
				}
				check := func(when string, client, server, listeners int) {
					t.Helper()
					if n := countIn(Sessions(), c); n != client {
						t.Errorf("%s: the dialled session is listed %d times, want %d", when, n, client)
					}
					if n, m := countIn(Sessions(), s), countIn(l.Sessions(), s); n != server || m != server {
						t.Errorf("%s: the accepted session is listed %d and %d times, want %d", when, n, m, server)
					}
					n := 0
					for other := range Listeners() {
						if other == l {
							n++
						}
					}
					if n != listeners {
						t.Errorf("%s: the listener is listed %d times, want %d", when, n, listeners)
					}
				}
				if n := countIn(l.Sessions(), c); n != 0 {
					t.Errorf("the dialled session is listed %d times in the listener", n)
				}
				check("while all work", 1, 1, 1)
				l.Close()
				check("after the listener was closed", 1, 1, 1)
				c.Close()
				w.sleep(time.Minute)
				check("after one was closed", 0, 1, 1)
				s.Abort()
				w.sleep(time.Second)
				check("after both were closed", 0, 0, 0)
			})
		})
	}
}

// A loop over sessions may end early, and may end them.
func TestSessionsLoop(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		for range 50 {
			io.WriteString(w.dial(cfg, l), "hello")
		}
		w.sleep(50 * time.Millisecond)
		n := 0
		for range l.Sessions() {
			if n++; n == 7 {
				break
			}
		}
		if n != 7 {
			t.Errorf("%d sessions before the break", n)
		}
		for s := range Sessions() {
			if s.cfg == cfg {
				s.Abort()
			}
		}
		for s := range Sessions() {
			if s.cfg == cfg {
				t.Errorf("%v has not ended", s.RemoteAddr())
			}
		}
		l.Close()
	})
}

// A session whose socket has failed is held by nobody: the program may forget it.
func TestSessionsFailedSocket(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		conn := w.bind("10.0.0.1:1000")
		s := cfg.dial(1, l.Addr(), newSocket(conn, true))
		conn.Close()
		w.sleep(time.Second)
		if n := countIn(Sessions(), s); n != 0 || s.Cause() == nil {
			t.Errorf("listed %d times, %v", n, s.Cause())
		}
		l.Close()
		s.Abort()
	})
}
