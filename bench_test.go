package kcp

import (
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// discard is a sink that drops what a core sends.
type discard struct{ buf [mtuLimit]byte }

func (d *discard) buffer(int) []byte     { return d.buf[:] }
func (d *discard) emit(int64, int, bool) {}

// filledCore returns a core with a full window of wnd segments in flight.
func filledCore(wnd int) *KCP {
	k := newCore(1, new(discard), &packets, new(Snmp), 0)
	k.NoDelay(1, 10, 2, 1)
	k.WndSize(wnd, wnd)
	k.flow.peerWnd = uint32(wnd)
	msg := make([]byte, k.mss)
	for range wnd {
		k.Send(msg)
	}
	k.flush(1)
	return k
}

var benchWindows = []int{32, 1024, 32768}

// BenchmarkAck is the cost of one acknowledgement and of the segment that takes the place of the
// acknowledged one, with a full window in flight.
func BenchmarkAck(b *testing.B) {
	for _, wnd := range benchWindows {
		b.Run(fmt.Sprint(wnd), func(b *testing.B) {
			k := filledCore(wnd)
			msg := make([]byte, 64)
			var seg [IKCP_OVERHEAD]byte
			now := int64(1)
			b.ReportAllocs()
			for b.Loop() {
				sn := k.snd.una
				h := header{conv: 1, cmd: IKCP_CMD_ACK, wnd: uint16(wnd), sn: sn, una: sn, ts: k.snd.at(sn).ts}
				h.put(seg[:])
				now += 100
				k.input(now, seg[:], true)
				k.Send(msg)
				k.flush(now)
			}
		})
	}
}

// BenchmarkAckSelective is the same for acknowledgements above a hole: the oldest segment stays,
// and its retransmission timer with it.
func BenchmarkAckSelective(b *testing.B) {
	for _, wnd := range benchWindows {
		b.Run(fmt.Sprint(wnd), func(b *testing.B) {
			k := filledCore(wnd)
			k.NoDelay(-1, -1, 0, -1)
			var seg [IKCP_OVERHEAD]byte
			sn := k.snd.una + 1
			b.ReportAllocs()
			for b.Loop() {
				if sn == k.snd.nxt {
					b.StopTimer()
					k.release()
					k = filledCore(wnd)
					k.NoDelay(-1, -1, 0, -1)
					sn = k.snd.una + 1
					b.StartTimer()
				}
				h := header{conv: 1, cmd: IKCP_CMD_ACK, wnd: uint16(wnd), sn: sn, una: k.snd.una, ts: k.snd.at(sn).ts}
				h.put(seg[:])
				k.input(1, seg[:], true)
				sn++
			}
		})
	}
}

// BenchmarkFlush is the cost of a flush that finds nothing to do, with a full window in flight.
func BenchmarkFlush(b *testing.B) {
	for _, wnd := range benchWindows {
		b.Run(fmt.Sprint(wnd), func(b *testing.B) {
			k := filledCore(wnd)
			b.ReportAllocs()
			for b.Loop() {
				k.flush(2)
			}
		})
	}
}

// benchPair returns two ends of a connection on loopback.
func benchPair(b *testing.B) (client, server *UDPSession) {
	l, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	l.SetDeadline(time.Now().Add(realPatience))
	client = dialUDP(b, l.Addr().String(), nil, 0, 0)
	client.Write([]byte{0})
	server, err = l.AcceptKCP()
	if err != nil {
		b.Fatal(err)
	}
	server.SetDeadline(time.Now().Add(realPatience))
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	for _, s := range []*UDPSession{client, server} {
		s.SetStreamMode(true)
		s.SetNoDelay(1, 10, 2, 1)
		s.SetWindowSize(1024, 1024)
		s.SetDeadline(time.Now().Add(5 * time.Minute))
	}
	b.Cleanup(func() {
		client.Close()
		server.Close()
		l.Close()
	})
	return client, server
}

func BenchmarkEchoSpeed4K(b *testing.B)   { echoSpeed(b, 4<<10) }
func BenchmarkEchoSpeed64K(b *testing.B)  { echoSpeed(b, 64<<10) }
func BenchmarkEchoSpeed512K(b *testing.B) { echoSpeed(b, 512<<10) }
func BenchmarkEchoSpeed1M(b *testing.B)   { echoSpeed(b, 1<<20) }

// BenchmarkEchoSmall is the round trip of 64 bytes.
func BenchmarkEchoSmall(b *testing.B) { echoSpeed(b, 64) }

// BenchmarkEchoACKNoDelay is BenchmarkEchoSmall where nothing waits for a timer. It also counts the
// datagrams of a round trip.
func BenchmarkEchoACKNoDelay(b *testing.B) {
	client, server := benchPair(b)
	go io.Copy(server, server)
	client.SetACKNoDelay(true)
	server.SetACKNoDelay(true)
	msg := make([]byte, 64)
	b.ReportAllocs()
	before := DefaultSnmp.Copy().OutPkts
	for b.Loop() {
		client.Write(msg)
		if _, err := io.ReadFull(client, msg); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(DefaultSnmp.Copy().OutPkts-before)/float64(b.N), "datagrams/op")
}

func echoSpeed(b *testing.B, size int) {
	client, server := benchPair(b)
	go io.Copy(server, server)
	msg, back := make([]byte, size), make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		sent := make(chan struct{})
		if size > 64<<10 { // more than the windows hold: read while writing
			go func() { client.Write(msg); close(sent) }()
		} else {
			client.Write(msg)
			close(sent)
		}
		if _, err := io.ReadFull(client, back); err != nil {
			b.Fatal(err)
		}
		<-sent
	}
}

func BenchmarkSinkSpeed4K(b *testing.B)   { sinkSpeed(b, 4<<10) }
func BenchmarkSinkSpeed64K(b *testing.B)  { sinkSpeed(b, 64<<10) }
func BenchmarkSinkSpeed256K(b *testing.B) { sinkSpeed(b, 256<<10) }
func BenchmarkSinkSpeed1M(b *testing.B)   { sinkSpeed(b, 1<<20) }

func sinkSpeed(b *testing.B, size int) {
	client, server := benchPair(b)
	msg := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var received atomic.Int64
	ended := make(chan error, 1)
	go func() {
		buf := make([]byte, 256<<10)
		for {
			n, err := server.Read(buf)
			received.Add(int64(n))
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	sent := int64(0)
	for b.Loop() {
		n, err := client.Write(msg)
		sent += int64(n)
		if err != nil {
			b.Fatal(err)
		}
	}
	for received.Load() < sent { // a window at most
		select {
		case err := <-ended:
			b.Fatal(err)
		default:
			runtime.Gosched()
		}
	}
}
