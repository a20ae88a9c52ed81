package kcp

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// shapes are uses that programs make of the package, and rely on.
var shapes = []struct {
	name string
	run  func(w *world)
}{
	{"conv 0 at both ends", func(w *world) {
		w.eachPeer(w.config(nil, 0, 0), 0, unmarked.Config{}, nil)
	}},
	{"both ends dial with the same conv", bothDial},
	{"SetNoDelay(0, 0, 0, 1)", func(w *world) {
		w.eachPeer(w.config(nil, 0, 0), 7, unmarked.Config{}, func(s *UDPSession) { s.SetNoDelay(0, 0, 0, 1) })
	}},
	{"windows of 32768", func(w *world) { largeWindows(w, 32768) }},
	{"windows of 65535", func(w *world) { largeWindows(w, 65535) }},
	{"windows of 65536", func(w *world) { largeWindows(w, 65536) }},
	{"FEC 1/1 for out-of-band datagrams only", oobOnly},
	{"FEC 16/16", func(w *world) {
		w.eachPeer(w.config(nil, 16, 16), 7, unmarked.Config{DataShards: 16, ParityShards: 16}, nil)
	}},
	{"an AEAD that works in place only", func(w *world) { anyAEAD(w, inPlaceAEAD{gcm(w.T)}) }},
	{"an AEAD that allocates", func(w *world) { anyAEAD(w, allocatingAEAD{gcm(w.T)}) }},
	{"a struct that embeds a session", embedded},
	{"setters before, during and after traffic", anyTimeSetters},
	{"foreign datagrams", func(w *world) { foreign(w, nil, 0) }},
	{"foreign datagrams, FEC", func(w *world) { foreign(w, nil, 3) }},
	{"foreign datagrams, AES", func(w *world) { foreign(w, newCrypt(w.T, "aes"), 0) }},
	{"foreign datagrams, AES-GCM", func(w *world) { foreign(w, newCrypt(w.T, "gcm"), 3) }},
	{"Close after a delay, and twice", closeLate},
	{"Close from an out-of-band handler", closeFromHandler},
	{"Close during a Write", closeDuringWrite},
	{"counters read one by one, and reset every minute", countersPolled},
	{"acknowledgements in batches every 10 ms", func(w *world) { batched(w, 10*time.Millisecond) }},
	{"acknowledgements in batches every 20 ms", func(w *world) { batched(w, 20*time.Millisecond) }},
	{"acknowledgements in batches every 30 ms", func(w *world) { batched(w, 30*time.Millisecond) }},
}

func TestShapes(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			path := netem.Path{Delay: 10 * time.Millisecond, Loss: 0.01}
			virtual(t, path, shape.run)
		})
	}
}

// eachPeer carries data both ways between a session and each kind of peer: one of ours, and one
// without extensions that dials, or listens.
func (w *world) eachPeer(cfg *config, conv uint32, theirs unmarked.Config, set func(s *UDPSession)) {
	w.Helper()
	talk := func(what string, s *UDPSession, peer end) {
		if set != nil {
			set(s)
			if p, ok := peer.(*UDPSession); ok {
				set(p)
			}
		}
		if err := exchange(s, peer, 100_000); err != nil {
			w.Errorf("%s: %v", what, err)
		}
		s.Close()
		peer.(io.Closer).Close()
		w.sleep(2 * closeTimeout)
	}
	l := w.listen(cfg, "10.0.0.2:2000")
	c := cfg.dial(conv, l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
	s := acceptHello(w.T, c, l)
	l.Close()
	talk("ours", c, s)
	for _, dialled := range []bool{true, false} {
		theirs.SendWindow, theirs.ReceiveWindow = 128, 128
		s, peer := w.meet(cfg, conv, dialled, theirs)
		talk(fmt.Sprintf("dialled %t", dialled), s, peer)
	}
}

// Nobody listens: programs that punch holes agree on a conv elsewhere.
func bothDial(w *world) {
	const conv = 77
	addrs := []net.Addr{&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1000}, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 1000}}
	cfg := w.config(newCrypt(w.T, "aes"), 2, 1)
	dial := func(i int) *UDPSession {
		return cfg.dial(conv, addrs[1-i], newSocket(w.bind(addrs[i].String()), true))
	}
	a, b := dial(0), dial(1)
	w.check(exchange(a, b, 100_000))
	a.Close()
	if n, err := b.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		w.Errorf("after the peer's end: %d, %v", n, err)
	}
	b.Close()
	w.sleep(2 * closeTimeout)
	a = dial(0)
	peer := unmarked.Dial(unmarked.Config{Envelope: envelopeOf(w.T, "aes")}, w.bind(addrs[1].String()), addrs[0], conv)
	w.check(exchange(a, peer, 100_000))
	closeAll(a, peer)
}

