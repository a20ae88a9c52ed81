package kcp

import "time"

// acknowledge queues the acknowledgement of the PUSH or FIN with header h, before it is taken into the
// receive window. repeated says that it has arrived before. One that is not regular was rebuilt by FEC.
//
// A run of segments that arrive in order, each for the first time, has one ACK. una says that the rest
// has arrived; the transmission of those that fill a gap, of repeats and of rebuilt ones is told by
// their ts alone. A peer with extensions, whose timeouts do not depend on how long an acknowledgement
// waits, is told the newest's ts. Others are told the oldest's, so that their timeouts allow for the
// wait (RFC 7323, section 4.3: https://www.rfc-editor.org/rfc/rfc7323#section-4.3).
func (k *KCP) acknowledge(now int64, h *header, repeated, regular bool) {
	a := ack{sn: h.sn, ts: h.ts}
	if !repeated && regular && h.sn == k.rcv.nxt && !k.rcv.gap() {
		a.kind = ackRun
	}
	k.acks.add(a, now, ackDelay(k.interval), !k.caps.peerMarked())
}

// writeAcks acknowledges each PUSH and FIN that has arrived since the last time. While there is a
// gap, una says nothing about what lies beyond it, and a lost acknowledgement costs a needless
// retransmission. Those acknowledgements are repeated once with the next ones. They go first, as
// they are older, and only to peers that are known to match a ts with its transmission.
func (k *KCP) writeAcks(now int64) {
	q := &k.acks
	// A single datagram without a number may be forged: it is not worth a longer answer.
	if k.peer.tellNumber && (k.peer.number != 0 || q.segments > 1) {
		k.peer.tellNumber = false
		k.writeUpdate(now)
	}
	h := k.controlHeader(IKCP_CMD_ACK)
	for _, a := range q.repeat {
		if !before(a.sn, k.rcv.nxt) {
			k.writeAck(now, &h, a)
		}
	}
	for _, a := range q.pending {
		k.writeAck(now, &h, a)
	}
	q.repeat, q.pending, q.segments = q.pending, q.repeat[:0], 0
	if !k.caps.peerMarked() || !k.rcv.gap() {
		q.repeat = q.repeat[:0]
	}
}

func (k *KCP) writeAck(now int64, h *header, a ack) {
	h.sn, h.ts = a.sn, a.ts
	k.write(now, h, nil)
}

// noteSpurious takes segment s, which arrived although its transmission at that time had been declared
// lost.
func (k *KCP) noteSpurious(now, at int64, s *sendSegment) {
	if s.forced {
		return
	}
	k.loss.spurious++
	k.cc.Spurious(time.Duration(now), s.size())
	if k.ccLossTimes != nil {
		k.ccLossTimes.lostAfter(time.Duration(at), -s.size())
	}
}

// arrivedEarlier says whether segment s, of which it is only known that it arrived, did so by a
// transmission that had been declared lost: it was not sent again since; or too lately for an
// acknowledgement of that (compare RFC 8985, section 6.2, step 2:
// https://www.rfc-editor.org/rfc/rfc8985#section-6.2); or after newest, when the newest transmission
// was sent that has arrived, 0 for unknown.
func (k *KCP) arrivedEarlier(now int64, s *sendSegment, newest int64) bool {
	return s.state == segLost || s.resent && (now-s.sentAt < k.rtt.min || newest != 0 && s.sentAt > newest)
}
