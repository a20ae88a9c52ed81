package kcp

import "time"

// lossState is what acknowledgements have told about loss and reordering on the path.
type lossState struct {
	newestAcked int64  // when the newest transmission that was acknowledged was sent
	rtt         int64  // its round trip
	reorder     int64  // reordering window: how late an overtaken segment may be, 0 before any
	grownAt     int64  // when that grew last
	heldAt      int64  // when a segment was nearly as late as that, or when it was reduced
	heldFor     int    // datagrams that acknowledged something since then
	ackSpread   int64  // time between the transmissions that one datagram acknowledges
	ackedAt     int64  // when something was acknowledged last
	graceUntil  int64  // until when deadlines that were noticed late are extended
	timeouts    int    // of the current burst, see timeoutBurst
	heldUntil   int64  // when the next burst may begin
	rounds      int    // bursts since something was acknowledged
	probes      int    // segments to be sent again whatever the congestion window is
	parity      bool   // what is sent has parity, and is acknowledged late where it is rebuilt
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
	// hastyLossRate is the rate from which on, with nodelay, timeouts do not allow for reordering.
	hastyLossRate = lossRateOne / 5
	// reorderRounds and reorderAcks are how many round trips and acknowledging datagrams the reordering
	// window stays what it is, without a segment that needs it. Then it is reduced by a quarter. RFC
	// 8985 keeps it for 16 recoveries (https://www.rfc-editor.org/rfc/rfc8985#section-6.2).
	reorderRounds = 16
	reorderAcks   = 256
	// reorderMax bounds the reordering window where the round trip is shorter.
	reorderMax = 100 * int64(time.Millisecond)
	// ackJitter is how much later than measured an acknowledgement may come from a peer that does
	// not delay it, as hosts are not more punctual.
	ackJitter = 2 * int64(time.Millisecond)
	// timeoutBurst is how many segments time out before the next acknowledgement or timeout: whether a
	// path that is silent loses or delays is not known, and an acknowledgement of one tells of all that
	// were sent before. RFC 9002 has 2 datagrams
	// (https://www.rfc-editor.org/rfc/rfc9002#section-6.2.4), RFC 8985 a single segment
	// (https://www.rfc-editor.org/rfc/rfc8985#section-7.3).
	timeoutBurst = 4
	// timeoutBurstSparse is timeoutBurst for messages that leave as they come: they are few, and each
	// is waited for.
	timeoutBurstSparse = 8
	// graceThreshold is the lateness of a timer that shows that the process did not run, and
	// graceMax the longest grace period that follows from it.
	graceThreshold = 2 * int64(time.Millisecond)
	graceMax       = 20 * int64(time.Millisecond)
)

// onAck takes the acknowledgement of a transmission that was sent at sentAt.
func (d *lossState) onAck(now, sentAt, srtt int64) {
	if sentAt < d.newestAcked {
		d.noteLate(now, now-sentAt, srtt)
		return
	}
	d.newestAcked, d.rtt = sentAt, now-sentAt
}

// roundTrip is what reordering is measured by: the smoothed round trip, or that of the newest
// transmission acknowledged when a queue is growing. The newest one that is acknowledged is likely to
// be one that was fast: alone it would be no measure where the delay varies.
func (d *lossState) roundTrip(srtt int64) int64 { return max(srtt, d.rtt) }

// patience is how long after its transmission a segment that was overtaken counts as lost (RFC 8985,
// section 6.2: https://www.rfc-editor.org/rfc/rfc8985#section-6.2).
func (d *lossState) patience(srtt int64) int64 {
	if d.reorder == 0 {
		return d.rtt
	}
	return d.roundTrip(srtt) + d.reorder
}

// noteLate takes an acknowledgement that came so long after its transmission, which later ones had
// overtaken. The reordering window grows to what that would have needed, by a quarter of a round trip
// at most in each round trip: a single one that is very late is not worth to wait as long for all
// losses.
func (d *lossState) noteLate(now, after, srtt int64) {
	rtt := d.roundTrip(srtt)
	by := max(after-rtt, 0)
	by += by/32 + 1
	if by >= d.reorder-d.reorder/4 {
		d.heldAt, d.heldFor = now, 0
	}
	if by > d.reorder && now-d.grownAt >= rtt {
		d.reorder, d.grownAt = min(by, d.reorder+rtt/4+1, max(rtt, reorderMax)), now
	}
}

// noteBatch takes the time between the transmissions that one datagram acknowledges: so long at least
// the peer collects acknowledgements, and may keep the next ones back.
func (d *lossState) noteBatch(spread int64) {
	if spread > d.ackSpread {
		d.ackSpread = spread
	} else {
		d.ackSpread -= (d.ackSpread - spread) / 16
	}
}

// onAcks is called for each datagram that acknowledges something.
func (d *lossState) onAcks(now, srtt int64) {
	d.ackedAt = now
	d.endBurst()
	if d.reorder == 0 {
		return
	}
	if d.heldFor++; d.heldFor > reorderAcks && now-d.heldAt > reorderRounds*srtt {
		d.reorder, d.heldAt, d.heldFor = d.reorder-(d.reorder+3)/4, now, 0
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

// noteSpurious takes a loss back that noteLost has counted.
func (d *lossState) noteSpurious() {
	d.spurious = min(d.spurious+1, d.lostTotal) // ResetRTO sends again what is not counted as lost
	d.lossRate = max(0, d.lossRate-(lossRateOne-d.lossRate)/64)
}

// grantGrace gives one grace period to a deadline that is noticed late: if the process was
// descheduled, the acknowledgement may be unread in the socket. A deadline within the period gets
// no other one, else it would never end where timers are late as a rule.
func (d *lossState) grantGrace(now, deadline int64) {
	deadline = max(deadline, d.heldUntil)
	if deadline > d.graceUntil && now-deadline > graceThreshold {
		d.graceUntil = now + min(now-deadline, graceMax)
	}
}

// noteTimeout counts a segment that was declared lost as nothing was heard of it for wait. Where
// nothing at all was heard for a round trip, most of what is in flight still is, and may fill the
// congestion window; without a probe it would never be known what has become of it (RFC 9002, section
// 7.5: https://www.rfc-editor.org/rfc/rfc9002#section-7.5).
func (d *lossState) noteTimeout(now, wait, srtt int64, burst int) {
	if now-d.ackedAt >= srtt {
		d.probes = min(d.probes+1, burst)
	}
	if d.timeouts++; d.timeouts >= burst {
		d.timeouts, d.heldUntil = 0, now+wait
		d.rounds++
	}
}

// endBurst lets timeouts begin anew, as if there had been none.
func (d *lossState) endBurst() { d.timeouts, d.heldUntil, d.rounds, d.probes = 0, 0, 0, 0 }

// extended returns the deadline with its grace period, or until the next timeout is due.
func (d *lossState) extended(deadline int64) int64 {
	return max(deadline, d.graceUntil, d.heldUntil)
}

// detected is the share of segments that loss detection has found lost.
func (d *lossState) detected() float64 { return float64(d.lossRate) / lossRateOne }
