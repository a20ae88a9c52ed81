package kcp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

// nowhere is a PacketConn on which nothing arrives and nothing leaves.
type nowhere struct {
	once   sync.Once
	closed chan struct{}
}

func newNowhere() *nowhere { return &nowhere{closed: make(chan struct{})} }

func (n *nowhere) ReadFrom([]byte) (int, net.Addr, error) {
	<-n.closed
	return 0, nil, net.ErrClosed
}
func (n *nowhere) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (n *nowhere) Close() error                              { n.once.Do(func() { close(n.closed) }); return nil }
func (n *nowhere) LocalAddr() net.Addr                       { return &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2000} }
func (n *nowhere) SetDeadline(time.Time) error               { return nil }
func (n *nowhere) SetReadDeadline(time.Time) error           { return nil }
func (n *nowhere) SetWriteDeadline(time.Time) error          { return nil }

// benchReader returns a reader of a listener, and a batch of datagrams from addresses of all kinds.
func benchReader(b *testing.B, cipher string, change func(*config), datagram func(i int) []byte) (*transportReader, []inbound) {
	cfg, err := newConfig(newCrypt(b, cipher), 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	cfg.sched, cfg.snmp = NewTimedSched(1), newSnmp()
	if change != nil {
		change(cfg)
	}
	l := newListener(cfg, newSocket(newNowhere(), true))
	b.Cleanup(func() {
		l.Close()
		for _, s := range l.known() {
			s.Abort()
		}
		cfg.sched.Close()
	})
	batch := make([]inbound, 64)
	for i := range batch {
		batch[i] = inbound{data: datagram(i), from: peerAddr{udp: addrOf(i)}}
	}
	return newTransportReader(l.t, l.t.socks[0]), batch
}

func addrOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1000)
}

// receiveAll has the batch received again and again, and reports the cost of a datagram. Opening changes
// what a datagram holds, to what does not open either.
func receiveAll(b *testing.B, r *transportReader, batch []inbound) {
	kept := append([]inbound(nil), batch...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		copy(batch, kept)
		r.receive(batch, clock())
		n += len(batch)
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/datagram")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(n), "B/datagram")
	b.ReportMetric(0, "ns/op")
}

// What a datagram costs a listener that was made without the key: nothing is kept of it.
func BenchmarkForgedDatagram(b *testing.B) {
	rnd := rand.NewChaCha8([32]byte{1})
	for _, cipher := range []string{"gcm", "aes", "salsa20"} {
		for _, size := range []int{69, 1400} {
			b.Run(fmt.Sprintf("%s/%d", cipher, size), func(b *testing.B) {
				r, batch := benchReader(b, cipher, nil, func(int) []byte {
					d := make([]byte, size)
					rnd.Read(d)
					return d
				})
				receiveAll(b, r, batch)
				if n := r.Stats().Sessions; n != 0 {
					b.Errorf("%d sessions", n)
				}
			})
		}
	}
}

// What a forged first datagram costs a listener without a cipher that has as many sessions of unproven
// peers as it may: it asks the sender.
func BenchmarkForgedAsked(b *testing.B) {
	r, batch := benchReader(b, "plain", func(cfg *config) { cfg.maxUnproven = 1 },
		func(i int) []byte { return forged(uint32(i+1), true) })
	receiveAll(b, r, batch)
	if n := r.Stats().Sessions; n > 1 {
		b.Errorf("%d sessions", n)
	}
}

// What one costs that makes a session, and what is kept of it.
func BenchmarkForgedSession(b *testing.B) {
	conv := uint32(0)
	r, batch := benchReader(b, "plain", func(cfg *config) { cfg.maxUnproven, cfg.maxUnprovenPerPrefix = 0, 0 },
		func(int) []byte { return forged(1, true) })
	go drain(r.listener.Load())
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, elapsed := 0, time.Duration(0)
	for b.Loop() {
		for i := range batch {
			conv++
			batch[i].data = forged(conv, true)
		}
		start := time.Now()
		r.receive(batch, clock())
		elapsed += time.Since(start)
		n += len(batch)
		for r.listener.Load().Stats().Backlog > 0 {
			runtime.Gosched()
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(elapsed.Nanoseconds())/float64(n), "ns/datagram")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "heapB/session")
	b.ReportMetric(0, "ns/op")
}