func largeWindows(w *world, wnd int) {
	w.eachPeer(w.config(nil, 0, 0), 7, unmarked.Config{}, func(s *UDPSession) {
		s.SetNoDelay(1, 10, 2, 1)
		s.SetWindowSize(wnd, wnd)
	})
	// A peer that does not read gets as much as the window has.
	l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
	c := w.dial(w.config(nil, 0, 0), l)
	s := acceptHello(w.T, c, l)
	lowLatency(wnd, c, s)
	w.check(pingPong(c, s, 2))
	c.SetMtu(50)
	c.SetWriteDeadline(time.Now().Add(time.Minute))
	n, err := 0, error(nil)
	want := lighter(min(wnd, wndLimit), 2000)
	for err == nil && n < want {
		_, err = c.Write([]byte{byte(n)})
		n++
	}
	w.awaitIdle()
	if got := s.received(); err != nil || got != want {
		w.Errorf("%d of %d segments are there: %v", got, n, err)
	}
	closeAll(l, c, s)
}

func oobOnly(w *world) {
	var mu sync.Mutex
	var heard []string
	hear := func(who string) func([]byte) {
		return func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, who+" "+string(b))
		}
	}
	want := func(what string, lines ...string) {
		w.Helper()
		w.awaitIdle()
		mu.Lock()
		defer mu.Unlock()
		if !reflect.DeepEqual(heard, lines) {
			w.Errorf("%s: heard %q, want %q", what, heard, lines)
		}
		heard = nil
	}
	w.check(w.net.SetDefault(netem.Path{Delay: time.Millisecond}))
	cfg := w.config(nil, 1, 1)
	c, s := w.pair(cfg)
	w.check(c.SetOOBHandler(hear("client")))
	w.check(s.SetOOBHandler(hear("server")))
	w.check(c.SendOOB([]byte("ping")))
	w.awaitIdle()
	w.check(s.SendOOB([]byte("pong")))
	want("ours", "server ping", "client pong")
	w.check(exchange(c, s, 50_000))
	closeAll(c, s)
	w.sleep(2 * closeTimeout)
	for _, dialled := range []bool{true, false} {
		s, peer := w.meet(cfg, 7, dialled, unmarked.Config{DataShards: 1, ParityShards: 1, OOB: hear("peer")})
		w.check(s.SetOOBHandler(hear("session")))
		w.check(s.SendOOB([]byte("ping")))
		w.awaitIdle()
		peer.SendOOB([]byte("pong"))
		want(fmt.Sprintf("dialled %t", dialled), "peer ping", "session pong")
		w.check(exchange(s, peer, 50_000))
		closeAll(s, peer)
		w.sleep(2 * closeTimeout)
	}
}

func gcm(t *testing.T) cipher.AEAD {
	t.Helper()
	return newCrypt(t, "gcm").(*aeadCrypt).AEAD
}

// inPlaceAEAD panics where it is not to work in place, as some on hardware or in assembly do.
type inPlaceAEAD struct{ cipher.AEAD }

func (inPlaceAEAD) need(dst, src []byte) {
	if all := dst[:cap(dst)]; len(dst) >= cap(dst) || len(src) > 0 && &all[len(dst)] != &src[0] {
		panic("not in place")
	}
}

func (a inPlaceAEAD) Seal(dst, nonce, plaintext, data []byte) []byte {
	a.need(dst, plaintext)
	return a.AEAD.Seal(dst, nonce, plaintext, data)
}

func (a inPlaceAEAD) Open(dst, nonce, ciphertext, data []byte) ([]byte, error) {
	a.need(dst, ciphertext)
	return a.AEAD.Open(dst, nonce, ciphertext, data)
}

// allocatingAEAD returns new memory, and leaves the room behind dst alone.
type allocatingAEAD struct{ cipher.AEAD }

func (a allocatingAEAD) Seal(dst, nonce, plaintext, data []byte) []byte {
	return append(bytes.Clone(dst), a.AEAD.Seal(nil, nonce, plaintext, data)...)
}

func (a allocatingAEAD) Open(dst, nonce, ciphertext, data []byte) ([]byte, error) {
	plaintext, err := a.AEAD.Open(nil, nonce, ciphertext, data)
	return append(bytes.Clone(dst), plaintext...), err
}

