package kcp

import "time"

// This file is the sending half of the core: what a flush writes, and when the next one
// is due.

// flush writes everything that may be sent at now.
func (k *KCP) flush(now int64) {
	k.writeAcks()
	k.writeProbes(now)
	k.detectLoss(now)
	k.writeDuplicates(now)
	k.writeData(now)
	k.announceCaps(now)
	k.endDatagram()
}

// writeAcks acknowledges every PUSH that has arrived since the last time. While there is a
// gap, una says nothing of what lies beyond it, and a lost acknowledgement costs a needless
// retransmission: those are sent once more with the next ones, first as they are older, to
// peers that are known to take their time stamps for what they are.
func (k *KCP) writeAcks() {
	if len(k.acks) == 0 {
		return
	}
	h := k.controlHeader(IKCP_CMD_ACK)
	for _, a := range k.repeat {
		if !before(a.sn, k.rcv.nxt) {
			k.writeAck(&h, a)
		}
	}
	for _, a := range k.acks {
		k.writeAck(&h, a)
	}
	k.repeat, k.acks = k.acks, k.repeat[:0]
	if k.peer&capMark == 0 || !k.rcv.gap() {
		k.repeat = k.repeat[:0]
	}
}

func (k *KCP) writeAck(h *header, a ack) {
	h.sn, h.ts = a.sn, a.ts
	k.write(h, nil)
}

// control returns the header of a segment without data.
func (k *KCP) controlHeader(cmd uint8) header {
	free := k.rcv.free()
	k.announced, k.edge = true, k.rcv.nxt+uint32(free)
	return header{conv: k.conv, cmd: cmd, frg: k.caps, wnd: free, una: k.rcv.una()}
}

// writeProbes asks for the peer's window while it keeps us waiting, and tells ours.
func (k *KCP) writeProbes(now int64) {
	switch {
	case k.rmtWnd > 0 || k.snd.waiting() == 0:
		k.probeAt = 0
	case k.probeAt == 0:
		k.probeWait = IKCP_PROBE_INIT * int64(time.Millisecond)
		k.probeAt = now + k.probeWait
	case now >= k.probeAt:
		k.probeWait = min(k.probeWait+k.probeWait/2, IKCP_PROBE_LIMIT*int64(time.Millisecond))
		k.probeAt = now + IKCP_PROBE_INIT*int64(time.Millisecond) // or probeWait, if it is answered
		k.ask = true
	}
	if k.ask {
		k.asked = true
		h := k.controlHeader(IKCP_CMD_WASK)
		k.write(&h, nil)
	}
	if k.tell {
		h := k.controlHeader(IKCP_CMD_WINS)
		k.write(&h, nil)
	}
	k.ask, k.tell = false, false
}

// mayPush says whether a segment is queued and both windows have room for it.
func (k *KCP) maySendNew() bool {
	s := &k.snd
	return s.queued() > 0 && s.nxt-s.una < min(k.sndWnd, k.rmtWnd) && !k.cwndLimited()
}

// mayResend says whether a segment is lost that both windows have room for.
func (k *KCP) mayRetransmit() bool {
	_, ok := k.nextLost()
	return ok && !k.cwndLimited()
}

// resendable returns the lost segment that goes next: the one that was declared lost first
// or, if that is beyond a peer's window that is smaller than we took it for, the oldest. Of
// the others there the peer would drop what it is sent, and a short queue on the path
// perhaps what it waits for.
func (k *KCP) nextLost() (sn uint32, ok bool) {
	s := &k.snd
	switch {
	case s.lost.n == 0 || k.rmtWnd == 0:
	case s.lost.head-s.una < k.rmtWnd:
		return s.lost.head, true
	case s.at(s.una).state == segLost:
		return s.una, true
	}
	return 0, false
}

// cwndLimited says whether the congestion window is used up.
func (k *KCP) cwndLimited() bool {
	return k.snd.bytesInFlight > 0 && k.snd.bytesInFlight >= k.congestion().Window()
}

// congestion returns what controls congestion, made on first use.
func (k *KCP) congestion() CongestionControl {
	if k.cc == nil {
		switch {
		case k.conserveOnly:
			k.cc = new(conservation)
		case k.userCC != nil:
			k.cc = k.userCC
		default:
			k.cc = newBBR(k.conv ^ uint32(k.lastActive)) // many clients have one conv
		}
	}
	return k.cc
}

// setControl makes c control congestion from now on; nil for what the settings say.
func (k *KCP) setControl(c CongestionControl) {
	k.cc = c
	k.ccPacer = pacer{}
}

// setPace follows the rate that the congestion control wants.
func (k *KCP) setPacingRate(now int64) {
	rate := k.cc.PacingRate()
	k.ccPacer.adjust(rate, max(rate*int64(pacingQuantum)/int64(time.Second), 2*mtuLimit), now)
}

// paceQuantum is what paced segments are sent by: often enough that no queue notices, and
// seldom enough that timers and batches do not.
const pacingQuantum = time.Millisecond

