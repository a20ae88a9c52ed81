package main

import (
	"math"
	"time"
)

// What a path allows, and how a run is judged by it.

const (
	mtu = 1400 // bytes of a full datagram
	mss = 1376 // bytes of data in it
)

// The run time: long enough for that many seconds, round trips and datagrams, but moving no more
// than that many bytes.
const (
	leastSeconds    = 20
	leastRounds     = 60
	leastDatagrams  = 1000
	mostBytes       = 1e9
	warmupPart      = 3   // the first third is not measured
	reachLeast      = 0.5 // seconds, at least, over which goodput has reached its aim
	reachRounds     = 8   // or round trips
	reachDatagrams  = 50  // or datagrams
	wellUsed        = 0.9 // share of the attainable that is aimed at
	halfUsed        = 0.5 // share of the attainable below which a path starves
	collapsed       = 1. / 3
	wasteSome       = 1.05
	wasteMuch       = 1.15
	queueShare      = 0.25 // standing queue allowed, of the round trip
	queueLeast      = 10 * time.Millisecond
	queueDatagrams  = 3 // whose time is allowed to wait on a slow path
	reachTimeLeast  = time.Second
	reachTimeRounds = 15
)

// baseRTT is the mean round trip without a queue: jitter adds half of its most each way, and a
// datagram has to be transmitted.
func (c *matrixCase) baseRTT() time.Duration {
	return c.RTT + 2*c.Jitter/2 + seconds(mtu/c.Bandwidth)
}

// duration is how long the case runs.
func (c *matrixCase) duration() time.Duration {
	s := max(leastSeconds, leastRounds*c.baseRTT().Seconds(), leastDatagrams*mtu/c.Bandwidth)
	return seconds(min(s, mostBytes/c.Bandwidth)).Round(time.Millisecond)
}

// attainable is the goodput that path, loss and window allow, in bytes a second:
//
//	path    bandwidth × (1 − loss) × data of a datagram / its bytes
//	window  data of a window / round trip; half of that where a window loses more than a segment on
//	        average, as it then waits for repairs, and a third of that above 5% loss, where repairs
//	        are lost, too
func (c *matrixCase) attainable() float64 {
	a := c.Bandwidth * (1 - c.Loss) * mss / mtu
	if w := float64(c.tuning.window); w > 0 {
		allowed := w * mss / c.baseRTT().Seconds()
		switch {
		case w*c.Loss > 1 && c.Loss > 0.05:
			allowed /= 3
		case w*c.Loss > 1:
			allowed /= 2
		}
		a = min(a, allowed)
	}
	return a
}

// waste is the bytes that the path did not lose at random over those of the data, with headers:
//
//	bytes sent × (1 − share lost at random) / (bytes of data × bytes of a datagram / its data)
//
// The share is that of the run, so that a run with few losses is not taken for one with waste. A
// datagram that the queue drops is waste.
func waste(sent, data, lost float64) float64 {
	if data <= 0 {
		return math.Inf(1)
	}
	return sent * (1 - lost) / (data * mtu / mss)
}

// queueAllowed is the standing queue that is allowed, as time.
func (c *matrixCase) queueAllowed() time.Duration {
	return max(seconds(queueShare*c.baseRTT().Seconds()), queueLeast)
}

// queueTolerated is what a path so slow that few datagrams take that time is allowed.
func (c *matrixCase) queueTolerated() time.Duration {
	return max(c.queueAllowed(), seconds(queueDatagrams*mtu/c.Bandwidth))
}

// holdsBDP says whether the queue holds a bandwidth-delay product.
func (c *matrixCase) holdsBDP() bool { return float64(c.Queue) >= c.bdp() }

// reachAllowed is the time in which wellUsed is to be reached.
func (c *matrixCase) reachAllowed() time.Duration {
	return max(reachTimeLeast, reachTimeRounds*c.baseRTT())
}

// reached returns when the goodput over a while began to be wellUsed of what is attainable, -1 if it
// never did. received is the bytes received at the end of each step.
func (c *matrixCase) reached(received []float64, step time.Duration, attainable float64) time.Duration {
	n := max(1, int(c.reachOver()/step))
	before := 0.0
	for i := 0; i+n <= len(received); i++ {
		if received[i+n-1]-before >= wellUsed*attainable*step.Seconds()*float64(n) {
			return time.Duration(i) * step
		}
		before = received[i]
	}
	return -1
}

// reachOver is the while over which goodput has to be wellUsed.
func (c *matrixCase) reachOver() time.Duration {
	return seconds(max(reachLeast, reachRounds*c.baseRTT().Seconds(), reachDatagrams*mtu/c.Bandwidth))
}
