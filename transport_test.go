package kcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// transport opens a transport at addr.
func (w *world) transport(addr string) *Transport {
	w.Helper()
	t := newTransport(w.sched, w.snmp, newSocket(w.bind(addr), true))
	t.start()
	return t
}

// over dials a session over t.
func (w *world) over(t *Transport, cfg *config, conv uint32, to net.Addr) *UDPSession {
	w.Helper()
	s, err := t.dial(cfg, conv, to)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// accepts makes the listener of t.
func (w *world) accepts(t *Transport, cfg *config) *Listener {
	w.Helper()
	l, err := t.listen(cfg, true)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

// Sessions with many peers and several with one, each kind of cipher, and a listener, share one socket and
// its one goroutine.
func TestTransportShares(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond, Loss: 0.02}, func(w *world) {
		hub := w.transport("10.0.0.1:1000")
		var listeners []io.Closer
		before := w.goroutines()
		var sessions []*UDPSession
		for i, spec := range cipherSpecs {
			fec := i % 2 * 2
			cfg := w.config(mustCrypt(t, spec, random(uint64(i), spec.keySize)), 2*fec, fec)
			l := w.listen(cfg, fmt.Sprintf("10.0.1.%d:2000", i+1))
			go echo(l)
			listeners = append(listeners, l)
			sessions = append(sessions, w.over(hub, cfg, 0, l.Addr()), w.over(hub, cfg, 0, l.Addr()))
		}
		own := w.config(mustCrypt(t, cipherSpecs[0], random(99, cipherSpecs[0].keySize)), 0, 0)
		l := w.accepts(hub, own)
		go echo(l)
		sessions = append(sessions, w.dial(own, l), w.dial(own, l))
		w.sleep(100 * time.Millisecond)
		if n := w.goroutines() - before; n > 2*len(listeners)+10 {
			w.Errorf("%d goroutines for %d sessions", n, len(sessions))
		}
		if all := slices.Collect(Sessions()); !slices.Contains(all, sessions[0]) {
			w.Error("Sessions has not what was dialled")
		}
		failed := make(chan error, len(sessions))
		for i, s := range sessions {
			go func() {
				err := ask(s, fmt.Sprint("hello ", i))
				if err == nil {
					err = carry(s, s, 100_000)
				}
				failed <- err
			}()
		}
		for range sessions {
			w.check(<-failed)
		}
		for _, s := range sessions {
			s.Close()
			<-s.Done()
		}
		w.sleep(5 * time.Second)
		if n := hub.Stats().Sessions; n != 0 {
			w.Errorf("%d sessions are left", n)
		}
		if hub.used != 1 || len(hub.groups) > groupsMax+1 {
			w.Errorf("%d groups are used, want the listener's, and %d are there", hub.used, len(hub.groups))
		}
		closeAll(append(listeners, l, hub)...)
		<-l.Done()
		<-hub.Done()
	})
}

// What a session with a socket of its own does, one over a transport does: each kind of sealing, and peers
// without extensions.
func TestTransportPeers(t *testing.T) {
	aes := mustCrypt(t, cipherSpecs[0], random(1, cipherSpecs[0].keySize))
	private := NewPrivateKey()
	for _, c := range []struct {
		name       string
		dial, lis  Settings
		key        PrivateKey
		change     func(*config) *config // of both
		old        func(*config) *config // of the listener's
		wantSealed bool
	}{
		{name: "plain"},
		{name: "sealed by the cipher", dial: Settings{Block: aes}, lis: Settings{Block: aes}, wantSealed: true},
		{name: "sealed by a key", dial: Settings{ServerKey: private.Public()}, key: private, wantSealed: true},
		{name: "both", dial: Settings{Block: aes, ServerKey: private.Public()}, lis: Settings{Block: aes}, key: private, wantSealed: true},
		{name: "not sealed", dial: Settings{Block: aes, Seal: SealOff}, lis: Settings{Block: aes}},
		{name: "deployed listener", dial: Settings{Block: aes, DataShards: 4, ParityShards: 2}, lis: Settings{Block: aes}, old: deployed},
		{name: "deployed plain listener", old: deployed},
		{name: "deployed dialler", dial: Settings{Block: aes}, lis: Settings{Block: aes}, change: deployed},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * millisecond, Loss: 0.02}, func(w *world) {
				dialling, listening := w.settle(c.dial, PrivateKey{}), w.settle(c.lis, c.key)
				if c.change != nil {
					dialling, listening = c.change(dialling), c.change(listening)
				}
				if c.old != nil {
					listening = c.old(unsealed(listening))
				}
				hub := w.transport("10.0.0.1:1000")
				l := w.listen(listening, "10.0.0.2:2000")
				go echo(l)
				var sessions []*UDPSession
				for range 2 {
					s := w.over(hub, dialling, 0, l.Addr())
					w.check(ask(s, "hello"))
					w.check(carry(s, s, 50_000))
					if s.Stats().Sealed != c.wantSealed {
						w.Errorf("sealed %t", s.Stats().Sealed)
					}
					sessions = append(sessions, s)
				}
				for _, s := range sessions {
					w.check(ask(s, "still there"))
					s.Close()
					<-s.Done()
				}
				closeAll(hub, l)
			})
		})
	}
}

