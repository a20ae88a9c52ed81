package kcptest

import (
	"fmt"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A Path is how datagrams get from one address to another, in one direction. The zero value is perfect:
// what is written has arrived. A datagram meets the policer, the queue, the rate, the losses, and then
// the delay. Durations are 0 to 1 hour, probabilities and shares 0 to 1, and rates at most 2⁴⁰.
type Path struct {
	// Delay is how long each datagram is on its way.
	Delay time.Duration
	// Jitter is the most that a datagram may be late beyond that, uniformly from 0. Those that are
	// closer together than that may change places.
	Jitter time.Duration

	// Loss is the probability that a datagram is lost, each by itself.
	Loss float64
	// BurstLoss is the share of the datagrams that are lost in bursts, below 1. These are BurstLength long.
	BurstLoss float64
	// BurstLength is the mean number of datagrams in such a burst, at least 1. Default: 4.
	BurstLength float64

	// Reorder is the probability that a datagram is late by ReorderDelay, so that later ones overtake it.
	Reorder float64
	// ReorderDelay is how late that is. Default: 10 ms.
	ReorderDelay time.Duration
	// Duplicate is the probability that a datagram that is not lost arrives twice.
	Duplicate float64

	// Rate is how many bytes a second the path carries, 0 for any number. What is more waits in the
	// queue.
	Rate int64
	// Queue is how many bytes may wait there. What finds no room is dropped (drop-tail). Default: 64 KiB.
	Queue int
	// PoliceRate is the rate in bytes a second above which a policer drops what comes, without a queue; 0
	// is no policer.
	PoliceRate int64
	// PoliceBurst is how many bytes the policer lets pass at once after a pause. Default: 64 KiB.
	PoliceBurst int
	// Overhead is what Rate, Queue and the policer count for a datagram beyond its payload, in bytes at
	// most 65535: 28 for IPv4 and UDP, 48 for IPv6.
	Overhead int

	// MTU is the longest payload of a datagram that gets through, in bytes; longer ones are dropped, and
	// nobody is told (a black hole). 0 is any length.
	MTU int
}

// emulated returns p as the emulation has it.
func (p Path) emulated() (netem.Path, error) {
	e := netem.Path{
		Delay: p.Delay, Jitter: p.Jitter, Loss: p.Loss, Reorder: p.Reorder, ReorderDelay: p.ReorderDelay,
		Duplicate: p.Duplicate, Bandwidth: p.Rate, Queue: p.Queue, Overhead: p.Overhead, MTU: p.MTU,
		Policer: netem.Policer{Rate: p.PoliceRate, Burst: p.PoliceBurst},
	}
	if p.BurstLength == 0 {
		p.BurstLength = 4
	}
	switch {
	case !(p.BurstLoss >= 0 && p.BurstLoss < 1): // NaN is refused too
		return e, fmt.Errorf("Path.BurstLoss is %v, want at least 0 and below 1", p.BurstLoss)
	case !(p.BurstLength >= 1):
		return e, fmt.Errorf("Path.BurstLength is %v, want at least 1", p.BurstLength)
	case p.BurstLoss > 0: // the share is Enter/(Enter+Leave), and the length 1/Leave
		e.Burst.Leave = 1 / p.BurstLength
		e.Burst.Enter = min(1, p.BurstLoss/(1-p.BurstLoss)*e.Burst.Leave)
	}
	return e, nil
}
