package kcp

import (
	"bytes"
	"testing"
	"time"
)

// FuzzCongestion lets any pattern of writes, delays, losses, reordering and acknowledgements meet
// each controller. What must hold at any time is checked after every step, and when the path is
// good again everything arrives.
func FuzzCongestion(f *testing.F) {
	for kind := range byte(6) {
		f.Add([]byte{kind, 1, 0, 200, 2, 30, 0, 50, 1, 60, 3, 7, 2, 100, 0, 255, 1, 255})
		f.Add(bytes.Repeat([]byte{kind, 0, 90, 1, 40, 4, 3, 2, 20}, 20))
		f.Add(random(uint64(kind), 400))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p := program{in}
		l := newLine(t, 20*millisecond)
		kind := p.n(6)
		l.both(func(n *node) {
			if kind >= 3 {
				n.takesRanges()
			}
			n.NoDelay(p.n(2), 10+p.n(40), p.n(4), 0)
			n.WndSize(500, 500)
			switch kind % 3 {
			case 1:
				n.userCC = NewCubic()
			case 2:
				n.conserveOnly = true
			}
		})
		written, read := 0, 0
		for steps := 0; !p.done() && steps < 2000; steps++ {
			switch p.n(6) {
			case 0:
				for range p.n(64) {
					if l.a.WaitSnd() < 1000 {
						l.a.Send(make([]byte, 1+p.n(8)*170))
						written++
					}
				}
				l.a.drive()
			case 1:
				l.advance(time.Duration(p.byte()) * millisecond)
			case 2:
				read += len(l.recv(l.b))
			case 3: // lose what is under way, or a part of it
				for i := len(l.inFlight) - 1; i >= 0; i-- {
					if p.byte()%4 == 0 {
						l.inFlight = append(l.inFlight[:i], l.inFlight[i+1:]...)
					}
				}
			case 4: // reorder it
				for i := range l.inFlight {
					j := p.n(len(l.inFlight))
					l.inFlight[i].data, l.inFlight[j].data = l.inFlight[j].data, l.inFlight[i].data
					l.inFlight[i].to, l.inFlight[j].to = l.inFlight[j].to, l.inFlight[i].to
				}
			case 5: // a path of another length, for what is sent from then on
				if d := int64(p.byte()) * int64(millisecond); d >= l.delay || len(l.inFlight) == 0 {
					l.delay = d
				}
			}
			for _, n := range l.nodes {
				wantControl(t, n)
			}
		}
		for range 400 {
			l.advance(500 * millisecond)
			read += len(l.recv(l.b))
		}
		if read != written || l.a.WaitSnd() != 0 {
			t.Fatalf("%d of %d messages arrived in 200 s of a good path, %d segments wait", read, written, l.a.WaitSnd())
		}
	})
}

// wantControl checks what must always be true of a core and its controller.
func wantControl(t *testing.T, n *node) {
	t.Helper()
	bytesInFlight := 0
	for sn := n.snd.una; sn != n.snd.nxt; sn++ {
		if s := n.snd.at(sn); s.state == segInFlight {
			bytesInFlight += s.size()
		}
	}
	if bytesInFlight != n.snd.bytesInFlight {
		t.Fatalf("%d bytes in flight, counted %d", bytesInFlight, n.snd.bytesInFlight)
	}
	n.startControl()
	c := n.cc
	if c.Window() < minWindow || c.PacingRate() < 0 {
		t.Fatalf("window %d, rate %d", c.Window(), c.PacingRate())
	}
	if n.loss.lossRate < 0 || n.loss.lossRate > lossRateOne || n.loss.reorder < 0 {
		t.Fatalf("loss %d, reordering window %d", n.loss.lossRate, n.loss.reorder)
	}
	if n.WaitSnd() > 0 && n.deadline() == never && !n.flushDue(n.l.now) {
		t.Fatal("something is to be delivered, and nothing will happen")
	}
}
