package netem

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

func TestPerfectPathDeliversInsideWriteTo(t *testing.T) {
	onWire(t, 1, Path{}, func(w *wire) {
		w.send(3, 100)
		if s := w.stats(); s.Sent != 3 || s.SentBytes != 300 || s.Delivered != 3 || s.DeliveredBytes != 300 {
			w.Errorf("stats = %+v", s)
		}
		w.want(arrival{0, 0}, arrival{1, 0}, arrival{2, 0})
		if w.timer != nil {
			w.Error("a timer was needed")
		}
	})
}

func TestDelayIsExactAndFIFO(t *testing.T) {
	onWire(t, 1, Path{Delay: 25*ms + 7}, func(w *wire) {
		var want []arrival
		for i := range 100 {
			w.send(2, 50)
			at := time.Duration(i)*ms + 25*ms + 7
			want = append(want, arrival{2 * i, at}, arrival{2*i + 1, at})
			time.Sleep(ms)
		}
		w.want(want...)
	})
}

// The arrivals are read while they come in, by a reader that blocks.
func TestReaderBlocksUntilArrival(t *testing.T) {
	onWire(t, 1, Path{Delay: 10 * ms}, func(w *wire) {
		go func() {
			time.Sleep(5 * ms)
			w.send(1, 10)
		}()
		w.want(arrival{0, 15 * ms})
	})
}

func TestLoss(t *testing.T) {
	for _, p := range []float64{0, 0.02, 0.3, 1} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			onWire(t, 7, Path{Loss: p, Delay: ms}, func(w *wire) {
				w.send(5000, 10)
				got := w.arrivals()
				s := w.stats()
				w.near("loss", s.Lost, s.Sent, p)
				if uint64(len(got)) != s.Delivered || s.Delivered+s.Lost != s.Sent {
					w.Errorf("read %d, stats = %+v", len(got), s)
				}
			})
		})
	}
}

func TestBurstLoss(t *testing.T) {
	onWire(t, 3, Path{Burst: Burst{Enter: 0.02, Leave: 0.25}}, func(w *wire) {
		const n = 10000
		w.send(n, 10)
		bursts, next := 0, 0
		for _, a := range w.arrivals() {
			if a.num != next {
				bursts++
			}
			next = a.num + 1
		}
		lost := float64(w.stats().Lost)
		if share, want := lost/n, 0.02/0.27; math.Abs(share-want) > 0.1*want {
			w.Errorf("loss = %.4f, want about %.4f", share, want)
		}
		if mean := lost / float64(bursts); math.Abs(mean-4) > 0.4 {
			w.Errorf("mean burst = %.2f datagrams, want about 4", mean)
		}
	})
}

func TestBurstLossInBothStates(t *testing.T) {
	onWire(t, 3, Path{Loss: 0.1, Burst: Burst{Enter: 0.5, Leave: 0.5, Loss: 0.4}}, func(w *wire) {
		w.send(5000, 10)
		s := w.stats()
		w.near("loss", s.Lost, s.Sent, (0.1+(1-0.9*0.6))/2)
	})
}

// A path without bursts ends the burst that its predecessor was in.
func TestBurstEndsWithItsPath(t *testing.T) {
	onWire(t, 3, Path{Burst: Burst{Enter: 1}}, func(w *wire) {
		w.send(10, 10)
		w.setPath(Path{})
		w.send(1, 10)
		w.want(arrival{10, 0})
	})
}

func TestBandwidthIsExact(t *testing.T) {
	for _, c := range []struct {
		path    Path
		n, size int
	}{
		{Path{Bandwidth: 1000000}, 40, 1000},
		{Path{Bandwidth: 3000000}, 40, 1000},               // 333333⅓ ns each
		{Path{Bandwidth: 3000000, Overhead: 28}, 40, 1000}, // 342666⅔ ns each
		{Path{Bandwidth: 7, Delay: 3 * ms}, 10, 4},         // slower than a second
		{Path{Bandwidth: 1e11, Queue: 1 << 20}, 1000, 1000},
	} {
		t.Run(fmt.Sprintf("%d", c.path.Bandwidth), func(t *testing.T) {
			onWire(t, 1, c.path, func(w *wire) {
				w.send(c.n, c.size)
				var want []arrival
				for i := range c.n {
					work := int64(i+1) * int64(c.size+c.path.Overhead)
					at := time.Duration(work * 1e9 / c.path.Bandwidth)
					want = append(want, arrival{i, at + c.path.Delay})
				}
				w.want(want...)
			})
		})
	}
}

