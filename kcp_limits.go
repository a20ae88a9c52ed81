package kcp

// sendRoom says whether both windows have room for the next new segment.
func (k *KCP) sendRoom() bool {
	wnd := min(k.flow.sendWnd, k.flow.peerWnd)
	return k.snd.nxt-k.snd.una < wnd && (!k.proof.required || k.provenRoom(wnd))
}

// noteWindowOpened makes a window update due when reading has opened the window for a peer that
// may be waiting for it: one that has less than a quarter of the window left, as soon as a
// quarter more is free (RFC 9293, section 3.8.6.2.2, against silly windows:
// https://www.rfc-editor.org/rfc/rfc9293#section-3.8.6.2.2) or nothing more can be read before
// the peer sends.
func (k *KCP) noteWindowOpened() {
	f := &k.flow
	if !f.edgeKnown {
		return
	}
	left, free := max(0, int(int32(f.edge-k.rcv.nxt))), int(k.rcv.free())
	quarter := max(1, int(k.rcv.wnd/4))
	if left < quarter && (free-left >= quarter || free > left && k.rcv.whole == 0) {
		f.updateDue = true
	}
}

// maySendNew says whether a segment is queued, and both windows and the congestion window have
// room for it.
func (k *KCP) maySendNew() bool {
	return k.snd.queued() > 0 && k.sendRoom() && !k.cwndLimited() && !k.seal.hold
}

// mayRetransmit says whether a segment is lost that the peer's window and the congestion window
// have room for, or that probes a silent path.
func (k *KCP) mayRetransmit() bool {
	_, ok := k.nextLost()
	return ok && (k.loss.probes > 0 || !k.cwndLimited())
}

// nextLost returns the lost segment to be retransmitted next: the oldest unacknowledged one if that
// is lost, as everything behind it waits for it, else the one that was declared lost first. If that
// lies beyond the peer's window, which was smaller than assumed, the peer would drop it.
func (k *KCP) nextLost() (sn uint32, ok bool) {
	s := &k.snd
	switch {
	case s.lost.n == 0 || k.flow.peerWnd == 0 || k.repeatsHeld && k.finAlone():
	case s.at(s.una).state == segLost:
		return s.una, true
	case s.lost.head-s.una < k.flow.peerWnd:
		return s.lost.head, true
	}
	return 0, false
}

// finAlone says whether a FIN is all that is unacknowledged.
func (k *KCP) finAlone() bool {
	s := &k.snd
	return s.waiting() == 1 && s.at(s.una).p != nil && s.at(s.una).p.cmd == cmdFIN
}

// noteWrite is called when the application has something to send. If it could have had before, what
// is in flight is marked as application-limited.
func (k *KCP) noteWrite(now int64) {
	if k.allSent(now) {
		k.rate.limit(now, k.bytesInFlight())
	}
}

// allSent says whether nothing is left to be sent, though the windows have room for it and the
// application did not have to wait.
func (k *KCP) allSent(now int64) bool {
	return k.snd.queued() == 0 && k.snd.lost.n == 0 && !k.dgramsWait() && k.sendRoom() && (k.cc == nil || !k.cwndLimited()) && !k.awaitsRoom(now)
}

// noteRoomAwaited says until when the application has had to wait for room in the send window or in the
// socket, or would have: never while it waits.
func (k *KCP) noteRoomAwaited(now int64) { k.roomAwaited = now }

// awaitsRoom says whether the application has had to wait for room within the last round trip. It is
// limited by that then, though nothing may be queued at the moment.
func (k *KCP) awaitsRoom(now int64) bool { return now-k.roomAwaited <= k.rtt.srtt+timerGranularity }

// provenRoom says whether a window of wnd segments has room for the next new one, where una alone
// may not move it.
func (k *KCP) provenRoom(wnd uint32) bool {
	p := &k.proof
	if !p.heard {
		wnd = min(wnd, unprovenWindow)
	}
	start := k.snd.una
	if before(p.edge, start) {
		start = p.edge
		wnd += p.probes
	}
	return k.snd.nxt-start < wnd
}

// proofMissing says whether the missing echo alone keeps data back, and nothing is under way that
// could bring one. It is called where proof is required.
func (k *KCP) proofMissing() bool {
	wnd := min(k.flow.sendWnd, k.flow.peerWnd)
	return k.snd.queued() > 0 && k.snd.inFlight.n+k.snd.lost.n == 0 &&
		k.snd.nxt-k.snd.una < wnd && !k.provenRoom(wnd)
}

// probeProof allows a segment beyond the window when that is due.
func (k *KCP) probeProof(now int64) {
	p := &k.proof
	if now < p.probeAt || !k.proofMissing() {
		return
	}
	p.probes++
	p.level = min(p.level+1, backoffLevels-1)
	p.probeAt = now + k.rtt.backoff(p.level)
}

// noteLateEcho takes an acknowledgement of segment sn that changes nothing any more, except that it may
// tell that a transmission had arrived which was taken for lost. If una has overtaken it, its slot in
// the send window may not be in use again.
func (k *KCP) noteLateEcho(now int64, sn, ts uint32, regular bool) {
	w := &k.snd
	if !before(sn, w.nxt) || w.end-sn > uint32(len(w.ring)) {
		return
	}
	s := w.at(sn)
	switch {
	case s.state != segAcked:
	case s.ts == ts:
		k.addressValidated()
		if k.proof.required {
			k.proof.echoed(sn)
		}
		if k.repairs.rebuilt.take(sn) { // it was not lost, but late
			k.noteSpurious(now, s.sentAt, sn, regular)
		}
	case s.resent:
		if at, ok := w.earlier(now, sn, ts); ok {
			k.addressValidated()
			k.noteSpurious(now, at, sn, regular)
			w.forget(sn, ts)
		}
	}
}

// limitedBy returns what keeps data back, as of the last refill of the pacers.
//
// A congestion window that is full comes before the other windows, as a larger one of those would
// change nothing; and a window before a rate, which holds data back for some milliseconds only.
// LimitApplication means that the path could be sent more.
func (k *KCP) limitedBy(now int64) SendLimit {
	queued := k.snd.queued() > 0 && !k.corked
	_, resend := k.nextLost()
	dgram := k.dgramsWait()
	waiting, idle := k.snd.waiting(), !queued && k.snd.lost.n == 0 && !dgram
	switch {
	case k.out.full(): // and what is in flight may not have left
		return LimitSocket
	case idle && (waiting == 0 || k.corked || waiting < k.sendLimit() && !k.awaitsRoom(now)):
		return LimitApplication
	case k.addressBlocks():
		return LimitPeerWindow
	case k.cc != nil && k.cwndLimited():
		return LimitCongestionWindow
	case !resend && !dgram && !(queued && k.sendRoom()):
		if f := &k.flow; (queued || k.snd.lost.n > 0) && (f.peerWnd < f.sendWnd || k.snd.nxt-k.snd.una < f.sendWnd) {
			return LimitPeerWindow
		}
		return LimitSendWindow
	case k.limitPacer.blocks() || k.bucket.blocked:
		return LimitRate
	case k.ccPacer.blocks():
		return LimitPacing
	}
	return LimitNone
}
