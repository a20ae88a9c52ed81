package kcp

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

const ms = time.Millisecond

// steady is a controller that no path moves: by default it bounds nothing, and paces at one rate, so
// that what a path delivers is the work of loss detection alone.
type steady struct {
	rate           int64
	window         int // 0 for no bound
	lost, spurious int // bytes
}

func (c *steady) Sent(time.Duration, int, int)               {}
func (c *steady) Acked(time.Duration, *RateSample)           {}
func (c *steady) Lost(_ time.Duration, bytes, _ int, _ bool) { c.lost += bytes }
func (c *steady) Spurious(_ time.Duration, bytes int)        { c.spurious += bytes }
func (c *steady) Window() int                                { return cmp.Or(c.window, math.MaxInt) }
func (c *steady) PacingRate() int64                          { return c.rate }

// lossPath is a path, a load and the settings of both ends.
type lossPath struct {
	rtt     time.Duration // without jitter and reordering
	jitter  time.Duration // each way
	reorder float64       // share of the datagrams that are late, each way
	late    time.Duration // by how much
	loss    float64       // on the way there
	back    float64       // on the way back
	burst   float64       // datagrams that are lost in a row on average, 0 or 1 for independent losses
	stall   time.Duration // the receiver's side sees nothing for so long, once a second

	resend, nodelay, interval int
	ackNoDelay                bool
	unmarked                  bool // the receiver is a deployed-like peer, which acknowledges on a timer

	rate   int64         // of bulk, in bytes a second
	every  time.Duration // of messages, 0 for bulk
	size   int           // of messages
	window int           // of both ends, 0 for 4096
}

func (p lossPath) String() string {
	s := fmt.Sprintf("rtt %v jitter %v reorder %.2f by %v loss %.3f/%.3f burst %.0f stall %v nodelay %d,%d,%d ack %t unmarked %t",
		p.rtt, p.jitter, p.reorder, p.late, p.loss, p.back, p.burst, p.stall, p.nodelay, p.interval, p.resend, p.ackNoDelay, p.unmarked)
	if p.every > 0 {
		return s + fmt.Sprintf(", %d bytes every %v", p.size, p.every)
	}
	return s + fmt.Sprintf(", bulk %d B/s", p.rate)
}

// transmission is one PUSH of a segment.
type transmission struct {
	at   time.Duration
	ts   uint32
	lost bool
}

// lossReport is what loss detection has made of a path.
type lossReport struct {
	sent     int             // transmissions
	needless int             // of them, repetitions of what was not lost
	lost     int             // of them, lost
	delays   []time.Duration // from the loss of a segment to its next transmission, less the round trip
	noticed  uint64          // Stats.Spurious
	declared uint64
	kinds    [3]uint64 // fast, early, timeout
	goodput  float64   // bytes a second
}

func (r *lossReport) share() float64 { return float64(r.needless) / float64(max(r.sent, 1)) }
func (r *lossReport) quantile(q float64) time.Duration {
	if len(r.delays) == 0 {
		return 0
	}
	slices.Sort(r.delays)
	return r.delays[int(q*float64(len(r.delays)-1))]
}

func (r *lossReport) String() string {
	return fmt.Sprintf("%5.2f%% needless (%d of %d, noticed %d of %d declared %d), %d lost, repaired %v p50 %v p95 after a round trip, %.0f KB/s",
		100*r.share(), r.needless, r.sent, r.noticed, r.declared, r.kinds, r.lost, r.quantile(.5).Round(100*time.Microsecond), r.quantile(.95).Round(100*time.Microsecond), r.goodput/1e3)
}

// lossy draws the losses of one direction.
type lossy struct {
	*rand.Rand
	loss, burst float64
	bad         bool
}

func (l *lossy) lose() bool {
	if l.burst <= 1 {
		return l.Float64() < l.loss
	}
	if leave := 1 / l.burst; l.bad {
		l.bad = l.Float64() >= leave
	} else {
		l.bad = l.Float64() < l.loss/(1-l.loss)*leave
	}
	return l.bad
}