func TestBandwidthRestsWhenIdle(t *testing.T) {
	onWire(t, 1, Path{Bandwidth: 100000}, func(w *wire) {
		w.send(2, 1000)
		time.Sleep(100 * ms)
		w.send(2, 1000)
		w.want(arrival{0, 10 * ms}, arrival{1, 20 * ms}, arrival{2, 110 * ms}, arrival{3, 120 * ms})
	})
}

// Ten kilobytes wait behind the datagram that is transmitted, and not one more.
func TestQueueIsDropTail(t *testing.T) {
	onWire(t, 1, Path{Bandwidth: 1000000, Overhead: 100, Queue: 10000}, func(w *wire) {
		w.send(12, 900) // 0 is transmitted, 1 to 10 wait
		w.send(1, 4)    // does not fit either
		time.Sleep(ms - 1)
		w.send(1, 900) // nor does this, 1 ns too early
		time.Sleep(time.Nanosecond)
		w.send(2, 900) // the first does: datagram 1 has left the queue
		want := []arrival{{14, 12 * ms}}
		for i := 10; i >= 0; i-- {
			want = slices.Insert(want, 0, arrival{i, time.Duration(i+1) * ms})
		}
		w.want(want...)
		if s := w.stats(); s.QueueDrops != 4 || s.Sent != 16 {
			w.Errorf("stats = %+v", s)
		}
	})
}

func TestDefaultQueue(t *testing.T) {
	onWire(t, 1, Path{Bandwidth: 1 << 20}, func(w *wire) {
		w.send(100, 1<<10)
		if got := len(w.arrivals()); got != 1+DefaultQueue>>10 {
			w.Errorf("%d datagrams got through, want %d", got, 1+DefaultQueue>>10)
		}
	})
}

// What is lost behind the bottleneck has taken its time there.
func TestLossUsesBandwidth(t *testing.T) {
	onWire(t, 1, Path{Bandwidth: 100000, Loss: 1}, func(w *wire) {
		w.send(1, 1000)
		w.setPath(Path{Bandwidth: 100000})
		w.send(1, 1000)
		w.want(arrival{1, 20 * ms})
	})
}

func TestJitter(t *testing.T) {
	onWire(t, 5, Path{Delay: 20 * ms, Jitter: 10 * ms}, func(w *wire) {
		const n = 5000
		w.send(n, 10)
		var sum time.Duration
		got := w.arrivals()
		for _, a := range got {
			if sum += a.at; a.at < 20*ms || a.at > 30*ms {
				w.Fatalf("arrival after %v, want 20ms to 30ms", a.at)
			}
		}
		if mean := sum / n; mean < 24*ms || mean > 26*ms {
			w.Errorf("mean = %v, want about 25ms", mean)
		}
		if s := w.stats(); len(got) != n || s.Reordered < n/2 {
			w.Errorf("%d arrivals, stats = %+v", len(got), s)
		}
	})
}

func TestReorder(t *testing.T) {
	onWire(t, 11, Path{Delay: 5 * ms, Reorder: 0.1, ReorderDelay: 3*ms + ms/2}, func(w *wire) {
		for range 2000 {
			w.send(1, 10)
			time.Sleep(ms)
		}
		var held uint64
		for _, a := range w.arrivals() {
			switch late := a.at - time.Duration(a.num)*ms; late {
			case 5 * ms:
			case 8*ms + ms/2:
				held++
			default:
				w.Fatalf("arrival after %v", late)
			}
		}
		w.near("share held back", held, 2000, 0.1)
		// Held back with the three after it: nothing overtook it.
		if s := w.stats(); s.Reordered > held || s.Reordered < held-5 {
			w.Errorf("reordered = %d, held back = %d", s.Reordered, held)
		}
	})
}

func TestReorderDelayDefault(t *testing.T) {
	onWire(t, 1, Path{Reorder: 1}, func(w *wire) {
		w.send(1, 10)
		w.want(arrival{0, DefaultReorderDelay})
	})
}

func TestDuplicate(t *testing.T) {
	onWire(t, 13, Path{Delay: ms, Duplicate: 0.2, Loss: 0.5}, func(w *wire) {
		w.send(5000, 10)
		got := nums(w.arrivals())
		s := w.stats()
		w.near("duplicates", s.Duplicated, s.Sent-s.Lost, 0.2)
		if !slices.IsSorted(got) {
			w.Error("out of order")
		}
		if twice := len(got) - len(slices.Compact(got)); uint64(twice) != s.Duplicated {
			w.Errorf("%d arrived twice, stats = %+v", twice, s)
		}
	})
}

