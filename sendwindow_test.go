package kcp

import (
	"fmt"
	"math"
	"testing"
	"unsafe"
)

// plainWindow counts later acknowledgements the plain way: for each segment in flight by itself.
type plainWindow struct {
	una, nxt uint32
	segs     map[uint32]*plainSegment
	clock    int // of transmissions
}

type plainSegment struct {
	sent, later int
	ts          uint32
	lost        bool
}

func (w *plainWindow) inFlight() (order []uint32) {
	for at := 1; at <= w.clock; at++ {
		for sn := w.una; sn != w.nxt; sn++ {
			if s := w.segs[sn]; s != nil && !s.lost && s.sent == at {
				order = append(order, sn)
			}
		}
	}
	return order
}

func (w *plainWindow) ack(sn, ts uint32) {
	s := w.segs[sn]
	if s == nil {
		return
	}
	if !s.lost && s.ts == ts {
		for _, o := range w.segs {
			if !o.lost && o.sent < s.sent {
				o.later++
			}
		}
	}
	delete(w.segs, sn)
}

func TestSendWindowModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := seeded(seed, 1)
		start := uint32(0)
		if seed%2 == 1 {
			start = 0xffffffff - uint32(rnd.IntN(30))
		}
		w := sendWindow{una: start, nxt: start, end: start}
		m := plainWindow{una: start, nxt: start, segs: make(map[uint32]*plainSegment)}
		var rtt rttEstimator
		rtt.init()
		now := int64(0)
		var acks []plainAck // of any transmission so far, as they may be late
		for step := range 300 {
			now += rnd.Int64N(int64(20 * millisecond))
			ts := uint32(step)
			switch op := rnd.IntN(10); {
			case op < 3 && w.waiting() < 40:
				w.push(packets.get())
				fallthrough
			case op < 5 && w.queued() > 0:
				if w.queued() > 0 {
					m.clock++
					m.segs[w.nxt] = &plainSegment{sent: m.clock, ts: ts}
					acks = append(acks, plainAck{w.nxt, ts})
					w.nxt++
					m.nxt++
					w.markSent(w.nxt-1, now, ts)
				}
			case op < 6 && w.lost.n > 0:
				sn := w.lost.head
				m.clock++
				m.segs[sn].sent, m.segs[sn].later, m.segs[sn].lost, m.segs[sn].ts = m.clock, 0, false, ts
				acks = append(acks, plainAck{sn, ts})
				w.markSent(sn, now, ts)
			case op < 8 && len(acks) > 0:
				a := acks[rnd.IntN(len(acks))]
				m.ack(a.sn, a.ts)
				if p := w.ack(a.sn, a.ts); p != nil {
					packets.put(p)
				}
				for m.una != m.nxt && m.segs[m.una] == nil {
					m.una++
				}
				w.advance()
			default:
				if w.inFlight.n > 0 {
					sn := w.inFlight.head
					if rnd.IntN(4) == 0 { // by its timer, which may run in another order
						sn, _ = w.earliest(&rtt, 0)
					}
					m.segs[sn].lost = true
					w.markLost(sn, w.at(sn).backoff+uint8(rnd.IntN(2)))
				}
			}
			order := m.inFlight()
			if w.una != m.una || w.inFlight.n != len(order) {
				t.Fatalf("seed %d step %d: una %d, %d in flight; want %d, %d",
					seed, step, w.una, w.inFlight.n, m.una, len(order))
			}
			var got []uint32
			sum := uint32(0)
			for i, sn := 0, w.inFlight.tail; i < w.inFlight.n; i, sn = i+1, w.at(sn).links[linkOrder].prev {
				got = append([]uint32{sn}, got...)
				if sum += w.at(sn).laterAcks; int(sum) != m.segs[sn].later {
					t.Fatalf("seed %d step %d: segment %d has %d later acks, want %d",
						seed, step, sn, sum, m.segs[sn].later)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(order) || w.laterAcks != sum {
				t.Fatalf("seed %d step %d: in flight %v, want %v; total %d, want %d",
					seed, step, got, order, w.laterAcks, sum)
			}
			earliest := int64(never)
			for _, sn := range order {
				earliest = min(earliest, w.at(sn).sentAt+rtt.backoff(w.at(sn).backoff))
			}
			if _, at := w.earliest(&rtt, 0); at != earliest {
				t.Fatalf("seed %d step %d: next timeout at %d, want %d", seed, step, at, earliest)
			}
			wantWindow(t, &w)
		}
	}
}

