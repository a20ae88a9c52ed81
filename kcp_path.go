package kcp

// What a core does when what it sends goes another way (RFC 9000, section 9.4:
// https://www.rfc-editor.org/rfc/rfc9000#section-9.4). Which way that is is its sink's affair.

// pathChanged notes that from now on another path is used. keep says that round trip and congestion are
// likely the same as before. Else they are found out anew: what is in flight by the former path does not
// count, and what becomes of it tells nothing of this one.
func (k *KCP) pathChanged(now int64, keep bool) {
	if k.loss.timeouts > 0 || k.loss.rounds > 0 { // the former path delivers nothing
		k.resetRTO(now)
		k.snd.sortLost() // the peer's reader waits for the first
	}
	k.tellArrived(now)
	if keep {
		return
	}
	k.snd.beginPath(now)
	k.rtt.forget()
	k.pathQueue = queueDelay{}
	k.loss = lossState{spurious: k.loss.spurious, outcomes: k.loss.outcomes, lostTotal: k.loss.lostTotal, parity: k.loss.parity}
	k.rate.firstSent, k.rate.at = now, now
	k.rate.filter = rateFilter{}
	k.resetControl()
}

// noteDelivered notes that segment sn was acknowledged.
func (k *KCP) noteDelivered(now int64, sn uint32, s *sendSegment) {
	if k.snd.former(s) {
		k.rate.acked++
		return
	}
	k.loss.noteDelivered()
	k.noteLongArrived(sn, s)
	k.rate.onAcked(now, s.size())
}

// tellArrived tells the peer what has arrived: its acknowledgements may have gone where nobody is.
func (k *KCP) tellArrived(now int64) {
	k.flow.updateDue = true
	if n := len(k.acks.ranges.list); n > 0 && k.rcv.gap() && k.tellsRanges() && len(k.acks.pending) == 0 {
		last := k.acks.ranges.list[n-1]
		k.acks.add(ack{last.first + last.count - 1, 0, ackBeyond}, IKCP_OVERHEAD, now, 0, false)
	}
}

// askedSince is since when a WASK has had no answer, never for none.
func (k *KCP) askedSince() int64 {
	if k.flow.awaitingReply {
		return k.flow.askedAt
	}
	return never
}

// arrivals counts what has arrived of data.
func (k *KCP) arrivals() uint32 { return k.segmentsArrived }

// pathQuestion appends a WASK with PATH to b, which asks whoever is there for value.
func (k *KCP) pathQuestion(b []byte, value uint64) []byte {
	h := k.controlHeader(IKCP_CMD_WASK)
	h.len = pathSize
	at := len(b)
	b = b[:at+IKCP_OVERHEAD]
	h.put(b[at:])
	return appendPath(b, recordPath, value)
}

// pathEchoes returns the values that the peer has echoed since the last time.
func (k *KCP) pathEchoes() []uint64 { return k.pathCheck.heard.take() }
