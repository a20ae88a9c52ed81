package kcptest_test

import (
	"bytes"

	"io"
	"net/netip"
	"testing"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/kcptest"
)

// t is the *testing.T of the test that the body of an example is in.
var t *testing.T

// A megabyte takes a path that is far, slow and lossy. The time is that of the path, and passes at once.
func ExampleRun() {
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		n.SetPath(kcptest.Path{Delay: 50 * time.Millisecond, Rate: 1_000_000, Loss: 0.02})
		l, err := kcp.ServeConn(nil, 0, 0, n.Listen("10.0.0.1:4000"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := kcp.NewConn2(l.Addr(), nil, 0, 0, n.Listen("10.0.1.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			client.Write(make([]byte, 1_000_000))
			client.Close()
		}()

		start := time.Now()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		size, err := io.Copy(io.Discard, server)
		if took := time.Since(start); err != nil || size != 1_000_000 || took > 3*time.Second {
			t.Errorf("%d bytes after %v, %v", size, took, err)
		}
	})
}

// A program notices within its own bounds that the server is cut off, and goes on when that ends in time.
func ExampleNetwork_Partition() {
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		n.SetPath(kcptest.Path{Delay: 20 * time.Millisecond})
		l, client := open(t, n)
		defer l.Close()
		defer client.Close()
		client.SetUserTimeout(10 * time.Second)
		if err := ask(client, "hello"); err != nil {
			t.Fatal(err)
		}

		n.Partition(client.LocalAddr(), l.Addr())
		time.AfterFunc(5*time.Second, n.Heal)
		if err := ask(client, "are you there?"); err != nil {
			t.Errorf("after five seconds: %v", err)
		}

		n.Partition(client.LocalAddr(), l.Addr())
		start := time.Now()
		if err := ask(client, "and now?"); err == nil || time.Since(start) > 11*time.Second {
			t.Errorf("after %v: %v, want an error after the user timeout", time.Since(start), err)
		}
	})
}

// The first datagram of the answer is lost, and no other one.
func ExampleNetwork_SetFilter() {
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		n.SetPath(kcptest.Path{Delay: 20 * time.Millisecond})
		l, client := open(t, n)
		defer l.Close()
		defer client.Close()
		lost := 0
		n.SetFilter(func(from, to netip.AddrPort, payload []byte) bool {
			drop := from.String() == l.Addr().String() && bytes.Contains(payload, []byte("hello")) && lost == 0
			if drop {
				lost++
			}
			return !drop
		})

		start := time.Now()
		if err := ask(client, "hello"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); lost != 1 || took < 40*time.Millisecond || took > time.Second {
			t.Errorf("%d lost; the answer came after %v", lost, took)
		}
	})
}
