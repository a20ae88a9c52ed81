package kcp

import "time"

// acknowledge queues the acknowledgement of the PUSH or FIN with header h, before it is taken into the
// receive window. repeated says that it has arrived before.
//
// A run of segments that arrive in order, each for the first time, has one ACK. una says that the rest
// has arrived, or beyond a gap ranges do, to a peer that takes them; the transmission of those that fill
// a gap, of repeats and of rebuilt ones is told by their ts alone. A peer with extensions, whose timeouts
// do not depend on how long an acknowledgement waits, is told the newest's ts. Others are told the
// oldest's, so that their timeouts allow for the wait (RFC 7323, section 4.3:
// https://www.rfc-editor.org/rfc/rfc7323#section-4.3).
//
// What concerns a gap is acknowledged at once, as the sender's loss detection waits for it (RFC 5681,
// section 4.2: https://www.rfc-editor.org/rfc/rfc5681#section-4.2).
func (k *KCP) acknowledge(now int64, h *header, repeated bool, how arrival) {
	q := &k.acks
	a := ack{sn: h.sn, ts: h.ts}
	gap, thin := k.rcv.gap(), k.tellsRanges()
	delay, atOnce, behind := ackDelay(k.interval), true, uint32(0)
	waits := q.arrived(now, delay)
	if how == arrivedByRepair {
		a.kind = ackRebuilt
	}
	if !repeated {
		if !gap {
			q.ranges.restart(k.rcv.nxt)
		}
		newest := q.ranges.note(h.sn)
		inOrder := !gap && h.sn == k.rcv.nxt
		atOnce = !inOrder || !waits || how == arrivedByRepair
		switch {
		case how != arrivedRegularly:
		case inOrder:
			a.kind = ackRun
		case thin && newest:
			a.kind, behind = ackBeyond, q.ranges.extend(h.sn)
		}
	}
	if thin {
		wait := k.thinDelay()
		q.thinning.arrived(now, wait, min(thinMax, int(k.rcv.wnd/4)))
		if q.thinning.on() {
			delay = wait
			if behind > gapSegments {
				atOnce = false
			}
		}
	}
	q.add(a, IKCP_OVERHEAD+int(h.len), now, delay, !k.caps.peerMarked())
	switch {
	case !atOnce:
	case behind > 0 && behind < gapSegments && q.thinning.segments() >= gapFast:
		q.deadline = min(q.deadline, now+gapDelay)
	default:
		q.deadline = now // the first acknowledgement of a repeat may have been lost
	}
}

// tellsRanges says whether acknowledgements tell the peer ranges. Such a peer also allows for the delay
// that we have announced.
func (k *KCP) tellsRanges() bool {
	return k.peerHas(featureRanges)
}

// thinDelay is how long an acknowledgement may wait for others in a stream.
func (k *KCP) thinDelay() int64 {
	if k.ackNoDelay {
		return thinDelayMin
	}
	return min(thinDelayOf(k.rtt.min), ackDelay(k.interval))
}

// writeAcks acknowledges each PUSH and FIN that has arrived since the last time. While there is a
// gap, una says nothing about what lies beyond it, and a lost acknowledgement costs a needless
// retransmission. Ranges are told again until una has passed them. Other acknowledgements are repeated
// once with the next ones. They go first, as they are older, and only to peers that are known to match a
// ts with its transmission.
func (k *KCP) writeAcks(now int64) {
	q := &k.acks
	// A single datagram without a number may be forged: it is not worth a longer answer.
	if k.peer.tellNumber && (k.peer.number != 0 || q.segments > 1) {
		k.peer.tellNumber = false
		k.writeUpdate(now)
	}
	q.waited(now)
	if now >= q.waitEnds {
		q.thinning.waited(q.segments)
	}
	h := k.controlHeader(IKCP_CMD_ACK)
	for _, a := range q.repeat {
		if !before(a.sn, k.rcv.nxt) {
			k.writeAck(now, &h, a)
		}
	}
	for _, a := range q.pending {
		if a.kind == ackBeyond && k.tellsRanges() {
			k.writeRanges(now, &h, a)
		} else {
			k.writeAck(now, &h, a)
		}
	}
	q.sent(k.caps.peerMarked() && k.rcv.gap())
}

// writeRanges writes an acknowledgement with ranges: all there are, but no more than what has arrived
// since the last one is worth.
func (k *KCP) writeRanges(now int64, h *header, a ack) {
	q := &k.acks
	q.ranges.passed(k.rcv.nxt)
	var mem [ackRangesMax * ackRangeSize]byte
	h.sn, h.ts = a.sn, a.ts
	most := min(ackRangesFor(q.bytes), (k.mtu-k.reserved-IKCP_OVERHEAD)/ackRangeSize)
	k.writeWith(now, h, q.ranges.append(mem[:0], most))
}

func (k *KCP) writeAck(now int64, h *header, a ack) {
	h.sn, h.ts = a.sn, a.ts
	if a.kind == ackRebuilt {
		h.frg |= capRebuilt
	}
	k.write(now, h, nil)
	h.frg = k.caps.own
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
