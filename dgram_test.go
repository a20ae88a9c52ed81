package kcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// dgramSink receives datagrams that begin with the time when they were sent.
type dgramSink struct {
	mu   sync.Mutex
	late []time.Duration
	size int
}

func (d *dgramSink) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.late)
}

// receive collects until the session ends.
func (d *dgramSink) receive(s *UDPSession) {
	for {
		b, err := s.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		d.mu.Lock()
		d.late = append(d.late, time.Duration(time.Now().UnixNano()-int64(binary.LittleEndian.Uint64(b))))
		d.size += len(b)
		d.mu.Unlock()
	}
}

// sendEvery sends datagrams of that size for a time, and returns how many.
func sendEvery(w *world, s *UDPSession, every, total time.Duration, size int) (n int) {
	b := make([]byte, size)
	for end := time.Now().Add(total); time.Now().Before(end); n++ {
		binary.LittleEndian.PutUint64(b, uint64(time.Now().UnixNano()))
		w.check(s.SendDatagram(b))
		time.Sleep(every)
	}
	return n
}

// Datagrams arrive as they are, each once, in whatever cipher and FEC, as many as the path lets through, and
// the losses of the stream beside them do not hold them up.
func TestDatagramsArrive(t *testing.T) {
	for _, c := range []struct {
		name string
		key  bool
		fec  int
	}{{"plain", false, 0}, {"AES", true, 0}, {"FEC", false, 4}} {
		t.Run(c.name, func(t *testing.T) {
			path := netem.Path{Delay: 30 * time.Millisecond, Bandwidth: 1e6, Queue: 1e5}
			virtual(t, path, func(w *world) {
				var block BlockCrypt
				if c.key {
					block, _ = NewAESBlockCrypt(make([]byte, 16))
				}
				client, server := w.pair(w.config(block, c.fec, c.fec/2))
				path.Loss = 0.05
				w.check(w.net.SetDefault(path))
				bulk := make(chan error, 1)
				stop := make(chan struct{})
				go func() {
					b := random(1, 10000)
					for {
						select {
						case <-stop:
							bulk <- client.CloseWrite()
							return
						default:
						}
						if _, err := client.Write(b); err != nil {
							bulk <- err
							return
						}
					}
				}()
				moved := make(chan int64, 1)
				go func() { n, _ := io.Copy(io.Discard, server); moved <- n }()
				got := make(map[uint32]int)
				received := make(chan struct{})
				go func() {
					defer close(received)
					for {
						b, err := server.ReceiveDatagram(context.Background())
						if err != nil {
							return
						}
						i := binary.LittleEndian.Uint32(b)
						got[i]++
						if !bytes.Equal(b[4:], random(uint64(i), len(b)-4)) {
							t.Errorf("datagram %d came with other bytes", i)
						}
					}
				}()
				const n = 600
				for i := range uint32(n) {
					b := append(binary.LittleEndian.AppendUint32(nil, i), random(uint64(i), int(i)%200)...)
					w.check(client.SendDatagram(b))
					time.Sleep(time.Second / 60)
				}
				close(stop)
				w.check(<-bulk)
				if b := <-moved; b < 5e6 {
					t.Errorf("the stream moved %d bytes in %d s", b, n/60)
				}
				<-received
				for i, k := range got {
					if k != 1 {
						t.Errorf("datagram %d arrived %d times", i, k)
					}
				}
				if len(got) < n*90/100 || c.fec == 0 && len(got) == n {
					t.Errorf("%d of %d arrived", len(got), n)
				}
				st := client.Stats()
				if st.UnreliableSent != n || st.UnreliableDropped > 0 {
					t.Errorf("%d sent, %d dropped", st.UnreliableSent, st.UnreliableDropped)
				}
				closeAll(client, server)
			})
		})
	}
}

