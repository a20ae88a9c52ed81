package kcp

import "time"

// input is Input with the time, and without sending anything.
func (k *KCP) input(now int64, data []byte, regular bool) (code int) {
	if k.log.mask != 0 || k.trace != nil {
		k.observeInput(now, data, regular)
	}
	if !k.plausible(now, data) {
		return -1
	}
	var (
		in      = inputState{una: k.snd.una, datagram: data, regular: regular}
		limited = k.cwndLimited()
		h       header
	)
	k.expireDgrams(now)
	k.rate.begin(k.bytesInFlight())
	for len(data) >= IKCP_OVERHEAD {
		h.parse(data)
		data = data[IKCP_OVERHEAD:]
		if code = k.checkHeader(&h, data); code < 0 {
			break
		}
		k.onSegment(now, &h, data[:h.len], &in)
		data = data[h.len:]
	}
	if len(k.early.list) > 0 && !k.unconfirmed() {
		k.takeEarlyData(now)
	}
	k.advanceUna(now, &in)
	if regular && in.newest != 0 {
		k.sampleRTT(now, &in)
	}
	if k.rate.acked > 0 {
		k.loss.onAcks(now, k.rtt.srtt)
	}
	if k.rate.sample.Acked > 0 {
		k.sampleRate(now, limited, in.newest)
	}
	k.lastActive = now
	return code
}

// observeInput tells the log and the Tracer of a datagram.
func (k *KCP) observeInput(now int64, data []byte, regular bool) {
	if k.log.mask != 0 {
		k.log.segments(&logInput, k.conv, data, regular)
	}
	if k.trace != nil {
		kind := EventReceived
		if !regular {
			kind = EventRecovered
		}
		k.traceDatagram(now, kind, data)
	}
}

// plausible reports whether a datagram may be this session's, before anything of it is taken.
func (k *KCP) plausible(now int64, data []byte) bool {
	if len(data) < IKCP_OVERHEAD {
		return false
	}
	var h header
	h.parse(data)
	// Most datagrams are one PUSH or ACK, which inspect has nothing to look for in but una.
	if h.cmd <= IKCP_CMD_ACK && len(data) == IKCP_OVERHEAD+int(h.len) {
		return int32(h.una-k.snd.nxt) <= 0
	}
	return k.inspect(now, data)
}

// advanceUna takes the newest una of a datagram, and what acknowledgements before it left.
func (k *KCP) advanceUna(now int64, in *inputState) {
	for sn := k.snd.una; sn != in.una; sn++ {
		k.onUna(now, sn, in)
	}
	was := k.snd.una
	if in.una != was { // which an ACK alone does not prove
		k.peer.acknowledged(now)
	}
	if k.snd.advance(); k.snd.una == was {
		return
	}
	k.caps.announcing = false
	k.lastAcknowledged = now
	if len(k.expiries) > 0 {
		k.forgetExpiries()
	}
	if k.repairs.on {
		k.noteBursts(was)
	}
}

// sampleRTT takes the round trip of the newest transmission that a datagram acknowledges.
func (k *KCP) sampleRTT(now int64, in *inputState) {
	rtt := now - in.newest
	k.loss.noteBatch(in.newest - in.oldest)
	k.rtt.sample(rtt, max(ackDelayAllowed(k.interval), k.peerAckDelay(k.loss.ackSpread)))
	k.windowTuner.rtt = min(k.windowTuner.rtt, max(rtt, 1))
	k.pathQueue.sample(now, rtt, k.ackDelaySlack())
}

// sampleRate gives congestion control what a datagram acknowledges; limited is whether the congestion
// window was used up before it.
func (k *KCP) sampleRate(now int64, limited bool, newest int64) {
	sample := k.rate.finish(now, k.bytesInFlight(), k.rtt.min)
	sample.WindowLimited = limited
	k.rate.filter.onAcks(now, sample.Delivered, k.rtt.srtt, sample.AppLimited || k.allSent(now))
	k.cc.Acked(time.Duration(now), sample)
	k.setPacingRate(now)
	k.tuneSendWindow(now)
	if k.trace != nil {
		k.traceMetrics(now, newest)
		k.traceState(now)
	}
}

// ackDelaySlack is how much of a round-trip sample may be the peer's acknowledgement delay: none where
// the datagram acknowledges enough for the peer not to have waited.
func (k *KCP) ackDelaySlack() int64 {
	switch {
	case k.rate.acked >= ackEvery:
		return 0
	case k.ackNoDelay: // as the peer is taken to do
		return k.peerAckDelay(0)
	}
	return k.peerAckDelay(ackDelay(k.interval))
}

// checkHeader returns Input's code for a segment with header h and rest behind it.
func (k *KCP) checkHeader(h *header, rest []byte) (code int) {
	switch {
	case h.conv != k.conv:
		return -1
	case !h.fits(rest):
		return -2
	case h.cmd < IKCP_CMD_PUSH || h.cmd > k.caps.lastCmd():
		return -3
	}
	return 0
}

