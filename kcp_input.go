package kcp

import "time"

// input is Input with the time, and without sending anything.
func (k *KCP) input(now int64, data []byte, regular bool) (code int) {
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
	if len(data) < IKCP_OVERHEAD {
		return -1
	}
	var h header
	h.parse(data)
	// Most datagrams are one PUSH or ACK, which inspect has nothing to look for in but una.
	if h.cmd <= IKCP_CMD_ACK && len(data) == IKCP_OVERHEAD+int(h.len) {
		if int32(h.una-k.snd.nxt) > 0 {
			return -1
		}
	} else if !k.inspect(now, data) {
		return -1
	}
	var (
		in      = inputState{una: k.snd.una, datagram: data, regular: regular}
		limited = k.cwndLimited()
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
	for sn := k.snd.una; sn != in.una; sn++ {
		k.onUna(now, sn, &in)
	}
	if in.una != k.snd.una { // which an ACK alone does not prove
		k.peer.acknowledged(now)
	}
	was := k.snd.una
	k.snd.advance()
	if k.snd.una != was {
		k.caps.announcing = false
		k.lastAcknowledged = now
		if len(k.expiries) > 0 {
			k.forgetExpiries()
		}
		if k.repairs.on {
			k.noteBursts(was)
		}
	}
	if regular && in.newest != 0 {
		k.loss.noteBatch(in.newest - in.oldest)
		k.rtt.sample(now-in.newest, max(ackDelayAllowed(k.interval), k.peerAckDelay(k.loss.ackSpread)))
		k.windowTuner.rtt = min(k.windowTuner.rtt, max(now-in.newest, 1))
		k.pathQueue.sample(now, now-in.newest, k.ackDelaySlack())
	}
	if k.rate.acked > 0 {
		k.loss.onAcks(now, k.rtt.srtt)
	}
	if k.rate.sample.Acked > 0 {
		sample := k.rate.finish(now, k.bytesInFlight(), k.rtt.min)
		sample.WindowLimited = limited
		k.rate.filter.onAcks(now, sample.Delivered, k.rtt.srtt, sample.AppLimited || k.allSent(now))
		k.cc.Acked(time.Duration(now), sample)
		k.setPacingRate(now)
		k.tuneSendWindow(now)
		if k.trace != nil {
			k.traceMetrics(now, in.newest)
			k.traceState(now)
		}
	}
	k.lastActive = now
	return code
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

// inputState is what the segments of one datagram have told so far.
type inputState struct {
	una      uint32 // the newest una
	newest   int64  // when the newest transmission acknowledged was sent, 0 for none
	oldest   int64  // when the oldest was
	datagram []byte
	regular  bool // it was not rebuilt by FEC
	numbered bool // a WINS has told the peer's number
}

// onAck takes the time when a transmission was sent that was acknowledged, 0 for unknown.
func (in *inputState) onAck(sentAt int64) {
	if sentAt == 0 {
		return
	}
	if in.newest == 0 {
		in.oldest = sentAt
	}
	in.newest, in.oldest = max(in.newest, sentAt), min(in.oldest, sentAt)
}

// arrival is how what a PUSH carries came to be known.
type arrival uint8

const (
	arrivedRegularly arrival = iota
	arrivedByParity          // in a datagram that was rebuilt by FEC
	arrivedByRepair          // rebuilt from repairs
)

func (in *inputState) arrival() arrival {
	if in.regular {
		return arrivedRegularly
	}
	return arrivedByParity
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
	// A peer whose reader has stalled may have acknowledged what its una does not count yet.
	alive := acceptable || h.wnd == 0
	own := true
	if alive {
		k.flow.onHeard(now)
		k.lastHeard = now
		k.peer.onAcceptableUna(now)
	} else {
		own = k.peer.onOldUna(now, k.peer.tells(h), k.rtt.rto)
	}
	switch h.cmd {
	case IKCP_CMD_ACK:
		if own {
			switch {
			case h.frg&capRebuilt != 0 && k.takesRepairs():
				k.onRebuilt(now, h.sn, h.ts)
			default:
				in.onAck(k.onAck(now, h.sn, h.ts, in.regular))
			}
			if h.len > 0 && k.caps.bothTakeRecords() && !k.unconfirmed() {
				k.onRanges(now, body, in)
			}
		}
	case IKCP_CMD_PUSH, cmdFIN, cmdSKIP:
		if own && in.regular && h.cmd == IKCP_CMD_PUSH {
			k.noteArrived(now, h)
		}
		switch {
		case !own:
		case k.unconfirmed():
			k.onEarlyData(now, h, body, in.arrival(), leadingNumber(in.datagram))
		default:
			k.onData(now, h, body, in.arrival())
			k.takeRebuilt(now)
		}
	case cmdREP:
		if own && in.regular && !k.unconfirmed() {
			k.onRepair(now, h, body)
		}
	case IKCP_CMD_WASK:
		k.flow.updateDue = true
	case IKCP_CMD_WINS:
		in.numbered = in.numbered || h.ts != 0 && h.ts == k.peer.number
	case cmdRST:
		k.onReset(now, h, in.numbered)
	case cmdDGRAM:
		if own && !k.unconfirmed() {
			k.onDgram(h, body)
			if in.regular {
				k.noteArrived(now, h)
			}
		}
	case cmdREPORT:
		if own && in.regular && !k.unconfirmed() {
			k.onReport(now, h, in)
		}
	}
	if h.isControl() {
		k.caps.learn(h)
		if k.snd.nxt == 0 && h.frg&capMark == 0 { // two that have dialled each other
			k.peer.confirmed = true
		}
		if h.len > 0 && own && h.cmd != IKCP_CMD_ACK {
			k.onRecords(h, body)
		}
	}
	if !acceptable || k.unconfirmed() {
		return
	}
	if d > in.una-k.snd.una {
		in.una = h.una
	}
	if in.regular {
		k.flow.onWindow(h.una, h.wnd, h.wnd == 0 && k.timedOutTwice())
	}
}

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
	at, last, ok := s.sentAt, true, true
	if s.ts != ts {
		last = false
		at, ok = k.snd.earlier(now, sn, ts)
	}
	if ok {
		if k.proof.required {
			k.proof.echoed(sn)
		}
		k.peer.confirmed, k.address.pending = true, false
	} else if k.unconfirmed() { // an older session's
		return 0
	}
	switch {
	case !ok: // ts is not of this segment: it is acknowledged, and nothing else is known of it
		if regular {
			if sentAt = k.snd.runBegan(sn, ts); sentAt != 0 {
				k.addressValidated()
			}
		}
	case !last || s.state == segLost:
		// The retransmission was spurious: later segments had overtaken this one, or its
		// acknowledgement took longer than the sender waited.
		k.noteSpurious(now, at, sn, regular)
		if !last {
			k.snd.forget(sn, ts)
		}
		if at >= k.snd.since {
			sentAt = at
		}
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

// onUna takes segment sn as acknowledged by an una. Which transmission arrived, and when, is
// known only if there was one.
func (k *KCP) onUna(now int64, sn uint32, in *inputState) {
	if k.snd.at(sn).state != segAcked {
		k.onArrived(now, sn, in, false)
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
