package kcp

import (
	"math"
	"time"
)

// pathLoss estimates the share of what is sent that a path loses by itself. What is lost beyond that
// is lost in a queue that overflows. It compares what is lost of the bytes that were sent at the rate
// the path is believed to have with what is lost of those that were sent below it: what the second
// lose, the path loses by itself.
type pathLoss struct {
	own      float64 // share that the path loses by itself, 0 to pathLossMax
	overflow float64 // share that is lost beyond own at the rate the path is believed to have

	at, below lossCount // of bytes sent at that rate, and below
	probe     lossCount // of bytes sent above it since the probe for bandwidth began

	epochs [lossEpochs]lossEpoch
	newest int // index of the epoch that has begun last
	merges int // epochs that at and below count since they were halved
}

// lossCount is how much of what was sent is lost, in bytes.
type lossCount struct{ sent, lost int }

// lossEpoch is a stretch of time, at most a round trip.
type lossEpoch struct {
	lossCount
	from   time.Duration
	kind   sendKind
	merged bool // pathLoss.at or below count it
}

// sendKind says how fast something is sent: below, at or above the rate that the path is believed to
// have.
type sendKind uint8

const (
	sendBelow sendKind = iota
	sendAt
	sendAbove
)

const (
	// lossEpochs is how many epochs are remembered, so that a loss is known to be of one of them.
	lossEpochs = 16
	// lossSettled is the number of epochs after which most of the losses in one are known.
	lossSettled = 4
	// lossMemory is the number of bytes after which the counts are halved, 1,000 full segments, and
	// lossMemoryEpochs the number of epochs.
	lossMemory       = 1000 * IKCP_MTU_DEF
	lossMemoryEpochs = 64
	// lossEvidence is the least number of bytes that tell something: 32 full segments.
	lossEvidence = 32 * IKCP_MTU_DEF
	// pathLossMax bounds own.
	pathLossMax = 0.6
)

// most returns the largest share that may well be lost by itself, one standard deviation above the
// estimate after Jeffreys, which counts half a segment lost of one more: few bytes prove little.
func (c *lossCount) most() float64 {
	n := c.sent + IKCP_MTU_DEF
	p := float64(c.lost+IKCP_MTU_DEF/2) / float64(n)
	return p + deviation(p, n)
}

// deviation returns the standard deviation of the share p of n bytes lost independently.
func deviation(p float64, n int) float64 {
	return math.Sqrt(max(0, p*(1-p)) * IKCP_MTU_DEF / float64(max(n, IKCP_MTU_DEF)))
}

// begin begins an epoch.
func (l *pathLoss) begin(now time.Duration, kind sendKind) {
	l.newest = (l.newest + 1) % lossEpochs
	l.epochs[l.newest] = lossEpoch{from: now, kind: kind}
	if e := &l.epochs[(l.newest+lossEpochs-lossSettled)%lossEpochs]; e.sent > 0 && !e.merged {
		l.merge(e)
	}
}

// merge adds an epoch to at or below, those of sendAbove to neither.
func (l *pathLoss) merge(e *lossEpoch) {
	c := l.counts(e.kind)
	if e.merged = true; c == nil {
		return
	}
	c.sent += e.sent
	c.lost += e.lost
	if l.merges++; c.sent > lossMemory || l.merges > lossMemoryEpochs {
		for _, c := range []*lossCount{&l.at, &l.below} {
			if c.sent > 2*lossEvidence {
				c.sent, c.lost = c.sent/2, c.lost/2
			}
		}
		l.merges = 0
	}
	l.estimate()
}

// counts returns what counts epochs of that kind, nil for nothing.
func (l *pathLoss) counts(kind sendKind) *lossCount {
	switch kind {
	case sendBelow:
		return &l.below
	case sendAt:
		return &l.at
	}
	return nil
}

// estimate computes own and overflow.
func (l *pathLoss) estimate() {
	all := lossCount{l.at.sent + l.below.sent, l.at.lost + l.below.lost}
	if all.sent < lossEvidence {
		return
	}
	p := float64(all.lost) / float64(all.sent)
	if l.at.sent >= lossEvidence {
		p = float64(l.at.lost) / float64(l.at.sent)
	}
	most := l.below.most()
	l.overflow = max(0, p-most)
	l.own = min(p, most, pathLossMax)
}

// sent counts bytes sent now.
func (l *pathLoss) sent(bytes int) {
	e := &l.epochs[l.newest]
	if e.sent += bytes; e.kind == sendAbove {
		l.probe.sent += bytes
	}
}

// lost counts bytes lost that were sent at sentAt.
func (l *pathLoss) lost(sentAt time.Duration, bytes int) {
	for i := range lossEpochs {
		e := &l.epochs[(l.newest+lossEpochs-i)%lossEpochs]
		if e.from > sentAt {
			continue
		}
		e.lost = max(0, e.lost+bytes)
		if e.kind == sendAbove {
			l.probe.lost = max(0, l.probe.lost+bytes)
		} else if c := l.counts(e.kind); e.merged {
			c.lost = max(0, c.lost+bytes)
		}
		return
	}
}

// chance returns the standard deviation of what arrives when so many bytes do on average, as a share of
// these, where what is lost is the path's own.
func (l *pathLoss) chance(arrived int) float64 {
	sent := int(float64(arrived) / (1 - l.own))
	return deviation(l.own, sent) / (1 - l.own)
}

// beyond says whether that many lost of the bytes sent are more than the path loses by itself.
func (l *pathLoss) beyond(lost, sent int) bool {
	return sent > 0 && float64(lost)/float64(sent) > l.own+max(0.03, 2*deviation(l.own, sent))
}

// overflowed says whether the last probe has lost more than the path does by itself, be it little.
func (l *pathLoss) overflowed() bool {
	p := &l.probe
	return float64(p.lost) > float64(p.sent)*(l.own+0.005+2*deviation(l.own, p.sent))
}

// excess says whether what was sent above the rate lately has lost more than the path does by itself.
func (l *pathLoss) excess() bool {
	for i := range lossSettled {
		e := &l.epochs[(l.newest+lossEpochs-i)%lossEpochs]
		if e.kind == sendAbove && e.sent >= lossEvidence/2 && l.beyond(e.lost, e.sent) {
			return true
		}
	}
	return false
}