// Peers that each have a key of their own, more than are tried with everything. What is under the key of
// another peer, or none, is not taken for theirs.
func TestTransportKeyOfEachPeer(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		hub := w.transport("10.0.0.1:1000")
		const peers = 3 * groupsMax
		var listeners [peers]*Listener
		var sessions [peers]*UDPSession
		var configs [peers]*config
		for i := range peers {
			key := random(uint64(i), cipherSpecs[0].keySize)
			configs[i] = w.settle(Settings{Block: mustCrypt(t, cipherSpecs[0], key), Seal: SealMode(i % 2 * int(SealOff))}, PrivateKey{})
			listeners[i] = w.listen(configs[i], fmt.Sprintf("10.0.1.%d:2000", i+1))
			go echo(listeners[i])
			sessions[i] = w.over(hub, configs[i], 7, listeners[i].Addr())
		}
		for i, s := range sessions {
			w.check(ask(s, fmt.Sprint("hello ", i)))
		}
		victim, before := sessions[peers-1], w.snmp.Copy().InErrs
		received := victim.Stats().DatagramsReceived
		for _, cfg := range []*config{configs[0], w.config(nil, 0, 0)} {
			p := packets.get()
			p.data = p.mem[:cfg.env.head]
			p.appendHeader(&header{conv: 7, cmd: IKCP_CMD_PUSH, sn: 1, len: 4})
			p.data = append(p.data, "evil"...)
			one := []outbound{{p.data, p, &victim.path().destination, nil}}
			cfg.env.sealAll(one)
			listeners[peers-1].t.WriteTo(one[0].data, hub.LocalAddr())
		}
		w.awaitIdle()
		if n := victim.Stats().DatagramsReceived; n != received {
			w.Error("a datagram under another key was taken")
		}
		if n := w.snmp.Copy().InErrs; n == before {
			w.Error("nothing was counted")
		}
		for i, s := range sessions {
			w.check(ask(s, fmt.Sprint("still there ", i)))
			s.Close()
			listeners[i].Close()
		}
		w.sleep(6 * time.Second)
		if n := hub.used; n != 0 {
			w.Errorf("%d groups are left", n)
		}
		hub.Close()
	})
}

// Two sessions with one address have two conversation ids.
func TestTransportConv(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		hub := w.transport("10.0.0.1:1000")
		a, b := udpAddr("10.0.0.2:1"), udpAddr("10.0.0.2:2")
		cfg := w.config(nil, 0, 0)
		w.over(hub, cfg, 9, a)
		w.over(hub, cfg, 9, b)
		if _, err := hub.dial(cfg, 9, a); err == nil || !strings.Contains(err.Error(), "Conv 9") {
			w.Errorf("a second one: %v", err)
		}
		seen := make(map[uint32]bool)
		for range 100 {
			s := w.over(hub, cfg, 0, a)
			if seen[s.conv] || s.conv == 0 {
				w.Errorf("conv %d again", s.conv)
			}
			seen[s.conv] = true
		}
		if n := hub.Stats().Sessions; n != 102 {
			w.Errorf("%d sessions", n)
		}
		w.check(hub.Close())
	})
}

