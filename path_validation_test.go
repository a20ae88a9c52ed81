package kcp

import (
	"net/netip"
	"testing"
	"time"
)

func TestPathValidation(t *testing.T) {
	const ms = int64(time.Millisecond)
	at := func(port uint16) *path {
		return &path{destination: destination{peerAddr: peerAddr{udp: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port)}}}
	}
	old, new := at(1), at(2)
	begin := func() *pathValidation {
		v := &pathValidation{}
		v.begin(0, 100*ms, old, new, 100)
		v.came = 60
		return v
	}
	// ask asks as long as something is due by that time, and returns how often.
	ask := func(v *pathValidation, until int64) (atOld, atNew int) {
		for now := int64(0); now <= until; now = v.deadline() {
			if v.settle(now); !v.active {
				break
			}
			for c := v.due(now, 100*ms); c != nil; c = v.due(now, 100*ms) {
				if c == &v.old {
					atOld++
				} else {
					atNew++
				}
			}
			if v.deadline() <= now {
				t.Fatalf("due at %d again, at %d", v.deadline(), now)
			}
		}
		return atOld, atNew
	}
	v := begin()
	if o, n := ask(v, never-1); o != pathTries || n != 1 || v.active {
		t.Errorf("asked %d times at the old address, %d at the new one for 60 bytes; active: %t", o, n, v.active)
	}
	v = begin()
	v.came = 1000
	if o, n := ask(v, never-1); o != pathTries || n != pathTries {
		t.Errorf("asked %d times at the old address, %d at the new one", o, n)
	}
	for _, tt := range []struct {
		name  string
		steps func(v *pathValidation) pathVerdict
		want  pathVerdict
	}{
		{"the new one answers", func(v *pathValidation) pathVerdict { return v.echoed(v.new.value, new.peerAddr) }, pathMoves},
		{"the old one does", func(v *pathValidation) pathVerdict { return v.echoed(v.old.value, old.peerAddr) }, pathStays},
		{"the new one's value from the old", func(v *pathValidation) pathVerdict { return v.echoed(v.new.value, old.peerAddr) }, pathUnknown},
		{"the old one's value from the new", func(v *pathValidation) pathVerdict { return v.echoed(v.old.value, new.peerAddr) }, pathUnknown},
		{"from elsewhere", func(v *pathValidation) pathVerdict { return v.echoed(v.new.value, at(3).peerAddr) }, pathUnknown},
		{"another value", func(v *pathValidation) pathVerdict { return v.echoed(v.new.value^2, new.peerAddr) }, pathUnknown},
		{"0", func(v *pathValidation) pathVerdict { return v.echoed(0, new.peerAddr) }, pathUnknown},
		{"both, the new one first", func(v *pathValidation) pathVerdict {
			v.echoed(v.new.value, new.peerAddr)
			return v.echoed(v.old.value, old.peerAddr)
		}, pathReturns},
		{"both, the old one first", func(v *pathValidation) pathVerdict {
			v.echoed(v.old.value, old.peerAddr)
			return v.echoed(v.new.value, new.peerAddr)
		}, pathUnknown},
		{"twice", func(v *pathValidation) pathVerdict {
			v.echoed(v.new.value, new.peerAddr)
			return v.echoed(v.new.value, new.peerAddr)
		}, pathUnknown},
		{"too late", func(v *pathValidation) pathVerdict {
			value := v.new.value
			v.settle(pathPatience(100 * ms))
			return v.echoed(value, new.peerAddr)
		}, pathUnknown},
	} {
		v := begin()
		ask(v, 0)
		if got := tt.steps(v); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	// One address after another, each new: the old one is asked once an RTO all the same.
	v = begin()
	asked := 0
	for i := range 1000 {
		now := int64(i) * ms
		v.begin(now, 100*ms, old, at(uint16(3+i)), 100)
		v.came = 60
		for c := v.due(now, 100*ms); c != nil; c = v.due(now, 100*ms) {
			if c == &v.old {
				asked++
			}
		}
	}
	if asked != 10 {
		t.Errorf("the old address was asked %d times in ten RTOs", asked)
	}
}

// Round trip and congestion are kept where only the port changes, and on the way back within a minute.
func TestRoamKeeps(t *testing.T) {
	at := func(n byte) peerAddr {
		return peerAddr{udp: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 0)}
	}
	var r roaming
	for i, step := range []struct {
		now      time.Duration
		from, to byte
		keep     bool
	}{
		{0, 1, 1, true}, {0, 1, 2, false}, {59 * time.Second, 2, 1, true}, {100 * time.Second, 1, 2, true},
		{161 * time.Second, 2, 1, false}, {162 * time.Second, 1, 3, false}, {163 * time.Second, 3, 4, false},
		{164 * time.Second, 4, 5, false}, {165 * time.Second, 5, 6, false}, {166 * time.Second, 6, 3, true}, {166 * time.Second, 3, 1, false},
	} {
		if keep := r.keeps(int64(step.now), at(step.from), at(step.to)); keep != step.keep {
			t.Errorf("step %d: keep %t, want %t", i, keep, step.keep)
		}
	}
}
