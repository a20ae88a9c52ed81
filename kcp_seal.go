package kcp

// setMssLess says by how much segments are shorter than in a session that is never sealed: messages that
// fit in one there are still one message, in two segments.
func (k *KCP) setMssLess(n int) { k.mssLess = n }

// offerSeal makes room for records of up to that length before segment 0. mark stands before other data.
// hold says that no data is to be sent until the session is sealed.
func (k *KCP) offerSeal(room int, mark []byte, hold bool) {
	k.seal.room, k.seal.mark, k.seal.hold = room, mark, hold
}

// setLead sets the records that stand before segment 0. again says that they go out at once.
func (k *KCP) setLead(lead []byte, again bool) {
	k.seal.lead = lead
	if again {
		k.flow.probeDue = true
	}
}

// firstDigests returns the digests of the first segments that are queued, and that nothing is appended
// to from now on.
func (k *KCP) firstDigests(most int) (list []digest) {
	n := uint32(min(most, k.WaitSnd()))
	if k.seal.hold {
		n = 0
	}
	k.seal.listed = n
	return k.digests(0, n)
}

// digests returns those of the segments from first to before end.
func (k *KCP) digests(first, end uint32) (list []digest) {
	for sn := first; sn != end && k.snd.at(sn).p != nil; sn++ {
		p := k.snd.at(sn).p
		list = append(list, digestOf(p.cmd, p.frg, sn, p.data))
	}
	return list
}

// leadKind is what a datagram begins with: nothing, the mark, or the lead, which is more than that.
type leadKind uint8

const (
	leadNone leadKind = iota
	leadMark
	leadFirst
)

// writeLead begins a datagram with a WINS that has the records that are to stand before a segment, unless
// they do. The segment has room behind them: it was cut for that.
func (k *KCP) writeLead(now int64, h *header) {
	c, need, records := &k.seal, leadNone, []byte(nil)
	switch data := h.cmd == IKCP_CMD_PUSH || h.cmd == cmdFIN; {
	case h.cmd == IKCP_CMD_WASK, data && h.sn == 0:
		need, records = leadFirst, c.lead
	case data && h.sn < IKCP_WND_RCV:
		need, records = leadMark, c.mark
	}
	if len(records) == 0 || k.out.led >= need {
		return
	}
	if need == leadFirst {
		if c.leads++; c.leads == 1 {
			c.leadAt = now
		}
	}
	k.endDatagram(now)
	lead := k.windowUpdate()
	k.writeWith(now, &lead, records)
	k.out.led = need
}

// sealDecided ends what was done for the handshake.
func (k *KCP) sealDecided() { k.seal = coreSeal{sealed: k.seal.sealed} }

// beginSeal makes the session a sealed one: what was not is forgotten. peer is what the handshake has
// told of the peer.
func (k *KCP) beginSeal(peer params) {
	k.sealDecided()
	k.seal.sealed = true
	k.early.discard(k.pool)
	k.early = earlyQueue{}
	k.acks = ackQueue{}
	k.flow.updateDue, k.flow.probeDue = false, false
	k.caps.peer, k.caps.peerKnown = k.caps.own, true
	own, dialled := k.peer.own, k.peer.dialled
	k.peer = peerIdentity{own: own, dialled: dialled, confirmed: true, tellNumber: !dialled, acceptableAt: k.lastHeard}
	k.params.forget()
	k.params.peer, k.params.told = peer, k.ownAckDelay()
	k.proof = ackProof{}
	k.addressValidated()
}

// beginSealDialled is beginSeal for the end that has sent HELLO, whose answer came at now. What was sent
// before is acknowledged when the listener knows that it is this end's, so its acknowledgement says
// nothing of the round trip; HELLO's answer does. lost says that all of it was thrown away.
func (k *KCP) beginSealDialled(now int64, peer params, timed, lost bool) {
	if k.seal.leads == 1 {
		k.rtt.sample(now-k.seal.leadAt, 0)
	}
	k.lastHeard = now
	k.flow.onHeard(now)
	k.beginSeal(peer)
	for sn := k.snd.una; sn != k.snd.nxt; sn++ {
		s := k.snd.at(sn)
		switch {
		case s.state != segInFlight:
		case lost:
			k.snd.markLost(sn, 0)
			s.forced = true
		default:
			s.duplicated = s.duplicated || !timed
		}
	}
}

// beginSealAnswering is beginSeal for an end that has sent HELLO, and answers the peer's instead. All that
// it sent before was thrown away.
func (k *KCP) beginSealAnswering(now int64, peer params) {
	k.seal.leads = 0
	k.beginSealDialled(now, peer, false, true)
}

// askSealed sends a WASK with a list of what was sent before the session was sealed, until endAskSealed.
func (k *KCP) askSealed(now int64, list []byte) {
	k.seal.asking, k.seal.list, k.seal.asked, k.seal.askAt = true, list, 0, now
}

func (k *KCP) endAskSealed() { k.seal.asking, k.seal.list = false, nil }

// sealQuestion appends that list to b when it is due.
func (k *KCP) sealQuestion(now int64, b []byte) []byte {
	if c := &k.seal; c.asking && now >= c.askAt {
		b = append(b, c.list...)
		k.flow.probeDue = true
		c.askAt = now + k.rtt.after(c.asked)
		c.asked++
	}
	return b
}

// sealDueAt is when that has to be done.
func (k *KCP) sealDueAt() int64 {
	if !k.seal.asking {
		return never
	}
	return k.seal.askAt
}

// takeEarlySegment takes a segment that was sent before the session was sealed, and is known to be the
// peer's. It is acknowledged like one that was rebuilt: when it was sent, and arrived, says nothing.
func (k *KCP) takeEarlySegment(now int64, h *header, body []byte) {
	k.count.InSegs++
	k.lastHeard, k.lastActive = now, now
	k.flow.onHeard(now)
	k.onData(now, h, body, arrivedByParity)
}

// sentTo is the serial number of the first segment that was never sent.
func (k *KCP) sentTo() uint32 { return k.snd.nxt }

// listMax is how many digests a WASK has room for.
func (k *KCP) listMax() int {
	room := k.mtu - k.reserved - 2*IKCP_OVERHEAD - recordsMax - recordHeaderSize - 4
	return max(0, room/digestSize)
}
