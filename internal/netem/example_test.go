package netem_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

func Example() {
	n := netem.New(1)
	defer n.Close()
	client, _ := n.Listen("192.0.2.1:0")
	server, _ := n.Listen("198.51.100.1:53")
	n.SetPath(client.LocalAddr(), server.LocalAddr(), netem.Path{
		Delay:     time.Millisecond,
		Bandwidth: 10e6 / 8, // 10 Mbit/s
		Overhead:  28,
	})

	client.WriteTo([]byte("hello"), server.LocalAddr())
	b := make([]byte, 1500)
	size, from, err := server.ReadFrom(b)
	fmt.Printf("%s from %v, %v\n", b[:size], from, err)
	// Output: hello from 192.0.2.1:49152, <nil>
}

// A tap drops exactly the datagram that a test is about.
func ExampleNetwork_SetTap() {
	a, b, err := netem.Pipe(1, netem.Path{}, netem.Path{})
	if err != nil {
		panic(err)
	}
	defer a.Network().Close()
	a.Network().SetTap(func(_, _ netip.AddrPort, b []byte) bool {
		return string(b) != "two"
	})
	for _, s := range []string{"one", "two", "three"} {
		a.WriteTo([]byte(s), b.LocalAddr())
	}
	s := a.Network().Stats(a.LocalAddr(), b.LocalAddr())
	fmt.Println(s.Sent, "sent,", s.Delivered, "delivered,", s.TapDrops, "dropped")
	// Output: 3 sent, 2 delivered, 1 dropped
}

// Two flows with delays of their own share one queue.
func ExampleNetwork_NewBottleneck() {
	n := netem.New(1)
	defer n.Close()
	near, _ := n.Listen("192.0.2.1:0")
	far, _ := n.Listen("192.0.2.2:0")
	server, _ := n.Listen("198.51.100.1:4000")
	shared, _ := n.NewBottleneck(netem.Path{Bandwidth: 100, Queue: 1500})
	for client, delay := range map[*netem.Conn]time.Duration{
		near: 5 * time.Millisecond,
		far:  100 * time.Millisecond,
	} {
		n.SetPath(client.LocalAddr(), server.LocalAddr(), netem.Path{Delay: delay})
		n.SetRoute(client.LocalAddr(), server.LocalAddr(), shared)
	}

	b := make([]byte, 1000)
	near.WriteTo(b, server.LocalAddr()) // is transmitted, for ten seconds
	near.WriteTo(b, server.LocalAddr()) // waits
	far.WriteTo(b, server.LocalAddr())  // finds the queue full
	fmt.Println(n.Stats(near.LocalAddr(), server.LocalAddr()).InFlight())
	fmt.Println(n.Stats(far.LocalAddr(), server.LocalAddr()).QueueDrops)
	// Output:
	// 2
	// 1
}
