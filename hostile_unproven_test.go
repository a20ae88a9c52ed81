package kcp

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// unproven is a case of a listener whose application speaks to whoever seems to have connected.
type unproven struct {
	name   string
	cipher string
	shards int // of data; half as many of parity
	limit  bool
	serve  func(s *UDPSession)
}

// speak writes without an end.
func speak(s *UDPSession) {
	for b := make([]byte, 1<<20); ; {
		if _, err := s.Write(b); err != nil {
			return
		}
	}
}

// tuned is speak with that nodelay and nc.
func tuned(nodelay, nc int) func(s *UDPSession) {
	return func(s *UDPSession) {
		s.SetNoDelay(nodelay, 10, 2, nc)
		s.SetWindowSize(1024, 1024)
		speak(s)
	}
}

var unprovens = []unproven{
	{"default", "plain", 0, false, speak},
	{"nodelay", "plain", 0, false, tuned(1, 0)},
	{"nodelay, nc", "plain", 0, false, tuned(1, 1)},
	{"nodelay, nc, gcm", "gcm", 0, false, tuned(1, 1)},
	{"nodelay, nc, aes", "aes", 0, false, tuned(1, 1)},
	{"nodelay, nc, fec", "plain", 10, false, tuned(1, 1)},
	{"copies", "plain", 4, false, func(s *UDPSession) { s.SetDUP(3); tuned(1, 1)(s) }},
	{"small writes", "plain", 4, false, func(s *UDPSession) {
		for _, err := s.Write([]byte("tick")); err == nil; _, err = s.Write([]byte("tick")) {
			time.Sleep(10 * time.Millisecond)
		}
	}},
	{"oob", "plain", 4, false, func(s *UDPSession) {
		for b := make([]byte, s.GetOOBMaxSize()); s.SendOOB(b) == nil; {
			time.Sleep(100 * time.Millisecond)
		}
	}},
	{"datagrams", "plain", 4, false, func(s *UDPSession) {
		for b := make([]byte, 1000); s.SendDatagram(b) == nil; {
			time.Sleep(100 * time.Millisecond)
		}
	}},
	{"keepalive", "plain", 0, false, func(s *UDPSession) {
		s.SetKeepAlivePeriod(10 * time.Millisecond)
		speak(s)
	}},
	{"close", "plain", 0, false, func(s *UDPSession) {
		s.Write(make([]byte, 1<<20))
		s.SetLinger(3600)
		s.Close()
	}},
	{"limited", "plain", 0, true, tuned(1, 1)},
	{"limited, gcm", "gcm", 0, true, tuned(1, 1)},
	{"limited, fec", "plain", 10, true, tuned(1, 1)},
	{"limited, default", "plain", 0, true, speak},
	{"limited, copies", "plain", 0, true, func(s *UDPSession) { s.SetDUP(3); speak(s) }},
}

// listen makes the listener of the case, and serves what it accepts.
func (u *unproven) listen(w *world) *Listener {
	cfg := w.config(newCrypt(w.T, u.cipher), u.shards, u.shards/2)
	cfg.limitAmplification, cfg.user, cfg.unproven = u.limit, 0, 0 // sessions last for ever
	l := w.listen(cfg, "10.0.0.2:2000")
	go func() {
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			go u.serve(s)
		}
	}()
	return l
}

// most is the most that may be sent for so many bytes.
func (u *unproven) most(in int) int {
	if u.limit {
		return 3 * in
	}
	return 42_000 + 3*in
}

// sealed returns the segments b as a datagram to the listener.
func (l *Listener) sealed(b []byte) []byte {
	e := &l.cfg.env
	b = append(make([]byte, e.head), b...)
	return e.seal(append(b, make([]byte, e.tail)...)[:len(b)])
}

// What goes to an address that somebody has forged, or replayed a datagram from, is bounded, however
// long the application goes on writing, and whatever the forger acknowledges: he does not see what he
// would have to echo.
func TestForgedAddress(t *testing.T) {
	for _, u := range unprovens {
		for _, name := range lighter([]string{"", "una alone", "acks of each", "ranges"}, []string{"acks of each"}) {
			t.Run(u.name+"/"+name, func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					l := u.listen(w)
					victim := w.bind("10.0.0.1:1") // which never reads
					in, out := 0, 0
					w.watch(func(from, to netip.AddrPort, b []byte) bool {
						if to.Port() == 2000 {
							in += len(b)
						} else if out += len(b); out > u.most(in) && !t.Failed() {
							t.Errorf("%d bytes go there for %d", out, in)
						}
						return true
					})
					first := forged(1, true)
					if u.name == "datagrams" { // it says that it takes them
						h := header{conv: 1, cmd: IKCP_CMD_WASK, frg: capMark | capRecords, wnd: 128}
						first = append(first, withRecords(h, appendParams(nil, &params{features: featureDgram}))...)
					}
					victim.WriteTo(l.sealed(first), l.Addr())
					for i := range 120 {
						w.sleep(time.Second / 2)
						if forge := forgeries[name]; forge != nil {
							victim.WriteTo(l.sealed(forge(uint32(i+1))), l.Addr())
						}
					}
					w.sleep(10 * time.Minute)
					w.look(func() { t.Logf("%d bytes for %d: %.0f times", out, in, float64(out)/float64(in)) })
					l.Close()
					for _, s := range l.known() {
						s.Abort()
					}
				})
			})
		}
	}
}

