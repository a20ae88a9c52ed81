package kcp

import (
	"testing"
	"time"
)

// A queue that stands although bbr eases is that of rivals, until it has been left alone for a while. One that becomes
// shorter by what bbr gives up is not, nor one for which it eases no more than flows of its own kind make it.
func TestBBRRivals(t *testing.T) {
	const rtt = 50 * time.Millisecond
	for _, c := range []struct {
		name  string
		ease  float64
		falls time.Duration // of the queueing delay, in a round
		found bool
	}{
		{"a queue of others", 0.25, 0, true},
		{"its own", 0.25, rtt / 5, false},
		{"one shared with its like", 0.15, 0, false},
	} {
		var v bbrRivals
		now, waited := time.Duration(0), 2*rtt
		round := func() {
			now += rtt
			v.note(now, c.ease, waited, waited-c.falls, rtt)
			waited -= c.falls
		}
		for range bbrRivalRounds {
			round()
		}
		if found := now < v.until; found != c.found {
			t.Errorf("%s: found rivals: %v", c.name, found)
			continue
		}
		if !c.found {
			continue
		}
		for until := v.until; now < v.after; round() {
			if v.until != until {
				t.Fatal("rivals are found again at once")
			}
		}
	}
}
