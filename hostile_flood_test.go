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

// Forged first datagrams make no more sessions than the limits of unproven ones, of one address and of
// all. Beyond that they draw questions, no longer than they are.
func TestUnprovenLimits(t *testing.T) {
	for _, tt := range []struct {
		name           string
		all, prefix    int
		hosts, each    int
		sessions, most int // at first, and after half of them have ended and others come
	}{
		{"defaults", unprovenMax, unprovenPerPrefix, 2, 300, 2 * unprovenPerPrefix, 2 * unprovenPerPrefix},
		{"all", 50, 0, 3, 100, 50, 50},
		{"prefix", 0, 20, 3, 100, 60, 60},
		{"both", 50, 20, 3, 100, 50, 50},
		{"none", 0, 0, 2, 300, 600, 600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				cfg.maxUnproven, cfg.maxUnprovenPerPrefix = tt.all, tt.prefix
				l := w.listen(cfg, "10.0.0.2:2000")
				go drain(l)
				in, out := w.countBytes(2000)
				flood := func(conv uint32) {
					for host := range tt.hosts {
						from := w.bind(fmt.Sprintf("10.0.1.%d:1", host))
						for i := range uint32(tt.each) {
							from.WriteTo(forged(conv+i, true), l.Addr())
							if i%50 == 0 {
								w.sleep(time.Millisecond)
							}
						}
						from.Close()
					}
					w.awaitIdle()
				}
				flood(1)
				if n := l.Stats().Sessions; n != tt.sessions {
					t.Errorf("%d sessions, want %d", n, tt.sessions)
				}
				w.look(func() {
					if refused := int(l.Stats().Refused); refused != tt.hosts*tt.each-tt.sessions || *out > 2**in {
						t.Errorf("%d are refused; %d bytes are answered by %d", refused, *in, *out)
					}
				})
				w.sleep(2 * unprovenTimeout)
				if n, left := l.Stats().Sessions, len(l.unproven.from); n != 0 || left != 0 {
					t.Errorf("%d sessions and %d addresses are left", n, left)
				}
				flood(1000)
				if n := l.Stats().Sessions; n != tt.most {
					t.Errorf("%d sessions, want %d", n, tt.most)
				}
				l.Close()
				for _, s := range l.known() {
					s.Abort()
				}
			})
		})
	}
}

// countBytes counts the bytes of datagrams that do not come from that port, and of those that do.
func (w *world) countBytes(port uint16) (in, out *int) {
	in, out = new(int), new(int)
	w.watch(func(from, _ netip.AddrPort, b []byte) bool {
		if from.Port() == port {
			*out += len(b)
		} else {
			*in += len(b)
		}
		return true
	})
	return in, out
}

// drain reads what the sessions of a listener receive, and closes them in the end.
func drain(l *Listener) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		go func() {
			io.Copy(io.Discard, struct{ io.Reader }{s})
			s.Close()
		}()
	}
}

// A listener that forged sessions have filled lets peers in that are there: sessions of those that are not
// make way. Nobody makes way who is there, though his application only listens.
func TestProvenPeersFirst(t *testing.T) {
	const limit, honest = 60, 20
	for _, client := range []struct {
		name string
		of   func(*config) *config
	}{{"ours", func(c *config) *config { return c }}, {"deployed", deployed}} {
		for _, accepts := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, accepts %t", client.name, accepts), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.05}, func(w *world) {
					cfg := w.config(nil, 0, 0)
					cfg.maxSessions = limit
					l := w.listen(cfg, "10.0.0.2:2000")
					if accepts {
						go echoOnce(l)
					}
					silent := w.dial(client.of(w.config(nil, 0, 0)), l) // it is there before, and stays
					silent.Write([]byte("silent"))
					w.sleep(100 * time.Millisecond)
					stop := w.flood(l, 200, 1)
					w.sleep(2 * time.Second)
					if n := l.Stats().Sessions; n != limit {
						t.Fatalf("%d sessions", n)
					}
					var clients []*UDPSession
					for range honest {
						c := w.dial(client.of(w.config(nil, 0, 0)), l)
						c.Write([]byte("hello"))
						clients = append(clients, c)
						w.sleep(100 * time.Millisecond)
					}
					w.sleep(10 * time.Second)
					in := 0
					for _, c := range append(clients, silent) {
						if s := l.knows(c.LocalAddr(), c.GetConv()); s != nil && s.Cause() == nil {
							in++
						}
						w.check(c.Cause())
					}
					st := l.Stats()
					t.Logf("%d of %d are in, %+v", in, honest+1, st)
					if in != honest+1 {
						t.Errorf("%d of %d are in", in, honest+1)
					}
					if st.Sessions > limit+1 {
						t.Errorf("%d sessions, of %d", st.Sessions, limit)
					}
					close(stop)
					for _, c := range append(clients, silent) {
						c.Abort()
					}
					l.Close()
					for _, s := range l.known() {
						s.Abort()
					}
					w.awaitIdle()
					if l.open != 0 || l.displaced != 0 {
						t.Errorf("%d sessions, %d displaced are left", l.open, l.displaced)
					}
				})
			})
		}
	}
}

