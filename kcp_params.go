package kcp

// ownFeatures are those of a PARAMS record that this end has.
const ownFeatures = featureRanges

// ownAckDelay is the longest time that this end delays an acknowledgement.
func (k *KCP) ownAckDelay() int64 {
	if k.ackNoDelay {
		return thinDelayMin
	}
	return ackDelay(k.interval)
}

// moved is how many segments were acknowledged and received in order, in all.
func (k *KCP) moved() uint32 { return k.snd.una + k.rcv.nxt }

// paramsDue says whether the peer is to be asked for its parameters. While there is doubt whether it
// is the peer of this session, that is asked first.
func (k *KCP) paramsDue(now int64) bool {
	return k.caps.bothTakeRecords() && k.params.due(now, k.moved(), k.ownAckDelay()) &&
		k.peer.dueAt() == never && !k.unconfirmed()
}

// writeParams writes h, a WASK or WINS, with our parameters, if there is room in a datagram.
func (k *KCP) writeParams(now int64, h *header) {
	if k.reserved+IKCP_OVERHEAD+paramsSize > k.mtu {
		k.write(now, h, nil)
		return
	}
	var mem [paramsSize]byte
	k.writeRecords(now, h, appendParams(mem[:0], &params{
		features: ownFeatures, datagram: mtuLimit, ackDelay: k.ownAckDelay(),
	}))
}

// writeRecords writes h with the data b.
func (k *KCP) writeRecords(now int64, h *header, b []byte) {
	h.len = uint32(len(b))
	k.write(now, h, nil)
	copy(k.out.buf[k.out.n-len(b):k.out.n], b)
	h.len = 0
}

// onRecords takes the data of a WASK or WINS with header h. A list that does not parse ends there.
func (k *KCP) onRecords(h *header, b []byte) {
	if !k.caps.bothTakeRecords() {
		return
	}
	for len(b) > 0 {
		kind, body, rest, ok := cutRecord(b)
		if b = rest; ok && kind == recordParams {
			var p params
			p, ok = parseParams(body)
			k.params.learn(p, h.cmd == IKCP_CMD_WINS)
		}
		if !ok {
			k.count.KCPInErrors++
			return
		}
	}
}

// peerAckDelay is the longest time that the peer delays an acknowledgement, otherwise where it has not
// said.
func (k *KCP) peerAckDelay(otherwise int64) int64 {
	if p := &k.params.peer; p.known && p.ackDelay >= 0 {
		return p.ackDelay
	}
	return otherwise
}
