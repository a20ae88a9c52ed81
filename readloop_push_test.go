package kcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// pushNet is PacketPushers by address.
type pushNet struct {
	mu    sync.Mutex
	conns map[letter]*pushConn
}

// pushConn is a PacketConn that has no ReadFrom to speak of: what is sent to it comes from a
// goroutine for each datagram, as from a transport of many threads.
type pushConn struct {
	net    *pushNet
	name   letter
	mu     sync.Mutex
	recv   func(b []byte, addr net.Addr, err error)
	first  func(b []byte, addr net.Addr, err error) // the first that was set
	sets   []bool                                   // whether each call of SetPacketReceiver had one
	closed bool
}

func (n *pushNet) listen(name letter) *pushConn {
	c := &pushConn{net: n, name: name}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = make(map[letter]*pushConn)
	}
	n.conns[name] = c
	return c
}

func (c *pushConn) SetPacketReceiver(fn func(b []byte, addr net.Addr, err error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recv = fn; c.first == nil {
		c.first = fn
	}
	c.sets = append(c.sets, fn != nil)
}

// push hands a datagram over, or an error.
func (c *pushConn) push(b []byte, addr net.Addr, err error) {
	c.mu.Lock()
	recv := c.recv
	c.mu.Unlock()
	if recv != nil {
		recv(b, addr, err)
	}
}

func (c *pushConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.net.mu.Lock()
	peer := c.net.conns[to.(letter)]
	c.net.mu.Unlock()
	if peer != nil {
		b := bytes.Clone(b)
		time.AfterFunc(10*millisecond, func() {
			peer.push(b, c.name, nil)
			for i := range b { // it was valid during the call only
				b[i] = 0xdb
			}
		})
	}
	return len(b), nil
}

func (c *pushConn) ReadFrom([]byte) (int, net.Addr, error) { panic("a PacketPusher is read") }
func (c *pushConn) SetReadDeadline(time.Time) error        { panic("nothing to be woken") }
func (c *pushConn) SetWriteDeadline(time.Time) error       { return nil }
func (c *pushConn) SetDeadline(time.Time) error            { return nil }
func (c *pushConn) LocalAddr() net.Addr                    { return c.name }
func (c *pushConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

// wantReleased checks that a receiver was set, and taken off once.
func (c *pushConn) wantReleased(t *testing.T, closed bool) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sets) != 2 || !c.sets[0] || c.sets[1] || c.closed != closed {
		t.Errorf("%s: receivers set %v, closed %t, want one that was taken off, and %t", c.name, c.sets, c.closed, closed)
	}
}

var _ PacketPusher = (*pushConn)(nil)

// A session and a listener on PacketPushers carry everything, with no goroutine that reads, and give
// them back.
func TestPacketPusher(t *testing.T) {
	for _, own := range []bool{false, true} {
		virtual(t, netem.Path{}, func(w *world) {
			spec := cipherSpecs[0]
			cfg := w.config(mustCrypt(t, spec, make([]byte, spec.keySize)), 4, 2)
			cfg.roam = false // else a timer looks whether the machine has slept, and has a goroutine
			var pushers pushNet
			here, there := pushers.listen("here"), pushers.listen("there")
			before := w.goroutines()
			l := newListener(cfg, newSocket(there, own))
			client, err := cfg.dialConn(w.convs.next(), there.name, own, here)
			if err != nil {
				w.Fatal(err)
			}
			if n := w.goroutines(); n > before {
				w.Errorf("%d goroutines more", n-before)
			}
			client.Write([]byte("hello"))
			server, err := l.AcceptKCP()
			if err != nil {
				w.Fatal(err)
			}
			io.ReadFull(server, make([]byte, 5))
			w.check(exchange(client, server, 500_000))
			client.CloseWrite()
			server.CloseWrite()
			w.awaitIdle()
			closeAll(client, server, l)
			<-client.Done()
			<-l.Done()
			here.wantReleased(t, own)
			there.wantReleased(t, own)

			for _, c := range []*pushConn{here, there} { // stragglers of a transport that is slow to hear
				c.first(make([]byte, 100), c.name, nil)
				c.first(nil, nil, nil)
				c.first(nil, nil, io.ErrUnexpectedEOF)
			}
		})
	}
}

// An error that ends reading ends a session, one that does not is nothing, and nothing follows it.
func TestPacketPusherErrors(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		var pushers pushNet
		conn := pushers.listen("here")
		s, err := cfg.dialConn(1, letter("nowhere"), false, conn)
		if err != nil {
			w.Fatal(err)
		}
		for range 2 * readFailures {
			conn.push(nil, nil, os.NewSyscallError("recvmsg", syscall.ECONNREFUSED))
		}
		conn.push(make([]byte, mtuLimit+1), letter("nowhere"), nil)
		conn.push(nil, letter("nowhere"), nil)
		conn.push([]byte("not a segment, and of nobody"), nil, nil)
		if err := s.Cause(); err != nil {
			w.Fatal(err)
		}
		failure := errors.New("the transport is gone")
		conn.push(nil, nil, failure)
		if !errors.Is(s.Cause(), failure) || !errors.Is(s.Cause(), syscall.ECONNABORTED) {
			w.Errorf("cause %v", s.Cause())
		}
		conn.push(nil, nil, errors.New("another"))
		conn.push(make([]byte, IKCP_OVERHEAD), letter("nowhere"), nil)
		if !errors.Is(s.Cause(), failure) {
			w.Errorf("cause %v", s.Cause())
		}
		s.Close()
		<-s.Done()
		conn.wantReleased(t, false)

		conn = pushers.listen("there")
		l := newListener(cfg, newSocket(conn, false))
		conn.push(nil, nil, failure)
		_, err = l.AcceptKCP()
		wantError(t, "accept", err, failure)
		<-l.Done()
		l.Close()
		synctest.Wait()
		conn.wantReleased(t, false)
	})
}

// Several goroutines push at a time, and Close comes in between.
func TestPacketPusherConcurrently(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		var pushers pushNet
		conn := pushers.listen("here")
		l := newListener(cfg, newSocket(conn, false))
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 200 {
					b := segment(uint32(i%10), IKCP_CMD_PUSH, uint32(i/10), []byte("data"))
					conn.push(b, letter(rune('a'+g)), nil)
				}
			})
		}
		for range 40 {
			s, err := l.AcceptKCP()
			if err != nil {
				w.Fatal(err)
			}
			s.SetLinger(0)
			s.Close()
		}
		l.Close()
		wg.Wait()
		<-l.Done()
		conn.wantReleased(t, false)
	})
}
