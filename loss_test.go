package kcp

import (
	"bytes"
	"testing"
	"time"
)

// pathLine is a line of 60 ms whose ends know their round trip and each other.
func pathLine(t *testing.T, resend int) *line {
	l := newLine(t, 30*millisecond)
	l.both(func(n *node) {
		n.NoDelay(1, 10, resend, 1)
		n.ackNoDelay = true
	})
	l.chat(20)
	return l
}

// chat sends count messages from a, one every 10 ms, and reads them.
func (l *line) chat(count int) {
	l.Helper()
	for range count {
		l.send(l.a, "message")
		for range 10 {
			l.advance(millisecond)
			l.drive()
		}
		l.recv(l.b)
	}
}

// drive acknowledges at once, as a session with SetACKNoDelay does.
func (l *line) drive() {
	if len(l.b.acks) > 0 {
		l.b.flush(l.now)
	}
}

// gaps returns the times between the transmissions of segment sn.
func (n *node) gaps(sn uint32) (all []time.Duration) {
	sent := n.pushes(sn)
	for i := range sent[1:] {
		all = append(all, time.Duration(sent[i+1].at-sent[i].at))
	}
	return all
}

// With nodelay a missing acknowledgement is answered after a round trip and what that varies
// by, and a lost retransmission as soon as a lost first transmission.
func TestLossIsNoticedWithinARoundTrip(t *testing.T) {
	l := pathLine(t, 2)
	sn := l.a.snd.nxt
	l.drop(l.a, sn, sn)
	l.chat(30)
	gaps := l.a.gaps(sn)
	if len(gaps) != 2 {
		t.Fatalf("sent again after %v, want twice", gaps)
	}
	for _, gap := range gaps {
		if gap < 60*millisecond || gap > 90*millisecond {
			t.Errorf("sent again after %v, on a path of 60 ms", gap)
		}
	}
}

// resend 0 is really off: nothing but a timer tells.
func TestLossWithoutResend(t *testing.T) {
	l := pathLine(t, 0)
	sn := l.a.snd.nxt
	l.drop(l.a, sn)
	l.chat(30)
	l.a.want("fast", 0)
	l.a.want("early", 0)
	l.a.want("timeouts", 1)
	if got := l.a.gaps(sn); len(got) != 1 || got[0] < time.Duration(l.a.rtt.minRTO) {
		t.Errorf("sent again after %v", got)
	}
}

// A segment that is overtaken widens the reordering window, so that the next that is as late
// is not sent again; what seemed lost is counted as such no more.
func TestReorderingIsLearnt(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 1, 1)
	n.WndSize(1000, 128)
	n.rmtWnd = 1000
	late := func() {
		n.write(1)
		first := n.ackOf(n.snd.nxt - 1)
		n.l.now += int64(5 * millisecond)
		n.write(1)
		second := n.ackOf(n.snd.nxt - 1)
		n.l.now += int64(55 * millisecond)
		n.hear(second) // 55 ms after it was sent
		n.drive()
		n.l.now += int64(3 * millisecond)
		n.hear(first) // after 63: 8 later than the other
		n.drive()
	}
	late()
	if n.count.RetransSegs != 1 || n.loss.spurious != 1 {
		t.Fatalf("%d sent again, %d of them needlessly, want 1 and 1", n.count.RetransSegs, n.loss.spurious)
	}
	for range 5 {
		late()
	}
	if n.count.RetransSegs != 1 {
		t.Errorf("%d sent again for the same reordering", n.count.RetransSegs)
	}
	window := n.loss.reorder
	n.l.now += 2 * reorderMemory
	n.write(1)
	n.l.now += int64(55 * millisecond)
	n.hear(n.ackOf(n.snd.nxt - 1))
	if n.loss.reorder >= window {
		t.Errorf("reordering window %v after a long time without any", time.Duration(n.loss.reorder))
	}
}

// A deadline that is noticed late is not believed before what has arrived could be read; one
// that is noticed in time is.
func TestLateTimerIsPatient(t *testing.T) {
	for _, late := range []time.Duration{0, 15 * millisecond} {
		n := alone(t)
		n.write(1)
		n.l.now = n.deadline() + int64(late)
		n.flush(n.l.now)
		if got, want := len(n.pushes(0)), 2; late == 0 && got != want {
			t.Errorf("sent %d times when its time was over, want %d", got, want)
		} else if late > 0 && got != 1 {
			t.Errorf("sent %d times, %v late", got, late)
		}
		n.pass(late + millisecond)
		n.wantSent(0, 2)
	}
}

// On a path that loses a good deal a retransmission is sent twice, the second time later, and
// not at all when it was acknowledged meanwhile.
func TestCopies(t *testing.T) {
	l := pathLine(t, 2)
	l.both(func(n *node) { n.loss.lossRate = lossRateOne / 8 })
	sn := l.a.snd.nxt
	l.drop(l.a, sn)
	l.chat(30)
	gaps := l.a.gaps(sn)
	if len(gaps) != 2 || gaps[1] != time.Duration(l.a.duplicateGap()) {
		t.Errorf("sent again after %v, want once, and a copy %v later", gaps, time.Duration(l.a.duplicateGap()))
	}
	if l.a.dup.sent != 1 {
		t.Errorf("%d copies", l.a.dup.sent)
	}

	for name, change := range map[string]func(k *KCP){
		"a clean path":  func(k *KCP) { k.loss.lossRate = 0 },
		"no redundancy": func(k *KCP) { k.dup.percent, k.dup.credit = 0, 0 },
		"bulk":          func(k *KCP) { k.rtt.nodelay = false },
	} {
		l := pathLine(t, 2)
		l.both(func(n *node) { n.loss.lossRate = lossRateOne / 8; change(n.KCP) })
		l.drop(l.a, l.a.snd.nxt)
		l.chat(30)
		if l.a.dup.sent != 0 {
			t.Errorf("%s: %d copies", name, l.a.dup.sent)
		}
	}
}

// Acknowledgements beyond a gap are sent once more, with the next ones, to a peer of ours only.
func TestAcknowledgementsAreRepeated(t *testing.T) {
	for _, ours := range []bool{false, true} {
		n := alone(t)
		if ours {
			n.KCP.peer = capMark
		}
		times := func(sn uint32) (count int) {
			for _, h := range n.commands(IKCP_CMD_ACK) {
				if h.sn == sn {
					count++
				}
			}
			return count
		}
		for _, sn := range []uint32{0, 2, 3, 4, 1} { // 1 is late
			n.hear(n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: sn, ts: sn, len: 1}))
			n.flush(n.l.now)
		}
		n.hear(n.fromPeer(header{cmd: IKCP_CMD_PUSH, sn: 5, ts: 5, len: 1}))
		n.flush(n.l.now)
		for sn, want := range []int{1, 1, 2, 2, 1, 1} {
			if !ours {
				want = 1
			}
			if got := times(uint32(sn)); got != want {
				t.Errorf("ours %t: segment %d acknowledged %d times, want %d", ours, sn, got, want)
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