// onSegment takes one segment.
func (k *KCP) onSegment(now int64, h *header, body []byte, in *inputState) {
	k.count.InSegs++
	d := h.una - k.snd.una
	acceptable := d <= k.snd.nxt-k.snd.una
	own := true
	// A peer whose reader has stalled may have acknowledged what its una does not count yet.
	if acceptable || h.wnd == 0 {
		k.flow.onHeard(now)
		k.lastHeard = now
		k.peer.onAcceptableUna(now)
	} else {
		own = k.peer.onOldUna(now, k.peer.tells(h), k.rtt.rto)
	}
	switch {
	case h.isControl():
		k.onControl(now, h, body, own, in)
	case h.cmd == cmdRST:
		k.onReset(now, h, in.numbered)
	case own:
		k.onCarrier(now, h, body, in)
	}
	if !acceptable || k.unconfirmed() {
		return
	}
	if d > in.una-k.snd.una {
		in.una = h.una
	}
	if in.regular {
		k.flow.onWindow(h.una, h.wnd, h.wnd == 0 && k.snd.timedOutTwice())
	}
}

// onControl takes what an ACK, WASK, or WINS tells. One that is not own is of an older session.
func (k *KCP) onControl(now int64, h *header, body []byte, own bool, in *inputState) {
	switch {
	case h.cmd == IKCP_CMD_WASK:
		k.flow.updateDue = true
	case h.cmd == IKCP_CMD_WINS:
		in.numbered = in.numbered || h.ts != 0 && h.ts == k.peer.number
	case !own:
	case h.frg&capRebuilt != 0 && k.takesRepairs():
		k.onRebuilt(now, h.sn, h.ts)
	default:
		in.onAck(k.onAck(now, h.sn, h.ts, in.regular))
	}
	if h.cmd == IKCP_CMD_ACK && own && h.len > 0 && k.caps.bothTakeRecords() && !k.unconfirmed() {
		k.onRanges(now, body, in)
	}
	k.caps.learn(h)
	if k.snd.nxt == 0 && h.frg&capMark == 0 { // two that have dialled each other
		k.peer.confirmed = true
	}
	if h.cmd != IKCP_CMD_ACK && own && h.len > 0 {
		k.onRecords(h, body)
	}
}

// onCarrier takes a segment that carries something: data, a datagram, a repair, or a report of them.
func (k *KCP) onCarrier(now int64, h *header, body []byte, in *inputState) {
	unconfirmed := k.unconfirmed()
	switch h.cmd {
	case IKCP_CMD_PUSH, cmdFIN, cmdSKIP:
		if in.regular && h.cmd == IKCP_CMD_PUSH {
			k.noteArrived(now, h)
		}
		if unconfirmed {
			k.onEarlyData(now, h, body, in.arrival(), leadingNumber(in.datagram))
			return
		}
		k.onData(now, h, body, in.arrival())
		k.takeRebuilt(now)
	case cmdDGRAM:
		if unconfirmed {
			return
		}
		k.onDgram(h, body)
		if in.regular {
			k.noteArrived(now, h)
		}
	case cmdREP:
		if in.regular && !unconfirmed {
			k.onRepair(now, h, body)
		}
	case cmdREPORT:
		if in.regular && !unconfirmed {
			k.onReport(now, h, in)
		}
	}
}

// onData takes a PUSH or the FIN.
func (k *KCP) onData(now int64, h *header, body []byte, how arrival) {
	if !k.rcv.inside(h.sn) {
		k.flow.updateDue = k.flow.updateDue || k.rcv.beyond(h.sn) // the window has shrunk, and the peer not heard of it
		return
	}
	if how != arrivedByRepair { // ts is no segment's
		k.dataTS.note(h.ts)
	}
	repeated := k.rcv.has(h.sn)
	if !repeated || len(k.acks.pending) < acksMax {
		k.acknowledge(now, h, repeated, how)
	}
	if repeated {
		k.count.RepeatSegs++
		if k.trace != nil {
			k.traceSegment(now, EventDropped, h.sn, IKCP_OVERHEAD+int(h.len), dropDuplicate)
		}
		return
	}
	k.keepSymbol(h, body)
	if !k.deliverDirect(h, body) {
		head := k.rcv.head
		if k.rcv.insert(h, body, k.pool); k.rcv.head != head {
			k.noteWindowOpened()
		}
	}
	k.tuneReceiveWindow(now, h.sn)
	if k.rcv.fin { // nothing follows that could carry the acknowledgement
		k.acks.deadline = now
	}
}

// deliverDirect copies a segment that is next in order, and a whole message, to the buffer of the
// Read that waits for it, without the way through the receive window. It returns false for a
// segment that has to go that way.
func (k *KCP) deliverDirect(h *header, body []byte) bool {
	r := &k.pendingRead
	if len(body) == 0 || len(body) > len(r.buf) || h.sn != k.rcv.nxt || h.sn != k.rcv.head ||
		h.frg != 0 || h.cmd != IKCP_CMD_PUSH || k.rcv.broken || r.n > 0 && !k.stream {
		return false
	}
	copy(r.buf, body)
	r.buf = r.buf[len(body):]
	r.n += len(body)
	k.rcv.pass(k.pool)
	return true
}
