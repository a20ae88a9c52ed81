package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Bounds of what the matrix draws.
const (
	leastBandwidth, mostBandwidth = 20e3, 50e6 // bytes a second
	leastRTT, mostRTT             = 2e-3, 0.6  // seconds
	leastLoss, mostLoss           = 1e-3, 0.2
	leastQueue, mostQueue         = 0.1, 4 // of the bandwidth-delay product
	fewestQueued                  = 4      // datagrams that fit into the shortest queue
)

// matrixCase is one path of the matrix, and what runs over it. Seed, Index and Plain determine the
// rest.
type matrixCase struct {
	Seed  uint64 `json:"seed"`
	Index int    `json:"index"`
	Plain bool   `json:"plain,omitempty"`

	Profile   string        `json:"profile"`
	Bandwidth float64       `json:"bandwidth"` // bytes a second
	RTT       time.Duration `json:"rtt_ns"`    // without jitter and queue
	Jitter    time.Duration `json:"jitter_ns"` // most of one way
	Loss      float64       `json:"loss"`      // of each way
	Queue     int           `json:"queue"`     // bytes

	tuning tuning
}

// drawCase draws the case with that index. Cases do not depend on each other, so that any can be run
// alone.
func drawCase(seed uint64, index int, plain bool) matrixCase {
	c := matrixCase{Seed: seed, Index: index, Plain: plain}
	d := drawer{rand.New(rand.NewPCG(seed, uint64(index)))}
	c.drawPath(d)
	c.drawProfile(d)
	return c
}

// drawer draws from distributions.
type drawer struct{ *rand.Rand }

// log returns a number between least and most whose logarithm is uniform.
func (d drawer) log(least, most float64) float64 {
	return least * math.Pow(most/least, d.Float64())
}

// chance is true with probability p.
func (d drawer) chance(p float64) bool { return d.Float64() < p }

// drawPath draws a steady path.
func (c *matrixCase) drawPath(d drawer) {
	c.Bandwidth = math.Round(d.log(leastBandwidth, mostBandwidth))
	c.RTT = seconds(d.log(leastRTT, mostRTT)).Round(10 * time.Microsecond)
	if loss := d.log(leastLoss, mostLoss); d.chance(2. / 3) {
		c.Loss = loss
	}
	c.Queue = max(int(d.log(leastQueue, mostQueue)*c.bdp()), fewestQueued*mtu)
	if jitter := d.Float64() / 2 * c.RTT.Seconds(); d.chance(0.5) {
		c.Jitter = seconds(jitter).Round(10 * time.Microsecond)
	}
}

// bdp is the bandwidth-delay product in bytes.
func (c *matrixCase) bdp() float64 { return c.Bandwidth * c.RTT.Seconds() }

// drawProfile draws the settings of both ends.
func (c *matrixCase) drawProfile(d drawer) {
	p := matrixProfiles[d.IntN(len(matrixProfiles))]
	c.Profile, c.tuning = p.name, p.tuning
}

// matrixProfiles are the settings of both ends.
var matrixProfiles = []struct {
	name   string
	tuning tuning
}{
	{"default", tuning{untuned: true}},
	{"LowLatency", tuning{nodelay: [4]int{1, 10, 2, 0}, ackNoDelay: true}},
	{"1,20,2,0/1024", tuning{stream: true, nodelay: [4]int{1, 20, 2, 0}, window: 1024}},
}

// there and back are the two ways of the path. Acknowledgements are lost and jittered as data is, and
// have no bottleneck.
func (c *matrixCase) emulation() emulation {
	back := netem.Path{Delay: c.RTT / 2, Jitter: c.Jitter, Loss: c.Loss}
	there := back
	there.Bandwidth, there.Queue = int64(c.Bandwidth), c.Queue
	return emulation{there: there, back: back}
}

// String describes the case in a line.
func (c matrixCase) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s", c.Profile, rate(c.Bandwidth), short(c.RTT))
	if c.Jitter > 0 {
		fmt.Fprintf(&b, " + 0 to %s", short(c.Jitter))
	}
	if c.Loss > 0 {
		fmt.Fprintf(&b, ", %.2g%% lost", 100*c.Loss)
	}
	fmt.Fprintf(&b, ", queue %.2g BDP", float64(c.Queue)/c.bdp())
	return b.String()
}

// rate formats bytes a second.
func rate(v float64) string {
	if v < mb {
		return fmt.Sprintf("%.0f KB/s", v/1e3)
	}
	return fmt.Sprintf("%.3g MB/s", v/mb)
}

// short formats d with three digits.
func short(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
	return fmt.Sprintf("%.3g ms", d.Seconds()*1e3)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
