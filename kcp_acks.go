package kcp

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
