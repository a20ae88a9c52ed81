package kcp

// ownFeatures are those of a PARAMS record that this end has.
const ownFeatures = featureDgram | featureRanges | featureRepairs | featureSkip

// ownAckDelay is the longest time that this end delays an acknowledgement.
func (k *KCP) ownAckDelay() int64 {
	if k.ackNoDelay {
		return thinDelayMin
	}
	return ackDelay(k.interval)
}

// moved is how many segments were acknowledged and received in order, in all.
func (k *KCP) moved() uint32 { return k.snd.una + k.rcv.nxt }

// mayAskParams says whether the peer can be asked for its parameters. While there is doubt whether it is
// the peer of this session, that is asked first.
func (k *KCP) mayAskParams() bool {
	return k.caps.bothTakeRecords() && k.peer.dueAt() == never && !k.unconfirmed()
}

// paramsDue says whether the peer is to be asked for its parameters.
func (k *KCP) paramsDue(now int64) bool {
	return k.mayAskParams() && k.params.due(now, k.moved(), k.ownAckDelay(), k.dgramsAwaitParams() || len(k.expiries) > 0)
}

// recordsMax is the length of all records that a WASK or WINS has.
const recordsMax = paramsSize + 2*pathSize + probeOKSize

// ownParams appends a PARAMS record of this end to b.
func (k *KCP) ownParams(b []byte) []byte {
	p := k.announced()
	return appendParams(b, &p)
}

// announced is what this end tells of itself.
func (k *KCP) announced() params {
	return params{features: ownFeatures, datagram: max(mtuLimit, int(k.reads)), ackDelay: k.ownAckDelay()}
}

// questions appends the records to b that ask the peer for something.
func (k *KCP) questions(now int64, b []byte) []byte {
	if k.paramsDue(now) {
		k.params.ask(now, k.moved(), k.ownAckDelay(), k.rtt.rto)
		b = k.ownParams(b)
	}
	if k.pathCheck.due(now) && k.caps.bothTakeRecords() {
		b = appendPath(b, recordPath, k.pathCheck.challenge(now, &k.rtt))
	}
	return b
}

// answers appends the records to b that answer the peer's.
func (k *KCP) answers(b []byte) []byte {
	if k.params.answerDue {
		k.params.answerDue, k.params.told = false, k.ownAckDelay()
		b = k.ownParams(b)
	}
	for _, value := range k.pathCheck.echo.take() {
		b = appendPath(b, recordPathOK, value)
	}
	if p := k.pmtu; p != nil && p.echoDue {
		p.echoDue = false
		b = appendProbe(b, recordProbeOK, p.echo)
	}
	return b
}

// writeRecords writes h, a WASK or WINS, with the records b, without them where a datagram has no room.
func (k *KCP) writeRecords(now int64, h *header, b []byte) {
	if k.reserved+IKCP_OVERHEAD+len(b) > k.mtu {
		b = nil
	}
	k.writeWith(now, h, b)
}

// onRecords takes the data of a WASK or WINS with header h. A list that does not parse ends there.
func (k *KCP) onRecords(h *header, b []byte) {
	if !k.caps.bothTakeRecords() {
		return
	}
	for len(b) > 0 {
		kind, body, rest, ok := cutRecord(b)
		if b = rest; ok {
			ok = k.onRecord(h, kind, body)
		}
		if !ok {
			k.count.KCPInErrors++
			return
		}
	}
}

// onRecord takes a record, and says whether it is what it has to be.
func (k *KCP) onRecord(h *header, kind uint8, body []byte) (ok bool) {
	answer := h.cmd == IKCP_CMD_WINS
	switch kind {
	case recordParams:
		p, ok := parseParams(body)
		most := k.mtuMost()
		k.params.learn(p, answer)
		k.limitToPeer()
		if k.pmtu != nil && k.mtuMost() > most {
			k.pmtu.restart(k.mtu)
		}
		return ok
	case recordPath, recordPathOK:
		value, ok := parsePath(body)
		switch {
		case !ok:
			return false
		case kind == recordPathOK:
			if k.pathCheck.echoed(value); k.pathCheck.valid {
				k.addressValidated()
			}
		case !answer:
			k.pathCheck.challenged(value)
		}
	case recordProbe, recordProbeOK:
		value, ok := parseProbe(body)
		switch {
		case !ok:
			return false
		case kind == recordProbeOK:
			k.onProbeOK(value)
		case answer:
			k.onProbe(value)
		}
	}
	return true
}

// peerHas says whether the peer has announced a feature.
func (k *KCP) peerHas(feature uint32) bool {
	return k.params.peer.features&feature != 0 && k.caps.bothTakeRecords()
}

// peerAckDelay is the longest time that the peer delays an acknowledgement, otherwise where it has not
// said.
func (k *KCP) peerAckDelay(otherwise int64) int64 {
	if p := &k.params.peer; p.known && p.ackDelay >= 0 {
		return p.ackDelay
	}
	return otherwise
}
