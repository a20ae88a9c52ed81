package main

import (
	"cmp"
	"math"
	"time"
)

// What a path allows, and how a run is judged by it. All formulas of the matrix are here.

const (
	mtu         = 1400 // bytes of a full datagram
	mss         = 1376 // bytes of data in it
	fecHeader   = 8    // bytes of these that FEC takes
	ackBytes    = 24   // of an acknowledgement of a peer without extensions
	quicPayload = 0.97 // data in the bytes of quic-go's datagrams
	tcpPayload  = 1448. / 1500
	shortestAck = 40 // bytes of a datagram with an acknowledgement
)

const (
	// A run is long enough for that many seconds, round trips and datagrams, but moves no more than
	// that many bytes.
	leastSeconds   = 20
	leastRounds    = 60
	leastDatagrams = 1000
	mostBytes      = 1e9

	warmupPart = 3 // the first third is not measured

	wellUsed  = 0.9 // share of the attainable that is aimed at
	halfUsed  = 0.5
	collapsed = 1. / 3
	wasteSome = 1.05
	wasteMuch = 1.15
	ratioSome = 1.25 // of a thin or answers load's time to the ideal
	ratioMuch = 2

	// A standing queue is to be no more than that share of the round trip, and is always allowed
	// that time; on a path so slow that few datagrams take it, the time of these is tolerated.
	queueShare     = 0.25
	queueLeast     = 10 * time.Millisecond
	queueDatagrams = 3

	// wellUsed is to be reached in that time, or round trips. It is reached by the goodput over that
	// many seconds, round trips or datagrams, whichever is longest.
	reachTimeLeast  = time.Second
	reachTimeRounds = 15
	reachLeast      = 0.5
	reachRounds     = 8
	reachDatagrams  = 50

	// Of answers: sessions, and exchanges of each. The ideal begins with that many datagrams.
	answerSessions  = 8
	answerExchanges = 4
	idealWindow     = 32
)

// baseRTT is the mean round trip without a queue: jitter adds half of its most each way, a datagram
// and its acknowledgement have to be transmitted, and an unmarked peer's acknowledgement waits for half
// of its interval.
func (c *matrixCase) baseRTT() time.Duration {
	t := c.RTT + 2*c.Jitter/2 + seconds(mtu/c.Bandwidth) + c.Unmarked/2
	if c.Back != nil {
		t += seconds(shortestAck / c.Back.Bandwidth)
	}
	return t
}

// changed is the case as it is after its change.
func (c *matrixCase) changed() *matrixCase {
	after := *c
	after.Bandwidth, after.RTT, after.Change = c.Change.Bandwidth, c.Change.RTT, nil
	return &after
}

// at returns the case as it is at a part of the run.
func (c *matrixCase) at(part float64) *matrixCase {
	if c.Change != nil && part >= c.Change.At {
		return c.changed()
	}
	return c
}

// duration is how long the case runs; answers take as long as they take.
func (c *matrixCase) duration() time.Duration {
	if c.Load == "thin" {
		return max(leastSeconds*time.Second, leastRounds*c.baseRTT(), leastDatagrams*c.Every)
	}
	most, s := 0.0, 0.0
	for _, p := range []*matrixCase{c, c.at(1)} {
		s = max(s, leastSeconds, leastRounds*p.baseRTT().Seconds(), leastDatagrams*mtu/p.Bandwidth)
		most = max(most, p.Bandwidth)
	}
	return seconds(min(s, mostBytes/most)).Round(time.Millisecond)
}

// loss is the share of the datagrams that each way loses at random.
func (c *matrixCase) loss() float64 {
	if c.Burst == nil {
		return c.Loss
	}
	return 1 - (1-c.Loss)*(1-c.Burst.Loss)
}

// payload is the share of data in the bytes of full datagrams.
func (c *matrixCase) payload() float64 {
	switch {
	case c.quic:
		return quicPayload
	case c.tcp != "":
		return tcpPayload
	case c.tuning.parity > 0:
		return (mss - fecHeader) / float64(mtu)
	}
	return mss / float64(mtu)
}

// attainable is the goodput that path, loss and window allow, in bytes a second:
//
//	path     bandwidth less the mean of the cross traffic, or the policer's rate if that is less
//	         × (1 − loss) × data of a datagram / its bytes / (1 + parity for each data shard)
//	window   data of a window / round trip; half of that where a window loses more than a segment on
//	         average, as it then waits for repairs, and a third of that above 5% loss, where repairs
//	         are lost, too. An unmarked peer's timer can make the round trip longer by its interval.
//	back     an unmarked peer acknowledges each segment with 24 bytes
//
// all × the share of the time in which the receiver does not stall. Where the path changes, it is the
// mean over the parts.
func (c *matrixCase) attainable(parity float64) float64 {
	path := c.Bandwidth
	if x := c.Cross; x != nil {
		path -= x.Rate * x.On.Seconds() / (x.On + x.Off).Seconds()
	}
	if c.Policer != nil {
		path = min(path, c.Policer.Rate)
	}
	data := c.payload() * mtu
	a := path * (1 - c.loss()) * c.payload() / (1 + parity)
	if w := float64(c.window()); w > 0 {
		allowed := w * data / (c.baseRTT() + c.Unmarked/2).Seconds()
		switch {
		case w*c.loss() > 1 && c.loss() > 0.05:
			allowed /= 3
		case w*c.loss() > 1:
			allowed /= 2
		}
		a = min(a, allowed)
	}
	if c.Back != nil && c.Unmarked > 0 {
		a = min(a, c.Back.Bandwidth*data/ackBytes)
	}
	if c.Stall != nil {
		a *= 1 - c.Stall.For.Seconds()/(c.Stall.For+c.Stall.Every).Seconds()
	}
	return a
}

