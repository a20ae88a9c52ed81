package soak

import (
	"math/rand/v2"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

const ms = time.Millisecond

// calmPath is a path on which whatever is under way has to arrive.
var calmPath = netem.Path{Delay: 20 * ms, Bandwidth: 1_000_000, Queue: 100_000, Loss: 0.005}

// lossyPath is one on which the ends of sessions have to come through. A session need not survive a loss of
// more than fairLoss in both directions: it may lose all that is repeated within its user timeout.
func lossyPath(r *rand.Rand) netem.Path {
	p := calmPath
	p.Loss = 0.4 * r.Float64()
	return p
}

const fairLoss = 0.15

// A trait makes a path worse in one way, and says whether a session has to survive it.
type trait func(r *rand.Rand, p *netem.Path) (fair bool)

var traits = []trait{
	func(r *rand.Rand, p *netem.Path) bool { p.Delay = between(r, ms, 800*ms); return true },
	func(r *rand.Rand, p *netem.Path) bool { p.Loss = r.Float64() * 0.08; return true },
	func(r *rand.Rand, p *netem.Path) bool { p.Loss = r.Float64() * 0.6; return p.Loss < 0.1 },
	func(r *rand.Rand, p *netem.Path) bool {
		p.Burst = netem.Burst{Enter: 0.001 + 0.02*r.Float64(), Leave: 0.05 + 0.5*r.Float64()}
		return false // its state moves with each datagram, so a burst may outlast all repetitions
	},
	func(r *rand.Rand, p *netem.Path) bool { p.Jitter = between(r, ms, 500*ms); return true },
	func(r *rand.Rand, p *netem.Path) bool {
		p.Reorder, p.ReorderDelay = 0.3*r.Float64(), between(r, ms, 2*time.Second)
		return true
	},
	func(r *rand.Rand, p *netem.Path) bool { p.Duplicate = 0.3 * r.Float64(); return true },
	func(r *rand.Rand, p *netem.Path) bool {
		p.Bandwidth = int64(sized(r, 20_000, 5_000_000))
		p.Queue = int(float64(p.Bandwidth) * between(r, 20*ms, 2*time.Second).Seconds())
		return p.Queue > 6000
	},
	func(r *rand.Rand, p *netem.Path) bool {
		p.Policer = netem.Policer{Rate: int64(sized(r, 30_000, 1_000_000)), Burst: sized(r, 5_000, 100_000)}
		return false
	},
	func(r *rand.Rand, p *netem.Path) bool { p.MTU = 60 + r.IntN(1440); return false },
}

// drawPath draws a path of up to three traits, and says whether a session has to survive it.
func drawPath(r *rand.Rand) (p netem.Path, fair bool) {
	p, fair = netem.Path{Delay: between(r, ms, 100*ms), Bandwidth: 10_000_000, Queue: 500_000}, true
	for range r.IntN(4) {
		fair = traits[r.IntN(len(traits))](r, &p) && fair
	}
	return p, fair
}
