package kcp

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func TestFragments(t *testing.T) {
	for _, size := range []int{1, 1375, 1376, 1377, 2 * 1376, 2*1376 + 1, 254 * 1376, 255 * 1376} {
		l := newLine(t, 10*millisecond)
		l.both(func(n *node) { n.WndSize(256, 256) })
		msg := string(random(1, size))
		l.send(l.a, msg)
		l.a.want("waiting", (size+1375)/1376)
		l.send(l.a, "next")
		l.advance(second)
		for i, h := range l.a.commands(IKCP_CMD_PUSH) {
			if left := (size - 1) / 1376; int(h.frg) != max(0, left-i) {
				t.Fatalf("%d bytes: fragment %d has frg %d", size, i, h.frg)
			}
		}
		l.expect(l.b, msg, "next")
		l.a.want("waiting", 0)
	}
}

func TestMessageTooLong(t *testing.T) {
	for _, stream := range []bool{false, true} {
		n := alone(t)
		n.SetStreamMode(stream)
		if code := n.Send(make([]byte, 255*1376+1)); code != -2 {
			t.Errorf("256 fragments: %d, want -2", code)
		}
		if code := n.Send(nil); code != -1 {
			t.Errorf("empty message: %d, want -1", code)
		}
		n.want("waiting", 0)
		if code := n.Send(make([]byte, 100)); code != 0 {
			t.Error(code)
		}
		// The first segment has room for 1276 bytes of it in stream mode.
		if code := n.Send(make([]byte, 255*1376+1276+1)); code != -2 {
			t.Errorf("256 fragments behind a short one: %d, want -2", code)
		}
		n.want("waiting", 1)
		if got := len(n.snd.at(0).p.data); got != 100 {
			t.Errorf("a refused message left %d bytes in the last segment, want 100", got)
		}
	}
}

func TestStreamFillsWhatWasNotSent(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.both(func(n *node) { n.SetStreamMode(true) })
	l.a.Send(make([]byte, 1000))
	l.a.Send(make([]byte, 300))
	l.a.want("waiting", 1) // 1300 of 1376
	l.a.Send(make([]byte, 100))
	l.a.want("waiting", 2) // 1376 and 24
	l.a.drive()
	l.a.Send(make([]byte, 1))
	l.a.want("waiting", 3) // the second was sent, so it stays as it is
	l.a.drive()
	var sizes []int
	for _, h := range l.a.commands(IKCP_CMD_PUSH) {
		sizes = append(sizes, int(h.len))
		if h.frg != 0 {
			t.Errorf("frg %d in stream mode", h.frg)
		}
	}
	if fmt.Sprint(sizes) != "[1376 24 1]" {
		t.Errorf("segments of %v bytes", sizes)
	}
	l.advance(second)
	total := 0
	for _, m := range l.recv(l.b) {
		total += len(m)
	}
	if total != 1401 {
		t.Errorf("%d bytes arrived, want 1401", total)
	}
}

// A stream that a segment cannot be appended to any more, as the MTU became smaller.
func TestStreamAfterSmallerMTU(t *testing.T) {
	n := alone(t)
	n.SetStreamMode(true)
	n.Send(make([]byte, 500))
	n.SetMtu(124)
	n.Send(make([]byte, 150))
	n.want("waiting", 3) // 500, 100, 50
}

func TestRecvInPieces(t *testing.T) {
	l := newLine(t, 0)
	l.send(l.a, "one message")
	l.send(l.a, "another")
	l.advance(second)
	var got []string
	for _, size := range []int{4, 4, 4, 4, 4} {
		b := make([]byte, size)
		got = append(got, string(b[:l.b.read(b)]))
	}
	if s := strings.Join(got, "|"); s != "one |mess|age|anot|her" {
		t.Error(s)
	}
}

func TestIntervalClamps(t *testing.T) {
	n := alone(t)
	for _, c := range []struct{ set, want int }{{0, 10}, {9, 10}, {10, 10}, {77, 77}, {-1, 77}, {5000, 5000}, {5001, 5000}} {
		if code := n.NoDelay(-1, c.set, -1, -1); code != 0 {
			t.Error(code)
		}
		if got := time.Duration(n.interval); got != time.Duration(c.want)*millisecond {
			t.Errorf("interval %d: %v, want %d ms", c.set, got, c.want)
		}
	}
	if n.rtt.minRTO != int64(30*millisecond) || n.resend != 0 || !n.conserveOnly {
		t.Error("a negative argument changed something")
	}
}