// Close ends all at once, tells the peers, and gives a PacketConn back that is not the transport's.
func TestTransportClose(t *testing.T) {
	for _, own := range []bool{false, true} {
		virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
			cfg := w.config(nil, 0, 0)
			conn := w.bind("10.0.0.1:1000")
			hub := newTransport(w.sched, w.snmp, newSocket(conn, own))
			hub.start()
			far := w.listen(cfg, "10.0.0.2:2000")
			l := w.accepts(hub, cfg)
			dialled := w.over(hub, cfg, 0, far.Addr())
			dialled.Write([]byte("hello"))
			peer, err := far.AcceptKCP()
			w.check(err)
			w.check(ignore(io.ReadFull(peer, make([]byte, 5))))
			caller := w.dial(cfg, l)
			caller.Write([]byte("hello"))
			accepted, err := l.AcceptKCP()
			w.check(err)
			w.awaitIdle()

			failed := make(chan error, 4)
			go func() { _, err := dialled.Read(make([]byte, 1)); failed <- err }()
			go func() {
				io.ReadFull(accepted, make([]byte, 5))
				_, err := accepted.Read(make([]byte, 1))
				failed <- err
			}()
			go func() { _, err := l.Accept(); failed <- err }()
			go func() { _, _, err := hub.ReadNonKCP(context.Background(), make([]byte, 1)); failed <- err }()
			w.awaitIdle()
			start := time.Now()
			w.check(hub.Close())
			if took := time.Since(start); took > atOnce {
				w.Errorf("Close took %v", took)
			}
			for range 4 {
				wantClosed(t, <-failed)
			}
			wantClosed(t, hub.Close())
			_, err = hub.dial(cfg, 0, far.Addr())
			wantClosed(t, err)
			_, err = hub.listen(cfg, true)
			wantClosed(t, err)
			<-hub.Done()
			<-l.Done()
			<-dialled.Done()
			<-accepted.Done()
			peer.Write([]byte("x"))
			caller.Write([]byte("x"))
			w.awaitIdle()
			for _, s := range []*UDPSession{peer, caller} {
				if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					w.Errorf("the peer: %v", err)
				}
			}
			if _, err := conn.WriteTo([]byte("x"), far.Addr()); (err != nil) != own {
				w.Errorf("the PacketConn: %v", err)
			}
			closeAll(peer, caller, far, conn)
		})
	}
}

func ignore(_ int, err error) error { return err }

// An error of reading breaks all that is on the transport.
func TestTransportBroken(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		conn := w.bind("10.0.0.1:1000")
		hub := newTransport(w.sched, w.snmp, newSocket(conn, true))
		hub.start()
		l := w.accepts(hub, cfg)
		s := w.over(hub, cfg, 0, udpAddr("10.0.0.2:1"))
		conn.Close()
		<-hub.Done()
		_, err := s.Read(make([]byte, 1))
		wantError(t, "read", err, syscall.ECONNABORTED)
		_, err = l.Accept()
		wantError(t, "accept", err, syscall.ECONNABORTED)
		_, _, err = hub.ReadNonKCP(context.Background(), nil)
		wantError(t, "read", err, syscall.ECONNABORTED)
		_, err = hub.dial(cfg, 0, udpAddr("10.0.0.2:1"))
		wantError(t, "dial", err, syscall.ECONNABORTED)
		<-l.Done()
		closeAll(s, l, hub)
	})
}

// There is one listener at a time.
func TestTransportListensAgain(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(mustCrypt(t, cipherSpecs[0], make([]byte, cipherSpecs[0].keySize)), 0, 0)
		hub := w.transport("10.0.0.1:1000")
		for range 2 {
			l := w.accepts(hub, cfg)
			if _, err := hub.listen(cfg, true); !errors.Is(err, errListening) {
				w.Errorf("a second one: %v", err)
			}
			c := w.dial(cfg, l)
			c.Write([]byte("hello"))
			s, err := l.AcceptKCP()
			w.check(err)
			w.check(l.Close())
			if _, err := hub.listen(cfg, true); !errors.Is(err, errListening) {
				w.Errorf("while a session is left: %v", err)
			}
			io.ReadFull(s, make([]byte, 5))
			closeAll(c, s)
			<-l.Done()
			<-c.Done()
		}
		w.check(hub.Close())
	})
}

