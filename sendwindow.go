package kcp

import (
	"math/bits"
	"time"
)

// segState is where a segment of the send window stands:
//
//	queued ─send─▶ inFlight ─ack─▶ acked
//	                 │   ▲
//	              lost   resend
//	                 ▼   │
//	                 lost ─ack─▶ acked
type segState uint8

const (
	segQueued segState = iota
	segInFlight
	segLost // declared lost, waiting for its retransmission
	segAcked
)

// timerLevels bounds the backoff levels that are told apart: 30 ms grown by half
// reaches IKCP_RTO_MAX at level 19.
const backoffLevels = 20

// A segment hangs on two lists at a time, with one pair of links for each.
type linkKind uint8

const (
	linkOrder linkKind = iota // inFlight or lost
	linkTimer                 // one of timers, while in flight
	linkKinds
)

type link struct{ prev, next uint32 }

// sendSegment is one slot of the send window. It is as long as a cache line, and has all that
// an acknowledgement needs: what p points to may be in another processor's cache.
type sendSegment struct {
	p          *packet
	sentAt     int64 // time of the last transmission
	links      [linkKinds]link
	rate       rateSnapshot // of the last transmission
	ts         uint32       // its ts field
	laterAcks  uint32       // see sendWindow.laterAcks
	batch      uint32       // of the datagram that lies in p, 0 for none; see packetPool
	length     uint16       // of p's data, once sent
	state      segState
	backoff    uint8 // timeouts in a row
	resent     bool  // it was sent more than once
	duplicated bool  // the last transmission was sent twice
	appLimited bool  // see RateSample, of the last transmission
}

// size is what the segment counts for in flight.
func (s *sendSegment) size() int { return IKCP_OVERHEAD + int(s.length) }

// sentWith returns when the transmission with time stamp ts was sent, and whether it was the
// last: the echo tells which one arrived, so that an acknowledgement of an earlier
// transmission gives a round-trip sample too (RFC 7323). Without those a path slower than the
// first timeout would never be measured. ok is false for time stamps that cannot be one's.
func (s *sendSegment) sentWith(now int64, ts uint32) (at int64, last, ok bool) {
	if s.ts == ts {
		return s.sentAt, true, true
	}
	at = s.sentAt - int64(s.ts-ts)*int64(time.Microsecond)
	return at, false, s.resent && now-at <= rtoMax
}

// snList is a doubly linked list of segments, by serial number.
type snList struct {
	head, tail uint32 // valid while n > 0
	n          int
}

// sendWindow holds every segment from the oldest unacknowledged to the newest
// written, in one ring indexed by serial number. A segment has its number from the
// moment it is queued. Every operation costs the same however large the window is.
type sendWindow struct {
	ring []sendSegment // length a power of two, 0 while never used
	una  uint32        // oldest not acknowledged
	nxt  uint32        // first that was never sent
	end  uint32        // number of the next segment to be queued

	inFlight      snList                // in order of last transmission
	bytesInFlight int                   // bytes of them
	lost          snList                // in order of declaration
	timers        [backoffLevels]snList // in flight, by backoff level, in order of last transmission
	armed         uint32                // bit l is set while timers[l] is not empty

	// laterAcks is the number of acknowledgements of segments sent later than
	// the head of inFlight. The count of any other segment is the sum of the
	// slots' laterAcks from it to the tail, so that an acknowledgement touches one
	// slot instead of all that were sent before, and the head's count is at hand.
	laterAcks uint32
}

func (w *sendWindow) at(sn uint32) *sendSegment { return &w.ring[sn&uint32(len(w.ring)-1)] }

// waiting is the number of segments written and not yet acknowledged.
func (w *sendWindow) waiting() int { return int(w.end - w.una) }

// queued is the number of segments never sent.
func (w *sendWindow) queued() int { return int(w.end - w.nxt) }

// push queues a segment that holds p.
func (w *sendWindow) push(p *packet) {
	if w.waiting() == len(w.ring) {
		w.grow()
	}
	*w.at(w.end) = sendSegment{p: p}
	w.end++
}

func (w *sendWindow) grow() {
	old := *w
	w.ring = make([]sendSegment, max(8, 2*len(old.ring)))
	for sn := w.una; sn != w.end; sn++ {
		*w.at(sn) = *old.at(sn)
	}
}

