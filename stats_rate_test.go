package kcp

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// A load is a session that sends over a path, and a count of what arrives.
type load struct {
	*world
	s       *UDPSession
	peer    end
	arrived atomic.Int64 // bytes
	stopped atomic.Bool
}

// controls are the congestion controls that Stats has to tell the truth with.
var controls = []struct {
	name string
	set  func(s *UDPSession)
}{
	{"bbr", func(*UDPSession) {}},
	{"cubic", func(s *UDPSession) { s.SetCongestionControl(NewCubic()) }},
	{"nc=1", func(s *UDPSession) { s.SetNoDelay(-1, -1, -1, 1) }},
}

// load makes s send what it can, and its peer read it.
func (w *world) load(s *UDPSession, peer end) *load {
	l := w.reading(s, peer)
	go l.write()
	return l
}

// write writes until it is stopped.
func (l *load) write() {
	for b := make([]byte, 16<<10); !l.stopped.Load(); {
		if _, err := l.s.Write(b); err != nil {
			return
		}
	}
}

// reading makes peer read what s sends.
func (w *world) reading(s *UDPSession, peer end) *load {
	l := &load{world: w, s: s, peer: peer}
	go func() {
		b := make([]byte, 8192)
		for {
			n, err := peer.Read(b)
			if err != nil {
				return
			}
			l.arrived.Add(int64(n))
		}
	}()
	return l
}

// end ends both sessions.
func (l *load) end() {
	l.stopped.Store(true)
	l.s.SetLinger(0)
	closeAll(l.s, l.peer.(io.Closer))
}

// segments is how many full segments have arrived: with a peer of ours in any order.
func (l *load) segments() float64 {
	if peer, ok := l.peer.(*UDPSession); ok {
		st := peer.Stats()
		return float64(st.SegmentsReceived - st.Duplicates)
	}
	return float64(l.arrived.Load()) / plainMSS
}

// follow reads DeliveryRate every 100 ms for as long, and returns the average and what was carried.
func (l *load) follow(d time.Duration) (average, carried float64) {
	start, reads := l.segments(), 0.0
	for begin := time.Now(); time.Since(begin) < d; reads++ {
		l.sleep(100 * time.Millisecond)
		average += float64(l.s.Stats().DeliveryRate)
	}
	return average / reads, (l.segments() - start) * IKCP_MTU_DEF / (reads / 10)
}

// DeliveryRate is what bulk gets over a bottleneck, with every controller, whatever is lost, and
// however the peer acknowledges.
func TestStatsDeliveryRate(t *testing.T) {
	for _, c := range controls {
		for _, loss := range []float64{0, 0.01, 0.1} {
			for _, timer := range []time.Duration{0, 40 * time.Millisecond} { // of a peer without extensions
				t.Run(fmt.Sprintf("%s/loss %v/timer %v", c.name, loss, timer), func(t *testing.T) {
					path := netem.Path{Delay: 20 * time.Millisecond, Loss: loss, Bandwidth: 500_000, Queue: 20_000, Overhead: 28}
					virtual(t, path, func(w *world) {
						var l *load
						if cfg := w.config(nil, 0, 0); timer == 0 {
							s, peer := w.pair(cfg)
							l = w.load(s, peer)
						} else {
							theirs := unmarked.Config{ReceiveWindow: 512, Interval: timer}
							s, peer := w.meet(cfg, 7, true, theirs)
							l = w.load(s, peer)
						}
						defer l.end()
						c.set(l.s)
						w.sleep(4 * time.Second)
						got, want := l.follow(6 * time.Second)
						// Where timeouts interrupt the transfer, a gap among the last rounds is left out.
						slack := 0.05
						if loss == 0.1 && timer != 0 {
							slack = 0.3
						}
						if math.Abs(got-want) > slack*want {
							t.Errorf("%.0f bytes a second, want %.0f", got, want)
						}
						if l.s.Stats().DeliveryRateAppLimited {
							t.Error("counts as limited by the application")
						}
					})
				})
			}
		}
	}
}

// When the path changes, DeliveryRate follows within ten round trips, as long as the queue makes them.
func TestStatsDeliveryRatePathChange(t *testing.T) {
	for _, c := range controls {
		t.Run(c.name, func(t *testing.T) {
			path := netem.Path{Delay: 20 * time.Millisecond, Bandwidth: 2_500_000, Queue: 50_000, Overhead: 28}
			virtual(t, path, func(w *world) {
				s, peer := w.pair(w.config(nil, 0, 0))
				l := w.load(s, peer)
				defer l.end()
				c.set(s)
				w.sleep(5 * time.Second)
				path.Bandwidth = 500_000
				w.check(w.net.SetDefault(path))
				w.sleep(10 * (2*path.Delay + time.Duration(path.Queue)*time.Second/time.Duration(path.Bandwidth)))
				if got, most := s.Stats().DeliveryRate, 550_000; got > int64(most) {
					t.Errorf("%d bytes a second over a path of %d", got, path.Bandwidth)
				}
				w.sleep(2 * time.Second)
				if got := s.Stats().DeliveryRate; got < 420_000 || got > 510_000 {
					t.Errorf("%d bytes a second over a path of %d, 2 s later", got, path.Bandwidth)
				}
			})
		})
	}
}