func TestMTUBounds(t *testing.T) {
	n := alone(t)
	for _, c := range []struct{ mtu, reserve, code int }{
		{24, 0, -1}, {25, 0, 0}, {49, 0, 0}, {50, 0, 0}, {1500, 0, 0}, {1501, 0, -1}, {0, 0, -1}, {-1, 0, -1}, {math.MaxInt, 0, -1},
		{60, 36, -1}, {61, 36, 0},
	} {
		n.SetMtu(1400)
		n.ReserveBytes(c.reserve)
		before := n.mss
		code := n.SetMtu(c.mtu)
		want := c.mtu - c.reserve - IKCP_OVERHEAD
		if c.code != 0 {
			want = before
		}
		if code != c.code || n.mss != want {
			t.Errorf("SetMtu(%d) with %d reserved = %d, mss %d; want %d, %d", c.mtu, c.reserve, code, n.mss, c.code, want)
		}
	}
	n.SetMtu(100)
	for _, c := range []struct {
		n  int
		ok bool
	}{{-1, false}, {0, true}, {75, true}, {76, false}, {math.MaxInt, false}} {
		before := n.mss
		want := 100 - c.n - IKCP_OVERHEAD
		if !c.ok {
			want = before
		}
		if ok := n.ReserveBytes(c.n); ok != c.ok || n.mss != want {
			t.Errorf("ReserveBytes(%d) = %v, mss %d, want %v, %d", c.n, ok, n.mss, c.ok, want)
		}
	}
}

func TestSerialNumbersWrap(t *testing.T) {
	const start = 0xffffffff - 40
	l := newLine(t, 20*millisecond)
	l.both(func(n *node) {
		n.NoDelay(1, 10, 2, 0)
		n.snd.una, n.snd.nxt, n.snd.end = start, start, start
		n.rcv.head, n.rcv.nxt, n.rcv.begun = start, start, start
	})
	rnd := seeded(3, 3)
	var want []string
	for i := range 200 {
		if rnd.IntN(5) == 0 {
			l.drop(l.a, start+uint32(i))
		}
		want = append(want, fmt.Sprint(i))
		l.send(l.a, fmt.Sprint(i))
		l.send(l.b, "x")
		l.advance(millisecond)
	}
	var got [2][]string
	for range 150 {
		l.advance(100 * millisecond)
		got[0] = append(got[0], l.recv(l.a)...)
		got[1] = append(got[1], l.recv(l.b)...)
	}
	if fmt.Sprint(got[1]) != fmt.Sprint(want) || len(got[0]) != 200 {
		t.Errorf("received %q and %d messages the other way", got[1], len(got[0]))
	}
	l.a.want("una", 159)
	l.a.want("waiting", 0)
	l.b.want("waiting", 0)
}

func TestClockWraps(t *testing.T) {
	for _, wrap := range []int64{
		(1 << 32) * int64(time.Microsecond), // of ts
		(1 << 32) * int64(millisecond),      // of CurrentMs
		(1 << 42) * int64(millisecond),      // of both, later
	} {
		l := newLineAt(t, wrap-int64(300*millisecond), 20*millisecond)
		l.both(func(n *node) { n.NoDelay(1, 10, 2, 0) })
		var want []string
		for i := range 100 {
			if i%7 == 0 {
				l.drop(l.a, uint32(i))
			}
			want = append(want, fmt.Sprint(i))
			l.send(l.a, fmt.Sprint(i))
			l.advance(6 * millisecond)
		}
		l.advance(5 * second)
		l.expect(l.b, want...)
		l.a.want("waiting", 0)
		if srtt := time.Duration(l.a.rtt.srtt); srtt < 40*millisecond || srtt > 50*millisecond {
			t.Errorf("srtt %v over the wrap", srtt)
		}
	}
}

func TestTrim(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.both(func(n *node) { n.WndSize(1000, 1000); n.flow.peerWnd = 1000 })
	l.drop(l.a, 0)
	for range 500 {
		l.a.Send([]byte{1})
	}
	l.advance(500 * millisecond)
	if got := len(l.recv(l.b)); got != 500 {
		t.Fatal(got)
	}
	if len(l.a.snd.ring) < 500 || len(l.b.rcv.ring) < 500 {
		t.Fatal("no rings")
	}
	l.advance(3 * second)
	l.both(func(n *node) {
		if n.snd.ring != nil || n.rcv.ring != nil || n.acks.pending != nil {
			t.Errorf("rings of %d and %d, room for %d acknowledgements after a pause",
				len(n.snd.ring), len(n.rcv.ring), cap(n.acks.pending))
		}
		if at := n.deadline(); at != never {
			t.Errorf("an idle core has a deadline in %v", time.Duration(at-l.now))
		}
	})
	l.send(l.a, "goes on")
	l.advance(second)
	l.expect(l.b, "goes on")
}

