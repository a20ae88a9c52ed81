package kcp

import "time"

// This file tells what is lost, by transmission order and time, after RACK (RFC 8985) and
// QUIC (RFC 9002): acknowledgements echo the time stamp of a transmission, so it is known
// which one arrived, of retransmissions too.

// lossDetector is what acknowledgements have told about the path.
type lossDetector struct {
	newestAcked int64  // when the newest transmission that was acknowledged was sent
	rtt         int64  // its round trip
	reorder     int64  // how much later than its successors a segment may arrive
	reorderAt   int64  // when that was seen last
	ackedAt     int64  // when something was acknowledged last
	graceUntil  int64  // until when deadlines that were noticed late are waited for all the same
	spurious    uint64 // segments declared lost that had arrived
	outcomes    uint64 // transmissions that were acknowledged or declared lost
	lostTotal   uint64 // of them, those declared lost
	lossRate    int    // recent share of those, in 1/lossUnit
}

const (
	// lossUnit is 1 in lossDetector.share, which forgets over some 64 segments.
	lossRateOne = 1 << 16
	// lossyPath is the share from which it is usual that a retransmission is lost, too.
	highLossRate = lossRateOne / 32
	// reorderLife is how long reordering is remembered undiminished.
	reorderMemory = 10 * int64(time.Second)
	// ackGrain is how much later than measured so far an acknowledgement may come where the
	// peer does not delay it: hosts are not that punctual.
	ackJitter = 2 * int64(time.Millisecond)
	// stallGrain is how late a timer may be with no more than that to be said of the host,
	// and stallMost the most that is made of it.
	graceThreshold = 2 * int64(time.Millisecond)
	graceMax       = 20 * int64(time.Millisecond)
)

// transmission takes the acknowledgement of one that was sent at the time at. Late ones
// widen the reordering window, at most to a round trip (RFC 8985, section 6.2).
func (d *lossDetector) onAck(now, at int64) {
	if at < d.newestAcked {
		d.noteReordering(now, now-at-d.rtt)
		return
	}
	d.newestAcked, d.rtt = at, now-at
}

// late widens the reordering window to by.
func (d *lossDetector) noteReordering(now, by int64) {
	by = min(by, d.rtt)
	if by >= d.reorder {
		d.reorder, d.reorderAt = by, now
	}
}

// acked is called for each datagram that acknowledges something.
func (d *lossDetector) onAcks(now int64) {
	d.ackedAt = now
	if d.reorder > 0 && now-d.reorderAt > reorderMemory {
		d.reorder, d.reorderAt = d.reorder/2, now
	}
}

// arrived and lost tell of one segment, and keep the share of losses.
func (d *lossDetector) noteDelivered() {
	d.outcomes++
	d.lossRate -= d.lossRate / 64
}

func (d *lossDetector) noteLost() {
	d.outcomes++
	d.lostTotal++
	d.lossRate += (lossRateOne - d.lossRate) / 64
}

// stalled says whether a deadline that passes without a word of the segment is to be waited
// for a little longer: when it is noticed late, the process did not run, and the
// acknowledgement may have arrived and not been read. That is done once for a deadline: where
// timers are late as a rule, it would never end otherwise.
func (d *lossDetector) stalled(now, deadline int64) bool {
	if deadline > d.graceUntil && now-deadline > graceThreshold {
		d.graceUntil = now + min(now-deadline, graceMax)
	}
	return now < d.extended(deadline)
}

// extended returns the deadline with that patience.
func (d *lossDetector) extended(deadline int64) int64 { return max(deadline, d.graceUntil) }

// lossAt returns when the segment sent the longest ago counts as lost because later ones
// were acknowledged, or because its own acknowledgement stays out: never, if only its
// timer can tell.
func (k *KCP) lossAt() int64 {
	w := &k.snd
	if k.resend == 0 || w.inFlight.n == 0 {
		return never
	}
	s := w.at(w.inFlight.head)
	at := s.sentAt + k.loss.reorder
	if s.duplicated {
		at += k.duplicateGap()
	}
	later := int(w.laterAcks)
	rtt := max(k.rtt.srtt, k.loss.rtt)
	switch {
	case later >= k.resend, later > 0 && k.fewInFlight():
		return at + k.loss.rtt
	case later > 0:
		return at + rtt + max(rtt/8, ackJitter) // RFC 9002, section 6.1.2
	case k.rtt.nodelay && s.backoff == 0 && k.rtt.srtt != 0:
		slack := ackJitter
		if !k.ackNoDelay { // the peer, likely set up as we are, may wait
			slack = min(k.interval, ackDelay) + timerGranularity
		}
		return k.loss.extended(at + max(rtt+max(slack, 4*k.rtt.rttvar), k.rtt.minRTO))
	}
	return never
}

// fewInFlight says whether too little is in flight ever to give the later acknowledgements
// that make a segment lost (early retransmit, RFC 5827).
func (k *KCP) fewInFlight() bool { return k.snd.inFlight.n <= k.resend && !k.maySendNew() }

// detectLoss declares lost what timed out and what later acknowledgements have overtaken.
func (k *KCP) detectLoss(now int64) {
	for {
		at := k.lossAt()
		if at > now || k.snd.laterAcks == 0 && k.loss.stalled(now, at) {
			break
		}
		sn := k.snd.inFlight.head
		level := uint8(0)
		switch later := int(k.snd.laterAcks); {
		case later >= k.resend:
			k.count.FastRetransSegs++
		case later > 0:
			k.count.EarlyRetransSegs++
		default:
			k.count.LostSegs++
			if k.loss.ackedAt <= k.snd.at(sn).sentAt { // nothing arrives at all
				level = 1
			}
		}
		k.declareLost(now, sn, level, false)
	}
	for {
		sn, deadline := k.snd.earliest(&k.rtt)
		if deadline > now || k.loss.stalled(now, deadline) {
			return
		}
		k.count.LostSegs++
		s := k.snd.at(sn)
		level := s.backoff + 1
		if k.loss.ackedAt > s.sentAt {
			// The path works: this one was lost, or found no room in a window
			// smaller than we took it for.
			level = 0
		}
		k.declareLost(now, sn, level, true)
	}
}

func (k *KCP) declareLost(now int64, sn uint32, level uint8, timeout bool) {
	size := k.snd.at(sn).size()
	k.snd.markLost(sn, level)
	k.loss.noteLost()
	k.congestion().Lost(time.Duration(now), size, k.snd.bytesInFlight, timeout)
}
