package kcp

import "testing"

// No datagram is longer than the MTU, and each is filled as far as segments go.
func TestDatagramSizes(t *testing.T) {
	for _, mtu := range []int{50, 51, 100, 576, 1400, 1500} {
		for _, reserved := range []int{0, 1, 20, 25} {
			l := newLine(t, 5*millisecond)
			l.both(func(n *node) {
				n.WndSize(256, 256)
				n.flow.peerWnd = 256
				if n.SetMtu(mtu) != 0 || !n.ReserveBytes(reserved) {
					t.Fatal(mtu, reserved)
				}
			})
			rnd := seeded(uint64(mtu), uint64(reserved))
			var want []string
			for i := range 60 {
				msg := string(random(uint64(i), 1+rnd.IntN(3*l.a.mss)))
				want = append(want, msg)
				l.a.Send([]byte(msg))
			}
			l.advance(second)
			l.expect(l.b, want...)
			l.both(func(n *node) {
				if n.longest > mtu {
					t.Errorf("MTU %d, %d reserved: datagram of %d bytes", mtu, reserved, n.longest)
				}
			})
			if l.a.longest != mtu {
				t.Errorf("MTU %d, %d reserved: no datagram longer than %d", mtu, reserved, l.a.longest)
			}
		}
	}
}

func TestSegmentsShareDatagrams(t *testing.T) {
	n := alone(t)
	n.flow.peerWnd = 128
	n.write(120) // 25 bytes each, 56 to a datagram
	if n.grams != 3 || n.longest != 1400 {
		t.Errorf("%d datagrams of up to %d bytes, want 3 of 1400", n.grams, n.longest)
	}
}
