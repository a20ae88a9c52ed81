package kcp

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

var (
	roamClient = netip.MustParseAddr("10.0.0.1")
	roamServer = netip.MustParseAddrPort("10.0.0.2:2000")
	roamOther  = netip.MustParseAddrPort("10.9.9.9:9")
)

// addressLoad counts the bytes that an attacker sends from addresses that are not the client's, and what
// comes there.
type addressLoad struct{ from, to map[netip.AddrPort]int }

// attack calls f with each datagram of the client's from now on, which is dropped if that returns false. What
// f sends by the function that it gets comes from another address, at once.
func (w *world) attack(f func(b []byte, send func(from netip.AddrPort, b []byte)) bool) *addressLoad {
	load := &addressLoad{make(map[netip.AddrPort]int), make(map[netip.AddrPort]int)}
	w.watch(func(from, to netip.AddrPort, b []byte) bool {
		if from == roamServer {
			if to.Addr() != roamClient {
				load.to[to] += len(b)
			}
			return true
		}
		return f(b, func(from netip.AddrPort, b []byte) {
			load.from[from] += len(b)
			w.net.Inject(from, roamServer, b)
		})
	})
	return load
}

// check checks that nobody draws more than three times what he sends, and that the session is where it was.
func (a *addressLoad) check(r *roamer, times int) {
	r.Helper()
	r.look(func() {
		for addr, n := range a.to {
			if n > times*a.from[addr] {
				r.Errorf("%d bytes to %v for %d", n, addr, a.from[addr])
			}
		}
	})
	if st := r.server.Stats(); st.PathChanges != 0 || r.server.RemoteAddr().String() != r.conn.Bound().String() {
		r.Errorf("%d changes of path, to %v", st.PathChanges, r.server.RemoteAddr())
	}
}

// Copies of all datagrams, from another address, that overtake the originals, lead nothing there but
// questions, and stop neither direction: whether the originals arrive or not, and wherever they come from.
func TestRoamCopiesRaced(t *testing.T) {
	for name, tt := range map[string]struct {
		pass bool
		from func(n int) netip.AddrPort
	}{
		"beside":           {true, func(int) netip.AddrPort { return roamOther }},
		"instead":          {false, func(int) netip.AddrPort { return roamOther }},
		"another port":     {false, func(int) netip.AddrPort { return netip.AddrPortFrom(roamClient, 9) }},
		"from everywhere":  {true, func(n int) netip.AddrPort { return netip.AddrPortFrom(roamOther.Addr(), uint16(1+n%60000)) }},
		"from two in turn": {true, func(n int) netip.AddrPort { return netip.AddrPortFrom(roamOther.Addr(), uint16(1+n%2)) }},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
				n := 0
				load := w.attack(func(b []byte, send func(netip.AddrPort, []byte)) bool {
					n++
					send(tt.from(n), b)
					return tt.pass
				})
				w.check(exchange(r.client, r.server, 500_000))
				w.awaitIdle()
				load.check(r, 3)
				closeAll(r.client, r.server, r.l)
			})
		})
	}
}

// Datagrams that were sent before, or were held back while later ones passed, move nothing, from wherever
// they come, and have no answer.
func TestRoamReplayed(t *testing.T) {
	for _, held := range []bool{false, true} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
			var old [][]byte
			n, overtaken := 0, time.Time{} // when one was sent that has overtaken the first of old
			load := w.attack(func(b []byte, send func(netip.AddrPort, []byte)) bool {
				n++
				switch {
				case len(old) == 0 || held && n%7 == 0:
					old = append(old, bytes.Clone(b))
					return !held
				case overtaken.IsZero():
					overtaken = time.Now()
				case time.Since(overtaken) > 15*time.Millisecond:
					send(roamOther, old[0])
					old, overtaken = old[1:], time.Time{}
				}
				return true
			})
			w.check(exchange(r.client, r.server, 500_000))
			w.awaitIdle()
			w.look(func() {
				if load.from[roamOther] == 0 {
					t.Error("nothing was replayed")
				}
			})
			load.check(r, 0)
			closeAll(r.client, r.server, r.l)
		})
	}
}

// Who copies some datagrams, and passes on what comes to his address, is not the peer while that answers
// from where it is. What he redirects for a moment comes back.
func TestRoamCopierAnswers(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
		client := peerAddrOf(r.conn.Bound()).udp
		n := 0
		w.watch(func(from, to netip.AddrPort, b []byte) bool {
			switch {
			case to == roamOther:
				w.net.Inject(roamServer, client, b)
			case from == client:
				if n++; n%3 == 0 { // the others go faster directly
					w.net.Inject(roamOther, roamServer, b)
				}
			}
			return true
		})
		w.check(exchange(r.client, r.server, 500_000))
		w.awaitIdle()
		st := r.server.Stats()
		if st.PathChanges > 4 || r.server.RemoteAddr().String() != r.conn.Bound().String() {
			t.Errorf("%d changes of path, to %v", st.PathChanges, r.server.RemoteAddr())
		}
		closeAll(r.client, r.server, r.l)
	})
}

// What comes from another address and was not sealed by the peer moves nothing.
func TestRoamForged(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
		load := w.attack(func(b []byte, send func(netip.AddrPort, []byte)) bool {
			for i := range len(b) {
				bad := bytes.Clone(b)
				bad[i] ^= 1
				send(roamOther, bad)
			}
			send(roamOther, b[:len(b)-1])
			return true
		})
		for range 10 {
			io.WriteString(r.client, "ping")
			if _, err := io.ReadFull(r.server, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
		w.awaitIdle()
		load.check(r, 0)
		closeAll(r.client, r.server, r.l)
	})
}
