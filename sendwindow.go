package kcp

import (
	"math/bits"
	"time"
	"unsafe"
)

// segState is the state of a segment in the send window:
//
//	queued ─send─▶ inFlight ─ack─▶ acked
//	                 │   ▲
//	     hold ─── lost   resend
//	       ▼         ▼   │
//	     held ─lost─▶ lost ─ack─▶ acked
type segState uint8

const (
	segQueued segState = iota
	segInFlight
	segHeld // lost perhaps, and a repair that may bring it is under way
	segLost // declared lost, waiting for its retransmission
	segAcked
)

// backoffLevels is the number of backoff levels that are told apart: 30 ms, the minimum RTO with
// nodelay, grown by half each time reaches IKCP_RTO_MAX at level 19.
const backoffLevels = 20

// linkKind is one of the two lists that a segment can be on at a time, with a pair of links for
// each.
type linkKind uint8

const (
	linkOrder linkKind = iota // inFlight or lost
	linkTimer                 // one of timers, while in flight
	linkKinds
)

// link holds the serial numbers of the neighbours on a list.
type link struct{ prev, next uint32 }

// sendSegment is one slot of the send window. It has the size of a cache line, 64 bytes, and holds
// all that an acknowledgement needs, as the packet that p points to may be in another processor's
// cache.
type sendSegment struct {
	p          *packet // nil once acknowledged
	sentAt     int64   // time of the last transmission
	links      [linkKinds]link
	rate       rateSnapshot // of the last transmission
	ts         uint32       // the ts field of the last transmission
	laterAcks  uint32       // see sendWindow.laterAcks
	batch      uint32       // of the datagram that was written in p, 0 for none; see inPlaceBatches
	length     uint16       // bytes of p's data, once sent
	state      segState
	backoff    uint8 // backoff level: timeouts in a row
	resent     bool  // it was sent more than once
	duplicated bool  // the last transmission was sent twice
	appLimited bool  // the last transmission was application-limited, see RateSample
	forced     bool  // it is to be, or was, sent again without being declared lost: ResetRTO
}

// size returns the bytes that the segment counts in flight, its header included.
func (s *sendSegment) size() int { return IKCP_OVERHEAD + int(s.length) }

// sentBefore has the ts of a segment's first transmission and of the last but one.
type sentBefore struct{ first, prior uint32 }

// snList is a doubly linked list of segments, by serial number.
type snList struct {
	head, tail uint32 // valid while n > 0
	n          int
}

// sendWindow holds all segments from the oldest unacknowledged one to the newest one written, in
// one ring indexed by serial number. A segment gets its serial number when it is queued. The cost
// of each operation does not depend on the size of the window.
type sendWindow struct {
	ring []sendSegment // length a power of two, 0 while never used
	old  []sentBefore  // by slot, of segments that were sent more than once; empty until there is one
	sums []uint32      // by slot, symbolCheck of what was in a repair, 0 for unknown; empty until there is one
	una  uint32        // serial number of the oldest segment that is not acknowledged
	nxt  uint32        // serial number of the first segment that was never sent
	end  uint32        // serial number of the next segment to be queued

	bytesQueued   int                   // data of the segments that were never sent
	inFlight      snList                // in order of last transmission
	bytesInFlight int                   // sum of their sizes
	since         int64                 // what was sent before went by a former path, 0 for nothing
	formerBytes   int                   // of bytesInFlight, those that did
	lost          snList                // in the order in which they were declared lost
	timers        [backoffLevels]snList // by backoff level, in order of last transmission
	armed         uint32                // bit l is set while timers[l] is not empty

	// laterAcks is the number of acknowledgements of segments that were sent later than the head of
	// inFlight. For any other segment in flight, that number is the sum of laterAcks of all slots
	// from its own to the tail. So an acknowledgement changes one slot instead of one for each
	// segment sent before, and the number for the head is at hand.
	laterAcks uint32
}

// at returns the slot of segment sn.
func (w *sendWindow) at(sn uint32) *sendSegment { return &w.ring[sn&uint32(len(w.ring)-1)] }