// run carries the load for so long and reports on what was sent after warm.
func (p lossPath) run(t *testing.T, seed uint64, warm, d time.Duration) (r lossReport) {
	t.Helper()
	path := netem.Path{Delay: p.rtt / 2, Jitter: p.jitter, Reorder: p.reorder, ReorderDelay: p.late}
	virtualSeed(t, seed, path, func(w *world) {
		var (
			start  = time.Now()
			sent   = make(map[uint32][]transmission)
			random = seeded(seed, 77)
			there  = lossy{Rand: random, loss: p.loss, burst: p.burst}
			back   = lossy{Rand: random, loss: p.back, burst: p.burst}
			on     = false
		)
		cfg := w.config(nil, 0, 0)
		cfg.noDelay = [4]int{p.nodelay, p.interval, p.resend, 0}
		cfg.ackNoDelay, cfg.stream = p.ackNoDelay, p.every == 0
		cfg.sndWnd = 4096
		if p.window > 0 {
			cfg.sndWnd = p.window
		}
		cfg.rcvWnd = cfg.sndWnd
		rate := p.rate
		if p.every > 0 {
			rate = 0
		}
		listening := *cfg
		cfg.congestion = func() CongestionControl { return &steady{rate: rate} }
		var (
			c    *UDPSession
			peer end
		)
		if p.unmarked {
			c, peer = w.meet(cfg, 5, true, unmarked.Config{ReceiveWindow: cfg.rcvWnd, Interval: time.Duration(p.interval) * time.Millisecond,
				NoDelay: p.nodelay != 0, Resend: p.resend, ACKNoDelay: p.ackNoDelay, Stream: cfg.stream})
		} else {
			c, peer = w.join(cfg, &listening)
		}
		begin := c.Stats()
		w.watch(func(from, to netip.AddrPort, b []byte) bool {
			if from.String() != c.LocalAddr().String() {
				return !back.lose()
			}
			lost := there.lose()
			for _, h := range segmentsOf(b) {
				if h.cmd != IKCP_CMD_PUSH || !on {
					continue
				}
				all := sent[h.sn]
				if n := len(all); n > 0 && all[n-1].ts == h.ts { // a duplicate
					all[n-1].lost = all[n-1].lost && lost
				} else {
					sent[h.sn] = append(all, transmission{time.Since(start), h.ts, lost})
				}
			}
			return !lost
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 16<<10)
			if p.every > 0 {
				b = b[:p.size]
			}
			for time.Since(start) < warm+d {
				if _, err := c.Write(b); err != nil {
					return
				}
				time.Sleep(p.every)
			}
		}()
		got := new(bulk)
		go io.Copy(struct{ io.Writer }{got.counter()}, struct{ io.Reader }{peer})
		if p.stall > 0 {
			go p.stalls(w, c, warm+d)
		}
		w.sleep(warm)
		w.watching.Lock()
		on = true
		w.watching.Unlock()
		before := got.got.Load()
		w.sleep(d)
		r.goodput = float64(got.got.Load()-before) / d.Seconds()
		s := c.Stats()
		r.noticed = s.Spurious - begin.Spurious
		r.declared = s.LostEarly + s.LostFast + s.LostTimeout - begin.LostEarly - begin.LostFast - begin.LostTimeout
		r.kinds = [3]uint64{s.LostFast, s.LostEarly, s.LostTimeout}
		w.watching.Lock()
		on = false
		w.watching.Unlock()
		w.net.SetTap(nil)
		c.SetLinger(0)
		c.Close()
		if s, ok := peer.(*UDPSession); ok {
			s.SetLinger(0)
		}
		peer.(io.Closer).Close()
		<-done
		w.watching.Lock()
		defer w.watching.Unlock()
		for _, all := range sent {
			arrived := false
			for i, x := range all {
				r.sent++
				if arrived {
					r.needless++
				}
				if x.lost {
					r.lost++
				}
				if x.lost && !arrived && i+1 < len(all) {
					r.delays = append(r.delays, all[i+1].at-x.at-p.rtt)
				}
				arrived = arrived || !x.lost
			}
		}
	})
	return r
}