func TestPolicerIsATokenBucket(t *testing.T) {
	p := Path{Policer: Policer{Rate: 1000, Burst: 300}, Overhead: 28}
	onWire(t, 1, p, func(w *wire) {
		w.send(3, 72) // the bucket is full: each takes 100 bytes
		w.send(1, 72)
		time.Sleep(99 * ms)
		w.send(1, 72)
		time.Sleep(ms)
		w.send(2, 72) // there are 100 tokens
		time.Sleep(time.Minute)
		w.send(4, 72) // and no more than 300
		w.want(arrival{0, 0}, arrival{1, 0}, arrival{2, 0}, arrival{5, 100 * ms},
			arrival{7, time.Minute + 100*ms}, arrival{8, time.Minute + 100*ms}, arrival{9, time.Minute + 100*ms})
		if s := w.stats(); s.Policed != 4 || s.Sent != 11 {
			w.Errorf("stats = %+v", s)
		}
	})
}

// A policer that comes with a change has a full bucket, one that stays keeps its tokens, and a
// shorter bucket spills.
func TestPolicerChange(t *testing.T) {
	onWire(t, 1, Path{}, func(w *wire) {
		policed := func(rate int64, burst int) {
			w.setPath(Path{Policer: Policer{Rate: rate, Burst: burst}})
		}
		w.send(1, 1000)
		policed(1000, 300)
		w.send(4, 100)
		time.Sleep(100 * ms)
		policed(2000, 300)
		w.send(2, 100) // what came in at the old rate
		time.Sleep(50 * ms)
		w.send(2, 100)
		time.Sleep(time.Minute)
		policed(2000, 100)
		w.send(2, 100)
		if got, want := nums(w.arrivals()), []int{0, 1, 2, 3, 5, 7, 9}; !slices.Equal(got, want) {
			w.Errorf("arrived %v, want %v", got, want)
		}
	})
	onWire(t, 1, Path{}, func(w *wire) {
		if err := w.SetDefault(Path{Policer: Policer{Rate: 1}}); err != nil {
			w.Fatal(err)
		}
		c := w.listen("192.0.2.3:1000")
		for i := range 20 {
			w.write(c, i, 8000)
		}
		if got := len(w.arrivals()); got != DefaultPolicerBurst/8000 {
			w.Errorf("%d arrived, want as many as DefaultPolicerBurst has room for", got)
		}
	})
}

func TestQueued(t *testing.T) {
	onWire(t, 1, Path{Bandwidth: 10_000, Overhead: 20, Delay: time.Second}, func(w *wire) {
		for _, c := range []struct{ send, wait, want int }{
			{0, 0, 0}, {3, 0, 300}, {0, 9, 300}, {0, 1, 200}, {0, 20, 0}, {1, 0, 100}, {0, 10, 0},
		} {
			w.send(c.send, 80)
			time.Sleep(time.Duration(c.wait) * ms)
			if got := w.Queued(w.a.LocalAddr(), w.b.LocalAddr()); got != c.want {
				w.Errorf("%v after the start %d bytes are queued, want %d", time.Since(w.start), got, c.want)
			}
		}
		if got := w.Queued(w.b.LocalAddr(), w.a.LocalAddr()) + w.Queued(nil, nil); got != 0 {
			w.Errorf("%d bytes are queued where nothing was sent", got)
		}
	})
}

func TestMTU(t *testing.T) {
	onWire(t, 1, Path{MTU: 100, Overhead: 28}, func(w *wire) {
		w.send(1, 100)
		w.send(1, 101)
		w.want(arrival{0, 0})
		if s := w.stats(); s.MTUDrops != 1 {
			w.Errorf("stats = %+v", s)
		}
	})
	onWire(t, 1, Path{MTU: 100, Overhead: 28, Bandwidth: 1000}, func(w *wire) {
		w.a.AllowFragments(true)
		w.send(1, 101)
		w.a.AllowFragments(false)
		w.send(1, 101)
		w.want(arrival{0, 157 * ms}) // with the headers of both fragments
		if s := w.stats(); s.MTUDrops != 1 {
			w.Errorf("stats = %+v", s)
		}
	})
}

