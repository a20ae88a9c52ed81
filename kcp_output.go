package kcp

import (
	"math"
	"time"
)

// flush writes everything that may be sent at now.
func (k *KCP) flush(now int64) {
	k.lastActive = now
	k.expireDgrams(now)
	if now-k.fittedAt >= trimAfter {
		k.fitWindows(now)
	}
	// What the peer has sent since it began again has not arrived. One with extensions sees by itself
	// that our una is of another session; and to one that has not begun again 0 would be a
	// contradiction, which it would ask about in the same way.
	k.unaHidden = 0
	if k.peer.startedAnew() && !k.caps.peerMarked() {
		k.unaHidden = math.MaxUint32
	}
	if len(k.acks.pending) > 0 && (!k.acks.thinning.on() || k.acks.due(now)) {
		k.writeAcks(now)
	}
	if k.reportDue() {
		k.writeReport(now)
	}
	if k.probeDue(now) {
		k.probeMTU(now)
	}
	k.detectLoss(now)
	k.writeWindowSegments(now)
	if k.proof.required {
		k.probeProof(now)
	}
	if len(k.dup.due) > 0 {
		k.writeDuplicates(now)
	}
	k.writeData(now)
	if now >= k.repairs.tailAt {
		k.writeTailRepair(now)
	}
	if k.address.pending {
		k.writeChallenge(now)
	}
	k.endDatagram(now)
	if k.trace != nil {
		k.traceState(now)
	}
}

// flushDue says whether what was written or has arrived is worth a flush now. Everything else can
// wait for deadline.
func (k *KCP) flushDue(now int64) bool {
	switch {
	case k.acks.due(now), k.ackNoDelay && k.acks.atOnce(), k.flow.updateDue, k.flow.probeDue, k.reportDue(),
		now >= k.lossAt(), now >= k.dup.nextAt(), now >= k.deadline():
		return true
	}
	k.expireDgrams(now)
	if k.refillPacers(now); k.pacerBlocks() || k.addressBlocks() {
		return false
	}
	return k.maySend()
}

// maySend says whether something waits that the windows have room for.
func (k *KCP) maySend() bool {
	return k.maySendNew() && !k.corked || k.mayRetransmit() || k.maySendDgram()
}

// deadline returns when flush has to be called at the latest, never if only an event can make
// that necessary.
func (k *KCP) deadline() int64 {
	_, at := k.nextTimeout()
	at = min(k.loss.extended(at), k.lossAt(), k.dup.nextAt(), k.peer.dueAt(), k.dgramDeadline(), k.sealDueAt(),
		k.repairs.deadline(), k.probeAt())
	if len(k.acks.pending) > 0 {
		at = min(at, k.acks.deadline)
	}
	if k.flow.peerWnd == 0 && k.snd.waiting() > 0 {
		at = min(at, k.flow.probeAt) // 0, and so at once, before the first wait is set
	}
	if (k.limitPacer.rate != 0 || k.ccPacer.rate != 0 || k.bucket.set) && k.maySend() && !k.addressBlocks() {
		at = min(at, max(k.limitPacer.readyAt(), k.ccPacer.readyAt(), k.bucket.until))
	}
	if k.proof.required && k.proofMissing() {
		at = min(at, k.proof.probeAt)
	}
	if k.address.pending {
		at = min(at, k.challengeAt())
	}
	if k.trimDue() {
		at = min(at, k.lastActive+trimAfter)
	}
	return at
}

// writeData retransmits lost segments, then sends new ones, and datagrams before both, as far as the
// windows and the pacers allow.
func (k *KCP) writeData(now int64) {
	if !k.mayRetransmit() && !k.maySendNew() && !k.maySendDgram() {
		return
	}
	k.startControl()
	h := k.controlHeader(IKCP_CMD_PUSH)
	h.ts = k.tsBase + micros(now)
	for k.refillPacers(now); !k.pacerBlocks() && !k.out.full(); k.refillPacers(now) {
		if k.addressBlocks() && (k.mayRetransmit() || k.maySendNew() || k.maySendDgram()) {
			k.rate.roomLimited = true
			k.challengeAddress()
			return
		}
		if k.dgramNext() {
			k.writeDgram(now, h.ts)
			continue
		}
		again := k.mayRetransmit()
		switch {
		case again:
			h.sn, _ = k.nextLost()
			k.count.RetransSegs++
			k.loss.probes = max(k.loss.probes-1, 0)
		case k.maySendNew():
			h.sn = k.snd.nxt
			k.snd.nxt++
		default:
			k.rate.roomLimited = k.rate.roomLimited || !k.sendRoom()
			return
		}
		k.transmit(now, &h, again)
		if k.bucket.set && !k.nextFits() {
			k.endDatagram(now) // so that the bucket says whether another one may follow
		}
	}
}