// To a peer that has not said that it takes them, no datagrams are sent.
func TestDatagramsToOthers(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		var seen int
		w.watch(func(_, _ netip.AddrPort, b []byte) bool {
			for h, rest, ok := nextSegment(segmentConv(b), b); ok; h, rest, ok = nextSegment(h.conv, rest) {
				if h.cmd >= cmdDGRAM {
					seen++
				}
			}
			return true
		})
		cfg := w.config(nil, 0, 0)
		old := *cfg
		client, server := w.join(cfg, deployed(&old))
		for _, s := range []*UDPSession{client, server} {
			if err := s.SendDatagram([]byte("?")); !errors.Is(err, errors.ErrUnsupported) || s.MaxDatagramSize() != 0 {
				t.Errorf("%v, at most %d bytes", err, s.MaxDatagramSize())
			}
		}
		w.awaitIdle()
		if seen > 0 {
			t.Errorf("%d segments that such a peer does not take", seen)
		}
		closeAll(client, server)
	})
}

// What waits for a peer that turns out not to take datagrams is dropped, and counted.
func TestDatagramsRefused(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		old := *cfg
		l := w.listen(deployed(&old), "10.0.0.2:2000")
		client := w.dial(cfg, l)
		for range 20 {
			w.check(client.SendDatagram([]byte("?")))
		}
		_, err := client.Write([]byte("hello"))
		w.check(err)
		server, err := l.AcceptKCP()
		w.check(err)
		w.awaitIdle()
		if st := client.Stats(); st.UnreliableDropped != 20 || st.UnreliableSent != 0 {
			t.Errorf("%d dropped, %d sent", st.UnreliableDropped, st.UnreliableSent)
		}
		closeAll(client, server, l)
	})
}

// The first datagrams wait until it is known that the peer takes them: a round trip after it was heard.
func TestFirstDatagrams(t *testing.T) {
	virtual(t, netem.Path{Delay: 30 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.dial(cfg, l)
		for _, m := range []string{"one", "two"} {
			w.check(client.SendDatagram([]byte(m)))
		}
		_, err := client.Write([]byte("hello"))
		w.check(err)
		server, err := l.AcceptKCP()
		w.check(err)
		since := time.Now()
		for _, m := range []string{"one", "two"} {
			if b, err := server.ReceiveDatagram(context.Background()); string(b) != m {
				t.Errorf("%q, %v", b, err)
			}
		}
		if took := time.Since(since); took > 150*time.Millisecond {
			t.Errorf("they came %v after the first data", took)
		}
		closeAll(client, server, l)
	})
}

// What congestion control does not let go waits, and of what waits the oldest is dropped. Alone, without any
// stream that is acknowledged, datagrams find the rate of the path.
func TestDatagramsFollowThePath(t *testing.T) {
	for _, c := range []struct {
		name              string
		loss              float64
		every             time.Duration // of 1000 bytes
		stream            bool
		arrive, sent, p99 float64 // share of them, of the link's bytes, and seconds
	}{
		{"half of it", 0, 2 * time.Millisecond, false, 1, 0, 0.05},
		{"half of it, 5% lost", 0.05, 2 * time.Millisecond, false, 0.94, 0, 0.05},
		{"twice as much", 0, time.Millisecond / 2, false, 0.42, 1.1, 0.25},
		{"twice as much, 5% lost", 0.05, time.Millisecond / 2, false, 0.38, 1.15, 0.25},
		{"half of it beside a stream", 0, 2 * time.Millisecond, true, 0.97, 1.1, 0.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := netem.Path{Delay: 20 * time.Millisecond, Bandwidth: 1e6, Queue: 1e5}
			virtual(t, path, func(w *world) {
				client, server := w.pair(w.config(nil, 0, 0))
				path.Loss = c.loss
				w.check(w.net.SetDefault(path))
				var sink dgramSink
				go sink.receive(server)
				moved := 0
				if c.stream {
					go func() {
						for b := make([]byte, 1e5); ; {
							if _, err := client.Write(b); err != nil {
								return
							}
						}
					}()
					go func() {
						for b := make([]byte, 1e5); ; {
							n, err := server.Read(b)
							if err != nil {
								return
							}
							moved += n
						}
					}()
				}
				const took = 20 * time.Second
				n := sendEvery(w, client, c.every, took, 1000)
				st := client.Stats()
				w.sleep(time.Second)
				got := sink.count()
				t.Logf("%d of %d arrived, p99 %v; %d bytes of the stream; on the wire %.2f of the link", got, n, p99(sink.late),
					moved, float64(st.WireBytesSent)/took.Seconds()/1e6)
				if share := float64(got) / float64(n); share < c.arrive {
					t.Errorf("%.3f arrived, want %.2f", share, c.arrive)
				}
				if late := p99(sink.late); late.Seconds() > c.p99 {
					t.Errorf("the last percent took %v", late)
				}
				if c.sent > 0 && float64(st.WireBytesSent) > c.sent*took.Seconds()*1e6 {
					t.Errorf("%d bytes were sent, more than %.2f of what the link carries", st.WireBytesSent, c.sent)
				}
				if c.stream && moved < 0.35*20e6 {
					t.Errorf("the stream moved %d bytes", moved)
				}
				client.Abort()
				server.Abort()
			})
		})
	}
}

