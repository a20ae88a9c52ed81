package kcp

import "time"

// lossState is what acknowledgements have told about loss and reordering on the path.
type lossState struct {
	newestAcked int64  // when the newest transmission that was acknowledged was sent
	rtt         int64  // its round trip
	reorder     int64  // the reordering window: how much later than its successors a segment may arrive
	reorderAt   int64  // when reordering was observed last
	ackedAt     int64  // when something was acknowledged last
	graceUntil  int64  // until when deadlines that were noticed late are extended
	spurious    uint64 // segments declared lost that had arrived
	outcomes    uint64 // transmissions acknowledged or declared lost
	lostTotal   uint64 // of them, those declared lost
	lossRate    int    // recent share of those, in 1/lossRateOne
}

const (
	// lossRateOne is 1 in lossState.lossRate, a moving average over some 64 segments.
	lossRateOne = 1 << 16
	// highLossRate is the rate from which on a retransmission is often lost, too.
	highLossRate = lossRateOne / 32
	// reorderMemory is how long the reordering window stays what it is. Then it is halved.
	reorderMemory = 10 * int64(time.Second)
	// ackJitter is how much later than measured an acknowledgement may come from a peer that does
	// not delay it, as hosts are not more punctual.
	ackJitter = 2 * int64(time.Millisecond)
	// graceThreshold is the lateness of a timer that shows that the process did not run, and
	// graceMax the longest grace period that follows from it.
	graceThreshold = 2 * int64(time.Millisecond)
	graceMax       = 20 * int64(time.Millisecond)
)

// onAck takes the acknowledgement of a transmission that was sent at sentAt.
func (d *lossState) onAck(now, sentAt int64) {
	if sentAt < d.newestAcked {
		d.noteReordering(now, now-sentAt-d.rtt)
		return
	}
	d.newestAcked, d.rtt = sentAt, now-sentAt
}

// noteReordering widens the reordering window to by, at most to a round trip (RFC 8985, section
// 6.2: https://www.rfc-editor.org/rfc/rfc8985#section-6.2).
func (d *lossState) noteReordering(now, by int64) {
	by = min(by, d.rtt)
	if by >= d.reorder {
		d.reorder, d.reorderAt = by, now
	}
}

// onAcks is called for each datagram that acknowledges something.
func (d *lossState) onAcks(now int64) {
	d.ackedAt = now
	if d.reorder > 0 && now-d.reorderAt > reorderMemory {
		d.reorder, d.reorderAt = d.reorder/2, now
	}
}

// noteDelivered counts a segment that was acknowledged.
func (d *lossState) noteDelivered() {
	d.outcomes++
	d.lossRate -= d.lossRate / 64
}

// noteLost counts a segment that was declared lost.
func (d *lossState) noteLost() {
	d.outcomes++
	d.lostTotal++
	d.lossRate += (lossRateOne - d.lossRate) / 64
}

// grantGrace gives one grace period to a deadline that is noticed late: if the process was
// descheduled, the acknowledgement may be unread in the socket. A deadline within the period gets
// no other one, else it would never end where timers are late as a rule.
func (d *lossState) grantGrace(now, deadline int64) {
	if deadline > d.graceUntil && now-deadline > graceThreshold {
		d.graceUntil = now + min(now-deadline, graceMax)
	}
}

// extended returns the deadline with its grace period.
func (d *lossState) extended(deadline int64) int64 { return max(deadline, d.graceUntil) }
