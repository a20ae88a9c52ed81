package kcp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// world is what a whole-connection test in virtual time runs in: an emulated network, and a
// scheduler and counters of its own. It exists inside a synctest bubble.
type world struct {
	*testing.T
	net   *netem.Network
	sched *TimedSched
	snmp  *Snmp
	convs *convs

	watching sync.Mutex // held while what watch was given runs
}

// virtual runs f in virtual time, over a network on which every path is path. It fails when
// something that f started goes on after what it opened is closed.
func virtual(t *testing.T, path netem.Path, f func(w *world)) {
	t.Helper()
	virtualSeed(t, testSeed, path, f)
}

// virtualSeed is virtual with a given seed for the network.
func virtualSeed(t *testing.T, seed uint64, path netem.Path, f func(w *world)) {
	t.Helper()
	virtualOnly(t)
	noteSeed(t)
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: netem.New(seed), sched: NewTimedSched(1), snmp: newSnmp(), convs: newConvs(seed)}
		if err := w.net.SetDefault(path); err != nil {
			t.Fatal(err)
		}
		f(w)
		time.Sleep(closeTimeout + time.Second) // closed sessions give up
		w.net.Close()
		w.sched.Close()
	})
}

// virtualOnly skips a test that uses no socket of the system, where only those are wanted that do.
func virtualOnly(t *testing.T) {
	t.Helper()
	if socketsOnly {
		t.Skip("in virtual time, over no socket of the system")
	}
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

// inGroups makes cfg that of an end that sends parity of groups also to peers that take repairs.
func inGroups(cfg *config) *config {
	cfg.repair = 0
	return cfg
}

// deployed makes cfg that of a peer without extensions.
func deployed(cfg *config) *config {
	cfg.caps = 0
	return cfg
}

// unsealed makes cfg that of sessions that are under the shared cipher only.
func unsealed(cfg *config) *config {
	cfg.seal = nil
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
	return cfg.dial(w.convs.next(), l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
}

// pair is join with one configuration for both ends.
func (w *world) pair(cfg *config) (client, server *UDPSession) {
	w.Helper()
	return w.join(cfg, cfg)
}

// join opens a listener and a session to it, and accepts that. Both ends have said something, so
// their windows and round-trip time are known.
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

// watch calls f, one call at a time, with every datagram that is written; f may change it, and
// drops it by returning false.
func (w *world) watch(f func(from, to netip.AddrPort, b []byte) bool) {
	w.net.SetTap(func(from, to netip.AddrPort, b []byte) bool {
		w.watching.Lock()
		defer w.watching.Unlock()
		return f(from, to, b)
	})
}

// look runs f, which may use what the function uses that watch was given.
func (w *world) look(f func()) {
	w.watching.Lock()
	defer w.watching.Unlock()
	f()
}

// sleep lets time pass, and then sees all that has happened.
func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// awaitIdle waits until all that is under way has arrived and been answered.
func (w *world) awaitIdle() { w.sleep(time.Second) }

// check reports err, if it is one.
func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Error(err)
	}
}

// patience bounds what a test waits for, so that one that stalls fails with an error: in real time,
// and in virtual time, where it would end in a deadlock.
func patience() time.Duration {
	if time.Now().Year() < 2020 { // in a synctest bubble, whose clock starts in 2000
		return time.Hour
	}
	return realPatience
}

// exchange carries size bytes in both directions at once.
func exchange(a, b end, size int) error {
	for _, s := range []end{a, b} {
		s.SetDeadline(time.Now().Add(patience()))
		defer s.SetDeadline(time.Time{})
	}
	back := make(chan error, 1)
	go func() { back <- carry(b, a, size) }()
	err := carry(a, b, size)
	return errors.Join(err, <-back)
}

// lowLatency sets sessions to the fastest timing, without a congestion window, with windows of wnd.
func lowLatency(wnd int, sessions ...*UDPSession) {
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

// wantError checks that err is target in a *net.OpError of op.
func wantError(t testing.TB, op string, err, target error) {
	t.Helper()
	var oe *net.OpError
	if !errors.Is(err, target) || !errors.As(err, &oe) || oe.Op != op {
		t.Errorf("%s: %v (%T), want %v", op, err, err, target)
	}
}

// wantTimeout checks the error of something that a deadline has ended.
func wantTimeout(t *testing.T, err error) {
	t.Helper()
	var op *net.OpError
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%v (%T) is no timeout", err, err)
	}
}

// wantClosed checks the error of something that Close has ended.
func wantClosed(t *testing.T, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, net.ErrClosed) || !errors.Is(err, io.ErrClosedPipe) || !errors.As(err, &op) {
		t.Errorf("%v (%T), want a closed connection", err, err)
	}
}

// full makes a session that no Write finds room in, to a peer that does not exist.
func (w *world) full(cfg *config) *UDPSession {
	w.Helper()
	s := cfg.dial(1, &net.UDPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 9}, newSocket(w.bind("10.0.0.1:0"), true))
	s.SetWindowSize(4, 4)
	for range 4 {
		if _, err := s.Write([]byte("full")); err != nil {
			w.Fatal(err)
		}
	}
	return s
}

// limitMtu fails the test when a datagram is longer than mtu.
func (w *world) limitMtu(mtu int) {
	w.watch(func(from, to netip.AddrPort, b []byte) bool {
		if len(b) > mtu {
			w.Errorf("a datagram of %d bytes, MTU %d", len(b), mtu)
		}
		return true
	})
}

// within runs f and reports whether it returns in time. If it does not, that is an error, and f
// goes on.
func within(t testing.TB, d time.Duration, what string, f func()) bool {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		t.Errorf("%s: not over after %v", what, d)
		return false
	}
}

// atOnce is the virtual time that something may take that waits for nothing.
const atOnce = time.Millisecond

// most and p99 return the greatest of some times, and the 99th percentile.
func most(times []time.Duration) time.Duration { return slices.Max(times) }

func p99(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)*99/100]
}

// heapInUse is what is reachable.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// goroutines counts those that live; runtime.NumGoroutine has some that have just ended, too.
func (w *world) goroutines() int {
	w.Helper()
	stacks := make([]byte, 1<<20)
	n := runtime.Stack(stacks, true)
	if n == len(stacks) {
		w.Fatal("more goroutines than stacks have room for")
	}
	return bytes.Count(stacks[:n], []byte("\n\ngoroutine ")) + 1
}

// wantSessions checks how many sessions the listener knows.
func (w *world) wantSessions(l *Listener, n int) {
	w.Helper()
	synctest.Wait()
	if got := len(l.known()); got != n {
		w.Errorf("%d sessions, want %d", got, n)
	}
}

// echo answers everything that arrives on l's sessions until l is closed.
func echo(l *Listener) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		go func() {
			defer s.Close()
			io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
		}()
	}
}

// ask sends a message and expects it back.
func ask(s *UDPSession, msg string) error {
	s.SetDeadline(time.Now().Add(patience()))
	defer s.SetDeadline(time.Time{})
	if _, err := io.WriteString(s, msg); err != nil {
		return err
	}
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(s, got); err != nil {
		return err
	}
	if string(got) != msg {
		return fmt.Errorf("said %q, heard %q", msg, got)
	}
	return nil
}
