package kcp

import "time"

// onAck takes the acknowledgement of segment sn's transmission with time stamp ts. It returns
// when what has that time stamp was sent, 0 where it gives no sample of the round trip. One that is not
// regular was rebuilt, some time after it would have arrived: it says nothing about time.
func (k *KCP) onAck(now int64, sn, ts uint32, regular bool) (sentAt int64) {
	if sn-k.snd.una >= k.snd.nxt-k.snd.una || k.snd.at(sn).state == segAcked {
		switch {
		case sn == questionSn:
			k.onChallengeEcho(ts)
		case !k.probeAcknowledged(sn, ts):
			k.noteLateEcho(now, sn, ts, regular)
		}
		return 0
	}
	s := k.snd.at(sn)
	at, last, known := s.sentAt, true, true
	if s.ts != ts {
		last = false
		at, known = k.snd.earlier(now, sn, ts)
	}
	if known {
		if k.proof.required {
			k.proof.echoed(sn)
		}
		k.peer.confirmed, k.address.pending = true, false
	} else if k.unconfirmed() { // an older session's
		return 0
	}
	switch {
	case !known: // ts is not of this segment: it is acknowledged, and nothing else is known of it
		sentAt = k.onUnknownTransmission(sn, ts, regular)
	case !last || s.state == segLost:
		sentAt = k.onSpuriousLoss(now, at, sn, ts, last, regular)
	case k.snd.former(s):
	case !s.duplicated && regular: // else either copy may have arrived (Karn's algorithm)
		k.loss.onAck(now, at, k.rtt.srtt)
		sentAt = at
	}
	k.noteDelivered(now, sn, s)
	if last && sentAt != 0 && regular {
		k.rate.onTransmission(s.sentAt, s.rate, s.appLimited)
	}
	if k.trace != nil {
		k.traceSegment(now, EventAcked, sn, s.size(), "")
	}
	k.putSent(k.snd.ack(sn, ts), s.batch)
	return sentAt
}

// onUnknownTransmission takes an acknowledgement whose ts is none that segment sn was sent with: it may be
// of the run that the segment ended. It returns when that was sent, 0 for unknown.
func (k *KCP) onUnknownTransmission(sn, ts uint32, regular bool) (sentAt int64) {
	if !regular {
		return 0
	}
	if sentAt = k.snd.runBegan(sn, ts); sentAt != 0 {
		k.addressValidated()
	}
	return sentAt
}

// onSpuriousLoss takes the acknowledgement of a transmission, sent at at, that was taken for lost: later
// segments had overtaken it, or its acknowledgement took longer than the sender waited. last says that the
// segment has not been sent again since.
func (k *KCP) onSpuriousLoss(now, at int64, sn, ts uint32, last, regular bool) (sentAt int64) {
	k.noteSpurious(now, at, sn, regular)
	if !last {
		k.snd.forget(sn, ts)
	}
	if at < k.snd.since {
		return 0
	}
	return at
}

// onUna takes segment sn as acknowledged by an una. Which transmission arrived, and when, is
// known only if there was one.
func (k *KCP) onUna(now int64, sn uint32, in *inputState) {
	if k.snd.at(sn).state != segAcked {
		k.onArrived(now, sn, in, false)
	}
}

// onRanges takes the ranges of an ACK, after its header. The cost is in proportion to the number of pairs
// and of the segments that are newly acknowledged, whatever the counts say.
func (k *KCP) onRanges(now int64, b []byte, in *inputState) {
	w := &k.snd
	r := rangeReader{b: b, una: w.una}
	for {
		begin, end, ok := r.next(w.nxt - w.una)
		if !ok {
			return
		}
		for sn := w.unacked(w.una + begin); sn-w.una < end; sn = w.unacked(sn + 1) {
			k.onArrived(now, sn, in, true)
		}
	}
}

// onArrived takes segment sn, which is not acknowledged yet, for one that has arrived; nothing tells by
// which transmission, but where there was only one. ordered says that it arrived in order of
// transmission, so that those that were sent before and are missing are the more likely lost. What a
// rebuilt datagram tells says nothing about time.
func (k *KCP) onArrived(now int64, sn uint32, in *inputState, ordered bool) {
	s := k.snd.at(sn)
	if k.arrivedEarlier(now, s, in.newest) {
		// If there was one transmission, and all before had arrived, it did just now.
		k.noteSpurious(now, s.sentAt, sn, in.regular && !ordered && !s.resent && sn == k.snd.una)
		k.snd.forgetEarlier(sn)
	}
	k.noteDelivered(now, sn, s)
	if k.trace != nil {
		k.traceSegment(now, EventAcked, sn, s.size(), "")
	}
	once := s.state == segInFlight && !s.resent && k.proof.covers(sn)
	if once && in.regular && !k.snd.former(s) {
		k.rate.onTransmission(s.sentAt, s.rate, s.appLimited)
	}
	if once && ordered {
		k.putSent(k.snd.ack(sn, s.ts), s.batch)
	} else {
		k.putSent(k.snd.markAcked(sn), s.batch)
	}
}

// noteSpurious takes the news that segment sn, the transmission of which at that time had been declared
// lost, had arrived by it (the Eifel detection, RFC 3522: https://www.rfc-editor.org/rfc/rfc3522). timed
// says that now is when it arrived. Whatever has been acknowledged meanwhile, so long had to be waited.
func (k *KCP) noteSpurious(now, at int64, sn uint32, timed bool) {
	s := k.snd.at(sn)
	if s.forced || at < k.snd.since {
		return
	}
	if timed {
		k.loss.noteLate(now, now-at, k.rtt.srtt)
	}
	k.loss.noteSpurious()
	if k.ccLossTimes != nil {
		k.ccLossTimes.lostAfter(time.Duration(at), -s.size())
	}
	k.cc.Spurious(time.Duration(now), s.size())
	if k.trace != nil {
		k.traceSegment(now, EventSpurious, sn, s.size(), "")
	}
}

// arrivedEarlier says whether segment s, of which it is only known that it arrived, did so by a
// transmission that had been declared lost: it was not sent again since; or too lately for an
// acknowledgement of that (compare RFC 8985, section 6.2, step 2:
// https://www.rfc-editor.org/rfc/rfc8985#section-6.2); or after newest, when the newest transmission
// was sent that has arrived, 0 for unknown.
func (k *KCP) arrivedEarlier(now int64, s *sendSegment, newest int64) bool {
	return s.state == segLost || s.resent && (now-s.sentAt < k.rtt.min || newest != 0 && s.sentAt > newest)
}

// onRebuilt takes the acknowledgement of a segment that was rebuilt from repairs, the newest of which has
// that ts. It was lost on the path, which congestion control has to know (RFC 9265, section 4:
// https://www.rfc-editor.org/rfc/rfc9265#section-4), and when it would have arrived is not known.
func (k *KCP) onRebuilt(now int64, sn, ts uint32) {
	if sn-k.snd.una >= k.snd.nxt-k.snd.una {
		return
	}
	s := k.snd.at(sn)
	if s.state == segAcked || !k.repairs.recent(ts) {
		return
	}
	if k.proof.required {
		k.proof.echoed(sn)
	}
	if (s.state == segInFlight || s.state == segHeld) && !s.resent {
		k.declareLost(now, sn, 0, lostRepair)
		if k.snd.nxt-k.snd.una <= snSetSize {
			k.repairs.rebuilt.add(sn)
		}
	}
	k.noteDelivered(now, sn, s)
	k.putSent(k.snd.markAcked(sn), s.batch)
}