// A client whose acknowledgements were lost until the bound was reached does not wait longer for the
// rest of its answer than where there is no bound: it is asked as often as a segment is sent again.
func TestUnprovenAcksLost(t *testing.T) {
	for _, lost := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 20 * time.Second} {
		for _, nc := range []int{0, 1} {
			t.Run(fmt.Sprintf("%v, nc %d", lost, nc), func(t *testing.T) {
				took := make(map[bool]time.Duration)
				for _, validated := range []bool{true, false} {
					virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
						l, c := w.firstAnswer(deployed, func(s *UDPSession) {
							s.SetNoDelay(0, 10, 2, nc)
							if validated {
								s.mu.Lock()
								s.core.addressValidated()
								s.mu.Unlock()
							}
							s.Write(make([]byte, 200_000))
						})
						start, first := time.Now(), true
						w.watch(func(from, to netip.AddrPort, _ []byte) bool {
							pass := from.Port() == 2000 || first || time.Since(start) > lost
							first = first && from.Port() == 2000
							return pass
						})
						c.Write([]byte("all of it"))
						_, err := io.ReadFull(c, make([]byte, 200_000))
						w.check(err)
						took[validated] = time.Since(start)
						c.Abort()
						l.Close()
						for _, s := range l.known() {
							s.Abort()
						}
					})
				}
				t.Logf("%v, without bound %v", took[false], took[true])
				if took[false] > took[true]+took[true]/4+100*time.Millisecond {
					t.Errorf("%v, without bound %v", took[false], took[true])
				}
			})
		}
	}
}

// firstAnswer makes a listener, which serves one session, and a client of it.
func (w *world) firstAnswer(client func(*config) *config, serve func(s *UDPSession)) (*Listener, *UDPSession) {
	l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
	go func() {
		if s, err := l.AcceptKCP(); err == nil {
			serve(s)
		}
	}()
	return l, w.dial(client(w.config(nil, 0, 0)), l)
}

// A client that sends more has room for three times of that, though all that it acknowledges is lost.
func TestUnprovenCredit(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		l, c := w.firstAnswer(deployed, speak)
		in, out, before := 0, 0, 0
		w.watch(func(from, _ netip.AddrPort, b []byte) bool {
			if from.Port() == 2000 {
				out += len(b)
				return true
			}
			if !carries(b, IKCP_CMD_PUSH) {
				return false
			}
			in += len(b)
			for at := 0; at < len(b); { // it may have an acknowledgement, too
				h := segmentsOf(b[at:])[0]
				if h.cmd == IKCP_CMD_ACK {
					b[at+8]++ // its ts
				}
				at += IKCP_OVERHEAD + int(h.len)
			}
			return true
		})
		for range 10 {
			c.Write(make([]byte, 10_000))
			w.sleep(10 * time.Second)
			w.look(func() {
				if t.Logf("%d bytes for %d", out, in); out > 42_000+3*in || out < before+5_000 {
					t.Errorf("%d bytes more", out-before)
				}
				before = out
			})
		}
		c.Abort()
		l.Close()
		for _, s := range l.known() {
			s.Abort()
		}
	})
}

// A server that answers with out-of-band datagrams alone, which nobody acknowledges, gets its proof by
// asking, before it has to drop any.
func TestUnprovenOOB(t *testing.T) {
	for _, ours := range []bool{true, false} {
		virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
			cfg := w.config(nil, 10, 3)
			l := w.listen(cfg, "10.0.0.2:2000")
			client := *cfg
			got := 0
			client.oobHandler = func(*UDPSession, []byte) { got++ }
			if !ours {
				deployed(&client)
			}
			c := w.dial(&client, l)
			w.check(c.SendOOB([]byte("stream")))
			s, err := l.AcceptKCP()
			w.check(err)
			const count = 200
			for range count {
				w.check(s.SendOOB(make([]byte, 1000)))
				w.sleep(5 * time.Millisecond)
			}
			w.awaitIdle()
			if st := s.Stats(); got != count || st.OOBDropped != 0 {
				t.Errorf("%d of %d arrive, %d dropped", got, count, st.OOBDropped)
			}
			closeAll(c, s, l)
		})
	}
}
