package kcp

import "math/rand/v2"

// pathCheck finds out whether what is sent to the peer's address arrives there, by a random value that
// the peer echoes (RFC 9000, section 8.2: https://www.rfc-editor.org/rfc/rfc9000#section-8.2).
type pathCheck struct {
	wanted bool   // something waits for the result
	valid  bool   // the peer has echoed value
	value  uint64 // that was sent, 0 before
	sent   int    // times
	askAt  int64  // not before this time is it sent again

	echo  pathValues // the peer's, which the next WINS echoes
	heard pathValues // those that the peer has echoed
}

// pathValues are up to two values, the newest: while it is not known whether a peer has moved, it is asked
// at two addresses.
type pathValues struct {
	list [2]uint64
	n    int
}

func (v *pathValues) add(value uint64) {
	if v.n == len(v.list) {
		v.list[0], v.n = v.list[1], 1
	}
	v.list[v.n] = value
	v.n++
}

// take returns the values, valid until the next add, and forgets them.
func (v *pathValues) take() []uint64 {
	n := v.n
	v.n = 0
	return v.list[:n]
}

// pathCheckTries is how often the value is sent, an RTO apart and backing off, before a peer that does
// not echo it is left alone.
const pathCheckTries = 8

// due says whether to send the value now.
func (c *pathCheck) due(now int64) bool {
	return c.wanted && !c.valid && c.sent < pathCheckTries && now >= c.askAt
}

// challenge returns the value to be sent now. It is the same until it is echoed, so that a late echo
// counts.
func (c *pathCheck) challenge(now int64, rtt *rttEstimator) uint64 {
	for c.value == 0 {
		c.value = rand.Uint64()
	}
	c.askAt = now + rtt.backoff(uint8(min(c.sent, backoffLevels-1)))
	c.sent++
	return c.value
}

// challenged takes the peer's value.
func (c *pathCheck) challenged(value uint64) { c.echo.add(value) }

// echoed takes the peer's echo of a value.
func (c *pathCheck) echoed(value uint64) {
	c.heard.add(value)
	if c.value != 0 && value == c.value {
		c.valid = true
	}
}
