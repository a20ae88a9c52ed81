package kcp

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// unsealedSession returns the datagrams of a session that is not sealed, of the addresses and the conversation
// that dialConv uses: a request, its answer, acknowledgements, the end of the stream, and a reset.
func (w *world) unsealedSession(crypt string) []captured {
	cfg := unsealed(w.config(newCrypt(w, crypt), 0, 0))
	l := w.listen(cfg, "10.0.0.2:2000")
	var count requestCount
	count.serve(l)
	sent := w.capture()
	c := w.dialConv(cfg, insiderConv, l)
	w.check(request(c, "one"))
	w.check(request(c, "two"))
	for s := range l.Sessions() {
		s.Abort()
	}
	c.Write([]byte("three")) // which a reset answers
	w.sleep(time.Second)
	c.Close()
	l.Close()
	w.sleep(closeTimeout + time.Second)
	w.net.SetTap(nil)
	return sent()
}

// What was recorded of a session that was not sealed, under the same key, of the same addresses and
// conversation, changes nothing of one that is to be sealed, whenever it comes in the first round trip: no
// acknowledgement, answer, request, end or reset.
func TestSealedRecordedUnsealed(t *testing.T) {
	for _, crypt := range sealCiphers {
		for _, required := range []bool{false, true} {
			for _, when := range []time.Duration{0, 5 * time.Millisecond, 12 * time.Millisecond, 18 * time.Millisecond, 25 * time.Millisecond} {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					list := w.unsealedSession(crypt)
					cfg := w.config(newCrypt(t, crypt), 0, 0)
					cfg.seal.required = required
					l := w.listen(cfg, "10.0.0.2:2000")
					var count requestCount
					count.serve(l)
					c := w.dialConv(cfg, insiderConv, l)
					go func() {
						time.Sleep(when)
						for range 2 {
							for _, d := range list {
								w.net.Inject(d.from, d.to, d.b)
							}
							time.Sleep(time.Millisecond)
						}
					}()
					w.check(request(c, "new"))
					w.awaitIdle()
					w.check(request(c, "again"))
					wantPhase(t, sealProven, c)
					count.mu.Lock()
					if count.seen["new"] != 1 || count.seen["again"] != 1 || required && len(count.seen) != 2 {
						t.Errorf("%s, required %t, after %v: requests %v", crypt, required, when, count.seen)
					}
					count.mu.Unlock()
					closeAll(c, l)
				})
			}
		}
	}
}

// A HELLO that is passed on to another dialler, as if its listener had sent it, is nothing to that, and what
// comes back is nothing either: both are sealed, each with its own listener. Two that have one conversation may
// be a pair that dial each other, which is not sealed, unless that is required.
func TestSealedHelloPassedOn(t *testing.T) {
	for _, required := range []bool{false, true} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			cfg := w.config(newCrypt(t, "gcm"), 0, 0)
			cfg.seal.required = required
			listeners := []string{"10.0.0.2:2000", "10.0.0.3:2000"}
			diallers := []string{"10.0.0.4:1000", "10.0.0.5:1000"}
			w.watch(func(from, to netip.AddrPort, b []byte) bool {
				for i, addr := range diallers {
					if from.String() == addr {
						w.net.Inject(netip.MustParseAddrPort(listeners[1-i]), netip.MustParseAddrPort(diallers[1-i]), b)
					}
				}
				return true
			})
			var ends []io.Closer
			var sessions []*UDPSession
			done := make(chan error)
			for i, addr := range listeners {
				l := w.listen(cfg, addr)
				go echo(l)
				conv := uint32(insiderConv)
				if !required {
					conv += uint32(i)
				}
				s := cfg.dial(conv, l.Addr(), newSocket(w.bind(diallers[i]), true))
				ends, sessions = append(ends, s, l), append(sessions, s)
				go func() { done <- ask(s, diallers[i]) }()
			}
			for range sessions {
				w.check(<-done)
			}
			wantPhase(t, sealProven, sessions...)
			closeAll(ends...)
		})
	}
}

// Who makes handshakes with the key, and then forges the sources of what is sealed, makes no more sessions of
// another's prefix than a stranger may: they are not proven.
func TestForgedSourcesAreUnproven(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		cfg.maxUnprovenPerPrefix = 3
		l := w.listen(cfg, "10.0.0.2:2000")
		go drain(l)
		victim := netip.MustParseAddr("10.9.9.9")
		forgers := make(map[string]*UDPSession)
		w.watch(func(from, to netip.AddrPort, b []byte) bool {
			if c := forgers[from.String()]; c != nil && c.Stats().Sealed {
				w.net.Inject(netip.AddrPortFrom(victim, from.Port()), to, b)
				return false
			}
			return to.Addr() != victim
		})
		for range 10 {
			c := w.dial(cfg, l)
			w.look(func() { forgers[c.LocalAddr().String()] = c })
			c.Write([]byte("x"))
		}
		w.sleep(5 * time.Second)
		n := 0
		for s := range l.Sessions() {
			if peerAddrOf(s.RemoteAddr()).udp.Addr() == victim {
				n++
			}
		}
		if n == 0 || n > cfg.maxUnprovenPerPrefix {
			t.Errorf("%d sessions of the victim's address, want 1 to %d", n, cfg.maxUnprovenPerPrefix)
		}
		for _, c := range forgers {
			c.Abort()
		}
		for s := range l.Sessions() {
			s.Abort()
		}
		l.Close()
	})
}

// A client whose address has changed between its HELLO and its first sealed datagram, and that is there, takes
// no room of those that are not.
func TestMovedHandshakeIsProven(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		go drain(l)
		conn := w.bind("10.0.0.1:1000")
		c := cfg.dial(w.convs.next(), l.Addr(), newSocket(conn, true))
		c.Write([]byte("x"))
		w.sleep(15 * time.Millisecond) // WELCOME is on its way
		w.check(conn.Rebind("10.0.0.3:3000"))
		w.sleep(time.Second)
		c.Write([]byte("y"))
		w.sleep(5 * time.Second)
		l.unproven.mu.Lock()
		left := len(l.unproven.from)
		l.unproven.mu.Unlock()
		for s := range l.Sessions() {
			if !s.Stats().Sealed || s.core.addressPending() {
				t.Errorf("%+v", s.Stats())
			}
		}
		if n := l.Stats().Sessions; n != 1 || left != 0 {
			t.Errorf("%d sessions, %d addresses not proven", n, left)
		}
		closeAll(c)
		for s := range l.Sessions() {
			s.Abort()
		}
		l.Close()
	})
}