// transmit writes segment h.sn, for the first time or again.
func (k *KCP) transmit(now int64, h *header, again bool) {
	s := k.snd.at(h.sn)
	if len(k.expiries) > 0 && k.peerSkips() {
		k.dropExpired(now, h.sn, !again)
	}
	s.rate, s.appLimited = k.rate.snapshot(now, k.bytesInFlight() == 0)
	k.snd.markSent(h.sn, now, h.ts)
	if s.p.cmd == IKCP_CMD_PUSH {
		k.noteSent(now, h.ts, s)
	}
	k.cc.Sent(time.Duration(now), s.size(), k.bytesInFlight())
	if k.dup.earn(); again {
		k.scheduleDuplicate(now, h.sn, h.ts)
	}
	k.writeSegment(now, h, s)
	if k.out.n > mtuLimit {
		k.noteJumbo(h.sn, h.ts)
	}
	if !again {
		k.repairNew(now)
	}
}

// nextFits says whether the datagram being written has room for the segment that follows, if any.
func (k *KCP) nextFits() bool {
	sn, ok := k.nextLost()
	if !ok {
		if sn = k.snd.nxt; k.snd.queued() == 0 {
			return true
		}
	}
	return k.out.n+IKCP_OVERHEAD+len(k.snd.at(sn).p.data) <= k.mtu
}

// writeWindowSegments sends the window probe and the window update that are due.
func (k *KCP) writeWindowSegments(now int64) {
	f := &k.flow
	if f.peerWnd > 0 || k.snd.waiting() == 0 {
		f.probeAt = 0
	} else {
		f.zeroWindowProbe(now, k.rtt.rto, k.repeatsHeld && f.awaitingReply)
	}
	if k.peer.dueAt() <= now && k.peer.question(now, k.rtt.rto) {
		f.probeDue = true
		f.updateDue = f.updateDue || !k.peer.dialled // a new client at its address learns whose it is
	}
	var mem [recordsMax]byte
	if b := k.answers(mem[:0]); len(b) > 0 || f.updateDue {
		h := k.windowUpdate()
		k.writeRecords(now, &h, b)
	}
	if b := k.sealQuestion(now, k.questions(now, mem[:0])); len(b) > 0 || f.probeDue {
		h := k.controlHeader(IKCP_CMD_WASK)
		k.writeRecords(now, &h, b)
	}
	if f.probeDue && !f.awaitingReply {
		f.awaitingReply, f.askedAt = true, now
	}
	f.probeDue, f.updateDue = false, false
}

func (k *KCP) writeUpdate(now int64) {
	h := k.windowUpdate()
	k.write(now, &h, nil)
}

// sendFIN queues the end of our stream. It takes a serial number beyond the send window if that
// is full. Nothing may be queued afterwards.
func (k *KCP) sendFIN() {
	p := k.pool.get()
	p.data, p.cmd = p.mem[:0], cmdFIN
	k.snd.push(p)
	k.corked = false
}

// writeReset sends a RST in a datagram of its own.
func (k *KCP) writeReset(now int64) {
	h := k.controlHeader(cmdRST)
	h.sn = h.una
	k.write(now, &h, nil)
	k.endDatagram(now)
}

// writeDuplicates repeats the transmissions that are due and not acknowledged. A duplicate keeps
// the ts, as the acknowledgement of either copy tells the same.
func (k *KCP) writeDuplicates(now int64) {
	q := &k.dup
	for now >= q.nextAt() {
		d := q.due[0]
		q.due = q.due[:copy(q.due, q.due[1:])]
		if d.sn-k.snd.una >= k.snd.nxt-k.snd.una {
			continue
		}
		s := k.snd.at(d.sn)
		if s.state != segInFlight || s.ts != d.ts {
			continue
		}
		s.duplicated = true
		if k.repairsCopies(now) && k.writeRepair(now, true) {
			q.sent++
			continue
		}
		h := k.controlHeader(IKCP_CMD_PUSH)
		h.sn, h.ts = d.sn, d.ts
		k.writeSegment(now, &h, s)
		k.segmentsSent += k.perDatagram()
		k.count.RetransSegs++
		q.sent++
	}
}
