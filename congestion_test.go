package kcp

import "testing"

func newCongested(t *testing.T) *node {
	n := alone(t)
	n.NoDelay(1, 10, 2, 0)
	n.WndSize(1000, 128)
	n.rmtWnd = 1000
	return n
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
	for range 100 {
		n.Send(make([]byte, n.mss))
	}
	n.flush(n.l.now)
	n.pass(3 * second)
	n.want("cwnd", minWindow)
	if n.snd.lost.n == 0 {
		t.Fatal("nothing is lost")
	}
	if at := n.deadline(); at <= n.l.now {
		t.Error("a deadline that a flush does not move")
	}
}
