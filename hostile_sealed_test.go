package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// captured is a datagram that an attacker has seen.
type captured struct {
	from, to netip.AddrPort
	b        []byte
}

// capture records every datagram from now on. The function returns what there is so far.
func (w *world) capture() func() []captured {
	var mu sync.Mutex
	var list []captured
	w.watch(func(from, to netip.AddrPort, b []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, captured{from, to, bytes.Clone(b)})
		return true
	})
	return func() []captured {
		mu.Lock()
		defer mu.Unlock()
		return append([]captured(nil), list...)
	}
}

// requestCount counts the requests that a listener's application sees, and answers each.
type requestCount struct {
	mu   sync.Mutex
	seen map[string]int
}

func (r *requestCount) serve(l *Listener) {
	r.seen = make(map[string]int)
	go func() {
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			go func() {
				defer s.Close()
				s.SetReadDeadline(time.Now().Add(3 * time.Hour))
				for buf := make([]byte, 1500); ; {
					n, err := s.Read(buf)
					if err != nil {
						return
					}
					r.mu.Lock()
					r.seen[string(buf[:n])]++
					r.mu.Unlock()
					fmt.Fprintf(s, "answer to %s", buf[:n])
				}
			}()
		}
	}()
}

func (r *requestCount) want(t *testing.T, want map[string]int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if fmt.Sprint(r.seen) != fmt.Sprint(want) {
		t.Errorf("requests %v, want %v", r.seen, want)
	}
}

// request sends a message and wants its answer.
func request(s *UDPSession, msg string) error {
	s.SetDeadline(time.Now().Add(patience()))
	defer s.SetDeadline(time.Time{})
	if _, err := io.WriteString(s, msg); err != nil {
		return err
	}
	want := "answer to " + msg
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != want {
		return fmt.Errorf("%q, %w", got, err)
	}
	return nil
}

// sealCiphers are the ciphers of these tests: one that authenticates what it encrypts, and one that does
// not.
var sealCiphers = []string{"gcm", "aes"}

// A first datagram that is replayed from 5,000 addresses runs its request once, and draws no more than it
// brings; what is kept of it has an end.
func TestSealedReplayFromEverywhere(t *testing.T) {
	for _, later := range []time.Duration{0, 5 * time.Second, time.Hour} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			l := w.listen(w.config(newCrypt(t, "gcm"), 0, 0), "10.0.0.2:2000")
			var count requestCount
			count.serve(l)
			w.check(request(w.dial(l.cfg, l), "warm up")) // there is a ticket
			sent := w.capture()
			c := w.dial(l.cfg, l)
			w.check(request(c, "pay"))
			first := sent()[0]
			w.sleep(later)
			before := len(sent())
			in := 0
			for i := range lighter(5000, 500) {
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 7)
				w.net.Inject(from, first.to, first.b)
				in += len(first.b)
			}
			w.sleep(time.Minute)
			out := 0
			for _, d := range sent()[before:] {
				if d.to.Addr().As4()[1] == 1 {
					out += len(d.b)
				}
			}
			if out > in {
				t.Errorf("%d bytes to strangers for %d", out, in)
			}
			count.want(t, map[string]int{"warm up": 1, "pay": 1})
			if n := len(l.known()); n > 2 {
				t.Errorf("%d sessions", n)
			}
			w.sleep(2 * time.Minute)
			if n := len(l.seal.hs.table.byKey); n != 0 {
				t.Errorf("%d handshakes are left", n)
			}
			w.check(request(c, "still here"))
			closeAll(c, l)
		})
	}
}