// stalls holds all that arrives at the receiver, once a second, for p.stall: a CPU that is busy, or a
// link that aggregates.
func (p lossPath) stalls(w *world, c *UDPSession, d time.Duration) {
	from, to := c.LocalAddr(), c.RemoteAddr()
	path := netem.Path{Delay: p.rtt / 2, Jitter: p.jitter, Reorder: p.reorder, ReorderDelay: p.late}
	for start := time.Now(); time.Since(start) < d; {
		time.Sleep(time.Second)
		for left := p.stall; left > 0; left -= time.Millisecond {
			x := path
			x.Delay += left
			w.net.SetPath(from, to, x)
			time.Sleep(time.Millisecond)
		}
		w.net.SetPath(from, to, path)
	}
}

// randomLossPath draws a path.
func randomLossPath(rnd *rand.Rand) (p lossPath) {
	p.rtt = time.Duration(5e6 * math.Pow(80, rnd.Float64())).Round(time.Millisecond)
	if rnd.IntN(3) > 0 {
		p.jitter = time.Duration(rnd.Float64() * float64(p.rtt) / 2).Round(time.Millisecond)
	}
	if rnd.IntN(2) > 0 {
		p.reorder = rnd.Float64() * 0.3
		p.late = time.Duration(1+rnd.IntN(50)) * time.Millisecond
	}
	if rnd.IntN(4) > 0 {
		p.loss = rnd.Float64() * 0.2
		if rnd.IntN(3) == 0 {
			p.burst = float64(2 + rnd.IntN(8))
		}
	}
	p.resend = []int{0, 2, 3}[rnd.IntN(3)]
	if rnd.IntN(2) > 0 && p.resend == 0 {
		p.resend = 2
	}
	p.nodelay = rnd.IntN(2)
	p.interval = 10 + rnd.IntN(31)
	p.ackNoDelay = rnd.IntN(2) == 0
	p.unmarked = rnd.IntN(4) == 0
	if rnd.IntN(2) == 0 {
		p.every = time.Duration(5+rnd.IntN(46)) * time.Millisecond
		p.size = 50 + rnd.IntN(1000)
	} else {
		p.rate = int64(1e5 * math.Pow(10, rnd.Float64()))
	}
	return p
}

// lossScenarios are paths that have deceived loss detection, and what it may cost there. The bounds are
// some way above what was measured.
var lossScenarios = []struct {
	name string
	lossPath
	warm     time.Duration // not counted
	needless float64       // most of all transmissions, as a share
	repair   time.Duration // most that half of the repairs may take beyond a round trip
}{
	{"jitter of twice the round trip and losses", lossPath{rtt: 100 * ms, jitter: 100 * ms, loss: 0.1, resend: 2, nodelay: 1, interval: 10, rate: 1e6}, 0, 0.015, 240 * ms},
	{"jitter of twice the round trip, learnt", lossPath{rtt: 100 * ms, jitter: 100 * ms, resend: 2, nodelay: 1, interval: 10, rate: 1e6}, 3 * time.Second, 0.004, 0},
	{"the default profile under jitter", lossPath{rtt: 100 * ms, jitter: 100 * ms, loss: 0.1, resend: 3, interval: 100, rate: 1e6}, 0, 0.015, 250 * ms},
	{"a fifth is late", lossPath{rtt: 60 * ms, reorder: 0.2, late: 25 * ms, resend: 2, nodelay: 1, interval: 10, rate: 1e6}, 0, 0.003, 0},
	{"a fifth is late and some lost", lossPath{rtt: 60 * ms, reorder: 0.2, late: 25 * ms, loss: 0.02, resend: 2, nodelay: 1, interval: 10, rate: 1e6}, 0, 0.01, 75 * ms},
	{"late by many round trips", lossPath{rtt: 5 * ms, reorder: 0.1, late: 40 * ms, loss: 0.02, resend: 2, nodelay: 1, interval: 10, rate: 1e6}, 0, 0.01, 80 * ms},
	{"messages late by many round trips", lossPath{rtt: 7 * ms, reorder: 0.2, late: 36 * ms, resend: 2, nodelay: 1, interval: 10, ackNoDelay: true, every: 16 * ms, size: 600}, 2 * time.Second, 0.02, 0},
	{"few are very late, and losses are repaired as fast", lossPath{rtt: 20 * ms, reorder: 0.001, late: 200 * ms, loss: 0.02, resend: 2, nodelay: 1, interval: 10, rate: 1e6}, 0, 0.003, 15 * ms},
	{"a peer that acknowledges on a timer", lossPath{rtt: 60 * ms, resend: 2, nodelay: 1, interval: 40, unmarked: true, rate: 1e6}, 0, 0.001, 0},
	{"messages to a peer that acknowledges on a timer", lossPath{rtt: 60 * ms, resend: 2, nodelay: 1, interval: 40, unmarked: true, every: 15 * ms, size: 200}, 0, 0.01, 0},
	{"losses at a peer that acknowledges on a timer", lossPath{rtt: 60 * ms, loss: 0.01, resend: 2, nodelay: 1, interval: 40, unmarked: true, rate: 1e6}, 0, 0.002, 45 * ms},
	{"a receiver that stalls", lossPath{rtt: 60 * ms, stall: 100 * ms, resend: 2, nodelay: 1, interval: 10, rate: 1e6}, 0, 0.012, 0},
	{"a receiver that stalls for long", lossPath{rtt: 60 * ms, stall: 300 * ms, resend: 3, interval: 100, rate: 1e6}, 0, 0.02, 0},
	{"half is lost", lossPath{rtt: 60 * ms, loss: 0.5, resend: 2, nodelay: 1, interval: 10, rate: 2e6}, 2 * time.Second, 0.001, 6 * ms},
	{"acknowledgements are lost", lossPath{rtt: 60 * ms, back: 0.2, resend: 2, nodelay: 1, interval: 10, rate: 1e6}, 0, 0.005, 0},
	{"the last message is lost", lossPath{rtt: 60 * ms, loss: 0.2, resend: 2, nodelay: 1, interval: 10, every: 500 * ms, size: 100}, 2 * time.Second, 0.001, 30 * ms},
}

