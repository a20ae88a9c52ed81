package kcp

import "time"

// Loss detection goes by the order and the time of transmissions, after RACK (RFC 8985:
// https://www.rfc-editor.org/rfc/rfc8985) and QUIC (RFC 9002:
// https://www.rfc-editor.org/rfc/rfc9002#section-6). An acknowledgement echoes the ts of the
// transmission that arrived, so it is known which one that was, of retransmissions too.

// lossAt returns when the segment in flight that was sent first counts as lost, because later
// ones were acknowledged or its own acknowledgement is overdue. It returns never if only the RTO
// can tell.
func (k *KCP) lossAt() int64 {
	w := &k.snd
	if k.resend == 0 || w.inFlight.n == 0 {
		return never
	}
	s := w.at(w.inFlight.head)
	at := s.sentAt
	if s.duplicated {
		at += k.duplicateGap()
	}
	later := int(w.laterAcks)
	rtt := k.loss.roundTrip(k.rtt.srtt)
	switch {
	case later >= k.resend, later > 0 && k.fewInFlight():
		return at + k.loss.patience(k.rtt.srtt)
	case later > 0: // https://www.rfc-editor.org/rfc/rfc9002#section-6.1.2
		return at + max(k.loss.patience(k.rtt.srtt), rtt+max(rtt/8, ackJitter))
	case k.rtt.nodelay && s.backoff == 0 && k.rtt.srtt != 0:
		slack := ackJitter
		otherwise := k.ownAckDelay() // the peer likely has our settings
		if !k.ackNoDelay {
			otherwise = max(otherwise, k.loss.ackSpread)
		}
		if delay := k.peerAckDelay(otherwise); delay > slack {
			slack = delay + timerGranularity
		}
		return k.loss.extended(at + max(rtt+max(slack+k.loss.reorder, 4*k.rtt.rttvar), k.rtt.minRTO))
	}
	return never
}

// nextTimeout returns the segment in flight whose RTO is over first, and when that is, never for none.
// What reordering may delay has not timed out: the mean deviation tells little of a few that are late.
// But where nodelay asks for haste and much is lost, what seems late is mostly what was acknowledged
// again, as the first acknowledgement was lost. And of messages with parity it is mostly what was rebuilt:
// loss detection allows for that, so that parity comes before a retransmission, and timeouts are for what
// parity does not bring.
func (k *KCP) nextTimeout() (sn uint32, deadline int64) {
	least := int64(0)
	if k.loss.reorder > 0 && !(k.loss.parity && k.sparse()) && !(k.rtt.nodelay && k.loss.lossRate >= hastyLossRate) {
		least = k.loss.patience(k.rtt.srtt) + timerGranularity
	}
	return k.snd.earliest(&k.rtt, least)
}

// fewInFlight says whether too little is in flight ever to be acknowledged resend times after a
// lost segment (early retransmit, RFC 5827: https://www.rfc-editor.org/rfc/rfc5827).
func (k *KCP) fewInFlight() bool { return k.snd.inFlight.n <= k.resend && !k.maySendNew() }

// detectLoss declares lost what later acknowledgements have overtaken and what has timed out.
func (k *KCP) detectLoss(now int64) {
	for k.detectFirst(now) {
	}
	for k.detectTimeout(now) {
	}
	k.endHolds(now)
}

// detectFirst holds or declares lost the oldest segment in flight, and reports whether that was due.
func (k *KCP) detectFirst(now int64) bool {
	at := k.lossAt()
	if at <= now && k.snd.laterAcks == 0 {
		k.loss.grantGrace(now, at)
		at = k.loss.extended(at)
	}
	if at > now {
		return false
	}
	sn := k.snd.inFlight.head
	if k.hold(now, sn) {
		return true
	}
	backoff, why := uint8(0), lostTime
	switch later := int(k.snd.laterAcks); {
	case later >= k.resend:
		k.count.FastRetransSegs++
		why = lostReordering
	case later > 0:
		k.count.EarlyRetransSegs++
		why = lostEarly
	default:
		if k.loss.ackedAt <= k.snd.at(sn).sentAt { // nothing at all is acknowledged
			backoff = 1
		}
		k.noteTimeout(now, k.rtt.rto, backoff)
	}
	k.declareLost(now, sn, backoff, why)
	return true
}

