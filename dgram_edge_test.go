package kcp

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Datagrams before any data of the stream wait, and no timer runs meanwhile that could do nothing for them.
func TestDatagramsBeforeTheStream(t *testing.T) {
	virtual(t, netem.Path{Delay: 30 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.dial(cfg, l)
		w.check(client.awaitPeer(context.Background())) // it is known that the peer takes records
		w.check(client.SendDatagram([]byte("first")))
		client.mu.Lock()
		spins := client.core.deadline() <= clock()
		client.mu.Unlock()
		if spins {
			t.Error("something is always due, and nothing is done")
			client.Abort()
			l.Close()
			return
		}
		w.sleep(time.Second)
		_, err := client.Write([]byte("hello"))
		w.check(err)
		server, err := l.AcceptKCP()
		w.check(err)
		if b, err := server.ReceiveDatagram(context.Background()); string(b) != "first" {
			t.Errorf("%q, %v", b, err)
		}
		closeAll(client, server, l)
	})
}

// CloseRead ends the wait for datagrams, and what waits or comes then is not kept.
func TestDatagramsCloseRead(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		over := make(chan error, 1)
		go func() { _, err := server.ReceiveDatagram(context.Background()); over <- err }()
		w.awaitIdle()
		w.check(server.CloseRead())
		w.awaitIdle()
		select {
		case err := <-over:
			if err != io.EOF {
				t.Error(err)
			}
		default:
			t.Error("ReceiveDatagram still waits")
		}
		w.check(client.SendDatagram([]byte("late")))
		w.awaitIdle()
		if b, err := server.ReceiveDatagram(context.Background()); err != io.EOF {
			t.Errorf("%q, %v", b, err)
		}
		server.mu.Lock()
		if n := server.core.dgrams.in.n; n > 0 {
			t.Errorf("%d datagrams are kept", n)
		}
		server.mu.Unlock()
		closeAll(client, server)
	})
}

// Whatever brings a datagram twice, it is read once.
func TestDatagramsOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		path netem.Path
		dup  int
		fec  int
	}{
		{"the path repeats", netem.Path{Delay: 10 * time.Millisecond, Jitter: 10 * time.Millisecond, Duplicate: 0.3}, 0, 0},
		{"SetDUP", netem.Path{Delay: 10 * time.Millisecond}, 2, 0},
		{"late and rebuilt", netem.Path{Delay: 10 * time.Millisecond, Jitter: 30 * time.Millisecond}, 0, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, c.path, func(w *world) {
				client, server := w.pair(w.config(nil, c.fec, c.fec))
				client.SetDUP(c.dup)
				const n = 50
				for i := range byte(n) {
					w.check(client.SendDatagram([]byte{i}))
					time.Sleep(5 * time.Millisecond)
				}
				w.awaitIdle()
				var got [n]int
				for range server.Stats().UnreliableReceived {
					b, err := server.ReceiveDatagram(context.Background())
					w.check(err)
					got[b[0]]++
				}
				for i, k := range got {
					if k != 1 {
						t.Errorf("datagram %d was read %d times", i, k)
					}
				}
				closeAll(client, server)
			})
		})
	}
}

// A REPORT tells the path's loss also where each datagram is sent more than once.
func TestDatagramsLossOfCopies(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.2}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		client.SetDUP(1)
		for range 1000 {
			w.check(client.SendDatagram([]byte("again")))
			time.Sleep(5 * time.Millisecond)
		}
		client.mu.Lock()
		lost, sent := client.core.dgrams.history.lost, client.core.segmentsSent
		client.mu.Unlock()
		if share := float64(lost) / float64(sent); sent < 2000 || share < 0.15 || share > 0.25 {
			t.Errorf("%d of %d are lost", lost, sent)
		}
		closeAll(client, server)
	})
}

// A DGRAM that comes again is known for one, whatever others come: up to dgramRepeatsMax behind the newest.
func TestDgramRepeats(t *testing.T) {
	noteSeed(t)
	r := rand.New(rand.NewPCG(testSeed, 10))
	for _, start := range []uint32{0, math.MaxUint32 - 5000} {
		d := dgramRepeats{next: start}
		came, newest := make(map[uint32]bool), start
		for range 20000 {
			sn := newest + uint32(r.IntN(dgramRepeatsMax+200)) - dgramRepeatsMax
			if r.IntN(1000) == 0 {
				sn = newest + 3*dgramRepeatsMax
			}
			if before(sn, start) {
				continue
			}
			if !before(sn, newest) {
				newest = sn + 1
			}
			if known := newest-sn <= dgramRepeatsMax; d.note(sn) != (known && came[sn]) {
				t.Fatalf("DGRAM %d came before: %v, the newest is %d", sn, came[sn], newest-1)
			}
			came[sn] = true
		}
	}
}

// What waits to be read takes memory in proportion to what has come: a datagram of the path may bring 60.
func TestDatagramsHoldWhatCame(t *testing.T) {
	k := newCore(1, &discard{}, &packetPool{parent: &packets}, new(Snmp), 0)
	for i := range uint32(dgramsDefault) {
		k.onDgram(&header{cmd: cmdDGRAM, sn: i}, []byte{1})
	}
	held := 0
	for k.dgramArrived() {
		held += cap(k.receiveDgram())
	}
	if held > 16*dgramsDefault {
		t.Errorf("%d bytes are held for %d", held, dgramsDefault)
	}
}
