package kcp_test

import (
	"fmt"
	"io"
	"log"
	"net"

	kcp "github.com/xtaci/kcp-go/v5"
)

// A server that echoes, and a client.
func Example() {
	l, err := kcp.Listen("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.CopyN(conn, conn, 5)
	}()

	conn, err := kcp.Dial(l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("hello"))
	reply := make([]byte, 5)
	io.ReadFull(conn, reply)
	fmt.Printf("%s\n", reply)
	// Output: hello
}

// Both ends encrypt with one key, and send 3 parity datagrams for every 10 of data.
func ExampleDialWithOptions() {
	block, err := kcp.NewAESGCMCrypt([]byte("sixteen byte key"))
	if err != nil {
		log.Fatal(err)
	}
	l, err := kcp.ListenWithOptions("127.0.0.1:0", block, 10, 3)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	conn, err := kcp.DialWithOptions(l.Addr().String(), block, 10, 3)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	conn.SetNoDelay(1, 10, 2, 0)
	conn.Write([]byte("secret"))

	peer, err := l.AcceptKCP()
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()
	message := make([]byte, 64)
	n, _ := peer.Read(message)
	fmt.Printf("%s\n", message[:n])
	// Output: secret
}

// The PacketConns are the caller's: sessions use them and leave them as they were.
func ExampleNewConn() {
	here, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer here.Close()
	there, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer there.Close()

	l, err := kcp.ServeConn(nil, 0, 0, there)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	conn, err := kcp.NewConn(there.LocalAddr().String(), nil, 0, 0, here)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("over my own socket"))

	peer, err := l.Accept()
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()
	message := make([]byte, 64)
	n, _ := peer.Read(message)
	fmt.Printf("%s\n", message[:n])
	// Output: over my own socket
}