// oldAt returns what is kept of the earlier transmissions of segment sn, which was sent twice.
func (w *sendWindow) oldAt(sn uint32) *sentBefore { return &w.old[sn&uint32(len(w.old)-1)] }

// earlier returns when segment sn's transmission with time stamp ts was sent, which is not the last
// one. An acknowledgement echoes the ts of the transmission that arrived, so that of an earlier
// transmission gives a round-trip sample, too (RFC 7323, section 4:
// https://www.rfc-editor.org/rfc/rfc7323#section-4). Without these samples the round trip of a path
// slower than the first RTO would never be measured. ok is false for a ts that is not known to be a
// transmission's: of more than three, the first and the last two are known.
func (w *sendWindow) earlier(now int64, sn, ts uint32) (at int64, ok bool) {
	s := w.at(sn)
	if !s.resent {
		return 0, false
	}
	if old := w.oldAt(sn); ts != old.first && ts != old.prior {
		return 0, false
	}
	at = s.sentAt - int64(s.ts-ts)*int64(time.Microsecond)
	return at, now-at <= rtoMax
}

// forget makes an earlier transmission of segment sn, with time stamp ts, unknown: it has been
// acknowledged, and may be again.
func (w *sendWindow) forget(sn, ts uint32) {
	s, old := w.at(sn), w.oldAt(sn)
	if old.first == ts {
		old.first = s.ts
	}
	if old.prior == ts {
		old.prior = s.ts
	}
}

// forgetEarlier makes all earlier transmissions of segment sn unknown: one has been acknowledged, and
// which one is not known.
func (w *sendWindow) forgetEarlier(sn uint32) {
	if s := w.at(sn); s.resent {
		old := w.oldAt(sn)
		old.first, old.prior = s.ts, s.ts
	}
}

// runBegan returns when the segment with time stamp ts was sent, if it is one of the oldest
// unacknowledged ones, before sn, and was sent once, else 0. The acknowledgement of a run echoes the
// oldest's ts where the receiver takes this end for one without extensions.
func (w *sendWindow) runBegan(sn, ts uint32) (at int64) {
	for first := w.una; before(first, sn) && first-w.una < IKCP_WND_SND; first++ {
		if s := w.at(first); s.state == segInFlight && !s.resent && s.ts == ts {
			return s.sentAt
		}
	}
	return 0
}

// sentLately says whether ts is that of the last transmission of one of the oldest unacknowledged
// segments.
func (w *sendWindow) sentLately(ts uint32) bool {
	for sn := w.una; sn != w.nxt && sn-w.una < IKCP_WND_SND; sn++ {
		if s := w.at(sn); s.state != segAcked && s.ts == ts {
			return true
		}
	}
	return false
}

// waiting returns the number of segments from the oldest unacknowledged one to the newest one
// written.
func (w *sendWindow) waiting() int { return int(w.end - w.una) }

// queued returns the number of segments that were never sent.
func (w *sendWindow) queued() int { return int(w.end - w.nxt) }

// push queues a segment that holds p.
func (w *sendWindow) push(p *packet) {
	if w.waiting() == len(w.ring) {
		w.resize(max(8, 2*len(w.ring)))
	}
	*w.at(w.end) = sendSegment{p: p}
	if len(w.sums) == len(w.ring) {
		w.sums[w.end&uint32(len(w.ring)-1)] = 0
	}
	w.end++
	w.bytesQueued += len(p.data)
}

// check returns the check of segment sn's symbol.
func (w *sendWindow) check(sn uint32) uint32 {
	if len(w.sums) != len(w.ring) {
		w.sums = make([]uint32, len(w.ring))
	}
	sum := &w.sums[sn&uint32(len(w.sums)-1)]
	if *sum == 0 {
		*sum = symbolCheck(sn, w.at(sn).p.data)
	}
	return *sum
}

