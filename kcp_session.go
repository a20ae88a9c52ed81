package kcp

import (
	crand "crypto/rand"
	"encoding/binary"
	"math"
	"time"
)

// What a session sees of its core, besides the exported methods: input, flush, flushDue, deadline,
// trim and release, which drive it, and the methods below. Session files use no field of KCP.

// configure applies the settings of a session. dialled says that it announces itself.
func (k *KCP) configure(cfg *config, dialled bool) {
	k.autotune()
	k.maxWindow = uint32(cfg.maxWnd)
	k.dgramsMax, k.reads = cfg.dgramsMax, uint16(cfg.env.longest)
	k.memory.in = cfg.memory
	k.noteMemory()
	k.ReserveBytes(cfg.headroom())
	k.NoDelay(cfg.noDelay[0], cfg.noDelay[1], cfg.noDelay[2], cfg.noDelay[3])
	k.WndSize(cfg.sndWnd, cfg.rcvWnd)
	k.stream, k.ackNoDelay, k.plain = cfg.stream, cfg.ackNoDelay, cfg.env.plain()
	if cfg.congestion != nil {
		k.setControl(cfg.congestion())
	}
	k.dup.percent = cfg.redundancy
	k.setRepairs(cfg.repair, cfg.repairFloor(cfg.fecMin))
	k.limitPacer.setRate(cfg.rate, k.lastActive)
	if k.caps.own = cfg.caps; cfg.caps != 0 {
		k.caps.announcing = dialled
		k.peer.start(k.lastActive, dialled)
	}
	k.proof.required = !dialled && !cfg.env.authentic() // a dialled peer's address is the program's choice
	var b [8]byte
	crand.Read(b[:]) // never fails
	k.tsBase = binary.LittleEndian.Uint32(b[:])
	k.address = addressValidation{pending: !dialled, wanted: cfg.limitAmplification, ts: binary.LittleEndian.Uint32(b[4:])}
}

// setClosing bounds the backed-off RTO of a session that has been closed: the time it has left is
// short.
func (k *KCP) setClosing(maxRTO int64) { k.rtt.maxRTO = maxRTO }

// The settings, as session setters change them.
func (k *KCP) setACKNoDelay(on bool)              { k.ackNoDelay = on }
func (k *KCP) setCopies(n int)                    { k.copies = uint8(n) }
func (k *KCP) setRedundancy(percent int)          { k.dup.percent = percent }
func (k *KCP) setRateLimit(rate int64, now int64) { k.limitPacer.setRate(rate, now) }

// holdAck lets a single acknowledgement that would be sent at once wait until releaseAck, or for
// whatever is flushed before. ackHeld says whether one waits.
func (k *KCP) holdAck() {
	if k.ackNoDelay {
		k.acks.hold()
	}
}
func (k *KCP) releaseAck()   { k.acks.held = false }
func (k *KCP) ackHeld() bool { return k.acks.held }

func (k *KCP) streaming() bool  { return k.stream }
func (k *KCP) segmentSize() int { return k.mss }
func (k *KCP) holdTime() int64  { return k.interval }

// payloadMax is the longest payload of a datagram behind headers of so many bytes.
func (k *KCP) payloadMax(headers int) int { return k.mtu - headers }

// rtts returns the round-trip estimates.
func (k *KCP) rtts() rttEstimator { return k.rtt }

// retransmitAfter is the timeout of what was sent level times before without an answer, and timedOutTwice
// whether data has timed out twice in a row, and nothing was acknowledged since.
func (k *KCP) retransmitAfter(level int) int64 { return k.rtt.after(level) }
func (k *KCP) timedOutTwice() bool             { return k.snd.timedOutTwice() }

// cork holds new data back until a flush, or ends that.
func (k *KCP) cork(on bool)   { k.corked = on }
func (k *KCP) isCorked() bool { return k.corked }

// heardAt is when the last valid segment of the peer's arrived, and trimAt when memory may be
// given back.
func (k *KCP) heardAt() int64 { return k.lastHeard }
func (k *KCP) trimAt() int64  { return k.lastActive + trimAfter }

// acknowledgedAt is when the peer's una moved last.
func (k *KCP) acknowledgedAt() int64 { return k.lastAcknowledged }

// unsent is the number of segments that were queued and never sent, sentSegments the number in
// flight.
func (k *KCP) unsent() int       { return k.snd.queued() }
func (k *KCP) sentSegments() int { return k.snd.inFlight.n }

// shortPath says whether the smoothed round trip is known and less than rtt.
func (k *KCP) shortPath(rtt int64) bool { return k.rtt.srtt > 0 && k.rtt.srtt < rtt }