// A copy of a first datagram that overtakes it, from another address, or at another listener with the same
// cipher, does not run the request, and does not keep the original from being run, once.
func TestSealedCopyOvertakes(t *testing.T) {
	for _, crypt := range sealCiphers {
		for _, ticket := range []bool{false, true} {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				l := w.listen(w.config(newCrypt(t, crypt), 0, 0), "10.0.0.2:2000")
				other := w.listen(l.cfg, "10.0.0.3:2000")
				var count, others requestCount
				count.serve(l)
				others.serve(other)
				want := map[string]int{"pay": 1}
				if ticket {
					w.check(request(w.dial(l.cfg, l), "warm up"))
					want["warm up"] = 1
				}
				first := true
				w.watch(func(from, to netip.AddrPort, b []byte) bool {
					if from.Addr() == netip.MustParseAddr("10.0.0.3") {
						return false
					}
					if first && to.Port() == 2000 {
						first = false
						w.net.Inject(netip.MustParseAddrPort("10.9.9.9:9"), to, b)
						w.net.Inject(from, netip.MustParseAddrPort("10.0.0.3:2000"), b)
					}
					return true
				})
				c := w.dial(l.cfg, l)
				w.check(request(c, "pay"))
				wantPhase(t, sealProven, c)
				w.awaitIdle()
				count.want(t, want)
				others.want(t, map[string]int{})
				closeAll(c, l, other)
			})
		}
	}
}

// Whatever was sent in a session, replayed against a later one of the same addresses and conversation,
// changes nothing: not in its first round trip either.
func TestSealedReplayIntoNext(t *testing.T) {
	for _, crypt := range sealCiphers {
		for _, when := range []time.Duration{0, 5 * time.Millisecond, 15 * time.Millisecond, 25 * time.Millisecond, time.Second} {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				l := w.listen(w.config(newCrypt(t, crypt), 0, 0), "10.0.0.2:2000")
				var count requestCount
				count.serve(l)
				old := w.capture()
				c := w.dialConv(l.cfg, 5, l)
				w.check(request(c, "one"))
				w.check(request(c, "two"))
				w.check(c.Close())
				w.sleep(3 * time.Second)
				list := old()
				w.net.SetTap(nil)
				c = w.dialConv(l.cfg, 5, l)
				go func() {
					time.Sleep(when)
					for _, d := range list {
						w.net.Inject(d.from, d.to, d.b)
					}
				}()
				w.check(request(c, "three"))
				w.awaitIdle()
				w.check(request(c, "four"))
				wantPhase(t, sealProven, c)
				count.want(t, map[string]int{"one": 1, "two": 1, "three": 1, "four": 1})
				closeAll(c, l)
			})
		}
	}
}

// What an end sends and gets back, from its peer's address, is nothing to it.
func TestSealedReflection(t *testing.T) {
	for _, crypt := range sealCiphers {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			l := w.listen(w.config(newCrypt(t, crypt), 0, 0), "10.0.0.2:2000")
			var count requestCount
			count.serve(l)
			w.watch(func(from, to netip.AddrPort, b []byte) bool {
				w.net.Inject(to, from, b)
				return true
			})
			c := w.dial(l.cfg, l)
			for i := range 20 {
				w.check(request(c, fmt.Sprint("request ", i)))
			}
			wantPhase(t, sealProven, c)
			closeAll(c, l)
		})
	}
}

// Bits that are changed on the way, in early segments too, reach nobody, though the shared cipher lets
// them: what was changed comes again.
func TestSealedFlippedBits(t *testing.T) {
	for _, ticket := range []bool{false, true} {
		for bit := range lighter(60, 10) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				cfg := w.config(newCrypt(t, "salsa20"), 0, 0)
				l := w.listen(cfg, "10.0.0.2:2000")
				var count requestCount
				count.serve(l)
				if ticket {
					w.check(request(w.dial(cfg, l), "warm up"))
				}
				first := true
				w.watch(func(from, to netip.AddrPort, b []byte) bool {
					if first && to.Port() == 2000 {
						first = false
						// The text is at the end; what lies under the keystream is known, so the checksum can be put right.
						malleate(cfg, b, len(b)-1-bit/8, 1<<(bit%8))
					}
					return true
				})
				c := w.dial(cfg, l)
				msg := "amount 00000100.00"
				w.check(request(c, msg))
				w.awaitIdle()
				count.mu.Lock()
				for seen, n := range count.seen {
					if seen != "warm up" && (seen != msg || n != 1) {
						t.Errorf("read %q %d times", seen, n)
					}
				}
				count.mu.Unlock()
				closeAll(c, l)
			})
		}
	}
}

