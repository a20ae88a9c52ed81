package kcp

import "time"

// unreliable returns the state of datagrams, which there is none of before the first.
func (k *KCP) unreliable() *dgrams {
	if k.dgrams == nil {
		k.dgrams = new(dgrams)
	}
	return k.dgrams
}

// dgramSize is the most bytes of a datagram: of a segment that leaves room for nothing else.
func (k *KCP) dgramSize() int { return k.mss }

// dgramsRefused says whether the peer is known not to take datagrams, and dgramsTaken whether it is known
// to.
func (k *KCP) dgramsRefused() bool {
	return k.caps.own&capRecords == 0 || k.caps.peerKnown && !k.caps.bothTakeRecords() ||
		k.params.peer.known && !k.dgramsTaken()
}

func (k *KCP) dgramsTaken() bool {
	return k.peerHas(featureDgram)
}

// sendDgram queues a copy of b. What waits for the peer's parameters asks for them.
func (k *KCP) sendDgram(now int64, b []byte) {
	k.noteWrite(now)
	d, p := k.unreliable(), k.pool.get()
	p.data = p.mem[:copy(p.mem[:], b)]
	if old, full := d.out.push(p, k.dgramsMax); full {
		k.pool.put(old)
	}
}

// dgramsAwaitParams says whether datagrams wait for the peer to say that it takes them.
func (k *KCP) dgramsAwaitParams() bool {
	return k.dgrams != nil && k.dgrams.out.n > 0 && !k.params.peer.known
}

// dgramsWait says whether a datagram waits that the peer takes, and maySendDgram whether the congestion
// window has room for it, too.
func (k *KCP) dgramsWait() bool {
	return k.dgrams != nil && k.dgrams.out.n > 0 && k.dgramsTaken()
}

func (k *KCP) maySendDgram() bool {
	return k.dgramsWait() && (k.cc == nil || !k.cwndLimited())
}

// streamShare is the share of the bytes that the stream has at least, one of so many, where datagrams take
// all that they can.
const streamShare = 4

// dgramNext says whether a datagram is to be sent next.
func (k *KCP) dgramNext() bool {
	return k.maySendDgram() && !(k.dgrams.ahead >= streamShare*mtuLimit && (k.mayRetransmit() || k.maySendNew()))
}

// writeDgram writes the datagram that has waited longest, with time stamp ts, or drops one that was queued
// when the MTU was larger.
func (k *KCP) writeDgram(now int64, ts uint32) {
	d := k.dgrams
	p := d.out.pop()
	if len(p.data) > k.dgramSize() {
		k.pool.put(p)
		d.out.dropped++
		return
	}
	h := k.controlHeader(cmdDGRAM)
	h.frg, h.ts, h.sn = 0, ts, d.sn
	d.sn++
	d.sent++
	size := IKCP_OVERHEAD + len(p.data)
	d.ahead = min(d.ahead+size, streamShare*mtuLimit)
	k.writeWith(now, &h, p.data)
	k.pool.put(p)
	k.noteUnreliable(now, ts, size)
	if k.bucket.set {
		k.endDatagram(now) // so that the bucket says whether another one may follow
	}
}

// noteUnreliable notes that a segment of so many bytes was written that is not acknowledged, a DGRAM or a
// REP, with time stamp ts.
func (k *KCP) noteUnreliable(now int64, ts uint32, size int) {
	history := &k.unreliable().history
	if now >= history.until { // what was lost since it ended is not known
		history.based = false
	}
	e := sentEntry{began: now, sentAt: now, ts: ts, segments: int(k.perDatagram()), dgrams: 1, bytes: size}
	e.rate, e.appLimited = k.rate.snapshot(now, k.bytesInFlight() == 0)
	if gone, ok := history.silent(now, k.rtt.rto+reportMinGap); ok {
		k.cc.Lost(time.Duration(now), gone, k.bytesInFlight(), true)
	}
	k.charge(size)
	k.segmentsSent += k.perDatagram()
	e.sent = k.segmentsSent
	history.until = now + reportTime
	history.add(now, e, k.rtt.srtt)
	k.cc.Sent(time.Duration(now), size, k.bytesInFlight())
}

// perDatagram is how often each datagram is sent: a REPORT counts all that arrive.
func (k *KCP) perDatagram() uint32 { return 1 + uint32(k.copies) }

// noteSent counts a transmission of segment s of the stream, which a REPORT counts, too.
func (k *KCP) noteSent(now int64, ts uint32, s *sendSegment) {
	k.segmentsSent += k.perDatagram()
	if d := k.dgrams; d != nil {
		d.ahead = max(0, d.ahead-(streamShare-1)*s.size())
		if now < d.history.until {
			e := sentEntry{began: now, sentAt: now, ts: ts, sent: k.segmentsSent, segments: int(k.perDatagram()), rate: s.rate, appLimited: s.appLimited}
			d.history.add(now, e, k.rtt.srtt)
		}
	}
}

