package kcp

import (
	"math"
	"time"
)

// gatherMaxRTT is the round trip up to which an acknowledgement is worth waiting for.
const gatherMaxRTT = int64(time.Millisecond)

// smallLocked says whether a write does not fill a send with segmentation offload.
func (s *UDPSession) smallLocked(v [][]byte) bool {
	size := 0
	for _, b := range v {
		size += len(b)
	}
	return size < s.gsoSegments*s.core.segmentSize()
}

// gathersLocked says whether small writes wait until they fill a send with segmentation offload,
// or for an acknowledgement: while as much is in flight, on a path so short that one comes at
// once. They would wait behind that anyway, and a small send costs the kernel as much as a large
// one (after Linux's tcp_autocorking).
func (s *UDPSession) gathersLocked() bool {
	return s.gsoSegments > 0 && s.core.sentSegments() >= s.gsoSegments && s.core.shortPath(gatherMaxRTT) &&
		!s.path().offloadRefused()
}

// gatherRoomLocked returns how many segments of a write to queue before they are sent.
func (s *UDPSession) gatherRoomLocked(small bool) int {
	if !small || !s.gathersLocked() {
		return math.MaxInt
	}
	return s.gsoSegments - s.core.unsent()%s.gsoSegments
}

// uncorkLocked ends the wait of what gathers, unless a Write is sending, which is likely followed
// by another.
func (s *UDPSession) uncorkLocked() {
	if s.core.isCorked() && s.flushBy == never {
		s.core.cork(s.tx.busy && s.gathersLocked())
	}
}