// What is not KCP is read beside sessions, whatever the ciphers are; as much waits as may.
func TestReadNonKCP(t *testing.T) {
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...) // RFC 8489, section 5
	aes := mustCrypt(t, cipherSpecs[0], make([]byte, cipherSpecs[0].keySize))
	for name, blocks := range map[string][]BlockCrypt{"plain": {nil}, "cipher": {aes}, "both": {aes, nil}} {
		t.Run(name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
				hub := w.transport("10.0.0.1:1000")
				defer hub.Close()
				other := w.bind("10.0.0.3:3478")
				defer other.Close()
				var sessions []*UDPSession
				for i, block := range blocks {
					cfg := w.config(block, 2, 2)
					l := w.listen(cfg, fmt.Sprintf("10.0.1.%d:2000", i+1))
					defer l.Close()
					go echo(l)
					sessions = append(sessions, w.over(hub, cfg, 0, l.Addr()))
				}
				l := w.accepts(hub, w.config(blocks[0], 0, 0))
				defer l.Close()
				other.WriteTo(stun, hub.LocalAddr())
				w.awaitIdle()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				b := make([]byte, 100)
				_, _, err := hub.ReadNonKCP(ctx, b)
				wantError(t, "read", err, context.DeadlineExceeded)

				for _, s := range sessions {
					w.check(carry(s, s, 50_000))
				}
				other.WriteTo(stun, hub.LocalAddr())
				n, from, err := hub.ReadNonKCP(context.Background(), b)
				if err != nil || !bytes.Equal(b[:n], stun) || from.String() != other.LocalAddr().String() {
					w.Errorf("%x from %v: %v", b[:n], from, err)
				}
				if n, err := hub.WriteTo(stun, from); n != len(stun) || err != nil {
					w.Errorf("wrote %d: %v", n, err)
				}
				n, _, err = other.ReadFrom(b)
				if err != nil || !bytes.Equal(b[:n], stun) {
					w.Errorf("%x: %v", b[:n], err)
				}
				for range otherQueueMax + 10 {
					other.WriteTo(stun, hub.LocalAddr())
				}
				for _, s := range sessions {
					w.check(carry(s, s, 50_000))
					s.Close()
				}
				if st := hub.Stats(); st.NonKCPWaiting != otherQueueMax || st.NonKCPDropped != 10 {
					w.Errorf("%+v", st)
				}
			})
		})
	}
}

// Dialler and listener work as they do, over the package's own socket.
func TestTransportOnLoopback(t *testing.T) {
	far, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go echo(far.(*Listener))
	hub, err := OpenTransport("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	l, err := hub.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	go echo(l)
	d := Dialer{Transport: hub, WaitForPeer: true, Timeout: realPatience}
	for _, to := range []net.Addr{far.Addr(), far.Addr(), l.Addr()} {
		c, err := d.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(c.(*UDPSession), "hello"); err != nil {
			t.Error(err)
		}
		if c.LocalAddr().String() != hub.LocalAddr().String() {
			t.Errorf("from %v", c.LocalAddr())
		}
	}
	for _, address := range []string{"[::1]:1", "nowhere", "127.0.0.1:0", "127.0.0.1:no-such-service"} {
		if c, err := d.Dial("udp", address); err == nil {
			t.Errorf("%s: dialled %v", address, c.RemoteAddr())
		}
	}
}

// A sealed session over a transport goes on when its peer is at another address.
func TestTransportPeerMoves(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		hub := w.transport("10.0.0.1:1000")
		conn := w.bind("10.0.0.2:2000")
		cfg := w.settle(Settings{Block: mustCrypt(t, cipherSpecs[0], make([]byte, cipherSpecs[0].keySize))}, PrivateKey{})
		l := newListener(cfg, newSocket(conn, true))
		go echo(l)
		s := w.over(hub, cfg, 0, l.Addr())
		w.check(ask(s, "hello"))
		first := peerAddrOf(s.RemoteAddr())
		w.check(conn.Rebind("10.0.0.3:3000"))
		peer := slices.Collect(l.Sessions())[0]
		w.check(ignore(peer.Write([]byte("from elsewhere"))))
		w.check(ignore(io.ReadFull(s, make([]byte, 14))))
		w.awaitIdle()
		w.check(ask(s, "still there"))
		if got := s.RemoteAddr().String(); got != "10.0.0.3:3000" {
			w.Errorf("the peer is at %s", got)
		}
		now := sessionKey{peerAddrOf(s.RemoteAddr()), s.conv}
		if hub.dialled(sessionKey{first, s.conv}) || !hub.dialled(now) {
			w.Error("the table does not follow")
		}
		s.Close()
		<-s.Done()
		w.awaitIdle()
		if hub.dialled(now) {
			w.Error("the table still has it")
		}
		closeAll(hub, l)
	})
}

