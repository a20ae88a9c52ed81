package kcp

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// unbounded is what nc=1 means: no congestion window at all.
type unbounded struct{}

func (unbounded) Sent(time.Duration, int, int)       {}
func (unbounded) Acked(time.Duration, *RateSample)   {}
func (unbounded) Lost(time.Duration, int, int, bool) {}
func (unbounded) Spurious(time.Duration, int)        {}
func (unbounded) Window() int                        { return math.MaxInt }
func (unbounded) PacingRate() int64                  { return 0 }

// watchedConservation notes whether there was ever a bound.
type watchedConservation struct {
	conservation
	bounded bool
}

func (c *watchedConservation) Acked(now time.Duration, s *RateSample) {
	c.conservation.Acked(now, s)
	c.bounded = c.bounded || c.window != 0
}

// freePath is a path, and how a session with nc=1 and its peer are set.
type freePath struct {
	name      string
	bandwidth int64         // bytes a second, 0 for unlimited
	queue     int           // bytes
	rtt       time.Duration // without the queue
	jitter    time.Duration // of a round trip
	loss      float64       // each way
	policer   netem.Policer
	window    int           // segments, of both ends
	timing    [3]int        // nodelay, interval, resend
	acks      time.Duration // interval of a deployed peer, which acknowledges by a timer; 0 for ours
	fec       bool          // 10/3

	segments int           // that are to arrive before the measurement, and in it
	time     time.Duration // at most
}

func (p freePath) String() string {
	peer := "ours"
	if p.acks > 0 {
		peer = fmt.Sprintf("acknowledges every %v", p.acks)
	}
	return fmt.Sprintf("%s: %.2f MB/s, queue %d KB, round trip %v + %v, loss %.1f%%, window %d, timing %v, FEC %t, peer %s",
		p.name, float64(p.bandwidth)/1e6, p.queue/1000, p.rtt, p.jitter, 100*p.loss, p.window, p.timing, p.fec, peer)
}

// connect opens a session of nc=1 over the path, and returns its peer's end.
func (p freePath) connect(w *world) (s *UDPSession, peer io.ReadCloser) {
	data, parity := 0, 0
	if p.fec {
		data, parity = 10, 3
	}
	cfg := w.config(nil, data, parity)
	set := func(x *UDPSession) {
		x.SetStreamMode(true)
		x.SetWindowSize(p.window, p.window)
		x.SetNoDelay(p.timing[0], p.timing[1], p.timing[2], 1)
	}
	if p.acks > 0 {
		s, peer = w.meet(cfg, 7, true, unmarked.Config{DataShards: data, ParityShards: parity,
			SendWindow: p.window, ReceiveWindow: p.window, Interval: p.acks, Stream: true})
	} else {
		var theirs *UDPSession
		s, theirs = w.pair(cfg)
		set(theirs)
		peer = theirs
	}
	set(s)
	return s, peer
}

// freeResult is what a bulk transfer has had.
type freeResult struct {
	goodput float64 // bytes a second that arrived
	wire    float64 // bytes sent for each
}

// run carries bulk with nc=1, controlled by cc if that is not nil.
func (p freePath) run(t *testing.T, seed uint64, cc CongestionControl) (r freeResult) {
	path := netem.Path{Delay: p.rtt / 2, Jitter: p.jitter / 2, Loss: p.loss, Bandwidth: p.bandwidth, Queue: p.queue, Policer: p.policer}
	virtualSeed(t, seed, path, func(w *world) {
		s, peer := p.connect(w)
		if cc != nil {
			s.control(cc)
		}
		to := udpAddr(s.RemoteAddr().String())
		b := &bulk{world: w, c: s}
		go io.Copy(struct{ io.Writer }{s}, rand.NewChaCha8([32]byte{3}))
		go io.CopyBuffer(b.counter(), struct{ io.Reader }{peer}, make([]byte, 256<<10))
		// transfer waits until enough has arrived, or for part of the time.
		transfer := func(part time.Duration) (got int64, sent uint64) {
			before, path := b.got.Load(), w.net.Stats(s.LocalAddr(), to)
			for range 100 {
				w.sleep(p.time / part / 100)
				if got = b.got.Load() - before; got > int64(p.segments*plainMSS) {
					break
				}
			}
			return got, w.net.Stats(s.LocalAddr(), to).SentBytes - path.SentBytes
		}
		transfer(3)
		start := time.Now()
		got, sent := transfer(1)
		r = freeResult{float64(got) / time.Since(start).Seconds(), float64(sent) / float64(max(got, 1))}
		closeAll(s, peer)
	})
	return r
}