// Neither jitter nor reordering nor acknowledgements in batches are taken for losses, and losses are
// still repaired as fast as the path allows to know of them.
func TestLossDetection(t *testing.T) {
	for _, c := range lossScenarios {
		t.Run(c.name, func(t *testing.T) {
			r := c.run(t, testSeed, c.warm, lighter(20*time.Second, 6*time.Second))
			t.Log(&r)
			// The first second counts for more in a shorter run.
			if most := lighter(c.needless, 3*c.needless); r.share() > most {
				t.Errorf("%.2f%% sent needlessly, want at most %.2f%%", 100*r.share(), 100*most)
			}
			if half := r.quantile(0.5); half > c.repair {
				t.Errorf("half of the repairs take more than %v beyond a round trip, want %v", half, c.repair)
			}
		})
	}
}

// On paths drawn at random, with no acknowledgement lost, little is sent again that was not lost.
func TestLossDetectionOnRandomPaths(t *testing.T) {
	n, mean := lighter(60, 12), 0.0
	for i := range n {
		p := randomLossPath(seeded(uint64(i), 5))
		r := p.run(t, testSeed+uint64(i), max(2*time.Second, 20*p.rtt), max(6*time.Second, 30*p.rtt))
		mean += r.share() / float64(n)
		if r.share() > 0.06 {
			t.Errorf("case %d: %v: %v", i, p, &r)
		}
	}
	t.Logf("%.2f%% sent needlessly", 100*mean)
	if mean > 0.01 {
		t.Errorf("%.2f%% sent needlessly", 100*mean)
	}
}

