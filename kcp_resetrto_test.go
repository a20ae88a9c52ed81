package kcp

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// After an outage timeouts have backed off; ResetRTO sends everything at once, and the next timeout
// is the first again.
func TestResetRTO(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.chat(5)
	l.cut = true
	for range 3 {
		l.send(l.a, "lost")
	}
	l.advance(20 * second)
	first := l.a.snd.una
	sent := len(l.a.pushes(first))
	for len(l.a.pushes(first)) == sent {
		l.advance(100 * millisecond)
	}
	sent++ // and a long wait begins
	l.advance(second)
	l.a.wantSent(first, sent)
	lost := l.a.count.LostSegs
	l.cut = false
	l.a.resetRTO(l.now)
	if l.a.drive(); len(l.a.pushes(first)) != sent+1 {
		t.Fatal("it is not sent at once")
	}
	l.advance(30 * millisecond)
	l.expect(l.b, "lost", "lost", "lost")
	l.a.want("waiting", 0)
	if l.a.count.LostSegs != lost {
		t.Error("timeouts are counted that were none")
	}

	l.cut = true
	l.send(l.a, "again")
	l.advance(20 * second)
	l.a.resetRTO(l.now)
	l.a.drive()
	at, rto := l.now, l.a.rtt.rto
	l.advance(second)
	all := l.a.pushes(l.a.snd.una)
	for _, h := range all {
		if h.at > at {
			if wait := h.at - at; wait > rto+int64(graceMax) {
				t.Errorf("the next timeout is %v, the RTO %v", time.Duration(wait), time.Duration(rto))
			}
			return
		}
	}
	t.Error("no timeout within a second")
}

// Bursts of timeouts before ResetRTO do not hold the first one after it back.
func TestResetRTOAfterBursts(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.chat(5)
	l.cut = true
	for range 2 * timeoutBurstSparse {
		l.send(l.a, "lost")
	}
	l.advance(20 * second)
	first := l.a.snd.una
	l.a.resetRTO(l.now)
	l.a.drive()
	sent := len(l.a.pushes(first))
	l.advance(time.Duration(l.a.rtt.rto + int64(graceMax)))
	l.a.wantSent(first, sent+1)
	l.cut = false
	l.advance(second)
	l.a.want("waiting", 0)
}

// Where nothing was lost, ResetRTO costs a transmission of what is in flight, and neither the
// congestion control, the statistics nor the loss rate take that for a loss.
func TestResetRTOWithoutLoss(t *testing.T) {
	for _, nc := range []int{0, 1} {
		l := newLine(t, 30*millisecond)
		l.both(func(n *node) { n.NoDelay(1, 10, 2, nc) })
		l.chat(20)
		l.advance(second)
		l.recv(l.b)
		for range 10 {
			l.send(l.a, "message")
		}
		l.a.want("flight", 10)
		window, spurious, lossRate := l.a.cc.Window(), l.a.loss.spurious, l.a.loss.lossRate
		first := l.a.snd.una
		l.advance(5 * millisecond)
		l.a.resetRTO(l.now)
		l.a.resetRTO(l.now) // twice is once
		l.a.drive()
		for sn := first; sn != first+10; sn++ {
			l.a.wantSent(sn, 2)
		}
		l.a.want("flight", 10)
		l.advance(100 * millisecond)
		l.a.want("waiting", 0)
		if len(l.recv(l.b)) != 10 {
			t.Error("not everything has arrived")
		}
		if l.a.loss.spurious != spurious || l.a.loss.lossRate > lossRate || l.a.cc.Window() < window {
			t.Errorf("nc=%d: %d spurious, loss rate %d after %d, window %d after %d", nc, l.a.loss.spurious-spurious,
				l.a.loss.lossRate, lossRate, l.a.cc.Window(), window)
		}
	}
}

// A zero window is probed at once.
func TestResetRTOZeroWindow(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.b.WndSize(0, 4)
	l.chat(1)
	for range 20 {
		l.send(l.a, "message")
	}
	l.advance(second)
	l.a.want("peer window", 0)
	before := len(l.a.commands(IKCP_CMD_WASK))
	l.a.resetRTO(l.now)
	l.a.drive()
	if n := len(l.a.commands(IKCP_CMD_WASK)); n != before+1 {
		t.Errorf("%d probes", n-before)
	}
	l.recv(l.b)
	l.advance(second)
	if len(l.recv(l.b)) == 0 {
		t.Error("nothing follows")
	}
}

// By hand: the next Update sends, and Check says now.
func TestResetRTOByHand(t *testing.T) {
	sent := 0
	k := NewKCP(1, func([]byte, int) { sent++ })
	k.NoDelay(0, 5000, 0, 1)
	k.Send([]byte("x"))
	k.Update()
	k.Update()
	if sent != 1 {
		t.Fatalf("%d datagrams", sent)
	}
	k.ResetRTO()
	if wait := int32(k.Check() - CurrentMs()); wait > 0 {
		t.Errorf("Check says in %d ms", wait)
	}
	k.Update()
	if sent != 2 {
		t.Errorf("%d datagrams, want another", sent)
	}
	NewKCP(1, nil).ResetRTO() // before anything
}

// A session that was cut off for minutes goes on within a round trip.
func TestSessionResetRTO(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		w.awaitIdle()
		w.check(client.SetUserTimeout(time.Hour))
		cut := true
		w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return !cut })
		data := random(1, 20_000)
		if _, err := client.Write(data); err != nil {
			w.Fatal(err)
		}
		w.sleep(3*time.Minute + 7*second)
		w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return true })
		start := time.Now()
		client.ResetRTO()
		got := make([]byte, len(data))
		server.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, data) {
			w.Fatalf("%v, equal %t", err, bytes.Equal(got, data))
		}
		if took := time.Since(start); took > 200*millisecond {
			w.Errorf("it took %v", took)
		}
		closeAll(client, server)
		client.ResetRTO() // nothing, after Close
	})
}

// A core works with every MTU down to one byte of data in a datagram.
func TestSmallestMTU(t *testing.T) {
	for mtu := IKCP_OVERHEAD + 1; mtu <= 60; mtu++ {
		l := newLine(t, 10*millisecond)
		l.both(func(n *node) {
			if code := n.SetMtu(mtu); code != 0 {
				t.Fatalf("SetMtu(%d) = %d", mtu, code)
			}
			n.NoDelay(1, 10, 2, 0)
		})
		message := string(random(uint64(mtu), 60))
		l.drop(l.a, 1, 3, 5)
		l.send(l.a, message)
		l.send(l.b, message)
		l.advance(20 * second)
		l.expect(l.b, message)
		l.expect(l.a, message)
		if n := max(l.a.longest, l.b.longest); n > mtu {
			t.Errorf("a datagram of %d bytes, MTU %d", n, mtu)
		}
		if code := l.a.Send(make([]byte, maxFragments*(mtu-IKCP_OVERHEAD)+1)); code != -2 {
			t.Errorf("a message of 256 segments: %d", code)
		}
	}
}
