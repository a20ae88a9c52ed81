package kcp

import (
	"testing"
	"time"
)

// What is lost below the rate too is the path's own; what is lost at the rate alone is an overflow.
func TestPathLoss(t *testing.T) {
	for _, tt := range []struct {
		name                string
		at, below           float64
		least, most, beyond float64
	}{
		{"nothing", 0, 0, 0, 0, 0},
		{"the path loses", 0.2, 0.2, 0.19, 0.21, 0},
		{"a queue overflows", 0.3, 0, 0, 0.02, 0.27},
		{"both", 0.3, 0.1, 0.09, 0.13, 0.16},
		{"more than is believed", 0.9, 0.9, pathLossMax, pathLossMax, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l pathLoss
			const segments = 50
			for i := range 40 {
				at := time.Duration(i+1) * time.Second
				kind, share := sendAt, tt.at
				if i%4 == 3 {
					kind, share = sendBelow, tt.below
				}
				l.begin(at, kind)
				for range segments {
					l.sent(IKCP_MTU_DEF)
				}
				l.lost(at, int(share*segments)*IKCP_MTU_DEF)
			}
			if l.own < tt.least || l.own > tt.most {
				t.Errorf("own loss is %.3f, want %.3f to %.3f", l.own, tt.least, tt.most)
			}
			if l.overflow < tt.beyond || tt.beyond == 0 && l.overflow > 0 {
				t.Errorf("overflow is %.3f, want %.3f or more", l.overflow, tt.beyond)
			}
			if l.beyond(0, IKCP_MTU_DEF) || !l.beyond(1000*IKCP_MTU_DEF, 1000*IKCP_MTU_DEF) {
				t.Error("nothing lost counts as too much, or everything does not")
			}
		})
	}
}

// A loss counts for the time when it was sent, also when it becomes known late, and not at all once it
// turns out to have arrived.
func TestPathLossLate(t *testing.T) {
	var l pathLoss
	for i := range 10 {
		kind := sendAt
		if i == 2 {
			kind = sendBelow
		}
		l.begin(time.Duration(i+1)*time.Second, kind)
		l.sent(100 * IKCP_MTU_DEF)
	}
	l.lost(3*time.Second+1, 10*IKCP_MTU_DEF) // of the third epoch, which was counted before
	if l.below.lost != 10*IKCP_MTU_DEF || l.at.lost != 0 {
		t.Errorf("%d lost below the rate, %d at it", l.below.lost, l.at.lost)
	}
	l.lost(3*time.Second+1, -10*IKCP_MTU_DEF)
	if l.below.lost != 0 {
		t.Errorf("%d lost below the rate after it arrived", l.below.lost)
	}
}
