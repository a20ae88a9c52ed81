package kcp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// examplePair returns a session over loopback and its other end, which has read a greeting.
func examplePair() (client, server *kcp.UDPSession) {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	if client, err = kcp.DialWithOptions(l.Addr().String(), nil, 0, 0); err != nil {
		log.Fatal(err)
	}
	client.Write([]byte("hi"))
	if server, err = l.AcceptKCP(); err != nil {
		log.Fatal(err)
	}
	io.ReadFull(server, make([]byte, 2))
	return client, server
}

// Messages that are worthless when they are late go beside the stream.
func ExampleUDPSession_SendDatagram() {
	client, server := examplePair()
	defer client.Close()
	defer server.Close()

	if err := client.SendDatagram([]byte("x=3 y=4")); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := server.ReceiveDatagram(ctx)
	fmt.Println(string(b), err)
	// Output: x=3 y=4 <nil>
}

// A frame that has not left within 100 ms is not worth sending any more, and must not hold up the next.
func ExampleUDPSession_WriteMessage() {
	client, server := examplePair()
	defer client.Close()
	defer server.Close()

	frame := []byte("frame 1")
	if err := client.WriteMessage(frame, time.Now().Add(100*time.Millisecond)); err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, server.MaxMessageSize())
	n, err := server.Read(buf)
	fmt.Println(string(buf[:n]), err)
	// Output: frame 1 <nil>
}

// An event loop reads a session when it is told to, until there is nothing left. Many sessions can
// share the channel; examples/events is a server of ten thousand.
func ExampleUDPSession_SetReadNotify() {
	client, server := examplePair()
	defer client.Close()
	defer server.Close()

	ready := make(chan struct{}, 1)
	server.SetReadNotify(func() {
		select {
		case ready <- struct{}{}:
		default: // one is waiting
		}
	})
	client.Write([]byte("hello"))
	client.CloseWrite()

	buf := make([]byte, 1500)
	for range ready {
		for {
			n, err := server.TryRead(buf)
			if err == io.EOF {
				fmt.Println("the end")
				return
			}
			if n == 0 || err != nil {
				break
			}
			fmt.Println(string(buf[:n]))
		}
	}
	// Output:
	// hello
	// the end
}

// TryRead returns 0 and no error where Read would wait.
func ExampleUDPSession_TryRead() {
	client, server := examplePair()
	defer client.Close()
	defer server.Close()

	n, err := server.TryRead(make([]byte, 100))
	fmt.Println(n, err)
	client.Close()
	for err == nil {
		n, err = server.TryRead(make([]byte, 100))
	}
	fmt.Println(n, err)
	// Output:
	// 0 <nil>
	// 0 EOF
}

// TryWrite queues what there is room for.
func ExampleUDPSession_TryWrite() {
	s, err := kcp.DialWithOptions("127.0.0.1:9", nil, 0, 0) // nobody is there
	if err != nil {
		log.Fatal(err)
	}
	defer s.Abort()
	s.SetWindowSize(32, 32)
	s.SetMtu(1024)
	n, err := s.TryWrite(make([]byte, 100_000))
	fmt.Println(n > 0 && n < 100_000, err)
	n, err = s.TryWrite(make([]byte, 100_000))
	fmt.Println(n, err)
	// Output:
	// true <nil>
	// 0 <nil>
}

// An event loop goes on writing when it is told that there is room again.
func ExampleUDPSession_SetWriteNotify() {
	client, server := examplePair()
	defer client.Close()
	defer server.Close()
	go io.Copy(io.Discard, server)

	room := make(chan struct{}, 1)
	client.SetWriteNotify(func() {
		select {
		case room <- struct{}{}:
		default:
		}
	})
	data := make([]byte, 10_000_000)
	for range room {
		n, err := client.TryWrite(data)
		if err != nil {
			log.Fatal(err)
		}
		if data = data[n:]; len(data) == 0 {
			break
		}
	}
	fmt.Println(client.Stats().BytesSent, "bytes")
	// Output: 10000002 bytes
}

// allowance is the simplest bucket: each byte takes its time. One of github.com/juju/ratelimit does
// as well.
type allowance int64 // bytes a second

func (a allowance) Take(count int64) time.Duration {
	return time.Duration(count) * time.Second / time.Duration(a)
}

func ExampleUDPSession_SetBucket() {
	client, server := examplePair()
	defer client.Close()
	defer server.Close()

	client.SetBucket(allowance(1_000_000))
	start := time.Now()
	go client.Write(make([]byte, 100_000))
	io.CopyN(io.Discard, server, 100_000)
	fmt.Println("less than 100 ms:", time.Since(start) < 95*time.Millisecond)
	client.SetBucket(nil)
	// Output: less than 100 ms: false
}

// Lines for log/slog: slog.Debug is such a function, too.
func ExampleUDPSession_SetLogger() {
	client, server := examplePair()
	defer client.Close()
	defer server.Close()

	client.SetLogger(kcp.IKCP_LOG_SEND|kcp.IKCP_LOG_OUT_PUSH, func(msg string, args ...any) {
		for i := 0; i < len(args); i += 2 {
			if args[i] == "sn" || args[i] == "len" {
				msg += fmt.Sprintf(" %v=%v", args[i], args[i+1])
			}
		}
		fmt.Println(msg)
	})
	client.Write([]byte("hello"))
	client.SetLogger(0, nil)
	// Output:
	// kcp send len=5
	// kcp output push sn=1 len=5
}

// wire is one end of a transport in memory, which pushes what it gets.
type wire struct {
	name    wireName
	peer    *wire
	packets chan []byte
	closed  chan struct{}
}

func newWire(name wireName) *wire {
	return &wire{name: name, packets: make(chan []byte, 100), closed: make(chan struct{})}
}

type wireName string

func (wireName) Network() string  { return "wire" }
func (n wireName) String() string { return string(n) }

func (w *wire) SetPacketReceiver(fn func(b []byte, addr net.Addr, err error)) {
	if fn == nil {
		close(w.closed)
		return
	}
	go func() { // a goroutine of the transport's, which may serve many
		for {
			select {
			case b := <-w.packets:
				fn(b, w.peer.name, nil)
			case <-w.closed:
				return
			}
		}
	}()
}

func (w *wire) WriteTo(b []byte, _ net.Addr) (n int, err error) {
	select {
	case w.peer.packets <- append([]byte(nil), b...):
	case <-w.peer.closed:
	}
	return len(b), nil
}

func (w *wire) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, net.ErrClosed }
func (w *wire) Close() error                           { return nil }
func (w *wire) LocalAddr() net.Addr                    { return w.name }
func (w *wire) SetDeadline(time.Time) error            { return nil }
func (w *wire) SetReadDeadline(time.Time) error        { return nil }
func (w *wire) SetWriteDeadline(time.Time) error       { return nil }

// Sessions over a transport that hands packets over by itself.
func ExamplePacketPusher() {
	here, there := newWire("here"), newWire("there")
	here.peer, there.peer = there, here

	l, err := kcp.ServeConn(nil, 0, 0, there)
	if err != nil {
		log.Fatal(err)
	}
	s, err := kcp.NewConn2(there.name, nil, 0, 0, here)
	if err != nil {
		log.Fatal(err)
	}
	s.Write([]byte("hello"))
	peer, err := l.AcceptKCP()
	if err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 5)
	io.ReadFull(peer, b)
	fmt.Println(string(b), "from", peer.RemoteAddr())

	s.Close()
	peer.Close()
	l.Close()
	<-s.Done()
	<-l.Done()
	// Output: hello from here
}
