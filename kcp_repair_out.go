package kcp

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// What a sender of repairs does. Repairs are sent behind new segments, and cover all that is not
// acknowledged. They are neither acknowledged nor sent again.

// snSet is a set of some of the last snSetSize serial numbers.
type snSet [snSetSize / 64]uint64

const snSetSize = 1024

func (s *snSet) add(sn uint32)      { s[sn%snSetSize/64] |= 1 << (sn % 64) }
func (s *snSet) has(sn uint32) bool { return s[sn%snSetSize/64]>>(sn%64)&1 != 0 }

// take removes sn, and says whether it was there.
func (s *snSet) take(sn uint32) bool {
	had := s.has(sn)
	s[sn%snSetSize/64] &^= 1 << (sn % 64)
	return had
}

// sent notes a repair.
func (r *repairSender) sent(x sentRepair) {
	if n := len(r.list); n == sentRepairsMax {
		r.list = r.list[:copy(r.list, r.list[n/2:])]
	}
	r.list = append(r.list, x)
}

// recent says whether ts is that of one of the last repairs.
func (r *repairSender) recent(ts uint32) bool {
	for i := len(r.list) - 1; i >= 0; i-- {
		if r.list[i].ts == ts {
			return true
		}
	}
	return false
}

// deadline is when something is due.
func (r *repairSender) deadline() int64 {
	if len(r.held) > 0 {
		return min(r.tailAt, r.held[0].until)
	}
	return r.tailAt
}

// trim gives memory back while nothing is under way.
func (r *repairSender) trim() {
	r.list, r.held = nil, nil
}

// setRepairs bounds the repairs for each new segment to budget, and has at least floor.
func (k *KCP) setRepairs(budget, floor float64) {
	k.repairs.budget, k.repairs.floor = max(budget, floor), floor
}

// takesRepairs says whether the peer takes repairs and marks what is rebuilt from them.
func (k *KCP) takesRepairs() bool {
	return k.peerHas(featureRepairs) && !k.unconfirmed()
}

// repairing says whether repairs take the place of FEC groups from now on.
func (k *KCP) repairing() bool {
	r := &k.repairs
	if !r.on && r.budget > 0 {
		k.startRepairs()
	}
	return r.on && r.budget > 0
}

// startRepairs has segments be cut so that repairs fit, if the peer takes them.
func (k *KCP) startRepairs() bool {
	k.repairs.on = k.repairs.on || k.takesRepairs() && k.mss >= repairMSS
	return k.repairs.on
}

// forgetRepairs is for a peer that turns out to be another one.
func (k *KCP) forgetRepairs() {
	k.repairs.on, k.repairs.tailAt, k.repairs.path.known = false, never, false
}

// repairRoom is the most data bytes of a member.
func (k *KCP) repairRoom() int {
	if k.plain { // a WINS goes before the REP
		return k.mss - repairOverhead - IKCP_OVERHEAD
	}
	return k.mss - repairOverhead
}

// repairsCopies says whether second copies of retransmissions are repairs.
func (k *KCP) repairsCopies(now int64) bool {
	p := k.repairs.path.estimate(now, k.loss.detected())
	return (k.repairs.budget > 0 && p >= repairLossMin || p >= copiesLossMin) && k.startRepairs()
}

// repairNew sends what repairs are due behind a new segment.
func (k *KCP) repairNew(now int64) {
	if !k.repairing() {
		return
	}
	r := &k.repairs
	r.rebuilt.take(k.snd.nxt - 1) // an older one's
	if r.newAt != 0 {
		r.gap += (min(now-r.newAt, k.rtt.srtt) - r.gap) / 16
	}
	r.newAt = now
	p := r.path.estimate(now, k.loss.detected())
	rate := repairRate(p, k.rtt.srtt, r.gap, r.bursts.burstiness(p), r.budget)
	if k.backlogged() {
		rate = 0
	}
	rate = max(rate, r.floor)
	if r.credit += rate; rate == 0 {
		r.credit = min(r.credit, 0)
	}
	for r.credit >= 1 {
		r.credit--
		k.writeRepair(now, false)
	}
	if r.tailAt = never; r.credit >= 0.25 {
		r.tailAt = now + max(2*r.gap, k.rtt.srtt/8)
	}
}

// backlogged says whether the pacers need more than two round trips for what is queued. A repair would keep that
// back, at the cost of whoever shares the path, to spare a segment that has waited longer a shorter wait.
func (k *KCP) backlogged() bool {
	rate := k.ccPacer.rate
	if limit := k.limitPacer.rate; limit != 0 && (rate == 0 || limit < rate) {
		rate = limit
	}
	return rate != 0 && int64(k.snd.bytesQueued)*int64(time.Second) > 2*rate*k.rtt.srtt
}

