package kcp

import "time"

// FEC has to pay for itself, so the adapter chooses how much parity a session's datagrams get, and
// how soon.
//
// A path that loses nothing in spite of its parity gets less of it, one shard a group at a time, and
// in the end none. Loss then brings it back at once. What counts is the residual loss after FEC, as
// that is all that the peer's acknowledgements show.
//
// Where datagrams are sparse, a full group takes so long to fill that a retransmission arrives
// before its parity. There groups are smaller, with the same ratio of parity.
//
// Peers without this package's extensions get full groups with all of their parity or none, which
// their decoders are known to follow.

const (
	// fecAssessed is the number of segments after which the loss among them is assessed, or as soon
	// as fecEnough were lost.
	fecAssessed = 256
	fecEnough   = 8
	// fecTolerable is the residual loss that calls for no more parity: one segment in so many.
	fecTolerable = 200
	// fecCleanTime is how long a path has to be clean before parity is lowered. It doubles, up to
	// fecCleanTimeMax, each time that less turns out to be too little.
	fecCleanTime    = 2 * int64(time.Second)
	fecCleanTimeMax = 128 * int64(time.Second)
	// fecFillMin and fecFillMax bound the time that a group may take to fill. Between them it is
	// half a round trip, so that parity arrives before a retransmission does.
	fecFillMin = 5 * int64(time.Millisecond)
	fecFillMax = int64(fecSparse) / 4
	// fecResizeInterval is the least time between two changes of the group size, as a decoder has to
	// prove each new one.
	fecResizeInterval = int64(time.Second)
)

// fecAdapter shapes the groups of a fecEncoder.
type fecAdapter struct {
	full      *fecCode // as configured: the upper bound of everything
	minParity int      // parity shards that a full group gets at least
	send      int      // parity shards that a full group gets now

	outcomes, lost int64 // pathState's, when the loss was assessed last
	cleanSince     int64 // since when little was lost, or send has been what it is
	lowered        bool  // send was lowered last, not raised
	cleanTime      int64 // how long the path has to be clean

	gap     int64 // smoothed time between two datagrams
	sizedAt int64 // when the size of groups was changed last
}

func newFECAdapter(full *fecCode) fecAdapter {
	return fecAdapter{full: full, send: full.parity, cleanTime: fecCleanTime}
}

// sent is told for each datagram how long after the one before it is sent.
func (c *fecAdapter) sent(after int64) {
	c.gap += (min(after, int64(fecSparse)) - c.gap) / 16
}

// pathState is what the adapter has to know of the path.
type pathState struct {
	outcomes int64 // segments acknowledged or declared lost
	lost     int64 // of them, those that were lost: neither repaired by FEC nor spurious
	srtt     int64 // smoothed round trip, 0 for unknown
	extended bool  // the peer has this package's extensions
}

// adapt is called before each group, and returns the code and the parity shards that suit the path.
// code is the one in use.
func (c *fecAdapter) adapt(now int64, code *fecCode, path pathState) (next *fecCode, parity int) {
	c.assess(now, path)
	switch {
	case path.extended && c.minParity < c.full.parity:
		next = c.size(now, code, path.srtt)
		return next, ceilDiv(c.send*next.parity, c.full.parity)
	case c.send > 0:
		return c.full, c.full.parity
	}
	return c.full, 0
}

// setMinParity sets the parity shards that a full group gets at least.
func (c *fecAdapter) setMinParity(n int) {
	c.minParity = n
	c.send = max(c.send, n)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// assess chooses send by the loss since it was assessed last.
func (c *fecAdapter) assess(now int64, path pathState) {
	outcomes, lost := path.outcomes-c.outcomes, path.lost-c.lost
	if outcomes < fecAssessed && lost < fecEnough {
		return
	}
	c.outcomes, c.lost = path.outcomes, path.lost
	switch {
	case lost*fecTolerable <= outcomes:
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
			c.cleanTime = fecCleanTime // the path has changed
		}
		inGroup := int(lost * int64(c.full.data) / outcomes)
		c.send = min(max(c.send+1, 2*inGroup), c.full.parity)
		c.cleanSince, c.lowered = now, false
	}
}

// size returns the code whose groups fill in time, code being the one in use. None has a larger
// ratio of parity than the full one.
func (c *fecAdapter) size(now int64, code *fecCode, srtt int64) *fecCode {
	if srtt == 0 || now-c.sizedAt < fecResizeInterval {
		return code
	}
	fill := min(max(srtt/2, fecFillMin), fecFillMax)
	data := int(min(1+fill/max(c.gap, 1), fecShardsMax))
	parity := min(max(data*c.full.parity/c.full.data, 1), c.full.parity)
	if parity == code.parity {
		return code
	}
	sized := fecCodes.request(fecCounts{ceilDiv(c.full.data*parity, c.full.parity), parity})
	if sized == nil { // being made
		return code
	}
	c.sizedAt = now
	return sized
}