// stream makes l's session send size bytes each period, for as long.
func (l *load) stream(size int, period, d time.Duration) {
	for begin := time.Now(); time.Since(begin) < d; l.sleep(period) {
		if _, err := l.s.Write(make([]byte, size)); err != nil {
			l.Error(err)
		}
	}
}

// A stream that is thinner than the path tells a lower bound, and that it is one. What a bulk
// transfer has found out before is remembered for ten seconds; a pause alone forgets nothing.
func TestStatsDeliveryRateAppLimited(t *testing.T) {
	for _, c := range controls {
		t.Run(c.name, func(t *testing.T) {
			path := netem.Path{Delay: 20 * time.Millisecond, Bandwidth: 1_250_000, Queue: 100_000, Overhead: 28}
			virtual(t, path, func(w *world) {
				s, peer := w.pair(w.config(nil, 0, 0))
				c.set(s)
				l := w.reading(s, peer)
				defer l.end()
				want := func(when string, least, most int64, limited bool) {
					t.Helper()
					if st := s.Stats(); st.DeliveryRate < least || st.DeliveryRate > most || st.DeliveryRateAppLimited != limited {
						t.Errorf("%s: %d bytes a second, want %d to %d; limited by the application: %t",
							when, st.DeliveryRate, least, most, st.DeliveryRateAppLimited)
					}
				}
				l.stream(4000, 20*time.Millisecond, 3*time.Second)
				want("a stream of 200,000", 190_000, 420_000, true)
				l.stream(200, time.Second, 15*time.Second)
				want("a stream of 200", 1000, 20_000, true) // 200 bytes in a round trip
				go l.write()
				w.sleep(3 * time.Second)
				want("bulk", map[bool]int64{true: 950_000, false: 1_100_000}[c.name == "nc=1"], 1_250_000, false)
				l.stopped.Store(true)
				if c.name != "cubic" { // repairs go on for some round trips
					path.Loss = 0.2
					w.check(w.net.SetDefault(path))
				}
				w.sleep(30 * time.Second)
				path.Loss = 0
				w.check(w.net.SetDefault(path))
				w.sleep(30 * time.Second)
				want("a pause", 900_000, 1_300_000, true)
				l.stream(4000, 20*time.Millisecond, 3*time.Second)
				want("a stream after bulk", 190_000, 420_000, true)
			})
		})
	}
}

// DeliveryRate and QueueingDelay over paths drawn at random.
func TestStatsDeliveryRateRandomPaths(t *testing.T) {
	noteSeed(t)
	r := rand.New(rand.NewPCG(testSeed, 13))
	worst, where := 0.0, ""
	for i := range lighter(50, 12) {
		c := controls[i%len(controls)]
		rtt := time.Duration(math.Exp(r.Float64()*math.Log(150)) * 2 * float64(time.Millisecond))
		rate := math.Exp(r.Float64()*math.Log(50)) * 60_000
		path := netem.Path{
			Delay: rtt / 2, Bandwidth: int64(rate), Overhead: 28, Loss: []float64{0, 0.01, 0.05}[r.IntN(3)],
			Queue: int(max(20_000, rate*rtt.Seconds()*(0.3+2*r.Float64()))), Jitter: time.Duration(r.IntN(2)) * rtt / 10,
		}
		name := fmt.Sprintf("%s, %v, %d bytes a second, queue %d, loss %v, jitter %v", c.name, rtt, path.Bandwidth, path.Queue, path.Loss, path.Jitter)
		virtual(t, path, func(w *world) {
			s, peer := w.pair(w.config(nil, 0, 0))
			l := w.load(s, peer)
			defer l.end()
			c.set(s)
			w.sleep(3*time.Second + 20*rtt)
			got, want := l.follow(3*time.Second + 40*rtt)
			if off := math.Abs(got/want - 1); off > worst {
				worst, where = off, name
			}
			slack := 0.1
			if c.name == "nc=1" || want < 0.7*rate { // what is sent goes up and down, with gaps
				slack = 0.3
			}
			if math.Abs(got-want) > slack*want {
				t.Errorf("%s: %.0f bytes a second, want %.0f", name, got, want)
			}
		})
	}
	t.Logf("worst: %.1f%% off, %s", 100*worst, where)
}

