package kcp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func newCongested(t *testing.T) *node {
	n := alone(t)
	n.NoDelay(1, 10, 2, 0)
	n.WndSize(1000, 128)
	n.rmtWnd = 1000
	return n
}

// ackNext acknowledges the oldest count segments in flight and sends what may be sent.
func (n *node) ackNext(count int) {
	var hs []header
	for sn := n.snd.una; sn != n.snd.nxt && len(hs) < count; sn++ {
		if n.snd.at(sn).state == segInFlight {
			hs = append(hs, n.ackOf(sn))
		}
	}
	n.hear(hs...)
	n.l.now++
	n.flush(n.l.now)
}

func TestCongestionWindowGrows(t *testing.T) {
	n := newCongested(t)
	n.write(900)
	n.want("flight", 10)
	n.ackNext(10)
	n.want("cwnd", 20)
	n.want("flight", 20)
	n.ackNext(20)
	n.want("cwnd", 40)
	n.cc.ssthresh = 40
	for range 4 {
		n.ackNext(10)
	}
	n.want("cwnd", 41) // one a round trip
	n.want("flight", 41)
}

// What does not fill the window cannot prove that it could be larger.
func TestCongestionWindowOfIdleSender(t *testing.T) {
	n := newCongested(t)
	for range 100 {
		n.write(3)
		n.ackNext(3)
	}
	n.want("cwnd", 10)
}

func TestCongestionWindowHalvesOnceAWindow(t *testing.T) {
	n := newCongested(t)
	n.write(900)
	n.ackNext(10)
	n.want("flight", 20) // 10 to 29
	lose := func(sns ...uint32) {
		for i := range sns {
			n.hear(n.ackOf(sns[i]))
		}
		n.l.now++
		n.flush(n.l.now)
	}
	lose(11, 12) // 10 is lost
	n.want("fast", 1)
	n.want("cwnd", 10)
	lose(14, 16) // 13 is, 15 is not yet
	n.want("fast", 2)
	n.want("cwnd", 10)
	lose(18, 20) // 15 and 17
	n.want("cwnd", 10)
	for n.snd.una < 30 {
		n.ackNext(100)
	}
	n.want("timeouts", 0)
	if n.cc.cwnd < 10 {
		t.Errorf("cwnd %d", n.cc.cwnd)
	}
	sn, cwnd := n.snd.una, n.cc.cwnd
	lose(sn+1, sn+2)
	n.want("cwnd", cwnd/2) // another window
}

func TestCongestionWindowAfterTimeout(t *testing.T) {
	n := newCongested(t)
	n.write(900)
	n.ackNext(10)
	n.want("cwnd", 20)
	n.pass(time.Duration(n.deadline() - n.l.now))
	n.want("cwnd", 1)
	n.want("flight", 1)
	n.want("lost", 19)
	for range 5 {
		n.pass(10 * second) // never below
		n.want("flight", 1)
		n.want("cwnd", 1)
	}
	// Recovery is a slow start (RFC 5681, section 3.1), not a segment a round trip.
	n.ackNext(1)
	n.want("cwnd", 2)
	n.ackNext(2)
	n.want("cwnd", 4)
	n.ackNext(4)
	n.want("flight", 8)
}

// A timeout says more than the loss that was answered before it.
func TestTimeoutDuringRecovery(t *testing.T) {
	n := newCongested(t)
	n.write(900)
	n.ackNext(10)
	n.hear(n.ackOf(11), n.ackOf(12))
	n.flush(n.l.now)
	n.want("cwnd", 11)
	n.want("timeouts", 0)
	n.pass(time.Duration(n.deadline() - n.l.now))
	n.want("cwnd", 1)
	if n.cc.ssthresh != 11 {
		t.Errorf("ssthresh %d: the window was halved twice", n.cc.ssthresh)
	}
}

// The timers of one window run out one after the other, while acknowledgements of what was
// sent again come in already. That is one timeout.
func TestCongestionWindowAfterTimeouts(t *testing.T) {
	var c reno
	c.init()
	c.lost(5, 15, true)
	c.acked(3, 8, true)
	c.lost(9, 15, true)
	if c.cwnd != 4 || c.ssthresh != 5 {
		t.Errorf("cwnd %d, ssthresh %d, want 4 and 5", c.cwnd, c.ssthresh)
	}
	c.acked(2, 15, true)
	c.lost(15, 20, true) // the next window's
	if c.cwnd != 1 || c.ssthresh != 3 {
		t.Errorf("cwnd %d, ssthresh %d, want 1 and 3", c.cwnd, c.ssthresh)
	}
}

