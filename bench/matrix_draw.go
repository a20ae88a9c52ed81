package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// Bounds of what the matrix draws. All but jitter, durations inside other bounds and the kinds are
// uniform in their logarithm.
const (
	leastBandwidth, mostBandwidth = 20e3, 50e6 // bytes a second
	leastRTT, mostRTT             = 2e-3, 0.6  // seconds
	leastLoss, mostLoss           = 1e-3, 0.2  // of two thirds of the paths
	leastQueue, mostQueue         = 0.1, 4     // of the bandwidth-delay product
	fewestQueued                  = 4          // datagrams that fit into the shortest queue
	mostJitter                    = 0.5        // of the round trip, uniform, on half of the paths
	leastWindow, mostWindow       = 32, 65535  // segments
	leastBackRate                 = 2000       // bytes a second
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

	Load  string        `json:"load"`               // bulk, thin or answers
	Size  int           `json:"size,omitempty"`     // bytes of a message or an answer
	Every time.Duration `json:"every_ns,omitempty"` // from message to message, or between exchanges

	// What few paths have, nil or 0 for none.
	Change   *pathChange   `json:"change,omitempty"`
	Cross    *crossTraffic `json:"cross,omitempty"`
	Back     *backPath     `json:"back,omitempty"`
	Policer  *tokenBucket  `json:"policer,omitempty"`
	Burst    *burstLoss    `json:"burst,omitempty"`
	Stall    *stalls       `json:"stall,omitempty"`
	Unmarked time.Duration `json:"unmarked_ns,omitempty"` // interval of a peer without extensions

	tuning tuning
	quic   bool   // the transport is quic-go
	tcp    string // the transport is the kernel's TCP with this congestion control
}

// pathChange is another bandwidth or round trip from a part of the run on.
type pathChange struct {
	At        float64       `json:"at"` // part of the run
	Bandwidth float64       `json:"bandwidth"`
	RTT       time.Duration `json:"rtt_ns"`
}

// crossTraffic is a load in the same queue that answers to nothing.
type crossTraffic struct {
	Rate    float64       `json:"rate"` // bytes a second while it is on
	On, Off time.Duration // durations
}

// backPath is the bottleneck of the way back.
type backPath struct {
	Bandwidth float64 `json:"bandwidth"`
	Queue     int     `json:"queue"`
}

// tokenBucket is a policer of the way there.
type tokenBucket struct {
	Rate  float64 `json:"rate"`
	Burst int     `json:"burst"`
}

// burstLoss is losses in bursts, of both ways.
type burstLoss struct {
	Loss   float64 `json:"loss"`   // share of all datagrams
	Length float64 `json:"length"` // mean, in datagrams
}

// stalls are times in which the receiver gets no processor.
type stalls struct {
	Every time.Duration `json:"every_ns"` // on average
	For   time.Duration `json:"for_ns"`
}

// drawCase draws the case with that index. Cases do not depend on each other, so that any can be run
// alone.
func drawCase(seed uint64, index int, plain bool) matrixCase {
	c := matrixCase{Seed: seed, Index: index, Plain: plain, Load: "bulk"}
	d := drawer{rand.New(rand.NewPCG(seed, uint64(index)))}
	c.drawPath(d)
	if plain {
		p := matrixProfiles[d.IntN(len(matrixProfiles))]
		c.Profile, c.tuning = p.name, p.tuning
		return c
	}
	c.drawProfile(d)
	c.drawLoad(d)
	for range c.extras(d) {
		c.drawExtra(d)
	}
	return c
}

// drawer draws from distributions.
type drawer struct{ *rand.Rand }

// log returns a number between least and most whose logarithm is uniform.
func (d drawer) log(least, most float64) float64 {
	return least * math.Pow(most/least, d.Float64())
}

// time is log for durations in seconds.
func (d drawer) time(least, most float64) time.Duration {
	return seconds(d.log(least, most)).Round(10 * time.Microsecond)
}

// chance is true with probability p.
func (d drawer) chance(p float64) bool { return d.Float64() < p }

// drawPath draws a steady path.
func (c *matrixCase) drawPath(d drawer) {
	c.Bandwidth = math.Round(d.log(leastBandwidth, mostBandwidth))
	c.RTT = d.time(leastRTT, mostRTT)
	if loss := d.log(leastLoss, mostLoss); d.chance(2. / 3) {
		c.Loss = loss
	}
	c.Queue = max(int(d.log(leastQueue, mostQueue)*c.bdp()), fewestQueued*mtu)
	if jitter := d.Float64() * mostJitter * c.RTT.Seconds(); d.chance(0.5) {
		c.Jitter = seconds(jitter).Round(10 * time.Microsecond)
	}
}