// What was not read or not acknowledged is no reason to forget it.
func TestTrimKeepsData(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.send(l.a, "unread")
	l.advance(time.Minute)
	l.cut = true
	l.send(l.a, "unacknowledged")
	l.advance(5 * second)
	l.a.want("waiting", 1)
	l.cut = false
	l.advance(10 * second)
	l.expect(l.b, "unread", "unacknowledged")
}

// Every packet that a core takes from its pool comes back, once.
func TestPacketsComeBack(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forgetful")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // so does the collector
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l := newLine(t, 10*millisecond)
	pool := new(packetPool)
	l.both(func(n *node) { n.pool = pool })
	seen := make(map[*packet]bool)
	look := func(n *node) {
		for sn := n.snd.una; sn != n.snd.end; sn++ {
			if p := n.snd.at(sn).p; p != nil {
				seen[p] = true
			}
		}
		for _, s := range n.rcv.ring {
			if s.p != nil {
				seen[s.p] = true
			}
		}
	}
	rnd := seeded(4, 4)
	for i := range 300 {
		l.a.Send(make([]byte, 1+rnd.IntN(3000)))
		l.both(look)
		l.cut = rnd.IntN(5) == 0
		l.advance(3 * millisecond)
		l.both(look)
		if i%3 == 0 {
			l.recv(l.b)
		}
	}
	l.both(func(n *node) { look(n); n.release() })
	for range len(seen) {
		delete(seen, pool.get())
	}
	if len(seen) != 0 {
		t.Errorf("%d packets are missing", len(seen))
	}
	wantPoolSound(t, pool)
}

func TestRelease(t *testing.T) {
	n := alone(t)
	n.write(50)
	n.hear(n.ackOf(3))
	n.hear(header{conv: testConv, cmd: IKCP_CMD_PUSH, sn: 2, len: 1, wnd: 32})
	n.release()
	if n.WaitSnd() != 0 || n.PeekSize() >= 0 || n.rcv.held != 0 {
		t.Error("something is held")
	}
	wantWindow(t, &n.snd)
}

// TestLossyLine carries messages both ways over a line that loses a good part of everything, with
// every combination of settings, and looks at the windows meanwhile.
func TestLossyLine(t *testing.T) {
	for seed := range uint64(lighter(24, 8)) {
		l := newLine(t, 15*millisecond)
		rnd := seeded(seed, 7)
		stream := seed%2 == 1
		l.both(func(n *node) {
			n.NoDelay(int(seed/2%2), 10+rnd.IntN(40), rnd.IntN(4), int(seed/4%2))
			n.WndSize(1+rnd.IntN(100), 20+rnd.IntN(100))
			n.SetMtu(200 + rnd.IntN(1300))
			n.SetStreamMode(stream)
			if seed%3 == 0 {
				n.limitPacer.setRate(200_000, l.now)
			}
		})
		var sent, got [2]bytes.Buffer
		for range 400 {
			for i, n := range []*node{l.a, l.b} {
				if n.WaitSnd() < 100 {
					msg := random(rnd.Uint64(), 1+rnd.IntN(2000))
					sent[i].Write(msg)
					n.Send(msg)
				}
				if rnd.IntN(3) == 0 {
					for _, m := range l.recv(n) {
						got[1-i].WriteString(m)
					}
				}
				wantWindow(t, &n.snd)
			}
			l.cut = rnd.IntN(8) == 0
			l.advance(time.Duration(rnd.IntN(20)) * millisecond)
		}
		l.cut = false
		for range 400 {
			for i, n := range []*node{l.a, l.b} {
				for _, m := range l.recv(n) {
					got[1-i].WriteString(m)
				}
			}
			l.advance(250 * millisecond)
		}
		for i := range sent {
			if !bytes.Equal(sent[i].Bytes(), got[i].Bytes()) {
				t.Fatalf("seed %d: %d bytes sent, %d received, or changed", seed, sent[i].Len(), got[i].Len())
			}
		}
	}
}
