package kcp

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A HELLO without a body, which anybody can send who needs no key, is dropped as any other that does not open.
func TestEmptyHello(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		private := PrivateKey{8}
		l := w.listen(w.settle(Settings{}, private), "10.0.0.2:2000")
		peer := w.bind("10.0.0.1:1")
		for n := range 40 {
			for first := range byte(3) {
				hello := make([]byte, n)
				if n > 0 {
					hello[0] = first
				}
				peer.WriteTo(withRecords(header{conv: 1, cmd: IKCP_CMD_WINS, wnd: 128}, appendRecord(nil, recordHello, hello)), l.Addr())
			}
		}
		w.sleep(time.Second)
		c := w.dial(w.settle(Settings{ServerKey: private.Public()}, PrivateKey{}), l)
		w.check(c.awaitPeer(context.Background()))
		closeAll(c, peer, l)
	})
}

// Without a cipher there is no early data, and what is sent as if there were is not kept: whoever has the public
// key could have a listener hold 64 KB for each unfinished handshake.
func TestNoEarlyDataWithoutCipher(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		private := PrivateKey{8}
		l := w.listen(w.settle(Settings{}, private), "10.0.0.2:2000")
		w.watch(func(from, _ netip.AddrPort, b []byte) bool { // WELCOME is lost, and RETRY is not
			return from.Port() != 2000 || len(b) < 100
		})
		c := w.dial(w.settle(Settings{ServerKey: private.Public()}, PrivateKey{}), l)
		io.WriteString(c, "hello")
		w.sleep(50 * time.Millisecond)
		from, to := netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(l.Addr().String())
		for sn := range uint32(earlySegmentsMax) {
			early := withRecords(header{conv: c.conv, cmd: IKCP_CMD_WINS, frg: capMark | capRecords, wnd: 128}, appendEarly(nil, 0, nil))
			w.net.Inject(from, to, append(early, segment(c.conv, IKCP_CMD_PUSH, sn, make([]byte, 1000))...))
		}
		w.sleep(50 * time.Millisecond)
		l.seal.shakes.Lock()
		h := l.seal.hs.table.byAddr[sessionKey{peerAddr{udp: from}, c.conv}]
		l.seal.shakes.Unlock()
		if h == nil {
			t.Fatal("no handshake")
		}
		h.mu.Lock()
		if n := len(h.early.list); n > 0 {
			t.Errorf("%d segments are kept", n)
		}
		h.mu.Unlock()
		w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return true })
		w.check(c.awaitPeer(context.Background()))
		closeAll(c, l)
	})
}

// Who makes a handshake and forges the source of what follows does not draw more to that address than a stranger
// may, nor end the session that is there.
func TestForgedSourceAfterHandshake(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "aes"), 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		go pour(l, func(*UDPSession) {})
		victim := netip.MustParseAddrPort("10.9.9.9:9")
		attacker := w.dial(cfg, l)
		in, out := 0, 0
		w.watch(func(from, to netip.AddrPort, b []byte) bool {
			switch {
			case to == victim:
				out += len(b)
				return false
			case from.String() == attacker.LocalAddr().String() && attacker.Stats().Sealed:
				in += len(b)
				w.net.Inject(victim, to, b)
				return false
			}
			return true
		})
		attacker.SetUserTimeout(-1)
		io.WriteString(attacker, "send me all")
		w.sleep(2 * time.Minute)
		w.look(func() {
			t.Logf("%d bytes went there for %d", out, in)
			if out > max(unprovenWindow*IKCP_MTU_DEF*6/5, unprovenTimes*in) {
				t.Errorf("%d bytes went there for %d", out, in)
			}
			if out == 0 {
				t.Error("nothing was drawn: this tests nothing")
			}
		})
		for s := range l.Sessions() {
			s.Abort()
		}
		attacker.Abort()
		l.Close()
	})
}

// RETRY, forged by whoever needs no key for it, draws little, and does not keep the session from being sealed.
func TestForgedRetries(t *testing.T) {
	virtual(t, netem.Path{Delay: 100 * time.Millisecond}, func(w *world) {
		private := PrivateKey{8}
		l := w.listen(w.settle(Settings{}, private), "10.0.0.2:2000")
		go echo(l)
		c := w.dial(w.settle(Settings{ServerKey: private.Public()}, PrivateKey{}), l)
		from, to := peerAddrOf(c.LocalAddr()).udp, peerAddrOf(l.Addr()).udp
		drawn := 0
		w.watch(func(at, _ netip.AddrPort, b []byte) bool {
			if at == from {
				drawn += len(b)
			}
			return true
		})
		done := make(chan error)
		go func() { done <- ask(c, "hello") }()
		in := 0
		for i := range 500 {
			token := bytes.Repeat([]byte{byte(i), byte(i >> 8), 1}, 5)
			b := withRecords(header{conv: c.conv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN | capRecords, wnd: 128}, appendRecord(nil, recordRetry, token))
			in += len(b)
			w.sleep(300 * time.Microsecond)
			w.net.Inject(to, from, b)
		}
		w.look(func() {
			if drawn > in/4 {
				t.Errorf("%d bytes for %d forged", drawn, in)
			}
		})
		w.check(<-done)
		wantPhase(t, sealProven, c)
		closeAll(c, l)
	})
}
