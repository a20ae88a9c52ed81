package kcp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// handDriven is one end of a program that drives a core by hand, as programs of the C library do.
type handDriven struct {
	*KCP
	sent    bytes.Buffer // what was given to Send
	got     bytes.Buffer // what Recv gave
	updates int
}

// handLink is a transport in memory: it loses datagrams, and delivers others late and in another
// order.
type handLink struct {
	*testing.T
	rnd      *rand.Rand
	loss     float64
	reserved int
	inFlight []handDatagram
}

type handDatagram struct {
	at   time.Time
	to   *handDriven
	data []byte
}

// end returns an end whose datagrams go to the end that *peer will be.
func (l *handLink) end(peer **handDriven) *handDriven {
	k := NewKCP(7, func(buf []byte, size int) {
		if size > IKCP_MTU_DEF || size < l.reserved+IKCP_OVERHEAD {
			l.Errorf("datagram of %d bytes", size)
		}
		if l.rnd.Float64() < l.loss {
			return
		}
		delay := time.Duration(10+l.rnd.IntN(10)) * time.Millisecond
		for i := range l.reserved { // the program's own header
			buf[i] = byte(size)
		}
		l.inFlight = append(l.inFlight, handDatagram{time.Now().Add(delay), *peer, bytes.Clone(buf[:size])})
	})
	return &handDriven{KCP: k}
}

// deliver feeds the datagrams that are due.
func (l *handLink) deliver() {
	rest := l.inFlight[:0]
	for _, d := range l.inFlight {
		if d.at.After(time.Now()) {
			rest = append(rest, d)
			continue
		}
		for _, c := range d.data[:l.reserved] {
			if c != byte(len(d.data)) {
				l.Error("reserved bytes changed")
			}
		}
		if code := d.to.Input(d.data[l.reserved:], true, false); code != 0 {
			l.Errorf("Input: %d", code)
		}
	}
	l.inFlight = rest
}

// recv reads all messages that are complete.
func (h *handDriven) recv(t *testing.T) (n int) {
	for {
		size := h.PeekSize()
		buf := make([]byte, 1<<16)
		got := h.Recv(buf)
		if got != size {
			t.Fatalf("PeekSize %d, Recv %d", size, got)
		}
		if got < 0 {
			return n
		}
		h.got.Write(buf[:got])
		n++
	}
}

func TestDrivenByHand(t *testing.T) {
	for _, stream := range []bool{false, true} {
		for _, reserved := range []int{0, 13} {
			for _, nodelay := range []int{0, 1} {
				t.Run(fmt.Sprintf("stream=%v reserved=%d nodelay=%d", stream, reserved, nodelay), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { driveByHand(t, stream, reserved, nodelay) })
				})
			}
		}
	}
}

func driveByHand(t *testing.T, stream bool, reserved, nodelay int) {
	const messages = 150
	l := &handLink{T: t, rnd: seeded(1, 1), loss: 0.1, reserved: reserved}
	var a, b *handDriven
	a, b = l.end(&b), l.end(&a)
	for _, h := range []*handDriven{a, b} {
		h.NoDelay(nodelay, 10, 2*nodelay, nodelay)
		h.WndSize(64, 128)
		h.SetStreamMode(stream)
		if !h.ReserveBytes(reserved) {
			t.Fatal("ReserveBytes")
		}
	}
	sent, received := 0, 0
	start := time.Now()
	for a.WaitSnd() > 0 || b.WaitSnd() > 0 || sent < messages {
		if time.Since(start) > time.Hour {
			t.Fatalf("nothing more comes: %d sent, %d received, %d and %d waiting", sent, received, a.WaitSnd(), b.WaitSnd())
		}
		for _, h := range []*handDriven{a, b} {
			if sent < messages && h.WaitSnd() < 128 {
				msg := random(uint64(sent), 1+l.rnd.IntN(4000))
				if code := h.Send(msg); code != 0 {
					t.Fatalf("Send: %d", code)
				}
				h.sent.Write(msg)
				sent++
			}
			h.Update()
			received += h.recv(t)
		}
		time.Sleep(time.Millisecond)
		l.deliver()
	}
	received += a.recv(t) + b.recv(t)
	if !bytes.Equal(a.sent.Bytes(), b.got.Bytes()) || !bytes.Equal(b.sent.Bytes(), a.got.Bytes()) {
		t.Errorf("%d and %d bytes sent, %d and %d received, or changed",
			a.sent.Len(), b.sent.Len(), b.got.Len(), a.got.Len())
	}
	if !stream && received != messages {
		t.Errorf("%d messages received, want %d", received, messages)
	}
}