func anyAEAD(w *world, aead cipher.AEAD) {
	block := NewAEADCrypt(aead)
	for _, shards := range []int{0, 3} {
		theirs := unmarked.Config{Envelope: envelopeOf(w.T, "gcm"), DataShards: shards, ParityShards: shards}
		w.eachPeer(w.config(block, shards, shards), 7, theirs, func(s *UDPSession) { s.SetStreamMode(true) })
	}
	// The same called by hand, with and without a destination of its own.
	datagram := append(random(1, 100), make([]byte, aead.Overhead())...)
	want := make([]byte, len(datagram))
	newCrypt(w.T, "gcm").Encrypt(want, datagram)
	for _, apart := range []bool{false, true} {
		src := bytes.Clone(datagram)
		dst := src
		if apart {
			dst = make([]byte, len(src))
		}
		if block.Encrypt(dst, src); !bytes.Equal(dst, want) {
			w.Errorf("apart %t: encrypted %x, want %x", apart, dst, want)
		}
		back := dst
		if apart {
			back = make([]byte, len(src))
		}
		if block.Decrypt(back, dst); !bytes.Equal(back, datagram) {
			w.Errorf("apart %t: decrypted %x, want %x", apart, back, datagram)
		}
	}
}

// counting is what programs make of a session.
type counting struct {
	*UDPSession
	in, out, closed atomic.Int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.UDPSession.Read(b)
	c.in.Add(int64(n))
	return n, err
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.UDPSession.Write(b)
	c.out.Add(int64(n))
	return n, err
}

func (c *counting) Close() error {
	c.closed.Add(1)
	return c.UDPSession.Close()
}

func embedded(w *world) {
	const size = 50_000
	c, s := w.pair(w.config(nil, 0, 0))
	a, b := &counting{UDPSession: c}, &counting{UDPSession: s}
	w.check(exchange(a, b, size))
	var conn net.Conn = a
	if conn.LocalAddr() == nil || conn.RemoteAddr() == nil {
		w.Error("no addresses")
	}
	for _, x := range []*counting{a, b} {
		x.SetNoDelay(1, 10, 2, 1)
		x.SetStreamMode(true)
		w.check(x.Close())
		wantClosed(w.T, x.Close())
		if in, out, closed := x.in.Load(), x.out.Load(), x.closed.Load(); out != size || in == 0 || closed != 2 {
			w.Errorf("%d in, %d out, %d times closed", in, out, closed)
		}
	}
}

// setters are all that a session has, with arguments that programs use, and absurd ones.
func setters(s *UDPSession, i int) []func() {
	pick := func(v ...int) int { return v[i%len(v)] }
	return []func(){
		func() { s.SetNoDelay(pick(0, 1), pick(10, 0, 100, -1), pick(2, 0, -1), pick(0, 1)) },
		func() { s.SetWindowSize(pick(128, 0, 1024, -5, 1), pick(64, 1, 0, 65536)) },
		func() { s.SetStreamMode(i%2 == 0) },
		func() { s.SetWriteDelay(i%3 == 0) },
		func() { s.SetACKNoDelay(i%2 == 1) },
		func() { s.SetMtu(pick(1400, 50, 0, 1500, 9000, 500)) },
		func() { s.SetDUP(pick(0, 1, -1)) },
		func() { s.SetRateLimit(uint32(pick(0, 1<<20))) },
		func() { s.SetDSCP(pick(0, 46, 99)) },
		func() { s.SetReadBuffer(pick(1<<20, 1)) },
		func() { s.SetWriteBuffer(pick(1<<20, 1)) },
		func() { s.SetDeadline(time.Now().Add(time.Hour)) },
		func() { s.SetKeepAlivePeriod(time.Duration(pick(0, 1)) * time.Second) },
		func() { s.SetOOBHandler(nil) },
		func() { s.SetRedundancy(pick(0, -1, 100)) },
		func() { s.SetMinParity(pick(0, 1)) },
		func() { s.Stats() },
	}
}

func anyTimeSetters(w *world) {
	cfg := w.config(nil, 3, 1)
	l := w.listen(cfg, "10.0.0.2:2000")
	c := w.dial(cfg, l)
	for i := range 20 {
		for _, set := range setters(c, i) {
			set()
		}
	}
	s := acceptHello(w.T, c, l)
	for _, x := range []*UDPSession{c, s} { // as exchange sets it
		x.SetStreamMode(true)
	}
	done := make(chan error, 1)
	go func() { done <- exchange(c, s, 300_000) }()
	var err error
	for i, going := 0, true; going; i++ {
		for _, x := range []*UDPSession{c, s} {
			for _, set := range setters(x, i) {
				set()
			}
		}
		select {
		case err = <-done:
			going = false
		case <-time.After(3 * time.Millisecond):
		}
	}
	w.check(err)
	closeAll(l, c, s)
	for i := range 20 {
		for _, set := range append(setters(c, i), setters(s, i)...) {
			set()
		}
	}
	w.sleep(2 * closeTimeout)
	w.wantGone(c)
	w.wantGone(s)
}