// Sessions of one cipher are sealed or not, each as it asks.
func TestTransportSealedBesideUnsealed(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		hub := w.transport("10.0.0.1:1000")
		sealing := w.config(newCrypt(t, "aes"), 0, 0)
		l := w.listen(sealing, "10.0.0.2:2000")
		go echo(l)
		never := w.settle(Settings{Block: newCrypt(t, "aes"), Seal: SealOff}, PrivateKey{})
		never.env = sealing.env // one cipher
		plain, sealed := w.over(hub, never, 0, l.Addr()), w.over(hub, sealing, 0, l.Addr())
		for _, s := range []*UDPSession{plain, sealed} {
			w.check(s.SetDeadline(time.Now().Add(5 * time.Second)))
			w.check(ask(s, "hello"))
		}
		if plain.Stats().Sealed || !sealed.Stats().Sealed {
			w.Errorf("sealed: %t, %t", plain.Stats().Sealed, sealed.Stats().Sealed)
		}
		closeAll(plain, sealed, l, hub)
	})
}

// A peer that asks for a session which a transport does not have is told so, however many ciphers there are.
func TestTransportAnswersQuestions(t *testing.T) {
	for _, block := range []string{"", "aes"} {
		virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
			hub := w.transport("10.0.0.1:1000")
			var sessions []*UDPSession
			var asked *config
			for _, b := range []string{"", "aes", "gcm"} {
				var c BlockCrypt
				if b != "" {
					c = newCrypt(t, b)
				}
				cfg := unsealed(w.config(c, 0, 0))
				if sessions = append(sessions, w.over(hub, cfg, 0, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 9})); b == block {
					asked = cfg
				}
			}
			conn := w.bind("10.0.0.3:1")
			b := make([]byte, asked.env.head+IKCP_OVERHEAD, mtuLimit)
			(&header{conv: 77, cmd: IKCP_CMD_WASK, frg: capMark | capFIN | capRecords, wnd: 32}).put(b[asked.env.head:])
			w.check(ignore(conn.WriteTo(asked.env.seal(b), hub.LocalAddr())))
			w.check(conn.SetReadDeadline(time.Now().Add(time.Second)))
			buf := make([]byte, mtuLimit)
			n, _, err := conn.ReadFrom(buf)
			w.check(err)
			var h header
			if payload, ok := asked.env.open(buf[:n]); !ok || len(payload) < IKCP_OVERHEAD {
				t.Fatal("no answer")
			} else if h.parse(payload); h.conv != 77 || h.cmd != IKCP_CMD_WINS || h.ts != 0 {
				t.Errorf("%+v", h)
			}
			conn.Close()
			for _, s := range sessions {
				s.Abort()
			}
			closeAll(hub)
		})
	}
}

// A peer that closes after the last session of a transport has ended is answered, and does not wait.
func TestTransportAnswersStragglers(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		hub := w.transport("10.0.0.1:1000")
		cfg := w.config(newCrypt(t, "aes"), 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		s := w.over(hub, cfg, 0, l.Addr())
		_, err := s.Write([]byte("hello"))
		w.check(err)
		peer, err := l.AcceptKCP()
		w.check(err)
		w.sleep(time.Second)
		w.check(s.Close())
		w.sleep(closeTimeout + time.Second)
		start := time.Now()
		peer.Write([]byte("still there?"))
		peer.Close()
		<-peer.Done()
		if took := time.Since(start); took > time.Second {
			w.Errorf("the peer's end took %v", took)
		}
		closeAll(l, hub)
	})
}
