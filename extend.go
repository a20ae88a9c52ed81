package kcp

// This file is the core's part of the extensions: capabilities, the end of the stream and
// resets. A core that is driven by hand has none of them: it could not report an end.

// introduce announces what we can do to a peer that has confirmed nothing yet, behind the first
// data, so that it need not have sent anything to be told of an end. It is repeated as lost
// segments are. A WINS is all it takes: peers without extensions see a valid one and do nothing.
func (k *KCP) announceCaps(now int64) {
	if !k.fresh || k.snd.nxt == k.snd.una || now < k.introduceAt {
		return
	}
	k.introduceAt = now + k.rtt.rto
	h := k.controlHeader(IKCP_CMD_WINS)
	k.write(&h, nil)
}

// lastCmd is the highest cmd that we take.
func (k *KCP) lastCmd() uint8 {
	if k.caps&capFIN != 0 {
		return cmdRST
	}
	return IKCP_CMD_WINS
}

// meet learns from a control segment what the peer can do.
func (k *KCP) learnCaps(h *header) {
	k.met = true
	if h.frg&capMark != 0 {
		k.peer = h.frg
	}
}

// takesFIN says whether both ends know FIN and RST.
func (k *KCP) peerTakesFIN() bool { return bothTakeFIN(k.caps, k.peer) }

func bothTakeFIN(a, b uint8) bool { return a&b&capMark != 0 && a&b&capFIN != 0 }

// sendFIN queues the end of our stream: as one segment more than the window, if that is full.
// Nothing may be sent afterwards.
func (k *KCP) sendFIN() {
	p := k.pool.get()
	p.data, p.fin = p.mem[:0], true
	k.snd.push(p)
}

// writeReset sends a RST in a datagram of its own.
func (k *KCP) writeReset() {
	h := k.controlHeader(cmdRST)
	h.sn = h.una
	k.write(&h, nil)
	k.endDatagram()
}

// resetBy takes a RST: the peer has to know where we are.
func (k *KCP) onReset(h *header) {
	if h.una-k.snd.una <= k.snd.nxt-k.snd.una {
		k.reset = true
	} else {
		k.count.KCPInErrors++
	}
}

// finished says whether the peer's stream has ended and everything before that was read.
func (k *KCP) finished() bool { return k.rcv.fin && k.rcv.head == k.rcv.nxt }