// writeTailRepair sends the repair that is due in part, as nothing follows.
func (k *KCP) writeTailRepair(now int64) {
	k.repairs.tailAt = never
	if k.writeRepair(now, false) {
		k.repairs.credit--
	}
}

// writeRepair writes a repair over all that is not acknowledged, unless the congestion window is used up.
// answer asks for an acknowledgement even if it brings nothing.
func (k *KCP) writeRepair(now int64, answer bool) bool {
	r := &k.repairs
	base := k.snd.una
	if k.snd.nxt-base > repairWindow {
		base = k.snd.nxt - repairWindow
	}
	members, longest := k.repairMembers(base)
	if members == 0 || k.cwndLimited() || k.out.full() || k.address.pending {
		return false
	}
	k.endDatagram(now)
	h := k.controlHeader(cmdREP)
	r.index = (r.index + 1) & repairIndexMax
	h.frg, h.sn, h.ts, h.len = r.index, base, k.tsBase+micros(now), uint32(repairOverhead+longest)
	if answer {
		h.frg |= repairAnswer
	}
	k.write(now, &h, nil)
	body := k.out.buf[k.out.n-int(h.len) : k.out.n]
	binary.LittleEndian.PutUint64(body, members)
	k.sumUp(body[repairBitmap:], r.index, base, members)
	k.noteUnreliable(now, h.ts, IKCP_OVERHEAD+int(h.len))
	k.endDatagram(now)
	r.sent(sentRepair{now, members, base, h.ts, answer})
	return true
}

// repairMembers returns what is not acknowledged among the repairWindow segments from base on, and the
// most data that one of them has.
func (k *KCP) repairMembers(base uint32) (members uint64, longest int) {
	for sn := base; sn != k.snd.nxt; sn++ {
		switch s := k.snd.at(sn); {
		case s.state == segAcked || s.p.cmd == cmdSKIP || len(s.p.data) > k.repairRoom():
		default:
			members |= 1 << (sn - base)
			longest = max(longest, len(s.p.data))
		}
	}
	return members, longest
}

// sumUp makes sum the repair with that index.
func (k *KCP) sumUp(sum []byte, index uint8, base uint32, members uint64) {
	clear(sum)
	for set := members; set != 0; set &= set - 1 {
		sn := base + uint32(bits.TrailingZeros64(set))
		p := k.snd.at(sn).p
		addToRepair(sum, index, sn, p.cmd, p.frg, p.data, k.snd.check(sn))
	}
}

// hold keeps a segment that would be declared lost until a repair may have brought it that was sent soon
// after it, once. Each repair can bring one.
func (k *KCP) hold(now int64, sn uint32) bool {
	r, s := &k.repairs, k.snd.at(sn)
	if len(r.list) == 0 || s.resent {
		return false
	}
	wait := k.loss.roundTrip(k.rtt.srtt) + ackJitter + k.loss.reorder
	for i := range r.list {
		x := &r.list[i]
		if x.taken || x.at < s.sentAt || x.at-s.sentAt > min(k.rtt.srtt/2, repairHold) || sn-x.base >= repairWindow ||
			x.members>>(sn-x.base)&1 == 0 || x.at+wait <= now {
			continue
		}
		x.taken = true
		k.snd.markHeld(sn)
		r.held = append(r.held, heldSegment{sn, s.ts, x.at + wait})
		return true
	}
	return false
}

// endHolds declares lost what was held for too long.
func (k *KCP) endHolds(now int64) {
	r, n := &k.repairs, 0
	for ; n < len(r.held) && r.held[n].until <= now; n++ {
		h := r.held[n]
		if h.sn-k.snd.una >= k.snd.nxt-k.snd.una {
			continue
		}
		if s := k.snd.at(h.sn); s.state == segHeld && s.ts == h.ts {
			k.count.FastRetransSegs++
			k.declareLost(now, h.sn, 0, lostRepair)
		}
	}
	r.held = r.held[:copy(r.held, r.held[n:])]
}

// noteBursts notes which of the segments from sn on that una has passed were lost.
func (k *KCP) noteBursts(sn uint32) {
	for ; sn != k.snd.una; sn++ {
		s := k.snd.at(sn)
		k.repairs.bursts.note(s.resent && !s.forced || k.repairs.rebuilt.has(sn))
	}
}