// peerKnown says whether it is known what the peer can do, peerTakesFIN whether it takes FIN and
// RST as this end does, and capsUnknown whether a window probe has to find out: the peer has sent
// data, and its mark was lost, or it has none.
func (k *KCP) peerKnown() bool    { return k.caps.peerKnown }
func (k *KCP) peerTakesFIN() bool { return k.caps.bothTakeFIN() }
func (k *KCP) capsUnknown() bool {
	return k.caps.own != 0 && k.flow.peerKnown && !k.caps.peerKnown && k.WaitSnd() == 0
}

// heardBack says whether the peer, or whoever pretends to be it, has acknowledged something.
func (k *KCP) heardBack() bool { return k.snd.una != 0 || k.rtt.srtt != 0 }

// holdRepeats keeps what is not data from being repeated as long as nothing is heard, or ends that: a
// FIN that is all that is unacknowledged, and the probe of a zero window.
func (k *KCP) holdRepeats(on bool) { k.repeatsHeld = on }

// wasReset says whether the peer has reset the session, or does not have it any more.
func (k *KCP) wasReset() bool { return k.caps.reset || k.peer.gone }

// othersNumber says whether a session number is known not to be the peer's, and contradicted whether
// the peer is being asked if it still has this session.
func (k *KCP) othersNumber(number uint32) bool { return k.peer.others(number) }
func (k *KCP) contradicted() bool              { return k.peer.asking }

// queue queues up to limit segments of b while fewer than sendLimit are unacknowledged, and
// returns how many bytes.
func (k *KCP) queue(b []byte, limit int) (n int) {
	return k.queueBelow(k.sendLimit(), b, limit)
}

// queueRest queues what is left of a Write that has begun, up to restMax segments beyond sendLimit,
// and returns how many bytes.
func (k *KCP) queueRest(b []byte) (n int) {
	return k.queueBelow(k.sendLimit()+restMax, b, math.MaxInt)
}

// queueBelow queues up to limit segments of b while fewer than most are unacknowledged.
func (k *KCP) queueBelow(most int, b []byte, limit int) (n int) {
	for limit = min(limit, most-k.WaitSnd()); limit > 0 && n < len(b); limit-- {
		m := len(b) - n
		if m > k.mss+k.mssLess { // else it is one message, in two segments if need be
			m = k.dataRoom()
		}
		k.send(b[n : n+m])
		n += m
	}
	return n
}

// readable says whether read would return something, or drop an empty message.
func (k *KCP) readable() bool {
	if k.stream {
		return k.rcv.head != k.rcv.nxt
	}
	return k.rcv.whole > 0
}

// read copies in-order data to b: of one message, or in stream mode of as many as fit, also of
// one that is not complete yet.
func (k *KCP) read(b []byte) int {
	n := k.rcv.read(b, k.stream, k.pool)
	k.logRead(n)
	k.noteWindowOpened()
	return n
}

// take moves packets out of the receive window to to, outside stream mode of one message only.
func (k *KCP) take(to []*packet) (n int) {
	for n < len(to) && k.rcv.head != k.rcv.nxt {
		p, last := k.rcv.pop(k.pool)
		to[n] = p
		n++
		k.logRead(len(p.data))
		if last && !k.stream {
			break
		}
	}
	k.noteWindowOpened()
	return n
}

// discard drops datagrams, and what has arrived in order, as if it were read, and says whether there was
// any of that.
func (k *KCP) discard() (any bool) {
	k.discardDgrams()
	any = k.rcv.head != k.rcv.nxt
	for k.rcv.head != k.rcv.nxt {
		k.rcv.drop(k.pool)
	}
	k.noteWindowOpened()
	return any
}

// unread returns the number of segments that have arrived, in order or not, and were not read.
func (k *KCP) unread() int { return k.rcv.held }

// inOrder is the number of segments that have arrived in order and were not read.
func (k *KCP) inOrder() int { return int(k.rcv.nxt - k.rcv.head) }

// startDirectRead lets arriving data go straight to b, the buffer of a Read that waits. It returns
// false if another one does.
func (k *KCP) startDirectRead(b []byte) bool {
	if b == nil || k.pendingRead.buf != nil {
		return false
	}
	k.pendingRead = pendingRead{buf: b}
	return true
}

// directRead returns how much has been delivered to the Read that waits.
func (k *KCP) directRead() int { return k.pendingRead.n }

// endDirectRead ends what startDirectRead began, and returns how much was delivered.
func (k *KCP) endDirectRead() (n int) {
	n = k.pendingRead.n
	k.pendingRead = pendingRead{}
	k.logRead(n)
	return n
}

// finReceived says whether the peer's FIN has arrived in order, and finished whether everything
// before it was read, too.
func (k *KCP) finReceived() bool { return k.rcv.fin }
func (k *KCP) finished() bool    { return k.rcv.fin && k.rcv.head == k.rcv.nxt }

