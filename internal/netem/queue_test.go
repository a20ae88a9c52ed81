package netem

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestFIFO(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var f fifo[int]
	var want []int
	for i := range 10000 {
		// Phases of growing and of shrinking.
		if f.len() == 0 || r.IntN(100) < 30+40*(i/1000%2) {
			f.push(i)
			want = append(want, i)
		} else {
			if got := f.peek(); got != want[0] {
				t.Fatalf("peek = %d, want %d", got, want[0])
			}
			if got := f.pop(); got != want[0] {
				t.Fatalf("pop = %d, want %d", got, want[0])
			}
			want = want[1:]
		}
		if f.len() != len(want) {
			t.Fatalf("len = %d, want %d", f.len(), len(want))
		}
	}
}

func TestEventHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h eventHeap
	var want []event
	order := func(a, b event) int {
		if a.before(&b) {
			return -1
		}
		return 1
	}
	for i := range 3000 {
		if len(h) == 0 || r.IntN(100) < 60 {
			e := event{due: time.Duration(r.IntN(50)), seq: uint64(i)} // many ties
			h.push(e)
			at, _ := slices.BinarySearchFunc(want, e, order)
			want = slices.Insert(want, at, e)
		} else if got := h.pop(); got != want[0] {
			t.Fatalf("pop = %v, want %v", got, want[0])
		} else {
			want = want[1:]
		}
	}
	for _, e := range want {
		if got := h.pop(); got != e {
			t.Fatalf("pop = %v, want %v", got, e)
		}
	}
	if len(h) != 0 {
		t.Errorf("%d events left", len(h))
	}
}