// A stream of frames over paths drawn at random, such as an encoder's, tells what it gets or more, and
// little more than the path carries at most. For ten seconds after a bulk transfer it tells what that has found.
func TestStatsDeliveryRateFrames(t *testing.T) {
	noteSeed(t)
	r := rand.New(rand.NewPCG(testSeed, 15))
	lowest, highest, kept := math.Inf(1), 0.0, math.Inf(1)
	for i := range lighter(30, 9) {
		c := controls[i%len(controls)]
		rtt := time.Duration(4+r.IntN(150)) * time.Millisecond
		rate := math.Exp(r.Float64()*math.Log(50)) * 60_000
		path := netem.Path{
			Delay: rtt / 2, Bandwidth: int64(rate), Overhead: 28, Loss: []float64{0, 0, 0.02}[r.IntN(3)],
			Queue: int(max(20_000, rate*rtt.Seconds()*(0.5+r.Float64()))),
		}
		if c.name != "bbr" { // they send less than the stream otherwise
			path.Loss = 0
		}
		period := time.Second / time.Duration(10+r.IntN(50))
		size := max(100, int(rate*period.Seconds()*(0.1+0.5*r.Float64())))
		name := fmt.Sprintf("%s, %v, %d bytes a second, queue %d, loss %v, %d bytes each %v", c.name, rtt, path.Bandwidth, path.Queue, path.Loss, size, period)
		virtual(t, path, func(w *world) {
			s, peer := w.pair(w.config(nil, 0, 0))
			c.set(s)
			l := w.reading(s, peer)
			defer l.end()
			l.stream(size, period, 5*time.Second)
			stream := float64(size) / period.Seconds()
			most := 1.05*rate + IKCP_MTU_DEF/max(rtt, 20*time.Millisecond).Seconds() // one datagram more in a round
			st := s.Stats()
			lowest = min(lowest, float64(st.DeliveryRate)/stream)
			highest = max(highest, float64(st.DeliveryRate)/rate)
			if got := float64(st.DeliveryRate); got < 0.9*stream || got > most || !st.DeliveryRateAppLimited {
				t.Errorf("%s: %.0f bytes a second; limited by the application: %t", name, got, st.DeliveryRateAppLimited)
			}
			go l.write()
			w.sleep(3*time.Second + 20*rtt)
			bulk, least := float64(s.Stats().DeliveryRate), 0.8
			if path.Loss > 0 { // repairs leave gaps
				least = 0.6
			}
			l.stopped.Store(true)
			w.sleep(3*rtt + 200*time.Millisecond) // what is queued
			for range 8 {
				l.stream(size, period, time.Second)
				got := float64(s.Stats().DeliveryRate)
				kept = min(kept, got/bulk)
				if got < least*bulk || got > most {
					t.Errorf("%s: %.0f bytes a second, %.0f by bulk before", name, got, bulk)
				}
			}
		})
	}
	t.Logf("from %.2f of the stream to %.2f of the path; %.2f of what bulk has found", lowest, highest, kept)
}

// Single rounds: acknowledgements in batches, a gap, the end of all.
func TestRateFilter(t *testing.T) {
	const ms = int64(time.Millisecond)
	var f rateFilter
	now, total := int64(time.Hour), int64(0)
	f.resume(now, 0)
	batch := func(after, bytes int64, limited bool) {
		now += after
		for range 10 { // ten datagrams at one time
			total += bytes / 10
			f.onAcks(now, total, 30*ms, limited)
		}
	}
	want := func(when string, rate int64, limited bool) {
		t.Helper()
		if got, l := f.measured(now, true); got != rate || l != limited {
			t.Errorf("%s: %d, %t, want %d, %t", when, got, l, rate, limited)
		}
	}
	for range 20 {
		batch(50*ms, 50_000, false)
	}
	want("batches", 1_000_000, false)
	batch(120*ms, 50_000, false)
	batch(50*ms, 50_000, false)
	want("a gap", 1_000_000, false)
	batch(50*ms, 10_000, true)
	batch(50*ms, 10_000, true)
	want("less", 1_000_000, true)
	batch(50*ms, 200_000, true)
	batch(50*ms, 10_000, true)
	want("more, though the application limits it", 4_000_000, true)
	for range 10 {
		batch(50*ms, 50_000, false)
	}
	want("bulk again", 1_000_000, false)
	f.resume(now, total)
	batch(30*ms, 10_000, true)
	batch(10*ms, 70_000, true) // a round ends at the first of two batches
	now += 10 * ms
	f.resume(now, total)
	want("a burst", 2_000_000, true)
	for range 10 {
		batch(50*ms, 50_000, false)
	}
	now += 10_000 * ms
	if got, _ := f.measured(now, true); got > 50_000 {
		t.Errorf("a path that delivers nothing: %d", got)
	}
	if got, _ := f.measured(now, false); got != 1_000_000 {
		t.Errorf("a pause: %d", got)
	}
}
