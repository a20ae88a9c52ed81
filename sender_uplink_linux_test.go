package kcp

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a thread in a network namespace of its own. What it starts and opens is there.
type namespace struct {
	tid  int
	work chan func()
	over chan struct{} // closed with the test
}

// newNamespace skips the test where there cannot be one.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{work: make(chan func()), over: make(chan struct{})}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends, and with it the namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		n.tid = unix.Gettid()
		ready <- err
		for {
			select {
			case f := <-n.work:
				f()
			case <-n.over:
				return
			}
		}
	}()
	t.Cleanup(func() { close(n.over) })
	if err := <-ready; err != nil {
		t.Skip("no network namespace:", err)
	}
	return n
}

// do runs f on the thread, while there is one.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	select {
	case n.work <- func() { defer close(done); f() }:
		<-done
	case <-n.over:
	}
}

// need runs commands, each a name and its arguments, and skips the test where the machine cannot do
// what they ask for.
func (n *namespace) need(t *testing.T, commands ...[]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), realPatience)
	defer cancel()
	for _, c := range commands {
		var err error
		var out []byte
		n.do(func() { out, err = exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput() })
		if ctx.Err() != nil {
			t.Fatalf("%v: not over after %v", c, realPatience)
		}
		if err != nil {
			t.Skipf("%v: %v: %s", c, err, out)
		}
	}
}

// listen opens a UDP socket of IPv4.
func (n *namespace) listen(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	return n.listenUDP(t, "udp4", addr)
}

// listenUDP opens a UDP socket.
func (n *namespace) listenUDP(t *testing.T, network, addr string) (conn *net.UDPConn) {
	t.Helper()
	var err error
	n.do(func() {
		var at *net.UDPAddr
		if at, err = net.ResolveUDPAddr(network, addr); err == nil {
			conn, err = net.ListenUDP(network, at)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// A listener on a slow uplink whose socket is full goes on to read.
func TestFullUplink(t *testing.T) {
	const (
		messages = 10
		bound    = time.Second
	)
	near, far := newNamespace(t), newNamespace(t)
	near.need(t,
		[]string{"ip", "link", "add", "kcp0", "type", "veth", "peer", "name", "kcp1"},
		[]string{"ip", "link", "set", "kcp1", "netns", fmt.Sprint(far.tid)},
		[]string{"ip", "addr", "add", "10.9.0.1/24", "dev", "kcp0"},
		[]string{"ip", "link", "set", "kcp0", "up"},
		[]string{"tc", "qdisc", "add", "dev", "kcp0", "root", "tbf", "rate", "128kbit", "burst", "4000", "limit", "1000000"})
	far.need(t,
		[]string{"ip", "addr", "add", "10.9.0.2/24", "dev", "kcp1"},
		[]string{"ip", "link", "set", "kcp1", "up"})
	conn := near.listen(t, "10.9.0.1:4000")
	defer conn.Close()
	l, err := ServeConn(nil, 0, 0, conn)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.SetWriteBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	var clients, servers [2]*UDPSession
	for i := range clients {
		addr := fmt.Sprintf("10.9.0.2:%d", 5000+i)
		c, err := NewConn4(uint32(i), conn.LocalAddr(), nil, 0, 0, true, far.listen(t, addr))
		if err != nil {
			t.Fatal(err)
		}
		s := acceptHello(t, c, l)
		for _, s := range []*UDPSession{c, s} {
			s.SetLinger(0)
			defer s.Close()
		}
		s.SetACKNoDelay(true)
		clients[i], servers[i] = c, s
	}
	servers[0].SetNoDelay(1, 10, 2, 1)
	go servers[0].Write(make([]byte, 1<<20))
	time.Sleep(300 * time.Millisecond) // there is no other sign of a full queue
	start := time.Now()
	within(t, bound, fmt.Sprintf("%d messages", messages), func() {
		for range messages {
			if _, err := clients[1].Write([]byte("message")); err != nil {
				t.Error(err)
				return
			}
			if _, err := servers[1].Read(make([]byte, 100)); err != nil {
				return
			}
		}
		t.Logf("%d messages in %v", messages, time.Since(start))
	})
}