// A program may sleep until Check's time, and Update then has something to do: it never turns in
// circles, at whatever fraction of a millisecond it starts.
func TestCheckSaysWhen(t *testing.T) {
	for _, offset := range []time.Duration{0, 1, 300 * time.Microsecond, 999_999} {
		for _, interval := range []int{10, 33, 100} {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(offset)
				l := &handLink{T: t, rnd: seeded(2, 2), loss: 0.2}
				var a, b *handDriven
				a, b = l.end(&b), l.end(&a)
				for _, h := range []*handDriven{a, b} {
					h.NoDelay(1, interval, 2, 1)
					if int32(h.Check()-CurrentMs()) > 0 {
						t.Fatal("the first Update is not due at once")
					}
				}
				start := time.Now()
				for round := 0; time.Since(start) < 3*time.Second; round++ {
					if round > 5000 {
						t.Fatalf("%d rounds in %v", round, time.Since(start))
					}
					if round%10 == 0 && a.WaitSnd() < 100 {
						a.Send(make([]byte, 100))
					}
					wait := time.Hour
					for _, h := range []*handDriven{a, b} {
						if int32(h.Check()-CurrentMs()) <= 0 {
							h.Update()
							h.updates++
							if int32(h.Check()-CurrentMs()) <= 0 {
								t.Fatalf("Check says now, right after Update (after %v)", time.Since(start))
							}
						}
						h.recv(t)
						wait = min(wait, time.Duration(int32(h.Check()-CurrentMs()))*time.Millisecond)
					}
					for _, d := range l.inFlight {
						wait = min(wait, time.Until(d.at))
					}
					time.Sleep(wait)
					l.deliver()
				}
				for _, h := range []*handDriven{a, b} {
					if most := 3000/interval + 2; h.updates > most {
						t.Errorf("%d updates in 3 s with an interval of %d ms, want at most %d", h.updates, interval, most)
					}
				}
			})
		}
	}
}

// Update flushes once an interval, however often it is called, and catches up with one flush after
// a pause.
func TestUpdateInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		datagrams := 0
		k := NewKCP(1, func([]byte, int) { datagrams++ })
		k.NoDelay(1, 20, 0, 1)
		k.Update()
		if k.Send([]byte("x")); datagrams != 0 {
			t.Error("Send sends")
		}
		for range 19 {
			time.Sleep(time.Millisecond)
			if k.Update(); datagrams != 0 {
				t.Fatal("flushed before the interval was over")
			}
		}
		time.Sleep(time.Millisecond)
		if k.Update(); datagrams != 1 {
			t.Errorf("%d datagrams after the interval", datagrams)
		}
		time.Sleep(100 * time.Millisecond)
		k.Send([]byte("y"))
		k.Update()
		k.Send([]byte("z"))
		k.Update()
		if datagrams != 2 {
			t.Errorf("%d datagrams after a pause, want 2", datagrams)
		}
	})
}

func TestRecvCodes(t *testing.T) {
	var datagrams [][]byte
	a := NewKCP(1, func(b []byte, n int) { datagrams = append(datagrams, bytes.Clone(b[:n])) })
	b := NewKCP(1, func([]byte, int) {})
	buf := make([]byte, 4000)
	want := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %d, want %d", what, got, want)
		}
	}
	want("PeekSize of nothing", b.PeekSize(), -1)
	want("Recv of nothing", b.Recv(buf), -1)
	want("Send of nothing", a.Send(nil), -1)
	want("Send", a.Send(make([]byte, 3000)), 0)
	want("WaitSnd", a.WaitSnd(), 3)
	a.Update()
	want("datagrams", len(datagrams), 3)
	for i, d := range datagrams {
		want("PeekSize of a part", b.PeekSize(), -1)
		want("Recv of a part", b.Recv(buf), -1)
		want(fmt.Sprintf("Input %d", i), b.Input(d, true, false), 0)
	}
	want("PeekSize", b.PeekSize(), 3000)
	want("Recv into too little", b.Recv(buf[:2999]), -2)
	want("PeekSize after that", b.PeekSize(), 3000)
	want("Recv", b.Recv(buf), 3000)
	want("Recv after that", b.Recv(buf), -1)
	want("Input of another conversation", b.Input(encode(header{conv: 2, cmd: IKCP_CMD_PUSH}), true, false), -1)
	want("Input of too little", b.Input(make([]byte, 23), true, false), -1)
	want("Input of a lie", b.Input(encode(header{conv: 1, cmd: IKCP_CMD_PUSH, len: 9})[:30], true, false), -2)
	want("Input of another cmd", b.Input(encode(header{conv: 1, cmd: 1}), true, false), -3)
}
