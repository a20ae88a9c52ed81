package kcp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// letter is a net.Addr of a network of its own.
type letter string

func (letter) Network() string  { return "post" }
func (l letter) String() string { return string(l) }

// postOffice is a PacketConn whose addresses are no UDP addresses. Its errors come first, one for
// each call.
type postOffice struct {
	name   letter
	in     chan parcel
	out    map[letter]*postOffice
	closed chan struct{}
	once   sync.Once

	mu                sync.Mutex
	readErr, writeErr []error
}

func (o *postOffice) ReadFrom(b []byte) (int, net.Addr, error) {
	if err := next(&o.mu, &o.readErr); err != nil {
		return 0, nil, err
	}
	select {
	case p := <-o.in:
		return copy(b, p.b), p.from, nil
	case <-o.closed:
		return 0, nil, net.ErrClosed
	}
}

func (o *postOffice) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := next(&o.mu, &o.writeErr); err != nil {
		return 0, err
	}
	select {
	case <-o.closed:
		return 0, net.ErrClosed
	case o.out[to.(letter)].in <- parcel{o.name, bytes.Clone(b)}:
	}
	return len(b), nil
}

func (o *postOffice) Close() error                     { o.once.Do(func() { close(o.closed) }); return nil }
func (o *postOffice) LocalAddr() net.Addr              { return o.name }
func (o *postOffice) SetDeadline(time.Time) error      { return nil }
func (o *postOffice) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline is the only way to wake a reader of a PacketConn that stays open.
func (o *postOffice) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		return o.Close()
	}
	return nil
}

type parcel struct {
	from letter
	b    []byte
}

func newPostOffices(names ...letter) []*postOffice {
	all := make(map[letter]*postOffice)
	offices := make([]*postOffice, len(names))
	for i, n := range names {
		offices[i] = &postOffice{name: n, in: make(chan parcel, 1000), out: all, closed: make(chan struct{})}
		all[n] = offices[i]
	}
	return offices
}

func next(mu *sync.Mutex, errs *[]error) error {
	mu.Lock()
	defer mu.Unlock()
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

// hole is a PacketConn that reads nothing until it is closed and loses what it sends.
type hole struct{ *postOffice }

func (hole) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// masked is a PacketConn that embeds a *net.UDPConn and overrides what goes through it.
type masked struct {
	*net.UDPConn
	in, out atomic.Int64
}

func (m *masked) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := m.UDPConn.ReadFrom(b)
	for i := range b[:n] {
		b[i] ^= 0x5a
	}
	m.in.Add(1)
	return n, addr, err
}

func (m *masked) WriteTo(b []byte, addr net.Addr) (int, error) {
	c := bytes.Clone(b)
	for i := range c {
		c[i] ^= 0x5a
	}
	m.out.Add(1)
	return m.UDPConn.WriteTo(c, addr)
}

func udp(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenUDP("udp", a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// needIPv6 skips the test on a machine without IPv6.
func needIPv6(t testing.TB) {
	t.Helper()
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6:", err)
	}
	c.Close()
}

// realPatience bounds what a test of real sockets waits for.
const realPatience = 30 * time.Second

// await returns what comes through ch, and fails the test when nothing does in time.
func await[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	timer := time.NewTimer(realPatience)
	defer timer.Stop()
	select {
	case v = <-ch:
	case <-timer.C:
		t.Fatalf("%s: nothing after %v", what, realPatience)
	}
	return v
}

// watchdog ends the process, and shows what all goroutines do, when a test of real sockets whose
// waits have no deadlines of their own is not over in time.
func watchdog(t testing.TB) {
	timer := time.AfterFunc(realPatience, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s is not over after %v", t.Name(), realPatience))
	})
	t.Cleanup(func() { timer.Stop() })
}

// realConvs are the conversation ids of sessions between real sockets.
var realConvs = sync.OnceValue(func() *convs { return newConvs(testSeed) })

// dialUDP opens a session to a listener at a real socket.
func dialUDP(t testing.TB, to string, block BlockCrypt, data, parity int) *UDPSession {
	t.Helper()
	d := Dialer{Settings: Settings{Block: block, DataShards: data, ParityShards: parity}, Conv: realConvs().next()}
	c, err := d.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*UDPSession)
}

// loopback returns a session between two real sockets and its other end.
func loopback(t testing.TB, addr string, block BlockCrypt, data, parity int) (client, server *UDPSession) {
	t.Helper()
	l, err := ListenWithOptions(addr, block, data, parity)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client = dialUDP(t, l.Addr().String(), block, data, parity)
	return client, acceptHello(t, client, l)
}

// acceptHello says hello from client and accepts it.
func acceptHello(t testing.TB, client *UDPSession, l *Listener) (server *UDPSession) {
	t.Helper()
	client.SetWriteDeadline(time.Now().Add(patience()))
	defer client.SetWriteDeadline(time.Time{})
	if _, err := io.WriteString(client, "hello"); err != nil {
		t.Fatal(err)
	}
	l.SetDeadline(time.Now().Add(patience()))
	server, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Now().Add(patience()))
	defer server.SetReadDeadline(time.Time{})
	b := make([]byte, 10)
	if n, err := server.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	return server
}