// Datagrams that arrive late cost a transfer hardly a byte, neither in what is sent again nor in what
// the controller makes of it.
func TestReorderingIsNotCongestion(t *testing.T) {
	for name, control := range map[string]func() CongestionControl{"BBR": NewBBR, "CUBIC": NewCubic} {
		t.Run(name, func(t *testing.T) {
			var goodput [2]float64
			for i, reorder := range []float64{0, 0.2} {
				virtual(t, netem.Path{}, func(w *world) {
					cfg := w.config(nil, 0, 0)
					cfg.congestion, cfg.noDelay = control, [4]int{1, 10, 2, 0}
					rate := scaled(2_000_000)
					b := w.bulk(cfg, "10.0.0.2:2000", netem.Path{Delay: 30 * ms, Bandwidth: rate, Queue: int(rate * 120 / 1000),
						Reorder: reorder, ReorderDelay: 25 * ms})
					b.sleep(2 * time.Second)
					b.want(fmt.Sprintf("%g late", reorder), 10*time.Second, goodput[0]*0.95, 1.04)
					goodput[i] = float64(b.got.Load())
					b.close()
				})
				goodput[i] /= 12
			}
		})
	}
}

// A transmission that was taken for lost and had arrived is noticed once, whichever way that becomes
// known: by its own acknowledgement, before or after that of the retransmission, or by una.
func TestSpuriousIsNoticed(t *testing.T) {
	for name, hear := range map[string]func(n *node, first, second header){
		"first, then second": func(n *node, first, second header) { n.hear(first); n.hear(second) },
		"second, then first": func(n *node, first, second header) { n.hear(second); n.hear(first) },
		"una, then first":    func(n *node, first, second header) { second.una++; n.hear(second); n.hear(first) },
		"repeated":           func(n *node, first, second header) { n.hear(first, first); n.hear(second, second); n.hear(first) },
	} {
		t.Run(name, func(t *testing.T) {
			n, cc := alone(t), new(steady)
			n.NoDelay(1, 10, 1, 0)
			n.setControl(cc)
			n.write(5)
			first := n.ackOf(0)
			n.l.now += int64(50 * millisecond)
			n.hear(n.ackOf(1))
			n.flush(n.l.now)
			n.wantSent(0, 2)
			n.l.now += int64(10 * millisecond)
			hear(n, first, n.ackOf(0))
			if n.loss.spurious != 1 || cc.spurious == 0 || cc.spurious != cc.lost {
				t.Errorf("%d times, %d bytes of %d", n.loss.spurious, cc.spurious, cc.lost)
			}
			if n.loss.reorder < int64(10*millisecond) {
				t.Errorf("reordering window %v after 10 ms", time.Duration(n.loss.reorder))
			}
		})
	}
	t.Run("una alone", func(t *testing.T) {
		n, cc := alone(t), new(steady)
		n.NoDelay(1, 10, 1, 0)
		n.setControl(cc)
		n.write(5)
		n.limitPacer.setRate(1_000_000, n.l.now)
		n.limitPacer.tokens = -100_000 // the retransmission waits
		n.l.now += int64(50 * millisecond)
		n.hear(n.ackOf(1))
		n.drive()
		n.want("lost", 1)
		h := n.ackOf(1)
		h.una = 2
		n.hear(h)
		if n.loss.spurious != 1 || cc.spurious == 0 {
			t.Errorf("%d times, %d bytes", n.loss.spurious, cc.spurious)
		}
	})
}

// A silent path is probed by a few segments, whatever the congestion window is, and one answer tells of
// all the others.
func TestSilenceIsProbed(t *testing.T) {
	n, cc := alone(t), &steady{window: 100 * IKCP_MTU_DEF}
	n.NoDelay(1, 10, 2, 0)
	n.setControl(cc)
	n.write(1)
	n.l.now += int64(50 * millisecond)
	n.hear(n.ackOf(0))
	for range 200 { // more than the window takes
		n.Send(make([]byte, 1000))
	}
	n.flush(n.l.now)
	n.flow.sendWnd = 128
	flight := n.snd.inFlight.n
	cc.window = minWindow
	n.pass(time.Duration(n.rtt.rto) + 20*millisecond)
	if again := int(n.count.RetransSegs); again == 0 || again > timeoutBurst {
		t.Fatalf("%d of %d segments sent again, want up to %d", again, flight, timeoutBurst)
	}
	n.want("flight", flight)
	n.l.now += int64(50 * millisecond)
	n.hear(n.ackOf(1))
	n.flush(n.l.now)
	if n.snd.lost.n < flight-2*timeoutBurst {
		t.Errorf("%d of %d known to be lost", n.snd.lost.n, flight)
	}
}
