package kcp

import "time"

// This file chooses how much parity a session's datagrams get, and how soon: FEC has to pay
// for itself.
//
// A path that loses nothing in spite of its parity gets less of it, a shard a group at a
// time, and in the end none; what turns out to be lost then brings it back at once. What
// counts is what parity does not repair: that is all that the peer's acknowledgements show.
//
// Where datagrams are sparse, a full group takes so long to fill that a retransmission is
// there before its parity. There groups are smaller, with the same share of parity.
//
// Peers without our extensions get whole groups with all of their parity or none of it,
// which their decoders are known to follow.

const (
	// fecJudged is how many segments are counted before what was lost of them is judged, or
	// fewer when fecEnough were lost.
	fecAssessed = 256
	fecEnough   = 8
	// fecTolerable is the share of lost segments that calls for no more parity: one in so many.
	fecTolerable = 200
	// fecPatience is how long a path has to be clean before there is less parity, at first and
	// at most: it doubles each time that less was too little.
	fecCleanTime    = 2 * int64(time.Second)
	fecCleanTimeMax = 128 * int64(time.Second)
	// fecFillLeast and fecFillMost bound the time that a group may take to fill. Between them
	// it is half a round trip, for parity to be there before a retransmission is.
	fecFillLeast = 5 * int64(time.Millisecond)
	fecFillMost  = int64(fecSparse) / 4
	// fecDwell is how long the size of groups stays what it is at least: a decoder has to be
	// proven right about each new one.
	fecDwell = int64(time.Second)
)

// fecControl chooses for a fecEncoder.
type fecAdapter struct {
	full      *fecCode // as configured: the most of everything
	minParity int      // parity shards that a full group gets at least
	send      int      // and now

	outcomes, lost int64 // segments that the path had carried, and lost, when that was judged last
	cleanSince     int64 // since when little was lost, or send has been what it is
	lowered        bool  // send was lowered last, not raised
	cleanTime      int64

	gap     int64 // smoothed time between two datagrams
	sizedAt int64 // when the size of groups was chosen last
}

func newFECAdapter(full *fecCode) fecAdapter {
	return fecAdapter{full: full, send: full.parity, cleanTime: fecCleanTime}
}

// sent is told of each datagram how long after the one before it is sent.
func (c *fecAdapter) sent(after int64) {
	c.gap += (min(after, int64(fecSparse)) - c.gap) / 16
}

// adapt is called before each group of e, and makes it what suits the path that k knows.
func (c *fecAdapter) adapt(now int64, e *fecEncoder, k *KCP) {
	c.assess(now, &k.loss)
	switch {
	case k.peer&capMark != 0 && c.minParity < c.full.parity:
		code := c.size(now, e.code, k.rtt.srtt)
		e.use(code, ceilDiv(c.send*code.parity, c.full.parity))
	case c.send > 0:
		e.use(c.full, c.full.parity)
	default:
		e.use(c.full, 0)
	}
}

// setLeast sets the parity shards that a full group gets at least.
func (c *fecAdapter) setMinParity(n int) {
	c.minParity = min(max(n, 0), c.full.parity)
	c.send = max(c.send, c.minParity)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// judge chooses send. What had arrived all the same, repaired perhaps, was not lost.
func (c *fecAdapter) assess(now int64, d *lossDetector) {
	judged, lost := int64(d.outcomes)-c.outcomes, int64(d.lostTotal-d.spurious)-c.lost
	if judged < fecAssessed && lost < fecEnough {
		return
	}
	c.outcomes += judged
	c.lost += lost
	switch {
	case lost*fecTolerable <= judged:
		if c.cleanSince == 0 {
			c.cleanSince = now
		} else if c.send > c.minParity && now-c.cleanSince >= c.cleanTime {
			c.send--
			c.cleanSince, c.lowered = now, true
		}
	case c.send == c.full.parity:
		c.cleanSince = now
	default:
		if c.lowered && now-c.cleanSince < 2*c.cleanTime {
			c.cleanTime = min(2*c.cleanTime, fecCleanTimeMax)
		} else {
			c.cleanTime = fecCleanTime // it is the path that has changed
		}
		inGroup := int(lost * int64(c.full.data) / judged)
		c.send = min(max(c.send+1, 2*inGroup), c.full.parity)
		c.cleanSince, c.lowered = now, false
	}
}

// size returns the code whose groups fill in time, code being the one in use. None has a
// larger share of parity than the full one.
func (c *fecAdapter) size(now int64, code *fecCode, srtt int64) *fecCode {
	if srtt == 0 || now-c.sizedAt < fecDwell {
		return code
	}
	fill := min(max(srtt/2, fecFillLeast), fecFillMost)
	data := int(min(1+fill/max(c.gap, 1), fecShardsMax))
	parity := min(max(data*c.full.parity/c.full.data, 1), c.full.parity)
	if parity == code.parity {
		return code
	}
	c.sizedAt = now
	if sized, err := newFECCode(ceilDiv(c.full.data*parity, c.full.parity), parity); err == nil {
		return sized
	}
	return code
}