// resize makes the ring one of size slots, a power of two, which have room for what it holds.
func (w *sendWindow) resize(size int) {
	old := *w
	w.ring = make([]sendSegment, size)
	if len(old.old) > 0 {
		w.old = make([]sentBefore, len(w.ring))
	}
	for sn := w.una; sn != w.end; sn++ {
		*w.at(sn) = *old.at(sn)
		if len(old.old) > 0 {
			*w.oldAt(sn) = *old.oldAt(sn)
		}
	}
}

// ringMin is the number of slots below which the ring of a window is not made smaller while it is in
// use.
const ringMin = autoWindow

// shrink halves the ring if no more than a quarter of it is in use, and says whether it did.
func (w *sendWindow) shrink() bool {
	n := len(w.ring)
	if n <= ringMin || w.waiting() > n/4 {
		return false
	}
	w.resize(n / 2)
	return true
}

// trim gives back the memory of the ring that is not in use.
func (w *sendWindow) trim() {
	if w.waiting() == 0 {
		w.ring, w.old, w.sums = nil, nil, nil
	}
	for w.shrink() {
	}
}

// memory returns the bytes that the window holds.
func (w *sendWindow) memory() int64 {
	return int64(w.queued()+w.inFlight.n+w.lost.n)*packetCost +
		int64(len(w.ring))*int64(unsafe.Sizeof(sendSegment{})) + int64(len(w.old))*int64(unsafe.Sizeof(sentBefore{})) + int64(len(w.sums))*4
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

// markSent records the transmission of a queued or lost segment at now, with time stamp ts.
func (w *sendWindow) markSent(sn uint32, now int64, ts uint32) {
	s := w.at(sn)
	if s.state == segLost {
		w.remove(&w.lost, linkOrder, sn)
		w.keepOld(sn)
	} else {
		s.length = uint16(len(s.p.data))
		w.bytesQueued -= int(s.length)
	}
	s.state, s.sentAt, s.ts, s.duplicated = segInFlight, now, ts, false
	w.bytesInFlight += s.size()
	w.add(&w.inFlight, linkOrder, sn)
	w.add(&w.timers[s.backoff], linkTimer, sn)
	w.armed |= 1 << s.backoff
}

// empty drops the data of a queued or lost segment, whose message has expired.
func (w *sendWindow) empty(sn uint32) {
	s := w.at(sn)
	if s.state == segQueued {
		w.bytesQueued -= len(s.p.data)
	}
	s.length = 0
	s.p.data, s.p.cmd = s.p.data[:0], cmdSKIP
}

// keepOld remembers the last transmission of segment sn, which is sent again.
func (w *sendWindow) keepOld(sn uint32) {
	if len(w.old) == 0 {
		w.old = make([]sentBefore, len(w.ring))
	}
	s, old := w.at(sn), w.oldAt(sn)
	if old.prior = s.ts; !s.resent {
		s.resent, old.first = true, s.ts
	}
}

// removeInFlight takes a segment in flight off its lists.
func (w *sendWindow) removeInFlight(sn uint32) {
	s := w.at(sn)
	if sn == w.inFlight.head {
		w.laterAcks -= s.laterAcks
	} else {
		w.at(s.links[linkOrder].prev).laterAcks += s.laterAcks
	}
	s.laterAcks = 0
	w.leaveFlight(s)
	w.remove(&w.inFlight, linkOrder, sn)
	l := &w.timers[s.backoff]
	w.remove(l, linkTimer, sn)
	if l.n == 0 {
		w.armed &^= 1 << s.backoff
	}
}

// markHeld takes a segment in flight out of loss detection. It still counts in bytesInFlight.
func (w *sendWindow) markHeld(sn uint32) {
	w.removeInFlight(sn)
	s := w.at(sn)
	s.state = segHeld
	w.bytesInFlight += s.size()
	if w.former(s) {
		w.formerBytes += s.size()
	}
}

// leaveFlight counts segment s in flight no more.
func (w *sendWindow) leaveFlight(s *sendSegment) {
	w.bytesInFlight -= s.size()
	if w.former(s) {
		w.formerBytes -= s.size()
	}
}

// sortLost has the lost segments sent again in the order of their numbers.
func (w *sendWindow) sortLost() {
	w.lost = snList{}
	for sn := w.una; sn != w.nxt; sn++ {
		if w.at(sn).state == segLost {
			w.add(&w.lost, linkOrder, sn)
		}
	}
}

// beginPath makes all that was sent before now sent by a former path.
func (w *sendWindow) beginPath(now int64) {
	w.since, w.formerBytes = now, w.bytesInFlight
	for sn, n := w.inFlight.tail, w.inFlight.n; n > 0 && w.at(sn).sentAt >= now; n-- {
		w.formerBytes -= w.at(sn).size()
		sn = w.at(sn).links[linkOrder].prev
	}
}

// former says whether the last transmission of segment s went by a former path.
func (w *sendWindow) former(s *sendSegment) bool { return s.sentAt < w.since }

// markLost declares a segment in flight or held lost. level is the backoff level of its next transmission.
func (w *sendWindow) markLost(sn uint32, level uint8) {
	s := w.at(sn)
	if s.state == segHeld {
		w.leaveFlight(s)
	} else {
		w.removeInFlight(sn)
	}
	s.state, s.forced = segLost, false
	s.backoff = min(level, backoffLevels-1)
	w.add(&w.lost, linkOrder, sn)
}

// ack records the acknowledgement of segment sn's transmission with time stamp ts, and returns the
// packet that the segment held, nil if it was neither in flight nor lost.
func (w *sendWindow) ack(sn, ts uint32) *packet {
	if sn-w.una >= w.nxt-w.una {
		return nil
	}
	s := w.at(sn)
	if s.state == segInFlight && s.ts == ts && sn != w.inFlight.head {
		// All segments that were sent before this one have one more later acknowledgement.
		w.at(s.links[linkOrder].prev).laterAcks++
		w.laterAcks++
	}
	return w.markAcked(sn)
}

// markAcked marks a segment acknowledged and returns the packet that it held, nil if it was neither
// in flight nor lost.
func (w *sendWindow) markAcked(sn uint32) *packet {
	s := w.at(sn)
	switch s.state {
	case segInFlight:
		w.removeInFlight(sn)
	case segHeld:
		w.leaveFlight(s)
	case segLost:
		w.remove(&w.lost, linkOrder, sn)
	default:
		return nil
	}
	p := s.p
	s.p, s.state = nil, segAcked
	s.links[linkOrder].next = sn + 1
	return p
}

// unacked returns the first serial number from sn on that is not acknowledged, at most nxt. sn is from
// una to nxt. Acknowledged segments are skipped by the link that they do not need any more: all before
// that one are acknowledged, too. Each walk shortens the way for the next (path halving).
func (w *sendWindow) unacked(sn uint32) uint32 {
	for sn != w.nxt {
		s := w.at(sn)
		if s.state != segAcked {
			return sn
		}
		skip := &s.links[linkOrder].next
		if *skip != w.nxt {
			if t := w.at(*skip); t.state == segAcked {
				*skip = t.links[linkOrder].next
			}
		}
		sn = *skip
	}
	return sn
}

// advance moves una over acknowledged segments.
func (w *sendWindow) advance() {
	for w.una != w.nxt && w.at(w.una).state == segAcked {
		w.una++
	}
}

// earliest returns the segment in flight whose RTO, at least that long, is over first, and when that
// is, never for none.
func (w *sendWindow) earliest(rtt *rttEstimator, least int64) (sn uint32, deadline int64) {
	deadline = never
	for set := w.armed; set != 0; set &= set - 1 {
		level := uint8(bits.TrailingZeros32(set))
		head := w.timers[level].head
		if d := w.at(head).sentAt + max(rtt.backoff(level), least); d < deadline {
			sn, deadline = head, d
		}
	}
	return sn, deadline
}

// timedOutTwice says whether data has timed out twice in a row, and nothing was acknowledged since.
func (w *sendWindow) timedOutTwice() bool {
	return w.armed>>2 != 0 || w.lost.n > 0 && w.at(w.lost.head).backoff >= 2
}
