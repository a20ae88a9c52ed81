package kcp

import (
	"math"
	"time"
)

// What a core tells a tracer. Its callers look whether there is one, so that without it nothing is called.

// traceDatagram tells of a datagram with those segments.
func (k *KCP) traceDatagram(now int64, kind EventKind, segments []byte) {
	if e := k.trace.next(now, kind); e != nil {
		e.Bytes, e.segments = len(segments), segments
		k.trace.tell()
	}
}

// traceSegment tells of a segment of that size, its header included.
func (k *KCP) traceSegment(now int64, kind EventKind, sn uint32, size int, reason string) {
	if e := k.trace.next(now, kind); e != nil {
		e.SN, e.Bytes, e.Reason = sn, size, reason
		k.trace.tell()
	}
}

// The reasons for which a segment is declared lost.
const (
	lostReordering = "reordering"
	lostEarly      = "early"
	lostTime       = "time"
	lostTimeout    = "timeout"
	lostRepair     = "repair"
)

// A stater is a CongestionControl that has a state with a name.
type stater interface{ State() string }

// traceState tells of a change of the congestion controller's state.
func (k *KCP) traceState(now int64) {
	c, ok := k.cc.(stater)
	if !ok {
		return
	}
	state, t := c.State(), k.trace
	if state == t.state {
		return
	}
	if e := t.next(now, EventState); e != nil {
		e.Old, e.New = t.state, state
		t.state = state
		t.tell()
	}
}

// traceMetrics tells of what a datagram has changed that acknowledges something. sentAt is when the newest
// transmission was sent that it acknowledges, 0 for unknown.
func (k *KCP) traceMetrics(now, sentAt int64) {
	e := k.trace.next(now, EventMetrics)
	if e == nil {
		return
	}
	m := &e.Metrics
	if sentAt != 0 {
		m.LatestRTT = time.Duration(now - sentAt)
	}
	m.RTT, m.RTTVar = time.Duration(k.rtt.srtt), time.Duration(k.rtt.rttvar)
	m.MinRTT, m.RTO = time.Duration(k.rtt.min), time.Duration(k.rtt.rto)
	m.QueueingDelay = k.pathQueue.delay()
	if w := k.cc.Window(); w != math.MaxInt {
		m.CongestionWindow = w
	}
	m.BytesInFlight, m.InFlight = k.bytesInFlight(), k.snd.inFlight.n
	m.SendWindow, m.PeerWindow = int(k.flow.sendWnd), int(k.flow.peerWnd)
	m.PacingRate = k.cc.PacingRate()
	m.DeliveryRate, _ = k.rate.filter.measured(now, k.snd.nxt != k.snd.una)
	k.trace.tell()
}