func TestCongestionWindowFloor(t *testing.T) {
	var c reno
	c.init()
	for sn := range uint32(50) {
		c.lost(sn, sn+1, sn%2 == 0)
		if c.cwnd < 1 || c.ssthresh < IKCP_THRESH_MIN {
			t.Fatalf("cwnd %d, ssthresh %d", c.cwnd, c.ssthresh)
		}
	}
	for range 200000 {
		c.acked(1000, 1000, true)
	}
	if c.cwnd > wndLimit {
		t.Errorf("cwnd %d", c.cwnd)
	}
}

func TestCongestionWindowIgnoredWithNC(t *testing.T) {
	n := alone(t)
	n.cc.cwnd = 1
	n.rmtWnd = 100
	n.write(50)
	n.want("flight", 50)
}

func TestPacer(t *testing.T) {
	for _, rate := range []int64{100, 1000, 12_345, 1_000_000, 125_000_000, 4_000_000_000} {
		for _, size := range []int{25, 1400} {
			t.Run(fmt.Sprintf("%d in %d", rate, size), func(t *testing.T) {
				var p pacer
				start := int64(time.Hour)
				p.setRate(rate, start)
				end := start + max(int64(second), 20*int64(size)*int64(second)/rate)
				end = min(end, start+int64(20000*size)*int64(second)/rate)
				sent, last := int64(0), int64(0)
				rnd := rand.New(rand.NewPCG(1, uint64(rate)))
				for now := start; now < end; {
					if !p.blocked(now) {
						p.spend(size)
						sent, last = sent+int64(size), int64(size)
						continue
					}
					ready := p.ready()
					if ready <= now {
						t.Fatalf("blocked, but ready %v ago", time.Duration(now-ready))
					}
					// A look in between must not cost anything.
					if between := now + rnd.Int64N(ready-now); p.blocked(between) != true {
						t.Fatalf("not blocked %v before it is ready", time.Duration(ready-between))
					}
					now = p.ready()
					if p.blocked(now) {
						t.Fatal("blocked when it was to be ready")
					}
				}
				want := rate * (end - start) / int64(second)
				if off := sent - want; off > last+rate/1e5+1 || off < -last-rate/1e5-1 {
					t.Errorf("sent %d bytes, want %d", sent, want)
				}
			})
		}
	}
}

func TestPacerBurst(t *testing.T) {
	var p pacer
	p.setRate(1_000_000, 0)
	p.blocked(int64(time.Hour))
	if p.tokens != 5000 {
		t.Errorf("%d bytes at once after a pause, want those of 5 ms", p.tokens)
	}
	p.setRate(1000, 0)
	p.blocked(int64(time.Hour))
	if p.tokens != 2*mtuLimit {
		t.Errorf("%d bytes at once after a pause, want two datagrams", p.tokens)
	}
	p.setRate(0, 0)
	p.spend(math.MaxInt32)
	if p.blocked(0) {
		t.Error("blocked without a rate")
	}
}

func TestPacedLine(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.both(func(n *node) { n.WndSize(1000, 1000); n.rmtWnd = 1000 })
	l.a.pacer.setRate(100_000, l.now)
	for range 300 {
		l.a.Send(make([]byte, 976)) // a segment of 1000 bytes
	}
	for i := 1; i <= 2; i++ {
		l.advance(second)
		if got := len(l.a.commands(IKCP_CMD_PUSH)); got < 100*i-1 || got > 100*i+2 {
			t.Errorf("%d segments in %d s, want 100 a second", got, i)
		}
		l.recv(l.b)
	}
}

// A loss that acknowledgements show is declared at once, also when the pacer keeps the
// resend back.
func TestPacedLossIsDeclared(t *testing.T) {
	n := alone(t)
	n.NoDelay(1, 10, 2, 1)
	n.write(10)
	n.pacer.setRate(1_000_000, n.l.now)
	n.pacer.tokens = -10_000
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
	n.pacer.setRate(1_000_000_000, n.l.now)
	n.write(100)
	n.pass(3 * second)
	n.want("cwnd", 1)
	if n.snd.lost.n == 0 {
		t.Fatal("nothing is lost")
	}
	if at := n.deadline(); at <= n.l.now {
		t.Error("a deadline that a flush does not move")
	}
}