// wantFree checks that nc=1 has share of the goodput that there is without any bound. It returns what
// it has: 1 where there was never a bound. As two transfers that lose at random differ, it takes up to
// four of each.
func (p freePath) wantFree(t *testing.T, seed uint64, share float64) (ratio float64) {
	t.Helper()
	var got, free freeResult
	for i := range uint64(4) {
		c := new(watchedConservation)
		x := p.run(t, seed+1000*i, c)
		if i == 0 && !c.bounded {
			return 1
		}
		y := p.run(t, seed+1000*i, unbounded{})
		got.goodput += x.goodput
		free.goodput += y.goodput
		got.wire, free.wire = x.wire, y.wire
		if ratio = got.goodput / free.goodput; ratio >= share {
			break
		}
	}
	t.Logf("%v: %.3f of the goodput without any bound, at %.2f instead of %.2f", p, ratio, got.wire, free.wire)
	if ratio < share || got.wire > 1.15*free.wire {
		t.Errorf("%v: %.3f of the goodput without any bound at %.2f instead of %.2f, want %.2f at no more", p, ratio, got.wire, free.wire, share)
	}
	return ratio
}

// Where nothing overflows, nc=1 is no slower than no bound at all, whatever the path loses and however
// the peer acknowledges.
func TestNoDelayWithRoom(t *testing.T) {
	const ms = time.Millisecond
	slow, quick := [3]int{0, 30, 2}, [3]int{1, 10, 2}
	paths := []freePath{
		{name: "1 ms with FEC", rtt: ms, loss: 0.01, window: 1024, timing: slow, fec: true, acks: 30 * ms},
		{name: "1 ms", rtt: ms, loss: 0.01, window: 1024, timing: quick, acks: 10 * ms},
		{name: "1 ms without loss", rtt: ms, window: 1024, timing: quick, acks: 10 * ms},
		{name: "40 ms with FEC", rtt: 40 * ms, loss: 0.01, window: 1024, timing: slow, fec: true, acks: 30 * ms},
		{name: "40 ms", rtt: 40 * ms, loss: 0.01, window: 1024, timing: quick, acks: 10 * ms},
		{name: "40 ms and much loss", rtt: 40 * ms, loss: 0.05, window: 1024, timing: quick, acks: 10 * ms},
	}
	for _, p := range paths[:len(paths):len(paths)] {
		p.acks = 0
		paths = append(paths, p)
	}
	for _, rtt := range []time.Duration{10 * ms, 50 * ms, 200 * ms} {
		for _, loss := range []float64{0.001, 0.01, 0.05} {
			paths = append(paths, freePath{name: "unlimited", rtt: rtt, loss: loss, window: 1024, timing: quick})
		}
	}
	for i, p := range paths {
		if raceEnabled && i%4 != 0 {
			continue
		}
		p.segments, p.time = lighter(12_000, 4000), 3*time.Second+60*p.rtt
		p.wantFree(t, testSeed, 0.95)
	}
}

// On paths drawn at random nc=1 is no slower where they hold the window, and wastes less where they do
// not: there it has more on average.
func TestNoDelayOnAnyPath(t *testing.T) {
	sum, n := 0.0, lighter(60, 3)
	for i := range n {
		p := drawFreePath(seeded(uint64(i), 0xf4ee))
		p.name = fmt.Sprint("path ", i)
		share := 0.95
		if p.bandwidth > 0 && p.queue+int(float64(p.bandwidth)*p.rtt.Seconds()) < p.window*IKCP_MTU_DEF {
			share = 0.9
		}
		sum += math.Log(p.wantFree(t, uint64(i), share))
	}
	mean := math.Exp(sum / float64(n))
	t.Logf("on average %.2f of the goodput without any bound", mean)
	if mean < 1.3 && !raceEnabled { // of enough paths
		t.Errorf("on average %.2f of the goodput without any bound, want 1.3", mean)
	}
}

