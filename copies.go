package kcp

import "time"

// A retransmission that is lost, too, costs the stream another round trip. Where nodelay
// asks for low latency and the path loses a good deal, it is sent twice, the second time a
// little later so that one burst of losses does not take both, and not at all if it was
// acknowledged meanwhile.

const (
	// copyRTT is the round trip from which that is worth a thought.
	copyRTT = 4 * int64(time.Millisecond)
	// copyShare bounds copies to so many for a hundred other segments sent.
	copyShare = 25
	// copyCredit is how many may come at once.
	copyCredit = 8
)

// copyDue is a transmission to be repeated.
type copyDue struct {
	at     int64
	sn, ts uint32
}

// copyQueue holds what is to be repeated, in order of time, at most copyCredit of them.
type copyQueue struct {
	due    []copyDue
	share  int // copies for a hundred segments
	credit int // hundredths of a copy
	sent   uint64
}

// at returns when the first is due, never if there is none.
func (q *copyQueue) at() int64 {
	if len(q.due) == 0 {
		return never
	}
	return q.due[0].at
}

// earn counts a segment sent.
func (q *copyQueue) earn() { q.credit = min(q.credit+q.share, 100*copyCredit) }

// copyGap is the time between a retransmission and its copy.
func (k *KCP) copyGap() int64 { return min(k.interval, k.rtt.srtt/4) }

// scheduleCopy sees to a second copy of a retransmission made at now, where that pays. Bulk
// has more to send, and repairs its losses as fast as it can.
func (k *KCP) scheduleCopy(now int64, sn, ts uint32) {
	if k.rtt.eager && k.rtt.srtt >= copyRTT && k.loss.share >= lossyPath && k.sparse() &&
		k.resend != 0 && k.copies.credit >= 100 && len(k.copies.due) < copyCredit {
		k.copies.credit -= 100
		k.copies.due = append(k.copies.due, copyDue{now + k.copyGap(), sn, ts})
	}
}

// writeCopies repeats the transmissions that are due and not acknowledged. They keep their
// time stamp, as it would not tell more: the copy that arrives first counts.
func (k *KCP) writeCopies(now int64) {
	for now >= k.copies.at() {
		c := k.copies.due[0]
		k.copies.due = k.copies.due[:copy(k.copies.due, k.copies.due[1:])]
		if c.sn-k.snd.una >= k.snd.nxt-k.snd.una {
			continue
		}
		s := k.snd.at(c.sn)
		if s.state != segInFlight || s.ts != c.ts {
			continue
		}
		s.copied = true
		h := k.control(IKCP_CMD_PUSH)
		h.sn, h.ts = c.sn, c.ts
		k.writeSegment(&h, s)
		k.count.RetransSegs++
		k.copies.sent++
	}
}

// sparse says whether the user's data leaves as it comes: none is queued, and the window has
// room for more.
func (k *KCP) sparse() bool { return k.snd.queued() == 0 && uint32(k.snd.waiting()) < k.sndWnd/4*3 }
