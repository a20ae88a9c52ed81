package kcp_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// A Dialer and a ListenConfig with the settings of an interactive service: encrypted, low latency,
// and a dial that fails when nobody answers.
func ExampleDialer() {
	block, err := kcp.NewAESGCMCrypt(make([]byte, 16)) // a key that both ends have
	if err != nil {
		fmt.Println(err)
		return
	}
	settings := kcp.Settings{
		Block:      block,
		Profile:    kcp.LowLatency,
		StreamMode: true,
		KeepAlive:  15 * time.Second,
	}

	lc := kcp.ListenConfig{Settings: settings}
	l, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(conn, conn)
	}()

	d := kcp.Dialer{Settings: settings, WaitForPeer: true, Timeout: 5 * time.Second}
	conn, err := d.DialContext(context.Background(), "udp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "hello")
	reply := make([]byte, 5)
	io.ReadFull(conn, reply)
	fmt.Println(string(reply))
	// Output: hello
}

// All settings over a PacketConn of the caller's, which is the caller's again when the session is
// done.
func ExampleDialer_DialConn() {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	lc := kcp.ListenConfig{OwnConn: true}
	l, err := lc.ListenConn(server)
	if err != nil {
		fmt.Println(err)
		return
	}

	client, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	d := kcp.Dialer{Settings: kcp.Settings{Congestion: kcp.NewConservation, SendWindow: 1024}}
	s, err := d.DialConn(context.Background(), client, l.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(s, "hello")

	peer, err := l.AcceptKCP()
	if err != nil {
		fmt.Println(err)
		return
	}
	buf := make([]byte, 5)
	io.ReadFull(peer, buf)
	fmt.Println(string(buf))

	s.Close()
	peer.Close()
	l.Close()
	<-s.Done()
	<-l.Done()
	fmt.Println(s.Cause())
	// Output:
	// hello
	// use of closed network connection
}

// Accept until a context is over.
func ExampleListener_AcceptContext() {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = l.AcceptContext(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

// What a session has done, and why it is slow.
func ExampleUDPSession_Stats() {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	s, err := kcp.DialWithOptions(l.Addr().String(), nil, 0, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Fprint(s, "hello")
	st := s.Stats()
	fmt.Println(st.BytesSent, "bytes written,", st.LostTimeout, "segments lost by timeout")
	fmt.Println("limited by the", st.SendLimit)
	// Output:
	// 5 bytes written, 0 segments lost by timeout
	// limited by the application
}

// A bitrate for an encoder that follows the path, asked for once a second.
func ExampleStats() {
	next := func(bitrate int64, st *kcp.Stats) int64 { // in bytes a second
		switch {
		case st.DeliveryRate == 0: // unknown yet
			return bitrate
		case st.QueueingDelay > 100*time.Millisecond || st.SendLimit != kcp.LimitApplication:
			return min(bitrate, st.DeliveryRate*8/10) // what is queued has to drain
		case st.DeliveryRateAppLimited: // the path may carry more
			return bitrate + bitrate/20
		}
		return st.DeliveryRate * 9 / 10
	}
	st := kcp.Stats{DeliveryRate: 400_000, DeliveryRateAppLimited: true, SendLimit: kcp.LimitApplication}
	fmt.Println(next(300_000, &st))
	st.QueueingDelay = 150 * time.Millisecond
	fmt.Println(next(400_000, &st))
	// Output:
	// 315000
	// 320000
}

// fixedWindow is a congestion control of the program's own: a fixed window and no pacing.
type fixedWindow int

func (fixedWindow) Sent(now time.Duration, bytes, inFlight int)               {}
func (fixedWindow) Acked(now time.Duration, s *kcp.RateSample)                {}
func (fixedWindow) Lost(now time.Duration, bytes, inFlight int, timeout bool) {}
func (fixedWindow) Spurious(now time.Duration, bytes int)                     {}
func (w fixedWindow) Window() int                                             { return int(w) }
func (fixedWindow) PacingRate() int64                                         { return 0 }

// A congestion control of the program's own.
func ExampleCongestionControl() {
	d := kcp.Dialer{Settings: kcp.Settings{
		Congestion: func() kcp.CongestionControl { return fixedWindow(64 << 10) },
	}}
	conn, err := d.Dial("udp", "127.0.0.1:9")
	if err != nil {
		fmt.Println(err)
		return
	}
	s := conn.(*kcp.UDPSession)
	defer s.Abort()
	fmt.Fprint(s, "hello")
	fmt.Println(s.Stats().CongestionWindow)
	// Output: 65536
}

// The core alone, over a transport of the program's own: here a function call.
func ExampleKCP() {
	var a, b *kcp.KCP
	a = kcp.NewKCP(7, func(buf []byte, size int) { b.Input(buf[:size], true, false) })
	b = kcp.NewKCP(7, func(buf []byte, size int) { a.Input(buf[:size], true, false) })

	a.Send(binary.LittleEndian.AppendUint32(nil, 42))
	a.Update() // once an interval, or when Check says
	b.Update()

	buf := make([]byte, 100)
	n := b.Recv(buf)
	fmt.Println(n, "bytes:", binary.LittleEndian.Uint32(buf))
	fmt.Println(a.WaitSnd(), "segments not acknowledged")
	// Output:
	// 4 bytes: 42
	// 0 segments not acknowledged
}

// Errors are those of package net.
func ExamplePeerTimeoutError() {
	conn, err := kcp.Dial("127.0.0.1:9")
	if err != nil {
		fmt.Println(err)
		return
	}
	s := conn.(*kcp.UDPSession)
	defer s.Abort()
	s.SetReadDeadline(time.Now().Add(-time.Second))
	_, err = s.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	s.SetReadDeadline(time.Time{})
	s.SetIdleTimeout(10 * time.Millisecond)
	_, err = s.Read(make([]byte, 1))
	var timeout *kcp.PeerTimeoutError
	fmt.Println(errors.As(err, &timeout))
	// Output:
	// true
	// true
}
