package kcp_test

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// One socket that listens, dials, and reads what is not KCP.
func ExampleTransport() {
	ctx := context.Background()
	var sockets [2]*kcp.Transport
	for i := range sockets {
		t, err := kcp.OpenTransport("udp", "127.0.0.1:0")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer t.Close()
		sockets[i] = t
	}
	a, b := sockets[0], sockets[1]

	l, err := b.Listen(&kcp.ListenConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(conn, conn)
		}
	}()
	for _, name := range []string{"Alice", "Bob"} { // two sessions with one peer
		s, err := a.Dial(ctx, &kcp.Dialer{}, b.LocalAddr())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Fprint(s, name)
		answer := make([]byte, len(name))
		io.ReadFull(s, answer)
		fmt.Println(string(answer), "by a session")
	}

	got := make(chan string)
	go func() {
		buf := make([]byte, 1500)
		n, _, err := b.ReadNonKCP(ctx, buf)
		if err != nil {
			fmt.Println(err)
		}
		got <- string(buf[:n])
	}()
	for { // until it is being read
		a.WriteTo([]byte("a datagram of another protocol"), b.LocalAddr())
		select {
		case text := <-got:
			fmt.Println(text)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	// Output:
	// Alice by a session
	// Bob by a session
	// a datagram of another protocol
}