// drawFreePath draws a path, a window of 128 to 2048 segments, and a peer.
func drawFreePath(rnd *rand.Rand) (p freePath) {
	between := func(low, high float64) float64 { return low * math.Pow(high/low, rnd.Float64()) }
	p.rtt = time.Duration(between(2, 400) * float64(time.Millisecond))
	p.window = int(between(128, 2048))
	if rnd.IntN(4) > 0 {
		p.bandwidth = int64(between(0.1e6, 50e6))
		p.queue = max(3000, int(float64(p.bandwidth)*p.rtt.Seconds()*between(0.1, 4)))
	}
	if rnd.IntN(3) > 0 {
		p.loss = rnd.Float64() * 0.1
	}
	if rnd.IntN(4) == 0 {
		p.jitter = time.Duration(rnd.Int64N(int64(p.rtt / 2)))
	}
	p.timing = [][3]int{{1, 10, 2}, {0, 30, 2}, {1, 20, 2}, {0, 40, 0}}[rnd.IntN(4)]
	if rnd.IntN(2) == 0 {
		p.acks = time.Duration(10+rnd.IntN(21)) * time.Millisecond
	}
	p.fec = rnd.IntN(4) == 0
	p.segments, p.time = max(5000, 6*p.window), 60*p.rtt+3*time.Second
	if p.bandwidth > 0 {
		p.time += time.Duration(6*p.window*IKCP_MTU_DEF) * time.Second / time.Duration(p.bandwidth)
	}
	return p
}

// On a path that holds a few segments, a window of 1024 neither stalls the transfer nor is sent over
// and over, once the two minutes' worth that a window of it is has been sent.
func TestNoDelayOnThinPaths(t *testing.T) {
	const ms = time.Millisecond
	policed := func(rate int64) netem.Policer { return netem.Policer{Rate: rate, Burst: 11_000} }
	for _, c := range []struct {
		path       freePath
		attainable float64
		share      float64
		wire       float64
	}{
		{freePath{name: "policed", bandwidth: 33_000, rtt: 172 * ms, queue: 17_000, policer: policed(10_000), acks: 99 * ms}, 10_000, 0.8, 1.6},
		{freePath{name: "policed, jitter", bandwidth: 29_000, rtt: 168 * ms, jitter: 49 * ms, loss: 0.019, queue: 15_700, policer: policed(20_000)}, 19_600, 0.8, 1.6},
		{freePath{name: "policed, short", bandwidth: 64_000, rtt: 5 * ms, jitter: ms, queue: 5600, policer: policed(54_000)}, 54_000, 0.8, 1.6},
		{freePath{name: "half a second", bandwidth: 30_000, rtt: 535 * ms, loss: 0.002, queue: 5600}, 30_000, 0.7, 1.6},
		{freePath{name: "lossy", bandwidth: 52_000, rtt: 23 * ms, loss: 0.033, queue: 5600}, 50_000, 0.8, 1.6},
	} {
		p := c.path
		p.window, p.timing, p.segments, p.time = 1024, [3]int{1, 10, 2}, math.MaxInt32, lighter(180*time.Second, 90*time.Second)
		r := p.run(t, testSeed, nil)
		t.Logf("%v: %.2f of attainable at %.2f", p, r.goodput/c.attainable, r.wire)
		if r.goodput < c.share*c.attainable || r.wire > c.wire {
			t.Errorf("%v: %.2f of attainable at %.2f, want %.2f at %.2f", p, r.goodput/c.attainable, r.wire, c.share, c.wire)
		}
	}
}

// What an application loses that sends little is not for too much in flight: messages are as late with nc=1
// as without any bound, also where three of ten datagrams are lost.
func TestNoDelayOfThinStream(t *testing.T) {
	virtual(t, netem.Path{Delay: 30 * time.Millisecond, Loss: 0.3}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		lowLatency(1024, c, s)
		watched := new(watchedConservation)
		c.control(watched)
		go func() {
			for range 3000 {
				c.Write(make([]byte, 500))
				w.sleep(10 * time.Millisecond)
			}
		}()
		_, err := io.ReadFull(s, make([]byte, 3000*500))
		w.check(err)
		if watched.bounded {
			t.Error("what is in flight was bounded")
		}
		closeAll(c, s)
	})
}
