package kcp

import (
	"bytes"
	"math"
	"testing"
	"time"
)

func newCongested(t *testing.T) *node {
	n := alone(t)
	n.NoDelay(1, 10, 2, 0)
	n.WndSize(1000, 128)
	n.flow.peerWnd = 1000
	return n
}

// A loss that acknowledgements show is declared at once, also when the pacer keeps the resend back.
func TestPacedLossIsDeclared(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 2, 1)
	n.write(10)
	n.limitPacer.setRate(1_000_000, n.l.now)
	n.limitPacer.tokens = -10_000
	n.hear(n.ackOf(1), n.ackOf(2))
	n.drive()
	n.want("lost", 1)
	n.wantSent(0, 1)
	n.pass(11 * millisecond)
	n.wantSent(0, 2)
}

// With the pacer's leave but not the congestion window's there is nothing to do.
func TestPacedAndCongested(t *testing.T) {
	n := newCongested(t)
	cc := &steady{window: 10 * IKCP_MTU_DEF}
	n.setControl(cc)
	n.limitPacer.setRate(1_000_000_000, n.l.now)
	for range 100 {
		n.Send(make([]byte, n.mss))
	}
	n.pass(millisecond)
	n.want("flight", 10)
	cc.window = minWindow
	n.l.now += int64(50 * millisecond)
	n.hear(n.ackOf(3), n.ackOf(4))
	n.flush(n.l.now)
	n.want("lost", 3)
	n.want("flight", 5)
	if at := n.deadline(); at <= n.l.now {
		t.Error("a deadline that a flush does not move")
	}
}

// The rate of a path comes out of when segments were sent and acknowledged, however long the clock
// has run and however much was delivered: what a slot remembers of both wraps.
func TestDeliveryRate(t *testing.T) {
	const (
		trip  = int64(50_700) // 50.7 µs
		gap   = int64(1_300)  // between two segments
		bytes = 1000
	)
	for _, start := range []int64{1, 999, math.MaxUint32*1000 - 20*gap, 3*math.MaxUint32*1000 + 77} {
		for _, total := range []int64{0, math.MaxUint32 - 5*bytes, 7 * math.MaxUint32} {
			d := deliveryRate{total: total}
			var segs [100]sendSegment
			ack := func(i int) *RateSample {
				now := start + int64(i)*gap + trip
				d.begin(0)
				d.onAcked(now, segs[i].size())
				d.onTransmission(segs[i].sentAt, segs[i].rate, segs[i].appLimited)
				return d.finish(now, 0, trip)
			}
			before := make([]int64, len(segs))
			for i := range segs {
				now := start + int64(i)*gap
				if i >= 50 {
					s := ack(i - 50)
					if s.Delivered != total+int64(i-49)*bytes || s.PriorDelivered != before[i-50] {
						t.Fatalf("delivered %d, before it was sent %d, want %d", s.Delivered-total, s.PriorDelivered-total, before[i-50]-total)
					}
					if want := int64(i-49) * bytes * int64(time.Second) / (int64(i-50)*gap + trip); s.Rate < want*95/100 || s.Rate > want*105/100 {
						t.Errorf("from %d, %d bytes before: segment %d shows %d bytes a second, want %d", start, total, i-50, s.Rate, want)
					}
					if s.AppLimited != (i-50 >= 20) {
						t.Errorf("segment %d limited by the application: %v", i-50, s.AppLimited)
					}
				}
				before[i] = d.total
				if i == 20 {
					d.appLimited = math.MaxInt64
				}
				s := &segs[i]
				s.length, s.sentAt = bytes-IKCP_OVERHEAD, now
				s.rate, s.appLimited = d.snapshot(now, i == 0)
			}
		}
	}
}

// What a controller of the user's is told adds up.
type auditor struct {
	*testing.T
	inFlight, acked int
}

func (a *auditor) check(inFlight int) {
	a.Helper()
	if a.inFlight != inFlight || inFlight < 0 {
		a.Fatalf("%d bytes in flight, told of %d", a.inFlight, inFlight)
	}
}
func (a *auditor) Sent(_ time.Duration, bytes, inFlight int) { a.inFlight += bytes; a.check(inFlight) }
func (a *auditor) Acked(_ time.Duration, s *RateSample) {
	a.acked += s.Acked
	a.inFlight = s.InFlight // an acknowledgement of what was declared lost takes nothing out
	if s.InFlight > s.Prior || s.Delivered != int64(a.acked) {
		a.Fatalf("%+v after %d bytes", *s, a.acked)
	}
}
func (a *auditor) Lost(_ time.Duration, bytes, inFlight int, _ bool) {
	a.inFlight -= bytes
	a.check(inFlight)
}
func (a *auditor) Spurious(time.Duration, int) {}
func (a *auditor) Window() int                 { return 20_000 }
func (a *auditor) PacingRate() int64           { return 500_000 }

func TestControllerOfTheUser(t *testing.T) {
	l := newLine(t, 20*millisecond)
	l.both(func(n *node) { n.NoDelay(1, 10, 2, 0); n.WndSize(500, 500) })
	a := &auditor{T: t}
	l.a.userCC = a
	l.drop(l.a, 3, 3, 17, 40, 41, 42, 99)
	sent := random(1, 200_000)
	for b := sent; len(b) > 0; b = b[min(len(b), 1000):] {
		l.a.Send(b[:min(len(b), 1000)])
	}
	var got bytes.Buffer
	for range 200 {
		l.advance(10 * millisecond)
		if l.a.snd.bytesInFlight > 20_000+mtuLimit {
			t.Fatalf("%d bytes in flight, the window is 20000", l.a.snd.bytesInFlight)
		}
		for _, m := range l.recv(l.b) {
			got.WriteString(m)
		}
	}
	if !bytes.Equal(got.Bytes(), sent) || l.a.WaitSnd() != 0 {
		t.Errorf("%d of %d bytes arrived", got.Len(), len(sent))
	}
	if want := len(sent) + 200*IKCP_OVERHEAD; a.acked != want {
		t.Errorf("%d bytes acknowledged, want %d", a.acked, want)
	}
}