// bytesInFlight is the number of bytes in flight on the path, the stream's and of DGRAMs and REPs, headers
// included.
func (k *KCP) bytesInFlight() int {
	n := k.snd.bytesInFlight - k.snd.formerBytes
	if k.dgrams == nil {
		return n
	}
	return n + k.dgrams.history.inFlight
}

// dgramFlight is how long a datagram counts as in flight.
func (k *KCP) dgramFlight() int64 {
	if k.rtt.srtt == 0 {
		return k.rtt.rto
	}
	return k.rtt.srtt
}

// expireDgrams takes out of flight what was sent a round trip ago, and drops what waits to be sent to a peer that
// turns out not to take it.
func (k *KCP) expireDgrams(now int64) {
	d := k.dgrams
	if d == nil {
		return
	}
	d.history.expire(now, k.dgramFlight())
	if d.out.n > 0 && k.dgramsRefused() {
		d.out.dropped += uint64(d.out.n)
		k.discardUnsent()
	}
}

// dgramDeadline is when datagrams make something possible that is not now: a question that they wait for,
// or room in the congestion window.
func (k *KCP) dgramDeadline() (at int64) {
	at = never
	d := k.dgrams
	switch {
	case d == nil:
	case k.dgramsAwaitParams() && k.mayAskParams():
		at = k.params.askAt
	case k.cc != nil && k.cwndLimited() && (d.out.n > 0 || k.snd.queued() > 0 || k.snd.lost.n > 0):
		at = d.history.expiresAt(k.dgramFlight())
	}
	return at
}

// onDgram takes a DGRAM.
func (k *KCP) onDgram(h *header, body []byte) {
	d := k.unreliable()
	if d.repeats.note(h.sn) {
		k.count.RepeatSegs++
		return
	}
	d.received++
	d.in.push(append(make([]byte, 0, len(body)), body...), k.dgramsMax)
}

// noteArrived counts the arrival of a segment that REPORT counts.
func (k *KCP) noteArrived(now int64, h *header) {
	k.segmentsArrived++
	if k.dgrams != nil {
		k.dgrams.reports.arrived(now, h.ts, h.cmd != IKCP_CMD_PUSH, k.rtt.srtt)
	}
}

// writeReport writes the REPORT that is due.
func (k *KCP) writeReport(now int64) {
	r := &k.dgrams.reports
	h := k.controlHeader(cmdREPORT)
	h.frg, h.sn, h.ts = 0, k.segmentsArrived, r.ts
	r.sent(now)
	k.write(now, &h, nil)
}

func (k *KCP) reportDue() bool { return k.dgrams != nil && k.dgrams.reports.due }

// onReport takes a REPORT. What it tells of DGRAMs and REPs is what acknowledgements tell of the stream: bytes
// that were delivered, at what rate, in what time; and those lost.
func (k *KCP) onReport(now int64, h *header, in *inputState) {
	if k.dgrams == nil {
		return
	}
	based := k.dgrams.history.based
	e, lost, ok := k.dgrams.history.arrived(h.ts, h.sn)
	if ok && based {
		k.repairs.path.report(now, lost, e.segments, k.loss.detected(), k.repairs.gap)
	}
	if !ok || e.dgrams == 0 {
		return
	}
	gone := e.bytes * lost / e.segments
	if e.bytes > gone {
		k.rate.onAcked(now, e.bytes-gone)
		k.rate.onTransmission(e.sentAt, e.rate, e.appLimited)
	}
	if e.ts == h.ts {
		k.addressValidated()
		in.onAck(e.sentAt)
	}
	if gone > 0 {
		if k.ccLossTimes != nil {
			k.ccLossTimes.lostAfter(time.Duration(e.sentAt), gone)
		}
		k.cc.Lost(time.Duration(now), gone, k.bytesInFlight(), false)
	}
}

// renumberDgrams is for a peer that turns out to be another one, whose numbers and counts begin anew.
func (k *KCP) renumberDgrams() {
	if d := k.dgrams; d != nil {
		d.history.based, d.repeats = false, dgramRepeats{}
	}
}

// dgramArrived says whether a datagram waits to be read. receiveDgram takes the one that has waited longest.
func (k *KCP) dgramArrived() bool   { return k.dgrams != nil && k.dgrams.in.n > 0 }
func (k *KCP) receiveDgram() []byte { return k.dgrams.in.pop() }

// discardDgrams drops what waits to be read, discardUnsent what waits to be sent.
func (k *KCP) discardDgrams() {
	for k.dgramArrived() {
		k.dgrams.in.pop()
	}
}

func (k *KCP) discardUnsent() {
	for k.dgrams != nil && k.dgrams.out.n > 0 {
		k.pool.put(k.dgrams.out.pop())
	}
}