func TestShorterDelayKeepsOrder(t *testing.T) {
	onWire(t, 1, Path{Delay: 100 * ms}, func(w *wire) {
		w.send(1, 10)
		time.Sleep(ms)
		w.setPath(Path{Delay: 10 * ms})
		w.send(1, 10)
		time.Sleep(98 * ms)
		w.send(1, 10)
		w.want(arrival{0, 100 * ms}, arrival{1, 100 * ms}, arrival{2, 109 * ms})
	})
}

func TestBandwidthChange(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		name string
		to   Path
		want []arrival
	}{
		{"faster", Path{Bandwidth: 400000}, []arrival{{0, 10 * ms}, {1, 16250 * us}, {2, 18750 * us}}},
		{"slower", Path{Bandwidth: 50000}, []arrival{{0, 10 * ms}, {1, 25 * ms}, {2, 45 * ms}}},
		{"farther", Path{Bandwidth: 100000, Delay: ms}, []arrival{{0, 10 * ms}, {1, 21 * ms}, {2, 31 * ms}}},
		{"unlimited", Path{}, []arrival{{0, 10 * ms}, {1, 15 * ms}, {2, 15 * ms}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onWire(t, 1, Path{Bandwidth: 100000}, func(w *wire) {
				w.send(3, 1000)
				time.Sleep(15 * ms)            // half of datagram 1 has been transmitted
				w.setPath(Path{Bandwidth: 10}) // an event outdated at once does no harm
				w.setPath(c.to)
				w.want(c.want...)
			})
		})
	}
}

// Fates are those of the Path when the datagram was sent.
func TestFatesAreDrawnWhenSent(t *testing.T) {
	onWire(t, 1, Path{Bandwidth: 100000}, func(w *wire) {
		w.send(2, 1000)
		w.setPath(Path{Bandwidth: 100000, Loss: 1})
		w.send(2, 1000)
		w.want(arrival{0, 10 * ms}, arrival{1, 20 * ms})
	})
}

// lossy is a path on which everything happens.
var lossy = Path{
	Delay: 10 * ms, Jitter: 4 * ms, Loss: 0.1, Burst: Burst{Enter: 0.05, Leave: 0.3, Loss: 0.8},
	Reorder: 0.05, Duplicate: 0.05, Bandwidth: 1000000, Queue: 20000,
}

// fates sends 1000 datagrams over p, interleaved with other traffic on the same
// network if busy, and returns what arrived when.
func fates(t *testing.T, seed uint64, p Path, busy bool) (got []arrival) {
	onWire(t, seed, p, func(w *wire) {
		for i := range 1000 {
			if busy && i%3 == 0 {
				w.b.WriteTo([]byte("other traffic"), w.a.LocalAddr())
			}
			w.send(1, 500)
			time.Sleep(ms / 2)
		}
		got = w.arrivals()
	})
	return got
}

func TestSameSeedSameFates(t *testing.T) {
	first := fates(t, 42, lossy, false)
	if len(first) < 500 || len(first) > 950 {
		t.Fatalf("%d arrivals", len(first))
	}
	if again := fates(t, 42, lossy, false); !slices.Equal(first, again) {
		t.Error("the same seed gave other fates")
	}
	if busy := fates(t, 42, lossy, true); !slices.Equal(first, busy) {
		t.Error("traffic on another link changed the fates")
	}
	if other := fates(t, 43, lossy, false); slices.Equal(first, other) {
		t.Error("another seed gave the same fates")
	}
}

// Changing one field leaves the fates that others decide as they were.
func TestFieldsDrawIndependently(t *testing.T) {
	p := Path{Loss: 0.1}
	want := nums(fates(t, 42, p, false))
	p.Delay, p.Jitter, p.Duplicate = 10*ms, 20*ms, 0.3
	got := nums(fates(t, 42, p, false))
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Error("jitter and duplication changed which datagrams are lost")
	}
}

func TestDirectionsDiffer(t *testing.T) {
	n := New(1)
	defer n.Close()
	if err := n.SetDefault(Path{Loss: 0.5}); err != nil {
		t.Fatal(err)
	}
	a, _ := n.Listen("192.0.2.1:1")
	b, _ := n.Listen("192.0.2.2:1")
	var there, back []uint64
	for range 100 {
		a.WriteTo(nil, b.LocalAddr())
		b.WriteTo(nil, a.LocalAddr())
		there = append(there, n.Stats(a.LocalAddr(), b.LocalAddr()).Lost)
		back = append(back, n.Stats(b.LocalAddr(), a.LocalAddr()).Lost)
	}
	if slices.Equal(there, back) {
		t.Error("both directions drew the same fates")
	}
}