// malleate changes bits of a datagram as an attacker can who knows no key, but what is in the datagram, and
// that the checksum is linear. (Here the key does the work of that knowledge.)
func malleate(cfg *config, b []byte, at int, bits byte) {
	payload, _ := cfg.env.open(bytes.Clone(b))
	copy(b[cfg.env.head:], payload)
	b[at] ^= bits
	room := append(make([]byte, 0, len(b)+cfg.env.tail), b...)
	copy(b, cfg.env.seal(room))
}

// A client that is restarted, with the same port and conversation, gets a session of its own at once, and
// the old one ends; a recording does neither.
func TestSealedClientRestarts(t *testing.T) {
	for _, crypt := range sealCiphers {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			l := w.listen(w.config(newCrypt(t, crypt), 0, 0), "10.0.0.2:2000")
			var count requestCount
			count.serve(l)
			for i := range 3 {
				c := w.dialConv(l.cfg, 5, l)
				start := time.Now()
				w.check(request(c, fmt.Sprint("client ", i)))
				if took := time.Since(start); took > 45*time.Millisecond {
					t.Errorf("client %d waits for %v", i, took)
				}
				w.wantSessions(l, 1)
				if i < 2 {
					c.vanish()
				} else {
					c.Close()
				}
				w.sleep(100 * time.Millisecond)
			}
			count.want(t, map[string]int{"client 0": 1, "client 1": 1, "client 2": 1})
			l.Close()
		})
	}
}

// A listener that is restarted does not know its sessions: their clients are told within seconds, not after
// the user timeout.
func TestSealedServerRestarts(t *testing.T) {
	for _, busy := range []bool{true, false} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			cfg := w.config(newCrypt(t, "gcm"), 0, 0)
			l := w.listen(cfg, "10.0.0.2:2000")
			var count requestCount
			count.serve(l)
			c := w.dial(cfg, l)
			w.check(request(c, "before"))
			w.awaitIdle()
			for _, sock := range l.t.socks {
				sock.conn.Close()
			}
			w.sleep(time.Second)
			next := w.listen(cfg, "10.0.0.2:2000")
			start := time.Now()
			c.SetDeadline(start.Add(time.Minute))
			var err error
			if busy {
				for err == nil {
					_, err = c.Write(make([]byte, 1000))
				}
			} else {
				io.WriteString(c, "x")
				_, err = c.Read(make([]byte, 1))
			}
			if err == nil || !isReset(err) || time.Since(start) > 5*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			again := w.dial(cfg, next)
			count.serve(next)
			w.check(request(again, "after"))
			closeAll(c, again, next, l)
		})
	}
}

// Who has the shared key cannot stop a client by what he sends before it: its first segment, forged, makes a
// session beside, that ends when the real one is there.
func TestSealedForgedFirst(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		accepted := make(chan *UDPSession, 2)
		go func() {
			for {
				s, err := l.AcceptKCP()
				if err != nil {
					return
				}
				accepted <- s
			}
		}()
		b := append(make([]byte, cfg.env.head, mtuLimit), segment(5, IKCP_CMD_PUSH, 0, []byte("forged"))...)
		w.net.Inject(netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:2000"), cfg.env.seal(b))
		w.sleep(50 * time.Millisecond)
		bad := <-accepted
		c := w.dialConv(cfg, 5, l)
		io.WriteString(c, "real")
		s := <-accepted
		buf := make([]byte, 100)
		if n, err := s.Read(buf); string(buf[:n]) != "real" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		w.check(exchange(c, s, 10_000))
		bad.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := bad.Read(buf)
		if string(buf[:n]) == "forged" {
			_, err = bad.Read(buf)
		}
		if !isReset(err) {
			t.Errorf("the forged one: %v", err)
		}
		closeAll(c, s, bad, l)
	})
}