// windowUpdateDue says whether reading has opened the window for a peer that may wait for it.
func (k *KCP) windowUpdateDue() bool { return k.flow.updateDue }

// probeWindow makes the next flush send a WASK, which any peer replies to.
func (k *KCP) probeWindow() { k.flow.probeDue = true }

// ringBuffers notes in count how many segments the core holds, see Snmp.ringBuffers.
func (k *KCP) ringBuffers(count, total *Snmp) {
	count.ringBuffers(total, k.unsent(), k.inOrder(), int(k.snd.nxt-k.snd.una))
	count.WindowMemory = uint64(k.memory.bytes) - total.WindowMemory
}

// awaitsReply says whether the peer owes an answer: to data that its window takes, or to a window
// probe.
func (k *KCP) awaitsReply() bool {
	return k.flow.awaitingReply || k.awaitsAck()
}

// awaitsAck says whether data was sent and not acknowledged, and the peer's window is open.
func (k *KCP) awaitsAck() bool { return k.snd.nxt != k.snd.una && k.flow.peerWnd > 0 }

// path is what the FEC adapter knows about the path.
func (k *KCP) path() pathState {
	return pathState{
		outcomes: int64(k.loss.outcomes),
		lost:     int64(k.loss.lostTotal - k.loss.spurious),
		srtt:     k.rtt.srtt,
		extended: k.caps.peerMarked(),
	}
}

// setParity says whether what is sent from now on has parity.
func (k *KCP) setParity(on bool) { k.loss.parity = on }

// setBucket says that a Bucket says when data may be sent, or that none does, and bucketDelay that
// it has to wait.
func (k *KCP) setBucket(on bool)                         { k.bucket = bucketPacer{set: on} }
func (k *KCP) bucketDelay(now int64, wait time.Duration) { k.bucket.delay(now, wait) }

// arrivedTo is the serial number of the first segment that has not arrived in order.
func (k *KCP) arrivedTo() uint32 { return k.rcv.nxt }

// limitSpend charges bytes to SetRateLimit's bucket, beyond those that the core charges itself.
func (k *KCP) limitSpend(n int) { k.limitPacer.spend(n) }

// closingTimeWait returns what is remembered of a session that ends.
func (k *KCP) closingTimeWait(reset bool) timeWait {
	return timeWait{
		una: k.rcv.una(), caps: k.caps.own, peer: k.caps.peer, fin: k.rcv.fin, reset: reset,
		confirmed: k.heardBack(), dataTS: k.dataTS, ownNumber: k.peer.own, peerNumbers: [peerNumbersKept]uint32{k.peer.number},
	}
}

// writeClosing sends the last acknowledgements, and a RST if reset is set.
func (k *KCP) writeClosing(now int64, reset bool) {
	if len(k.acks.pending) > 0 {
		k.writeAcks(now)
		k.endDatagram(now)
	}
	if reset {
		k.writeReset(now)
	}
}

// fill sets what the core knows of a session's statistics.
func (k *KCP) fill(now int64, st *Stats) {
	st.RTT, st.RTTVar = time.Duration(k.rtt.srtt), time.Duration(k.rtt.rttvar)
	st.MinRTT, st.RTO = time.Duration(k.rtt.min), time.Duration(k.rtt.rto)
	st.SendWindow, st.ReceiveWindow = int(k.flow.sendWnd), int(k.rcv.wnd)
	st.PeerWindow, st.MaxPeerWindow = int(k.flow.peerWnd), int(k.flow.peerRoom)
	st.Spurious, st.Copies = k.loss.spurious, k.dup.sent
	st.InFlight, st.BytesInFlight = k.snd.inFlight.n, k.bytesInFlight()
	st.Unacknowledged, st.BytesQueued = k.WaitSnd(), k.snd.bytesQueued
	st.Unread = int(k.rcv.nxt - k.rcv.head)
	st.Expired, st.Skipped = k.expired, k.rcv.skipped
	if d := k.dgrams; d != nil {
		st.UnreliableSent, st.UnreliableReceived = d.sent, d.received
		st.UnreliableDropped = d.out.dropped + d.in.dropped
	}
	if p := k.pmtu; p != nil {
		st.MTUProbes, st.MTUProbesLost, st.BlackHoles = p.probes, p.unanswered, p.reductions
	}
	st.PeerExtended, st.PeerFIN = k.caps.peerMarked(), k.caps.bothTakeFIN()
	if k.cc != nil {
		st.PacingRate = k.cc.PacingRate()
		if w := k.cc.Window(); w != math.MaxInt {
			st.CongestionWindow = w
		}
	}
	st.QueueingDelay = k.pathQueue.delay()
	st.DeliveryRate, st.DeliveryRateAppLimited = k.rate.filter.measured(now, k.snd.nxt != k.snd.una)
}
