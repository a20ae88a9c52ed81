package kcp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// costEnd is one of two cores over 60 ms of round trip, with the processor time that it takes.
type costEnd struct {
	*KCP
	mem    [2 * mtuLimit]byte
	out    []flight
	random *rand.Rand
	loss   float64
	took   time.Duration
}

func (e *costEnd) buffer(int) []byte { return e.mem[:] }

func (e *costEnd) emit(now int64, size int, _ bool) {
	if e.random.Float64() >= e.loss {
		e.out = append(e.out, flight{at: now + 30*int64(time.Millisecond), data: append([]byte(nil), e.mem[e.reserved:size]...)})
	}
}

// does runs what this end does at now, and then what is due.
func (e *costEnd) does(now int64, f func()) {
	began := time.Now()
	f()
	if now >= e.deadline() || e.flushDue(now) {
		e.flush(now)
	}
	e.took += time.Since(began)
}

// hears takes what the other end has sent.
func (e *costEnd) hears(now int64, from *costEnd) {
	for len(from.out) > 0 && from.out[0].at <= now {
		b := from.out[0].data
		from.out = from.out[1:]
		e.does(now, func() { e.input(now, b, true) })
	}
}

func newCostEnd(seed uint64, loss, budget float64) *costEnd {
	e := &costEnd{random: seeded(1, seed), loss: loss}
	e.KCP = newCore(testConv, e, &packets, new(Snmp), 0)
	e.caps.own = capMark | capFIN | capRecords
	e.caps.peer, e.caps.peerKnown = e.caps.own, true
	e.params.peer = params{known: true, features: ownFeatures}
	e.NoDelay(1, 10, 2, 1)
	e.WndSize(1024, 1024)
	e.ackNoDelay = true
	e.setRepairs(budget, 0)
	return e
}

// BenchmarkRepairsCost is the processor time of both ends for each message of 500 bytes every 10 ms, over a round
// trip of 60 ms, without repairs and with them.
func BenchmarkRepairsCost(b *testing.B) {
	for _, loss := range []float64{0, 0.01, 0.1, 0.3} {
		for _, budget := range []float64{0, 0.5} {
			b.Run(fmt.Sprintf("loss=%v/budget=%v", loss, budget), func(b *testing.B) {
				s, r := newCostEnd(1, loss, budget), newCostEnd(2, loss, 0)
				msg, got := make([]byte, 500), make([]byte, 500)
				now, n, settled := int64(time.Hour), 0, 0
				b.ReportAllocs()
				for b.Loop() {
					if n++; n == 500 { // the loss is known
						s.took, r.took, settled = 0, 0, n
					}
					s.does(now, func() { s.Send(msg) })
					for range 10 {
						now += int64(time.Millisecond)
						r.hears(now, s)
						s.hears(now, r)
						s.does(now, func() {})
						r.does(now, func() {
							for r.Recv(got) > 0 {
							}
						})
					}
				}
				if n > settled {
					b.ReportMetric(float64(s.took.Nanoseconds())/float64(n-settled), "ns/message-sender")
					b.ReportMetric(float64(r.took.Nanoseconds())/float64(n-settled), "ns/message-receiver")
					b.ReportMetric(float64(r.count.FECRecovered)/float64(n), "rebuilt/message")
				}
			})
		}
	}
}
