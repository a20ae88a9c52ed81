package kcp

// What a receiver of repairs does.

// onRepair takes a REP.
func (k *KCP) onRepair(now int64, h *header, body []byte) {
	if len(body) < repairOverhead {
		k.count.KCPInErrors++
		return
	}
	k.unreliable()
	k.noteArrived(now, h)
	k.dgrams.symbols = repairsOverdue
	k.startDecoder()
	if !k.decoder.repair(h, body, &k.rcv) && h.frg&repairAnswer != 0 {
		k.answerRepair(now, h)
	}
	k.takeRebuilt(now)
}

// repairsOverdue is how many segments arrive without a repair until none is expected any more.
const repairsOverdue = 512

func (k *KCP) startDecoder() {
	if k.decoder == nil {
		k.decoder = newRepairDecoder(k.pool)
	}
}

// keepSymbol keeps a segment that has arrived while repairs may come that cover it: the first repair after a pause
// covers what was sent before it.
func (k *KCP) keepSymbol(h *header, body []byte) {
	d := k.dgrams
	if d == nil || d.symbols == 0 {
		return
	}
	if d.symbols--; d.symbols == 0 {
		k.forgetSymbols()
		return
	}
	k.startDecoder()
	if h.cmd == cmdSKIP {
		k.decoder.withdraw(h.sn)
	} else {
		k.decoder.arrived(h, body)
	}
}

// answerRepair answers a repair that brings nothing: an acknowledgement was lost. A WINS tells una, and
// an ACK the ranges.
func (k *KCP) answerRepair(now int64, h *header) {
	k.flow.updateDue = true
	q := &k.acks
	if n := len(q.ranges.list); n > 0 && k.rcv.gap() && k.tellsRanges() && q.beyond == 0 && len(q.pending) < acksMax {
		last := q.ranges.list[n-1]
		q.add(ack{last.first + last.count - 1, h.ts, ackBeyond}, IKCP_OVERHEAD+int(h.len), now, 0, false)
	}
}

// takeRebuilt takes the segments that can be rebuilt, as if they had arrived.
func (k *KCP) takeRebuilt(now int64) {
	for k.decoder != nil {
		sn, ts, p, n, ok := k.decoder.solved()
		if !ok {
			return
		}
		h, data, ok := parseSymbol(sn, p.mem[:n])
		if h.conv, h.ts = k.conv, ts; ok {
			k.count.FECRecovered++
			if k.trace != nil {
				k.traceSegment(now, EventRecovered, sn, IKCP_OVERHEAD+len(data), "")
			}
			k.onData(now, &h, data, arrivedByRepair)
		} else {
			k.count.FECErrs++
		}
		k.pool.put(p)
	}
}

// forgetSymbols gives up what arrived for the sake of further repairs.
func (k *KCP) forgetSymbols() {
	if k.decoder != nil {
		k.decoder.release()
		k.decoder = nil
	}
}

// trimRepairs gives memory back.
func (k *KCP) trimRepairs(now int64) {
	k.forgetSymbols()
	if k.snd.waiting() == 0 {
		k.repairs.trim()
		k.expireDgrams(now)
		if k.dgrams != nil && k.dgrams.history.open == 0 {
			k.dgrams.history.trim()
		}
	}
}
