package kcp

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Leaks are checked once, when everything has run and what lingers has gone.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		var err error
		for end := time.Now().Add(2 * lingerTime); ; {
			if err = goleak.Find(); err == nil || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is what a whole-connection test in virtual time runs in: an emulated network,
// and a scheduler and counters of its own. It exists inside a synctest bubble.
type world struct {
	*testing.T
	net   *netem.Network
	sched *TimedSched
	snmp  *Snmp

	watching sync.Mutex // held while what watch was given runs
}

// virtual runs f in virtual time, over a network on which every path is path. It fails
// when something that f started goes on after what it opened is closed.
func virtual(t *testing.T, path netem.Path, f func(w *world)) {
	t.Helper()
	virtualSeed(t, 1, path, f)
}

// virtualSeed is virtual with a given seed for the network.
func virtualSeed(t *testing.T, seed uint64, path netem.Path, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: netem.New(seed), sched: NewTimedSched(1), snmp: newSnmp()}
		if err := w.net.SetDefault(path); err != nil {
			t.Fatal(err)
		}
		f(w)
		time.Sleep(lingerTime + time.Second) // closed sessions give up
		w.net.Close()
		w.sched.Close()
	})
}

// config returns the configuration of sessions in this world.
func (w *world) config(block BlockCrypt, data, parity int) *config {
	w.Helper()
	cfg, err := newConfig(block, data, parity)
	if err != nil {
		w.Fatal(err)
	}
	cfg.sched, cfg.snmp = w.sched, w.snmp
	return cfg
}

// deployed makes cfg that of a peer without extensions.
func deployed(cfg *config) *config {
	cfg.caps = 0
	return cfg
}

// bind opens a PacketConn at addr.
func (w *world) bind(addr string) *netem.Conn {
	w.Helper()
	c, err := w.net.Listen(addr)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// listen opens a listener at addr.
func (w *world) listen(cfg *config, addr string) *Listener {
	w.Helper()
	return newListener(cfg, newSocket(w.bind(addr), true))
}

// dial opens a session from any port of 10.0.0.1 to the listener.
func (w *world) dial(cfg *config, l *Listener) *UDPSession {
	w.Helper()
	return cfg.dial(rand.Uint32(), l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
}

// pair is join with one configuration for both ends.
func (w *world) pair(cfg *config) (client, server *UDPSession) {
	w.Helper()
	return w.join(cfg, cfg)
}

// join opens a listener and a session to it, and accepts that. Both ends have said
// something, so their windows and round-trip time are known.
func (w *world) join(dialling, listening *config) (client, server *UDPSession) {
	w.Helper()
	l := w.listen(listening, "10.0.0.2:2000")
	client = w.dial(dialling, l)
	hello := []byte("hello")
	for _, step := range []func() error{
		func() error { _, err := client.Write(hello); return err },
		func() (err error) { server, err = l.AcceptKCP(); return err },
		func() error { _, err := io.ReadFull(server, make([]byte, len(hello))); return err },
		func() error { _, err := server.Write(hello); return err },
		func() error { _, err := io.ReadFull(client, make([]byte, len(hello))); return err },
		l.Close,
	} {
		if err := step(); err != nil {
			w.Fatal(err)
		}
	}
	return client, server
}

// watch calls f, one call at a time, with every datagram that is written; f may
// change it, and drops it by returning false.
func (w *world) watch(f func(from, to netip.AddrPort, b []byte) bool) {
	w.net.SetTap(func(from, to netip.AddrPort, b []byte) bool {
		w.watching.Lock()
		defer w.watching.Unlock()
		return f(from, to, b)
	})
}

// sleep lets time pass, and then sees all that has happened.
func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// settle waits until all that is under way has arrived and been answered.
func (w *world) settle() { w.sleep(time.Second) }

// check reports err, if it is one.
func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Error(err)
	}
}

// patience bounds what a whole-connection test waits for, so that one that stalls
// fails with an error instead of a deadlock.
const patience = time.Hour

// exchange carries size bytes in both directions at once.
func exchange(a, b *UDPSession, size int) error {
	for _, s := range []*UDPSession{a, b} {
		s.SetDeadline(time.Now().Add(patience))
		defer s.SetDeadline(time.Time{})
	}
	back := make(chan error, 1)
	go func() { back <- carry(b, a, size) }()
	err := carry(a, b, size)
	return errors.Join(err, <-back)
}

// hurry makes sessions as eager as possible, with windows of wnd.
func hurry(wnd int, sessions ...*UDPSession) {
	for _, s := range sessions {
		s.SetNoDelay(1, 10, 2, 1)
		s.SetWindowSize(wnd, wnd)
	}
}

// closeAll closes whatever a test has opened.
func closeAll(closers ...io.Closer) {
	for _, c := range closers {
		c.Close()
	}
}

// segmentsOf returns the headers of a plain datagram's segments.
func segmentsOf(b []byte) (headers []header) {
	for len(b) >= IKCP_OVERHEAD {
		var h header
		h.parse(b)
		headers = append(headers, h)
		b = b[min(IKCP_OVERHEAD+int(h.len), len(b)):]
	}
	return headers
}

// random returns n bytes that depend on n and seed only.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// carry writes size random bytes to from, reads them from to, and compares.
func carry(from io.Writer, to io.Reader, size int) error {
	failed := make(chan error, 1)
	sum := sha256.New()
	go func() {
		r := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{7}), int64(size)), sum)
		_, err := io.CopyBuffer(struct{ io.Writer }{from}, r, make([]byte, 16<<10))
		failed <- err
	}()
	got := sha256.New()
	n, err := io.CopyN(got, to, int64(size))
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, size, err)
	}
	if err := <-failed; err != nil {
		return err
	}
	if [32]byte(got.Sum(nil)) != [32]byte(sum.Sum(nil)) {
		return fmt.Errorf("%d bytes arrived changed", size)
	}
	return nil
}

var _ net.PacketConn = (*netem.Conn)(nil)
