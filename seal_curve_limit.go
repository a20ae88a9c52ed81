package kcp

import "time"

// curveLimit bounds the operations on the curve that a listener does for whoever asks.
type curveLimit struct {
	at int64 // up to when what was allowed has been used
}

// allow takes one.
func (c *curveLimit) allow(now int64) bool {
	const each = int64(time.Second) / curveRate
	c.at = max(c.at, now-curveBurst*each)
	if c.at > now-each {
		return false
	}
	c.at += each
	return true
}

// A listener does curveRate of them a second, and curveBurst at once.
const (
	curveRate  = 1000
	curveBurst = 256
)