// bdp is the bandwidth-delay product in bytes.
func (c *matrixCase) bdp() float64 { return c.Bandwidth * c.RTT.Seconds() }

// matrixProfiles are the settings of both ends in the plain draw.
var matrixProfiles = []struct {
	name   string
	tuning tuning
}{
	{"default", tuning{untuned: true}},
	{"LowLatency", lowLatency},
	{"1,20,2,0/1024", tuning{stream: true, nodelay: [4]int{1, 20, 2, 0}, window: 1024}},
}

var (
	lowLatency = tuning{nodelay: [4]int{1, 10, 2, 0}, ackNoDelay: true}
	asIs       = tuning{nodelay: [4]int{-1, -1, -1, -1}} // what is negative or 0 stays as it is
)

// drawProfile draws the settings of both ends.
func (c *matrixCase) drawProfile(d drawer) {
	window := int(d.log(leastWindow, mostWindow))
	either := []tuning{asIs, lowLatency}[d.IntN(2)]
	switch k := d.IntN(10); {
	case k < 6:
		p := matrixProfiles[k%len(matrixProfiles)]
		c.Profile, c.tuning = p.name, p.tuning
	case k < 7:
		c.Profile = "nc=1"
		c.tuning = tuning{stream: true, nodelay: [4]int{1, 10, 2, 1}, window: 1024}
	case k < 9:
		c.Profile, c.tuning = "fixed window", either
		c.tuning.window = window
	default:
		c.Profile, c.tuning = "FEC 10/3", either
		c.tuning.data, c.tuning.parity = 10, 3
	}
}

// drawLoad draws what the path has to carry.
func (c *matrixCase) drawLoad(d drawer) {
	k := d.Float64()
	switch size := int(d.log(50, 1200)); {
	case k < 0.1:
		c.Load, c.Size = "thin", size
		c.Every = max(d.time(5e-3, 0.1), seconds(float64(size+mtu-mss)/(0.2*c.Bandwidth)))
	case k < 0.25:
		c.Load, c.Size = "answers", []int{10_000, 50_000, 200_000}[d.IntN(3)]
		c.Every = d.time(10e-3, 5)
	}
}

// extras draws how many things the path has that few have.
func (c *matrixCase) extras(d drawer) int {
	switch k := d.Float64(); {
	case k < 0.35:
		return 0
	case k < 0.85:
		return 1
	}
	return 2
}

// drawExtra draws one of them.
func (c *matrixCase) drawExtra(d drawer) {
	switch d.IntN(7) {
	case 0:
		c.drawChange(d)
	case 1:
		c.Cross = &crossTraffic{Rate: math.Round((0.1 + 0.5*d.Float64()) * c.Bandwidth), On: d.time(0.1, 5), Off: d.time(0.1, 5)}
	case 2:
		rate := math.Round(max(d.log(1./200, 1./20)*c.Bandwidth, leastBackRate))
		c.Back = &backPath{rate, max(int(d.log(0.02, 0.5)*rate), fewestQueued*mtu)}
	case 3:
		rate := math.Round((0.3 + 0.6*d.Float64()) * c.Bandwidth)
		c.Policer = &tokenBucket{rate, max(int(d.log(0.01, 0.2)*rate), 2*fewestQueued*mtu)}
	case 4:
		c.Burst = &burstLoss{d.log(5e-3, 0.1), d.log(2, 50)}
	case 5:
		c.Stall = &stalls{Every: d.time(0.5, 5), For: d.time(0.02, 0.2)}
	case 6:
		c.Unmarked = d.time(10e-3, 0.1)
	}
}

// drawChange draws a change of the bandwidth or of the round trip, of bulk only.
func (c *matrixCase) drawChange(d drawer) {
	p := pathChange{At: 0.4 + 0.3*d.Float64(), Bandwidth: c.Bandwidth, RTT: c.RTT}
	if by := d.log(0.2, 5); d.chance(0.5) {
		p.Bandwidth = math.Round(min(max(leastBandwidth, by*c.Bandwidth), mostBandwidth))
	} else {
		p.RTT = seconds(min(max(leastRTT, by*c.RTT.Seconds()), mostRTT)).Round(10 * time.Microsecond)
	}
	if c.Load == "bulk" {
		c.Change = &p
	}
}