// detectTimeout holds or declares lost the segment whose timeout is the next, and reports whether that
// was due.
func (k *KCP) detectTimeout(now int64) bool {
	sn, deadline := k.nextTimeout()
	if deadline <= now {
		k.loss.grantGrace(now, deadline)
	}
	if k.loss.extended(deadline) > now {
		return false
	}
	if k.hold(now, sn) {
		return true
	}
	s := k.snd.at(sn)
	wait, backoff := k.rtt.backoff(s.backoff), s.backoff+1
	if k.loss.ackedAt > s.sentAt {
		// The path works. This segment was lost, or it found no room in a window that was
		// smaller than assumed.
		backoff = 0
	}
	k.noteTimeout(now, wait, backoff)
	k.declareLost(now, sn, backoff, lostTimeout)
	return true
}

// noteTimeout counts a timeout of a segment that waited so long, and has that backoff level from now
// on.
func (k *KCP) noteTimeout(now, wait int64, backoff uint8) {
	k.count.LostSegs++
	burst := timeoutBurst
	if k.sparse() {
		burst = timeoutBurstSparse
	}
	k.loss.noteTimeout(now, wait, k.rtt.srtt, burst)
	if max(int(backoff), k.loss.rounds) > 1 && k.caps.peerMarked() { // the peer may have been restarted
		k.flow.probeDue = true
	}
}

func (k *KCP) declareLost(now int64, sn uint32, backoff uint8, why string) {
	s := k.snd.at(sn)
	if k.snd.former(s) {
		k.snd.markLost(sn, backoff)
		s.forced = true
		return
	}
	size := s.size()
	if k.mtuBounds.most != 0 {
		k.noteLongLost(now, sn, s)
	}
	if k.ccLossTimes != nil {
		k.ccLossTimes.lostAfter(time.Duration(s.sentAt), size)
	}
	k.snd.markLost(sn, backoff)
	k.loss.noteLost()
	k.cc.Lost(time.Duration(now), size, k.bytesInFlight(), why == lostTimeout)
	if k.trace != nil {
		k.traceSegment(now, EventLost, sn, size, why)
	}
}

// resetRTO makes everything in flight wait for its retransmission instead of a timeout. Nothing is
// known to be lost, so neither the congestion control nor the loss rate takes it for that.
func (k *KCP) resetRTO(now int64) {
	w := &k.snd
	for w.inFlight.n > 0 {
		sn := w.inFlight.head
		w.markLost(sn, 0)
		w.at(sn).forced = true
	}
	k.loss.endBurst()
	sn := w.lost.head
	for range w.lost.n {
		s := w.at(sn)
		s.backoff = 0
		sn = s.links[linkOrder].next
	}
	if k.flow.probeAt != 0 {
		k.flow.probeAt, k.flow.probeWait = now, IKCP_PROBE_INIT*int64(time.Millisecond)
	}
}

// duplicateGap is the time between a retransmission and its duplicate.
func (k *KCP) duplicateGap() int64 { return min(k.interval, k.rtt.srtt/4) }

// scheduleDuplicate schedules a duplicate of the retransmission made at now, where that pays.
// Bulk transfers have more to send meanwhile, and need none.
func (k *KCP) scheduleDuplicate(now int64, sn, ts uint32) {
	q := &k.dup
	if k.rtt.nodelay && k.rtt.srtt >= duplicateMinRTT && k.loss.lossRate >= highLossRate && k.sparse() &&
		k.resend != 0 && q.credit >= 100 && len(q.due) < duplicateBurst {
		q.credit -= 100
		q.due = append(q.due, duplicateDue{now + k.duplicateGap(), sn, ts})
	}
}

// sparse says whether the application's data leaves as it comes: none is queued, and the send
// window has room for more.
func (k *KCP) sparse() bool {
	return k.snd.queued() == 0 && uint32(k.snd.waiting()) < k.flow.sendWnd/4*3
}