// trim gives back the ring's memory when nothing is in it.
func (w *sendWindow) trim() {
	if w.waiting() == 0 {
		w.ring = nil
	}
}

// add appends segment sn to l.
func (w *sendWindow) add(l *snList, kind linkKind, sn uint32) {
	if l.n == 0 {
		l.head = sn
	} else {
		w.at(sn).links[kind].prev = l.tail
		w.at(l.tail).links[kind].next = sn
	}
	l.tail = sn
	l.n++
}

// remove takes segment sn, which is on l, off it.
func (w *sendWindow) remove(l *snList, kind linkKind, sn uint32) {
	at := w.at(sn).links[kind]
	switch {
	case l.n == 1:
	case sn == l.head:
		l.head = at.next
	case sn == l.tail:
		l.tail = at.prev
	default:
		w.at(at.prev).links[kind].next = at.next
		w.at(at.next).links[kind].prev = at.prev
	}
	l.n--
}

// sent records a transmission of a queued or lost segment.
func (w *sendWindow) markSent(sn uint32, now int64, ts uint32) {
	s := w.at(sn)
	if s.state == segLost {
		w.remove(&w.lost, linkOrder, sn)
		s.resent = true
	}
	s.state, s.sentAt, s.ts, s.duplicated = segInFlight, now, ts, false
	s.length = uint16(len(s.p.data))
	w.bytesInFlight += s.size()
	w.add(&w.inFlight, linkOrder, sn)
	w.add(&w.timers[s.backoff], linkTimer, sn)
	w.armed |= 1 << s.backoff
}

// land takes an in-flight segment off its lists.
func (w *sendWindow) removeInFlight(sn uint32) {
	s := w.at(sn)
	if sn == w.inFlight.head {
		w.laterAcks -= s.laterAcks
	} else {
		w.at(s.links[linkOrder].prev).laterAcks += s.laterAcks
	}
	s.laterAcks = 0
	w.bytesInFlight -= s.size()
	w.remove(&w.inFlight, linkOrder, sn)
	l := &w.timers[s.backoff]
	w.remove(l, linkTimer, sn)
	if l.n == 0 {
		w.armed &^= 1 << s.backoff
	}
}

// lose declares an in-flight segment lost; level is the backoff its next
// transmission starts with.
func (w *sendWindow) markLost(sn uint32, level uint8) {
	w.removeInFlight(sn)
	s := w.at(sn)
	s.state = segLost
	s.backoff = min(level, backoffLevels-1)
	w.add(&w.lost, linkOrder, sn)
}

// ack records the acknowledgement of segment sn's transmission with time stamp ts
// and returns the packet it held. It returns nil when sn is not waiting for one.
func (w *sendWindow) ack(sn, ts uint32) *packet {
	if sn-w.una >= w.nxt-w.una {
		return nil
	}
	s := w.at(sn)
	if s.state == segInFlight && s.ts == ts && sn != w.inFlight.head {
		// All that were sent before this one have one later acknowledgement more.
		w.at(s.links[linkOrder].prev).laterAcks++
		w.laterAcks++
	}
	return w.markAcked(sn)
}

// settle marks a segment acknowledged and returns the packet it held, nil if it
// was acknowledged before.
func (w *sendWindow) markAcked(sn uint32) *packet {
	s := w.at(sn)
	switch s.state {
	case segInFlight:
		w.removeInFlight(sn)
	case segLost:
		w.remove(&w.lost, linkOrder, sn)
	default:
		return nil
	}
	p := s.p
	s.p, s.state = nil, segAcked
	return p
}

// advance moves una over what is acknowledged.
func (w *sendWindow) advance() {
	for w.una != w.nxt && w.at(w.una).state == segAcked {
		w.una++
	}
}

// earliest returns the segment whose timer runs out first, and when.
func (w *sendWindow) earliest(rtt *rttEstimator) (sn uint32, deadline int64) {
	deadline = never
	for set := w.armed; set != 0; set &= set - 1 {
		level := uint8(bits.TrailingZeros32(set))
		head := w.timers[level].head
		if d := w.at(head).sentAt + rtt.backoff(level); d < deadline {
			sn, deadline = head, d
		}
	}
	return sn, deadline
}