type plainAck struct{ sn, ts uint32 }

// wantWindow checks everything that must always be true of a send window.
func wantWindow(t testing.TB, w *sendWindow) {
	t.Helper()
	if w.nxt-w.una > w.end-w.una || int(w.end-w.una) > len(w.ring) {
		t.Fatalf("una %d, nxt %d, end %d in a ring of %d", w.una, w.nxt, w.end, len(w.ring))
	}
	states := map[segState]int{}
	levels := [backoffLevels]int{}
	owned := make(map[*packet]bool)
	queued := 0
	for sn := w.una; sn != w.end; sn++ {
		s := w.at(sn)
		states[s.state]++
		if (s.state == segQueued) != (sn-w.una >= w.nxt-w.una) {
			t.Fatalf("segment %d of %d…%d…%d is in state %d", sn, w.una, w.nxt, w.end, s.state)
		}
		if (s.p == nil) != (s.state == segAcked) || s.p != nil && owned[s.p] {
			t.Fatalf("segment %d in state %d has packet %p", sn, s.state, s.p)
		}
		owned[s.p] = true
		if s.state == segAcked {
			if next := s.links[linkOrder].next; next == sn || next-sn > w.nxt-sn || w.unacked(sn+1)-sn < next-sn {
				t.Fatalf("segment %d, acknowledged, has the link %d", sn, next)
			}
		}
		if s.state == segInFlight {
			levels[s.backoff]++
		} else if s.state == segQueued {
			queued += len(s.p.data)
		}
	}
	if queued != w.bytesQueued {
		t.Fatalf("%d bytes are queued, and %d counted", queued, w.bytesQueued)
	}
	if w.una != w.nxt && w.at(w.una).state == segAcked {
		t.Fatalf("una %d is acknowledged", w.una)
	}
	list := func(l *snList, kind linkKind, state segState) int {
		sn, last := l.head, int64(math.MinInt64)
		for i := range l.n {
			s := w.at(sn)
			if s.state != state {
				t.Fatalf("segment %d on a list of state %d is in state %d", sn, state, s.state)
			}
			if state == segInFlight && s.sentAt < last {
				t.Fatalf("segment %d is out of the order of transmission", sn)
			}
			last = s.sentAt
			if i == l.n-1 {
				if sn != l.tail {
					t.Fatalf("list ends with %d, want %d", sn, l.tail)
				}
				break
			}
			if next := s.links[kind].next; w.at(next).links[kind].prev != sn {
				t.Fatalf("segments %d and %d are not linked both ways", sn, next)
			}
			sn = s.links[kind].next
		}
		return l.n
	}
	if n := list(&w.inFlight, linkOrder, segInFlight); n != states[segInFlight] {
		t.Fatalf("%d on the list of flight, %d in flight", n, states[segInFlight])
	}
	if n := list(&w.lost, linkOrder, segLost); n != states[segLost] {
		t.Fatalf("%d on the list of lost, %d lost", n, states[segLost])
	}
	for level := range w.timers {
		n := list(&w.timers[level], linkTimer, segInFlight)
		if n != levels[level] || (n > 0) != (w.armed>>level&1 == 1) {
			t.Fatalf("%d timers of level %d for %d segments, armed %b", n, level, levels[level], w.armed)
		}
	}
	var sum uint32
	for i, sn := 0, w.inFlight.head; i < w.inFlight.n; i, sn = i+1, w.at(sn).links[linkOrder].next {
		sum += w.at(sn).laterAcks
	}
	if sum != w.laterAcks {
		t.Fatalf("later acknowledgements add up to %d, not %d", sum, w.laterAcks)
	}
}

func TestSlotIsCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(sendSegment{}); n > 64 {
		t.Errorf("%d bytes", n)
	}
}
