package kcp

import "encoding/binary"

// Whether what arrives is of this session, and not of another one of the same address and
// conversation; see peerIdentity.

// inspect says whether a datagram is of this session: no una in it is beyond what was sent, and
// no WINS tells another number.
func (k *KCP) inspect(now int64, data []byte) (own bool) {
	var (
		told, asked, withData bool
		number                uint32
	)
	own = true
	le := binary.LittleEndian
	for len(data) >= IKCP_OVERHEAD {
		b := (*[IKCP_OVERHEAD]byte)(data)
		cmd, marked, length := b[4], b[5]&capMark != 0, uint(le.Uint32(b[20:]))
		data = data[IKCP_OVERHEAD:]
		if le.Uint32(b[:]) != k.conv || cmd < IKCP_CMD_PUSH || cmd > cmdLast || length > min(uint(len(data)), uint(segmentMost(cmd))) {
			break // input stops here, too
		}
		data = data[length:]
		if int32(le.Uint32(b[16:])-k.snd.nxt) > 0 {
			own = false
		}
		switch cmd {
		case IKCP_CMD_PUSH:
			withData = true
		case IKCP_CMD_WASK:
			asked = asked || marked
		case IKCP_CMD_WINS:
			if marked {
				told, number = true, le.Uint32(b[8:])
			}
		}
	}
	if told {
		own = k.onNumber(now, number, withData) && own
		if own && number != 0 && !asked && k.snd.nxt == 0 && len(k.early.list) > 0 {
			k.peer.confirmed = true // it has been asked, and does not ask back
		}
	}
	if !own && asked { // which session this is
		k.flow.updateDue = true
	}
	return own
}

// onNumber takes the number of a WINS, and says whether it may be the peer's.
func (k *KCP) onNumber(now int64, number uint32, withData bool) (own bool) {
	was := k.peer.number
	own = k.peer.onNumber(now, number, withData)
	if k.peer.number != was {
		if was != 0 {
			k.early.replaced = true
			k.params.forget()
			k.renumberDgrams()
			k.forgetRepairs()
		}
		// A peer that has a number tells it from the first.
		k.peer.trusted = k.peer.dialled && k.snd.una == 0 || !k.peer.dialled && k.rcv.nxt == 0 && k.rcv.held == 0
	}
	k.peer.tellNumber = k.peer.tellNumber || own && number != 0 && !k.peer.dialled
	return own
}

// unconfirmed says whether nothing has shown yet that what arrives is of this session: the peer has
// echoed none of the time stamps of what was sent. Until then nothing is acknowledged, and nothing
// can be read.
func (k *KCP) unconfirmed() bool { return k.peer.own != 0 && !k.peer.confirmed }

// onEarlyData holds a PUSH or FIN of an unconfirmed session. Two ends that have dialled each other are
// both unconfirmed: theirs begin with a number, and are acknowledged, so that one of them is confirmed.
// Where nothing was sent, such a number is enough, and a peer that sends without one is asked: an
// older session of a listener's has another number for us, and asks back.
func (k *KCP) onEarlyData(now int64, h *header, body []byte, how arrival, number uint32) {
	if before(h.sn, k.rcv.una()) { // it brings nothing, such as a listener's question
		k.onData(now, h, body, how)
		return
	}
	if k.snd.nxt == 0 && number != 0 {
		k.peer.confirmed = true
		k.onData(now, h, body, how)
		return
	}
	if !k.rcv.inside(h.sn) { // what is acknowledged here is taken later
		return
	}
	switch held := k.early.add(h, body, number, k.pool); {
	case k.snd.nxt == 0:
		k.flow.probeDue = true
	case number != 0:
		if held {
			k.acks.add(ack{sn: h.sn, ts: h.ts}, IKCP_OVERHEAD, now, ackDelay(k.interval), false)
		}
	case k.snd.inFlight.n > 0:
		// The acknowledgement that should have come before was lost, or overtaken. It comes again
		// for what is sent again.
		w := &k.snd
		if sn := w.inFlight.head; now-w.at(sn).sentAt >= k.rtt.rto/2 {
			w.markLost(sn, 0)
			w.at(sn).forced = true
		}
	}
}

// takeEarlyData takes what was held, once the session is confirmed.
func (k *KCP) takeEarlyData(now int64) {
	k.early.take(k.peer.number, k.pool, func(h *header, body []byte) { k.onData(now, h, body, arrivedByParity) })
}

// onReset takes a RST, whose una has to be what is acknowledged or in flight. Only the peer, or
// somebody who sees the traffic, can know the number that its datagram begins with. While the session
// is unconfirmed that may be an older one's; and a peer that has gone without a number so far does not
// reset. Then it has to be the answer to what was sent lately, which its ts tells. Any other RST is a
// reason to ask (the challenge ACK of RFC 5961, section 3.2:
// https://www.rfc-editor.org/rfc/rfc5961#section-3.2).
func (k *KCP) onReset(now int64, h *header, numbered bool) {
	known := k.peer.own == 0 || k.seal.sealed || numbered && k.peer.trusted && !k.unconfirmed() || k.snd.sentLately(h.ts)
	if known && h.una-k.snd.una <= k.snd.nxt-k.snd.una {
		k.caps.reset, k.peer.confirmed = true, true
		return
	}
	k.count.KCPInErrors++
	k.peer.challenge(now)
}