// pacedOut says whether a rate keeps data back at now.
func (k *KCP) pacerBlocks(now int64) bool {
	return k.limitPacer.blocked(now) || k.ccPacer.blocked(now)
}

// writeData sends lost segments again, then new ones, as far as windows and pacer
// allow.
func (k *KCP) writeData(now int64) {
	if !k.mayRetransmit() && !k.maySendNew() {
		return
	}
	h := k.controlHeader(IKCP_CMD_PUSH)
	h.ts = micros(now)
	for !k.pacerBlocks(now) {
		again := k.mayRetransmit()
		switch {
		case again:
			h.sn, _ = k.nextLost()
			k.count.RetransSegs++
		case k.maySendNew():
			h.sn = k.snd.nxt
			k.snd.nxt++
		default:
			k.noteAppLimited()
			return
		}
		s := k.snd.at(h.sn)
		s.rate, s.appLimited = k.rate.snapshot(now, k.snd.inFlight.n == 0)
		k.snd.markSent(h.sn, now, h.ts)
		k.congestion().Sent(time.Duration(now), s.size(), k.snd.bytesInFlight)
		if k.dup.earn(); again {
			k.scheduleDuplicate(now, h.sn, h.ts)
		}
		k.writeSegment(&h, s)
	}
	k.noteAppLimited()
}

// noteAppLimited marks what is in flight as the application's doing, where that has nothing
// more to send and the windows would allow it. That the pacer would not for the moment is no
// matter: it is free again long before the next data, whose rate is then not the path's.
func (k *KCP) noteAppLimited() {
	if k.snd.queued() == 0 && k.snd.lost.n == 0 && !k.cwndLimited() {
		k.rate.appLimited = max(1, k.rate.total+int64(k.snd.bytesInFlight))
	}
}

// writeSegment writes segment s, with h's sn and ts.
func (k *KCP) writeSegment(h *header, s *sendSegment) {
	h.frg, h.len = s.p.frg, uint32(len(s.p.data))
	if h.cmd = IKCP_CMD_PUSH; s.p.fin {
		h.cmd = cmdFIN
	}
	k.write(h, s)
}

// write appends a segment to the datagram being written, or to a new one when it
// has no room. s is nil for one without data.
func (k *KCP) write(h *header, s *sendSegment) {
	size := IKCP_OVERHEAD
	if s != nil {
		size += len(s.p.data)
	}
	if k.buf != nil && k.n+size > k.mtu {
		k.endDatagram()
	}
	inPlace := false
	if k.buf == nil {
		k.n = k.reserved
		// A segment that leaves no room for another is sent from where it is.
		inPlace = s != nil && k.lender != nil && k.n+size+IKCP_OVERHEAD > k.mtu &&
			!k.pool.unsent(s.batch) && s.p.startsAt(k.n+IKCP_OVERHEAD)
		if inPlace {
			k.lender.lend(s.p)
			s.batch = k.pool.nextBatch()
			k.buf = s.p.mem[:]
		} else {
			k.buf = k.out.room(max(k.mtu, k.n+size))
		}
	}
	h.put(k.buf[k.n:])
	if s != nil && !inPlace {
		copy(k.buf[k.n+IKCP_OVERHEAD:], s.p.data)
	}
	k.n += size
	if s != nil {
		if !k.paced {
			k.paced = true
			k.limitPacer.spend(k.reserved)
		}
		k.limitPacer.spend(size)
		k.ccPacer.spend(size)
	}
	k.count.OutSegs++
}

// endDatagram hands over the datagram being written, if any.
func (k *KCP) endDatagram() {
	if k.buf != nil {
		k.buf = nil
		k.out.emit(k.n)
		k.paced = false
	}
}

// wantsFlush says whether what has been written or has arrived is worth a flush
// now; everything else can wait for deadline.
func (k *KCP) wantsFlush(now int64) bool {
	switch {
	case len(k.acks) >= ackBatch, len(k.acks) > 0 && now >= k.acksBy, k.tell, now >= k.lossAt(), now >= k.dup.at():
		return true
	case k.pacerBlocks(now):
		return false
	}
	return k.maySendNew() && !k.corked || k.mayRetransmit()
}

// deadline returns when flush has to be called at the latest, never if only an
// event can make that necessary.
func (k *KCP) deadline() int64 {
	_, at := k.snd.earliest(&k.rtt)
	at = min(k.loss.extended(at), k.lossAt(), k.dup.at())
	if len(k.acks) > 0 {
		at = min(at, k.acksBy)
	}
	if k.rmtWnd == 0 && k.snd.waiting() > 0 {
		at = min(at, k.probeAt) // 0, and so at once, before the first wait is set
	}
	if (k.limitPacer.rate != 0 || k.ccPacer.rate != 0) && (k.mayRetransmit() || k.maySendNew() && !k.corked) {
		at = min(at, max(k.limitPacer.ready(), k.ccPacer.ready()))
	}
	if k.idle() && k.snd.ring != nil || k.rcv.held == 0 && k.rcv.ring != nil {
		at = min(at, k.lastActive+trimAfter)
	}
	return at
}
