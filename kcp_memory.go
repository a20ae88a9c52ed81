package kcp

// trim gives back the memory of empty windows when the core has been inactive for trimAfter.
func (k *KCP) trim(now int64) {
	if now-k.lastActive < trimAfter {
		return
	}
	k.snd.trim()
	k.rcv.trim()
	k.acks.trim(k.rcv.gap())
	k.trimRepairs(now)
	k.trimmed = k.lastActive
}

// fitWindows gives back half of a ring of which no more than a quarter is in use, at most once in
// trimAfter: also a session that is never inactive gives the memory of a burst back.
func (k *KCP) fitWindows(now int64) {
	k.fittedAt = now
	k.snd.shrink()
	k.rcv.shrink()
	k.pool.shrink(k.snd.waiting() + k.rcv.held)
}

// trimDue says whether trim may find something.
func (k *KCP) trimDue() bool {
	return k.trimmed != k.lastActive && (k.snd.ring != nil || k.rcv.ring != nil || k.decoder != nil)
}

// noteMemory notes what the windows that follow the path hold, and makes a receive window smaller that
// may hold more than its share.
func (k *KCP) noteMemory() {
	m := &k.memory
	if m.in == nil {
		return
	}
	held := int64(0)
	if k.flow.autoSend {
		held += k.snd.memory()
	}
	if k.windowTuner.auto {
		held += k.rcv.memory()
	}
	if held > 0 {
		held += int64(len(k.pool.free)) * packetCost
	}
	m.note(held)
	if k.windowTuner.auto && k.rcv.wnd > m.most {
		k.setReceiveWindow(k.rcv.wnd)
	}
}

// release gives all packets back. The core is of no use afterwards.
func (k *KCP) release() {
	for sn := k.snd.una; sn != k.snd.end; sn++ {
		if s := k.snd.at(sn); s.p != nil {
			k.putSent(s.p, s.batch)
		}
	}
	k.snd = sendWindow{una: k.snd.una, nxt: k.snd.una, end: k.snd.una}
	k.rcv.release(k.pool)
	if k.decoder != nil {
		k.decoder.release()
	}
	k.early.discard(k.pool)
	k.discardDgrams()
	k.discardUnsent()
	k.acks = ackQueue{}
}