// foreignDatagrams are what else arrives at a port: what keeps a NAT's mapping, and other protocols.
func foreignDatagrams() [][]byte {
	stun := func(attributes int) []byte { // a binding request (RFC 8489)
		b := binary.BigEndian.AppendUint16([]byte{0, 1}, uint16(attributes))
		b = append(b, 0x21, 0x12, 0xa4, 0x42)
		return append(b, random(uint64(attributes), 12+attributes)...)
	}
	all := [][]byte{
		{}, {0}, {0xff}, {81}, []byte("ping"), []byte("hello, is anybody there?"),
		stun(0), stun(8), stun(44), stun(500),
		append([]byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\x07example\x03com\x00\x00\x01\x00\x01"...), // DNS
		append([]byte{0x80, 0x60}, random(1, 170)...),                                                         // RTP
		append([]byte{0xc3, 0, 0, 0, 1, 8}, random(2, 1194)...),                                               // QUIC
		append([]byte{22, 0xfe, 0xfd, 0, 0}, random(3, 150)...),                                               // DTLS
		append([]byte("d1:ad2:id20:"), random(4, 80)...),                                                      // BitTorrent DHT
		append(segmentOf(header{conv: 1, cmd: 99, len: 3}), 1, 2, 3),                                          // another version of KCP
		random(5, 1500), random(6, 2000),
	}
	return all
}

// foreign sends foreign datagrams, from strangers and from the peer's address, beside traffic.
func foreign(w *world, block BlockCrypt, shards int) {
	w.check(w.net.SetDefault(netem.Path{Delay: time.Millisecond}))
	cfg := w.config(block, shards, shards)
	dropped := func() uint64 {
		n := w.snmp.Copy()
		return n.InErrs + n.InCsumErrors + n.KCPInErrors + n.FECErrs
	}
	l := w.listen(cfg, "10.0.0.2:2000")
	c := w.dial(cfg, l)
	stranger := w.bind("10.0.0.3:3000")
	own, _ := c.path().sock.conn.(*netem.Conn)
	sent := uint64(0)
	send := func(from *netem.Conn, to net.Addr) {
		for _, b := range foreignDatagrams() {
			from.WriteTo(b, to)
			sent++
		}
		w.awaitIdle()
	}
	send(stranger, l.Addr())
	send(own, l.Addr()) // a NAT kick from the socket of a session that has not begun
	w.wantSessions(l, 0)
	send(stranger, c.LocalAddr())
	if n := dropped(); n != sent {
		w.Errorf("%d dropped of %d", n, sent)
	}
	s := acceptHello(w.T, c, l)
	done := make(chan error, 1)
	go func() { done <- exchange(c, s, 200_000) }()
	send(stranger, l.Addr())
	send(stranger, c.LocalAddr())
	send(own, l.Addr())
	w.check(l.t.socks[0].conn.(*netem.Conn).SetReadBuffer(1 << 20))
	send(l.t.socks[0].conn.(*netem.Conn), c.LocalAddr())
	w.check(<-done)
	w.check(exchange(c, s, 200_000))
	w.wantSessions(l, 1)
	if n := dropped(); n != sent {
		w.Errorf("%d dropped of %d", n, sent)
	}
	closeAll(l, c, s, stranger)
}

// Programs wait before they close, as they know of no end of the stream; and they close twice.
func closeLate(w *world) {
	c, s := w.pair(w.config(nil, 0, 0))
	data := random(1, 20_000)
	go func() {
		c.Write(data)
		time.AfterFunc(5*time.Second, func() {
			w.check(c.Close())
			wantClosed(w.T, c.Close())
			wantClosed(w.T, c.Close())
		})
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, data) {
		w.Error(err)
	}
	if n, err := s.Read(got); n > 0 || err != io.EOF {
		w.Errorf("%d, %v", n, err)
	}
	var closed atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if s.Close() == nil {
				closed.Add(1)
			}
		})
	}
	wg.Wait()
	if closed.Load() != 1 {
		w.Errorf("closed %d times", closed.Load())
	}
	w.sleep(2 * closeTimeout)
	w.wantGone(c)
	w.wantGone(s)
}

