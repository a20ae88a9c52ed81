package netem

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Defaults of the fields of a [Path] for which zero makes no sense.
const (
	// DefaultQueue is the default of Path.Queue in bytes: room for some 40 full-size datagrams.
	DefaultQueue = 64 << 10

	// DefaultPolicerBurst is the default of Policer.Burst in bytes.
	DefaultPolicerBurst = 64 << 10

	// DefaultReorderDelay is the default of Path.ReorderDelay. Later datagrams overtake at any rate
	// well above a hundred datagrams a second.
	DefaultReorderDelay = 10 * time.Millisecond
)

// Bounds of fields. Sums of a few of them are far from overflow.
const (
	maxDelay     = time.Hour
	maxBandwidth = 1 << 40
	maxOverhead  = math.MaxUint16
)

var errShared = errors.New("netem: a Bottleneck has Bandwidth, Overhead and Queue only; set the rest in the Path of each link")

// A Path is the behaviour of one direction between two addresses. The zero value is perfect: it
// delivers every datagram inside WriteTo. Durations are 0 to 1 h, and probabilities, which are per
// datagram, 0 to 1. Other values are errors of the methods that take a Path.
type Path struct {
	// Delay is the time from the end of a transmission to the arrival.
	Delay time.Duration

	// Jitter bounds an extra delay, uniform in 0..Jitter and independent for every datagram.
	// Datagrams that are closer together than Jitter may be reordered by it alone.
	Jitter time.Duration

	// Loss is the probability of an independent loss. Like Burst it strikes behind the bottleneck,
	// so a lost datagram has used Bandwidth.
	Loss float64

	// Burst adds losses that come in bursts.
	Burst Burst

	// Reorder is the probability that a datagram arrives late by ReorderDelay, so that later ones
	// overtake it.
	Reorder float64
	// ReorderDelay is that extra delay; zero means DefaultReorderDelay.
	ReorderDelay time.Duration

	// Duplicate is the probability that a datagram that is not lost arrives twice, the copy with a
	// jitter of its own. Copies use no Bandwidth.
	Duplicate float64

	// Bandwidth is the rate of the bottleneck in bytes a second, at most 2^40; zero is unlimited.
	Bandwidth int64
	// Overhead is the number of bytes, at most 65535, that is added to the payload of each datagram
	// in the queue and on the bottleneck: 28 stands for the headers of IPv4 and UDP, 48 for those
	// of IPv6 and UDP.
	Overhead int

	// Queue bounds the bytes that wait for the bottleneck, payload and Overhead, without the
	// datagram being transmitted. A datagram that does not fit is dropped (drop-tail). Queue
	// matters only if Bandwidth is set; zero means DefaultQueue, and 1 means that nothing can wait.
	Queue int

	// Policer drops what exceeds a rate, before the queue.
	Policer Policer

	// MTU is the longest payload in bytes, without Overhead. Longer datagrams are dropped, and nobody is
	// told (an ICMP black hole, RFC 2923, section 2.1: https://www.rfc-editor.org/rfc/rfc2923#section-2.1),
	// unless their sender allows fragments: see [Conn.AllowFragments]. Zero is unlimited.
	MTU int
}

// Burst is the two-state loss model of Gilbert (1960) and Elliott (1963). Each datagram first moves
// the state and is then lost with the state's probability. Bursts last 1/Leave datagrams on
// average, and the share Enter/(Enter+Leave) of all datagrams meets the bad state. Path.Loss is the
// loss of the good state, and strikes in the bad state as well.
//
// E. N. Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39 (1960):
// https://doi.org/10.1002/j.1538-7305.1960.tb03959.x. E. O. Elliott, "Estimates of error rates for
// codes on burst-noise channels", Bell System Technical Journal 42 (1963):
// https://doi.org/10.1002/j.1538-7305.1963.tb00955.x.
type Burst struct {
	Enter float64 // probability of moving from the good to the bad state
	Leave float64 // probability of moving from the bad to the good state
	Loss  float64 // probability of loss in the bad state; zero means 1
}

// Policer is a token bucket (RFC 2697, section 3, with one colour:
// https://www.rfc-editor.org/rfc/rfc2697#section-3). Tokens, of one byte each, come in at Rate as long
// as there are fewer than Burst. A datagram, payload and Overhead, takes as many as it has bytes, and is
// dropped if there are fewer. The bucket is full at first.
type Policer struct {
	Rate  int64 // bytes a second, at most 2^40; zero is no policer
	Burst int   // bytes; zero means DefaultPolicerBurst
}

// resolve returns p with its defaults filled in, or an error that names the field out of bounds and
// the bounds.
func (p Path) resolve() (Path, error) {
	for _, f := range [...]struct {
		name  string
		value time.Duration
	}{
		{"Delay", p.Delay},
		{"Jitter", p.Jitter},
		{"ReorderDelay", p.ReorderDelay},
	} {
		if f.value < 0 || f.value > maxDelay {
			return Path{}, boundsError(f.name, f.value, maxDelay)
		}
	}
	for _, f := range [...]struct {
		name  string
		value float64
	}{
		{"Loss", p.Loss},
		{"Burst.Enter", p.Burst.Enter},
		{"Burst.Leave", p.Burst.Leave},
		{"Burst.Loss", p.Burst.Loss},
		{"Reorder", p.Reorder},
		{"Duplicate", p.Duplicate},
	} {
		if !(f.value >= 0 && f.value <= 1) { // NaN is refused too
			return Path{}, boundsError(f.name, f.value, 1)
		}
	}
	for _, f := range [...]struct {
		name       string
		value, max int64
	}{
		{"Bandwidth", p.Bandwidth, maxBandwidth},
		{"Overhead", int64(p.Overhead), maxOverhead},
		{"Queue", int64(p.Queue), math.MaxInt32},
		{"MTU", int64(p.MTU), math.MaxInt32},
		{"Policer.Rate", p.Policer.Rate, maxBandwidth},
		{"Policer.Burst", int64(p.Policer.Burst), math.MaxInt32},
	} {
		if f.value < 0 || f.value > f.max {
			return Path{}, boundsError(f.name, f.value, f.max)
		}
	}
	if p.Burst.Loss == 0 {
		p.Burst.Loss = 1
	}
	if p.ReorderDelay == 0 {
		p.ReorderDelay = DefaultReorderDelay
	}
	if p.Policer.Burst == 0 {
		p.Policer.Burst = DefaultPolicerBurst
	}
	if p.Queue == 0 {
		p.Queue = DefaultQueue
	}
	return p, nil
}

// resolveShared is resolve for the Path of a shared Bottleneck.
func (p Path) resolveShared() (Path, error) {
	r, err := p.resolve()
	if err == nil && p != (Path{Bandwidth: p.Bandwidth, Overhead: p.Overhead, Queue: p.Queue}) {
		err = errShared
	}
	return r, err
}

func boundsError(field string, value, max any) error {
	return fmt.Errorf("netem: Path.%s is %v, want 0..%v", field, value, max)
}