// attainableFrom is the mean of attainable from a part of the run to its end.
func (c *matrixCase) attainableFrom(part, parity float64) float64 {
	if c.Change == nil {
		return c.attainable(parity)
	}
	before := max(0, c.Change.At-part) / (1 - part)
	return before*c.attainable(parity) + (1-before)*c.changed().attainable(parity)
}

// window is the smallest fixed window in segments, 0 for none.
func (c *matrixCase) window() int {
	if c.Unmarked > 0 {
		return c.peerWindow()
	}
	return c.tuning.window
}

// peerWindow is the window of an unmarked peer.
func (c *matrixCase) peerWindow() int { return cmp.Or(c.tuning.window, 1024) }

// waste is the bytes that the path did not lose at random over those of the data, with headers and
// with parity for each data shard:
//
//	bytes sent × (1 − share lost at random) / (data / (data of a datagram / its bytes) × (1 + parity))
//
// The share is that of the run, so that a run with few losses is not taken for one with waste. A
// datagram that the queue or a policer drops is waste.
func (c *matrixCase) waste(sent, lost, data, parity float64) float64 {
	if data <= 0 {
		return math.Inf(1)
	}
	return sent * (1 - lost) / (data / c.payload() * (1 + parity))
}

// wasted returns the waste between two samples. Data counts when it is sent first, as what is on its
// way at the first sample would count for nothing; when it is read, where that is more, as a large window
// is repaired, and where the transport does not tell.
func (c *matrixCase) wasted(first, last *matrixSample, parity float64) float64 {
	data := max(last.Stats.fresh()-first.Stats.fresh(), last.Received-first.Received)
	p, q := &first.Path, &last.Path
	carried := float64(q.Sent-p.Sent) - float64(q.QueueDrops-p.QueueDrops) - float64(q.Policed-p.Policed)
	lost := 0.0
	if carried > 0 {
		lost = float64(q.Lost-p.Lost) / carried
	}
	return c.waste(float64(q.SentBytes-p.SentBytes), lost, data, parity)
}

// queueAllowed is the standing queue that is allowed, as time.
func (c *matrixCase) queueAllowed() time.Duration {
	return max(seconds(queueShare*c.baseRTT().Seconds()), queueLeast)
}

// queueTolerated is what a slow path is allowed.
func (c *matrixCase) queueTolerated() time.Duration {
	return max(c.queueAllowed(), seconds(queueDatagrams*mtu/c.Bandwidth))
}

// queueCounts says whether the round trip shows a standing queue of this sender, and the queue holds a
// bandwidth-delay product.
func (c *matrixCase) queueCounts() bool {
	return float64(c.Queue) >= c.bdp() && c.Cross == nil && c.Policer == nil && c.Stall == nil && c.Change == nil
}

// reachAllowed is the time in which wellUsed is to be reached.
func (c *matrixCase) reachAllowed() time.Duration {
	return max(reachTimeLeast, reachTimeRounds*c.baseRTT())
}

// reachCounts says whether what is attainable is steady enough to be reached.
func (c *matrixCase) reachCounts() bool { return c.Cross == nil }

// reachOver is the while over which goodput has to be wellUsed.
func (c *matrixCase) reachOver() time.Duration {
	s := max(reachLeast, reachRounds*c.baseRTT().Seconds(), reachDatagrams*mtu/c.Bandwidth)
	if c.Stall != nil {
		s = max(s, 2*(c.Stall.Every+c.Stall.For).Seconds())
	}
	return seconds(s)
}

// reached returns when the goodput over reachOver began to be wellUsed of what is attainable, before
// any change; -1 if it never did. received is the bytes received at the end of each step.
func (c *matrixCase) reached(received []float64, step time.Duration, attainable float64) time.Duration {
	n, before := max(1, int(c.reachOver()/step)), 0.0
	for i := 0; i+n <= len(received) && c.at(float64(i+n)/float64(len(received))) == c; i++ {
		if received[i+n-1]-before >= wellUsed*attainable*step.Seconds()*float64(n) {
			return time.Duration(i) * step
		}
		before = received[i]
	}
	return -1
}

// repairs is how many rounds of repair it takes until none of n datagrams is missing with more than
// the probability p: the least m with n × loss^(m+1) ≤ p.
func (c *matrixCase) repairs(n, p float64) (m float64) {
	for left := n * c.loss(); left > p && m < 100; m++ {
		left *= c.loss()
	}
	return m
}

// idealThin is how late 99% of thin messages are at least: half a round trip with all of the jitter, the
// transmission, a round trip for each repair, and a stall. A message waits for the repair of all that
// was sent in the round trip before it.
func (c *matrixCase) idealThin() time.Duration {
	t := c.RTT/2 + c.Jitter + seconds(float64(c.Size+mtu-mss)/c.Bandwidth)
	t += time.Duration(c.repairs(1+float64(c.RTT)/float64(c.Every), 0.01)) * c.baseRTT()
	if c.Stall != nil {
		t += c.Stall.For
	}
	return t
}

// idealAnswer is the median time from a request to the end of its answer at least: a round trip, slow
// start from idealWindow, what is left at the path's rate, and a round trip for each repair.
func (c *matrixCase) idealAnswer() time.Duration {
	base := c.baseRTT().Seconds()
	rate := c.attainable(0) / (1 - c.loss())
	t, left := base, float64(c.Size)
	for w := float64(idealWindow * mss); w < rate*base && w < left; w *= 2 {
		t += base
		left -= w
	}
	return seconds(t + left/rate + base*c.repairs(float64(c.Size)/mss, 0.5))
}
