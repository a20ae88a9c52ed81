package kcp

import "time"

// A retransmission that is lost, too, costs the stream another round trip. Where nodelay
// asks for low latency and the path loses a good deal, it is sent twice, the second time a
// little later so that one burst of losses does not take both, and not at all if it was
// acknowledged meanwhile.

const (
	// copyRTT is the round trip from which that is worth a thought.
	duplicateMinRTT = 4 * int64(time.Millisecond)
	// copyShare bounds copies to so many for a hundred other segments sent.
	duplicatePercent = 25
	// copyCredit is how many may come at once.
	duplicateBurst = 8
)

// copyDue is a transmission to be repeated.
type duplicateDue struct {
	at     int64
	sn, ts uint32
}

// copyQueue holds what is to be repeated, in order of time, at most copyCredit of them.
type duplicateQueue struct {
	due     []duplicateDue
	percent int // copies for a hundred segments
	credit  int // hundredths of a copy
	sent    uint64
}

// at returns when the first is due, never if there is none.
func (q *duplicateQueue) at() int64 {
	if len(q.due) == 0 {
		return never
	}
	return q.due[0].at
}

// earn counts a segment sent.
func (q *duplicateQueue) earn() { q.credit = min(q.credit+q.percent, 100*duplicateBurst) }

// copyGap is the time between a retransmission and its copy.
func (k *KCP) duplicateGap() int64 { return min(k.interval, k.rtt.srtt/4) }

// scheduleCopy sees to a second copy of a retransmission made at now, where that pays. Bulk
// has more to send, and repairs its losses as fast as it can.
func (k *KCP) scheduleDuplicate(now int64, sn, ts uint32) {
	if k.rtt.nodelay && k.rtt.srtt >= duplicateMinRTT && k.loss.lossRate >= highLossRate && k.sparse() &&
		k.resend != 0 && k.dup.credit >= 100 && len(k.dup.due) < duplicateBurst {
		k.dup.credit -= 100
		k.dup.due = append(k.dup.due, duplicateDue{now + k.duplicateGap(), sn, ts})
	}
}

// writeCopies repeats the transmissions that are due and not acknowledged. They keep their
// time stamp, as it would not tell more: the copy that arrives first counts.
func (k *KCP) writeDuplicates(now int64) {
	for now >= k.dup.at() {
		c := k.dup.due[0]
		k.dup.due = k.dup.due[:copy(k.dup.due, k.dup.due[1:])]
		if c.sn-k.snd.una >= k.snd.nxt-k.snd.una {
			continue
		}
		s := k.snd.at(c.sn)
		if s.state != segInFlight || s.ts != c.ts {
			continue
		}
		s.duplicated = true
		h := k.controlHeader(IKCP_CMD_PUSH)
		h.sn, h.ts = c.sn, c.ts
		k.writeSegment(&h, s)
		k.count.RetransSegs++
		k.dup.sent++
	}
}

// sparse says whether the user's data leaves as it comes: none is queued, and the window has
// room for more.
func (k *KCP) sparse() bool { return k.snd.queued() == 0 && uint32(k.snd.waiting()) < k.sndWnd/4*3 }