func closeFromHandler(w *world) {
	w.check(w.net.SetDefault(netem.Path{Delay: time.Millisecond}))
	c, s := w.pair(w.config(nil, 1, 1))
	calls := 0
	s.SetOOBHandler(func(b []byte) {
		calls++
		w.check(s.Close())
		wantClosed(w.T, s.Close())
	})
	blocked := make(chan error, 1)
	go func() {
		_, err := s.Read(make([]byte, 1))
		blocked <- err
	}()
	w.check(c.SendOOB([]byte("end")))
	w.check(c.SendOOB([]byte("end")))
	wantClosed(w.T, <-blocked)
	if n, err := c.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		w.Errorf("%d, %v", n, err)
	}
	if calls != 1 {
		w.Errorf("%d calls", calls)
	}
	c.Close()
}

func closeDuringWrite(w *world) {
	s := w.full(w.config(nil, 0, 0))
	failed := make(chan error, 3)
	for range 2 {
		go func() {
			_, err := s.Write(random(1, 100_000))
			failed <- err
		}()
	}
	go func() {
		_, err := s.WriteBuffers([][]byte{random(1, 100_000), nil, random(2, 5)})
		failed <- err
	}()
	w.awaitIdle()
	w.check(s.Close())
	for range 3 {
		wantClosed(w.T, <-failed)
	}
	w.sleep(2 * closeTimeout)
	w.wantGone(s)
}

// countersPolled reads counters as programs do that print them every minute.
func countersPolled(w *world) {
	c, s := w.pair(w.config(nil, 3, 1))
	var sum, estab, most uint64
	n := w.snmp
	for range 10 {
		w.check(exchange(c, s, 10_000))
		w.sleep(time.Minute)
		sum += atomic.LoadUint64(&n.BytesReceived)
		if sent := atomic.LoadUint64(&n.BytesSent); sent != 20_000 && sent != 20_010 {
			w.Errorf("%d bytes sent", sent)
		}
		if in, out := atomic.LoadUint64(&n.InPkts), atomic.LoadUint64(&n.OutPkts); in == 0 || out < in {
			w.Errorf("%d datagrams in, %d out", in, out)
		}
		estab, most = atomic.LoadUint64(&n.CurrEstab), max(most, atomic.LoadUint64(&n.MaxConn))
		if estab != 2 {
			w.Errorf("%d established", estab)
		}
		n.Reset()
	}
	if sum != 200_010 || most != 2 { // with the ten bytes of the beginning
		w.Errorf("%d bytes received, %d sessions at most", sum, most)
	}
	closeAll(c, s)
	w.sleep(2 * closeTimeout)
	if left := atomic.LoadUint64(&n.CurrEstab); left != 0 {
		w.Errorf("%d established", left)
	}
}

// relay passes datagrams on between a client, for which it listens, and a server: those to the server
// at once, and those to the client together, every so often.
type relay struct {
	front, back *netem.Conn
	server      net.Addr
	every       time.Duration
}

// run relays until stop is closed, and the sockets.
func (r *relay) run(stop <-chan struct{}) {
	var mu sync.Mutex
	var client net.Addr
	var held [][]byte
	go func() {
		b := make([]byte, mtuLimit)
		for {
			n, from, err := r.front.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			client = from
			mu.Unlock()
			r.back.WriteTo(b[:n], r.server)
		}
	}()
	go func() {
		b := make([]byte, mtuLimit)
		for {
			n, _, err := r.back.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			held = append(held, bytes.Clone(b[:n]))
			mu.Unlock()
		}
	}()
	ticks := time.NewTicker(r.every)
	defer ticks.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticks.C:
		}
		mu.Lock()
		for _, b := range held {
			r.front.WriteTo(b, client)
		}
		held = nil
		mu.Unlock()
	}
}

// batched sends through a proxy that passes acknowledgements on in batches.
func batched(w *world, every time.Duration) {
	for _, nc := range []int{0, 1} {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		r := &relay{w.bind("10.0.0.9:9000"), w.bind("10.0.0.9:9001"), l.Addr(), every}
		stop := make(chan struct{})
		go r.run(stop)
		c := cfg.dial(w.convs.next(), r.front.LocalAddr(), newSocket(w.bind("10.0.0.1:0"), true))
		s := acceptHello(w.T, c, l)
		for _, x := range []*UDPSession{c, s} {
			x.SetNoDelay(1, 10, 2, nc)
			x.SetWindowSize(1024, 1024)
			x.SetStreamMode(true)
		}
		start := time.Now()
		w.check(exchange(c, s, 300_000))
		w.Logf("nc=%d: %v", nc, time.Since(start))
		if took := time.Since(start); took > 5*time.Second {
			w.Errorf("nc=%d: took %v", nc, took)
		}
		closeAll(l, c, s)
		w.sleep(2 * closeTimeout)
		close(stop)
		closeAll(r.front, r.back)
	}
}