// Errors, and the end.
func TestDatagramErrors(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		most := client.MaxDatagramSize()
		if err := client.SendDatagram(make([]byte, most+1)); err == nil {
			t.Errorf("%d bytes were taken, MaxDatagramSize is %d", most+1, most)
		}
		w.check(client.SendDatagram(make([]byte, most)))
		w.check(client.SendDatagram(nil))
		for _, size := range []int{most, 0} {
			if b, err := server.ReceiveDatagram(context.Background()); len(b) != size || err != nil {
				t.Errorf("%d bytes, %v, want %d", len(b), err, size)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := server.ReceiveDatagram(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after the context's deadline", err)
		}
		w.check(client.SendDatagram([]byte("last")))
		w.check(client.CloseWrite())
		if err := client.SendDatagram(nil); !errors.Is(err, errPipe) {
			t.Errorf("%v after CloseWrite", err)
		}
		w.awaitIdle()
		if b, err := server.ReceiveDatagram(context.Background()); string(b) != "last" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		if _, err := server.ReceiveDatagram(context.Background()); err != io.EOF {
			t.Errorf("%v at the end", err)
		}
		over := make(chan error)
		go func() { _, err := client.ReceiveDatagram(context.Background()); over <- err }()
		w.awaitIdle()
		client.Close()
		if err := <-over; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v after Close", err)
		}
		wantClosed(t, client.SendDatagram(nil))
		closeAll(server)
	})
}

// Of datagrams that nobody reads the newest are kept.
func TestDatagramQueue(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		cfg.dgramsMax = 8
		client, server := w.pair(cfg)
		w.check(client.SendDatagram([]byte{255})) // finds out that the peer takes them
		w.awaitIdle()
		for i := range byte(30) {
			w.check(client.SendDatagram([]byte{i}))
			time.Sleep(time.Millisecond)
		}
		w.awaitIdle()
		for i := byte(22); i < 30; i++ {
			if b, err := server.ReceiveDatagram(context.Background()); err != nil || b[0] != i {
				t.Errorf("%v, %v, want %d", b, err, i)
			}
		}
		if st := server.Stats(); st.UnreliableReceived != 31 || st.UnreliableDropped != 23 {
			t.Errorf("%d received, %d dropped", st.UnreliableReceived, st.UnreliableDropped)
		}
		closeAll(client, server)
	})
}

// Whatever a REPORT says, what is in flight stays what it is.
func TestForgedReports(t *testing.T) {
	noteSeed(t)
	r := rand.New(rand.NewPCG(testSeed, 9))
	var h sentHistory
	now, sent, ts := int64(0), uint32(0), uint32(0)
	for range 20000 {
		now += int64(r.IntN(3)) * int64(time.Millisecond)
		ts = micros(now)
		switch r.IntN(4) {
		case 0:
			h.arrived(ts-uint32(r.IntN(1e5)), r.Uint32N(2*sent+1))
		case 1:
			h.expire(now, int64(r.IntN(100))*int64(time.Millisecond))
		default:
			sent++
			h.add(now, sentEntry{began: now, sentAt: now, ts: ts, sent: sent, segments: 1, dgrams: 1, bytes: 100},
				int64(r.IntN(50))*int64(time.Millisecond))
		}
		if h.inFlight < 0 || h.open > h.n || h.open == 0 != (h.inFlight == 0) {
			t.Fatalf("%d bytes in flight, %d of %d entries", h.inFlight, h.open, h.n)
		}
	}
}