// echoOnce answers the first message of each session and then listens.
func echoOnce(l *Listener) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		go func() {
			b := make([]byte, 100)
			n, _ := s.Read(b)
			if string(b[:n]) != "silent" {
				s.Write(b[:n])
			}
			if _, err := io.Copy(io.Discard, struct{ io.Reader }{s}); err != nil && !errors.Is(err, syscall.ETIMEDOUT) {
				return
			}
			s.Close()
		}()
	}
}

// Where all sessions are of peers that are there, nobody makes way.
func TestNobodyMakesWay(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		cfg.maxSessions = 10
		l := w.listen(cfg, "10.0.0.2:2000")
		var clients []*UDPSession
		for range 30 {
			c := w.dial(deployed(w.config(nil, 0, 0)), l)
			c.Write([]byte("hello"))
			clients = append(clients, c)
			w.sleep(100 * time.Millisecond)
		}
		w.sleep(20 * time.Second)
		in := 0
		for i, c := range clients {
			if s := l.knows(c.LocalAddr(), c.GetConv()); s != nil {
				if in++; i >= 10 || s.Cause() != nil {
					t.Errorf("%d: %v", i, s.Cause())
				}
			}
			c.Abort()
		}
		if st := l.Stats(); in != 10 || st.Sessions != 10 {
			t.Errorf("%d sessions: %+v", in, st)
		}
		for _, s := range l.known() {
			s.Abort()
		}
		l.Close()
	})
}

// A recorded first datagram is as good as the original, also under a cipher and without the key: replayed
// from other addresses it makes sessions, but no more than the limits say, none of which gets more than
// the bound.
func TestReplayedFirst(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		const limit, replays = 20, 100
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		cfg.maxUnproven = limit
		l := w.listen(cfg, "10.0.0.2:2000")
		go pour(l, func(*UDPSession) {})
		recorded := l.sealed(forged(1, true))
		in, out := w.countBytes(2000)
		for i := range replays {
			w.bind(fmt.Sprintf("10.0.%d.%d:1", 1+i/250, 1+i%250)).WriteTo(recorded, l.Addr())
			w.sleep(time.Millisecond)
		}
		w.sleep(10 * time.Second)
		if n := l.Stats().Sessions; n != limit {
			t.Errorf("%d sessions", n)
		}
		w.look(func() {
			if t.Logf("%d bytes for %d", *out, *in); *out > 42_000*limit+3**in {
				t.Errorf("%d bytes for %d", *out, *in)
			}
		})
		l.Close()
		for _, s := range l.known() {
			s.Abort()
		}
	})
}

// A crowd that comes from one address, and only sends, is let in as fast as it comes: its sessions are
// asked for proof before there are as many as may be without.
func TestCrowdOfOneAddress(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		begin := time.Now()
		var all []*UDPSession
		for range 4 * unprovenPerPrefix {
			client := w.dial(w.config(nil, 0, 0), l)
			_, err := client.Write([]byte("x"))
			w.check(err)
			server, err := l.AcceptKCP()
			w.check(err)
			all = append(all, client, server)
		}
		if refused, took := l.Stats().Refused, time.Since(begin); refused > 0 || took > 2*time.Second {
			t.Errorf("%d are refused, and all are in after %v", refused, took)
		}
		for _, s := range all {
			s.Abort()
		}
	})
}
