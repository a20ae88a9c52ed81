package kcp

import (
	"fmt"
	"math"
	"testing"
	"time"
)

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
				rnd := seeded(1, uint64(rate))
				for now := start; now < end; {
					if !blocked(&p, now) {
						p.spend(size)
						sent, last = sent+int64(size), int64(size)
						continue
					}
					ready := p.readyAt()
					if ready <= now {
						t.Fatalf("blocked, but ready %v ago", time.Duration(now-ready))
					}
					// A look in between must not cost anything.
					if between := now + rnd.Int64N(ready-now); blocked(&p, between) != true {
						t.Fatalf("not blocked %v before it is ready", time.Duration(ready-between))
					}
					now = p.readyAt()
					if blocked(&p, now) {
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
	p.refill(int64(time.Hour))
	if p.tokens != 5000 {
		t.Errorf("%d bytes at once after a pause, want those of 5 ms", p.tokens)
	}
	p.setRate(1000, 0)
	p.refill(int64(time.Hour))
	if p.tokens != 2*mtuLimit {
		t.Errorf("%d bytes at once after a pause, want two datagrams", p.tokens)
	}
	p.setRate(0, 0)
	p.spend(math.MaxInt32)
	if blocked(&p, 0) {
		t.Error("blocked without a rate")
	}
}

// What is left over of a datagram does not let the next one go before its time.
func TestPacerKeepsDatagramsApart(t *testing.T) {
	const size, rate = 1400, 100_000
	const takes = int64(time.Second) * size / rate
	var p pacer
	p.adjust(rate, size, size, 0)
	p.spend(size)
	for at := takes / 10; at < takes; at += takes / 10 {
		if !blocked(&p, at) {
			t.Fatalf("not blocked after %v, want %v", time.Duration(at), time.Duration(takes))
		}
	}
	if p.readyAt() != takes || blocked(&p, takes) {
		t.Errorf("ready after %v, want %v", time.Duration(p.readyAt()), time.Duration(takes))
	}
}

func TestPacedLine(t *testing.T) {
	l := newLine(t, 10*millisecond)
	l.both(func(n *node) { n.WndSize(1000, 1000); n.flow.peerWnd = 1000 })
	l.a.limitPacer.setRate(100_000, l.now)
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

// blocked says whether p keeps data back at now.
func blocked(p *pacer, now int64) bool {
	p.refill(now)
	return p.blocks()
}