// A HELLO that is passed on to another dialler makes no session of the two.
func TestSealedRelayToDialler(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		at := func(addr string) *netem.Conn { return w.bind(addr) }
		a, b := at("10.0.0.1:1000"), at("10.0.0.2:2000")
		dial := func(conn *netem.Conn, to *netem.Conn) *UDPSession {
			return cfg.dial(7, to.LocalAddr(), newSocket(conn, true))
		}
		x, y := dial(a, b), dial(b, a) // two that dial each other
		io.WriteString(x, "from x")
		io.WriteString(y, "from y")
		buf := make([]byte, 100)
		for s, want := range map[*UDPSession]string{x: "from y", y: "from x"} {
			s.SetReadDeadline(time.Now().Add(time.Minute))
			if n, err := s.Read(buf); string(buf[:n]) != want {
				t.Errorf("%q, %v, want %q", buf[:n], err, want)
			}
		}
		wantPhase(t, sealUnsealed, x, y)
		closeAll(x, y)
	})
}

// The handshake survives loss, duplication, reordering, and the replay of any earlier datagram at any time:
// what is said arrives once, in order, sealed.
func TestSealedUnderReplay(t *testing.T) {
	for seed := range uint64(lighter(60, 10)) {
		crypt := sealCiphers[seed%2]
		shards := int(seed / 2 % 2 * 3)
		path := netem.Path{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.2, Reorder: 0.1, Duplicate: 0.1}
		virtualSeed(t, seed, path, func(w *world) {
			l := w.listen(w.config(newCrypt(t, crypt), shards, shards), "10.0.0.2:2000")
			var count requestCount
			count.serve(l)
			r := rand.New(rand.NewPCG(seed, 1))
			var old []captured
			w.watch(func(from, to netip.AddrPort, b []byte) bool {
				old = append(old, captured{from, to, bytes.Clone(b)})
				for range 2 {
					if d := old[r.IntN(len(old))]; r.IntN(3) == 0 {
						w.net.Inject(d.from, d.to, d.b)
					}
				}
				return true
			})
			want := make(map[string]int)
			for i := range 4 {
				c := w.dial(l.cfg, l)
				for j := range 5 {
					msg := fmt.Sprintf("request %d of %d in %d", j, i, seed)
					if err := request(c, msg); err != nil {
						t.Errorf("seed %d: %v", seed, err)
					}
					want[msg] = 1
				}
				wantPhase(t, sealProven, c)
				c.Close()
			}
			count.want(t, want)
			l.Close()
		})
	}
}

// A datagram that was not sealed is no shard of a group that is.
func TestSealedShardsApart(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 3, 2)
		c, s := w.pair(cfg)
		w.awaitIdle()
		before := s.Stats()
		for seqid := range uint32(100) {
			b := append(make([]byte, cfg.env.head, mtuLimit), framed(seqid, fecTypeData, segment(c.conv, IKCP_CMD_PUSH, 1, []byte("forged")))...)
			w.net.Inject(peerAddrOf(c.LocalAddr()).udp, peerAddrOf(s.LocalAddr()).udp, cfg.env.seal(b))
			b = append(make([]byte, cfg.env.head, mtuLimit), framed(seqid, fecTypeParity, make([]byte, 60))...)
			w.net.Inject(peerAddrOf(s.LocalAddr()).udp, peerAddrOf(c.LocalAddr()).udp, cfg.env.seal(b))
		}
		w.awaitIdle()
		if after := s.Stats(); after.DatagramsReceived != before.DatagramsReceived {
			t.Errorf("%d datagrams that are not sealed were taken", after.DatagramsReceived-before.DatagramsReceived)
		}
		w.check(exchange(c, s, 100_000))
		closeAll(c, s)
	})
}

func isReset(err error) bool { return errors.Is(err, errReset) }
