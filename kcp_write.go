package kcp

// How segments are written into datagrams.

// controlHeader returns the header of a segment without data. It advertises the receive window.
func (k *KCP) controlHeader(cmd uint8) header {
	free := k.rcv.free()
	k.flow.edgeKnown, k.flow.edge = true, k.rcv.nxt+uint32(free)
	return header{conv: k.conv, cmd: cmd, frg: k.caps.own, wnd: free, una: k.rcv.una() &^ k.unaHidden}
}

// windowUpdate returns a WINS, which also tells our number.
func (k *KCP) windowUpdate() header {
	h := k.controlHeader(IKCP_CMD_WINS)
	h.ts = k.peer.own
	return h
}

// leadsWithNumber says whether a datagram that would begin with a segment of that cmd begins with a
// WINS before it. Peers without extensions see a valid one and do nothing.
//   - Until the peer has acknowledged something, it tells it what this end can do, and which
//     session this is, whichever datagram comes first.
//   - While a listener's session asks whether its client still has it, a newer session of the client's
//     has to tell late datagrams from its own. Segments of full size have no room for that.
//   - Programs that share a socket, without a cipher, know KCP by a first cmd of 81 to 84.
func (k *KCP) leadsWithNumber(cmd uint8) bool {
	return cmd != IKCP_CMD_WINS && (k.caps.announcing || cmd == cmdFIN || cmd == cmdRST ||
		cmd == cmdREP && k.plain || k.peer.asking && !k.peer.dialled)
}

// writeSegment writes segment s with h's sn and ts.
func (k *KCP) writeSegment(now int64, h *header, s *sendSegment) {
	h.cmd, h.frg, h.len = s.p.cmd, s.p.frg, uint32(len(s.p.data))
	k.write(now, h, s)
}

// write appends a segment to the datagram being written, or to a new one when that has no room
// for it. s is nil for a control segment; what data it has the caller puts at the datagram's end.
func (k *KCP) write(now int64, h *header, s *sendSegment) {
	w := &k.out
	size := IKCP_OVERHEAD + int(h.len)
	if w.buf != nil && w.n+size > k.mtu {
		k.endDatagram(now)
	}
	if k.seal.room != 0 {
		k.writeLead(now, h)
	}
	if w.buf == nil && k.leadsWithNumber(h.cmd) && k.reserved+IKCP_OVERHEAD+size <= k.mtu {
		lead := k.windowUpdate()
		k.write(now, &lead, nil)
	}
	inPlace := false
	if w.buf == nil {
		w.n = k.reserved
		// A segment that leaves no room for another is sent from where it lies.
		if inPlace = s != nil && w.inPlace != nil && w.n+size+IKCP_OVERHEAD > k.mtu &&
			!w.inPlace.batches().unsent(s.batch) && s.p.startsAt(w.n+IKCP_OVERHEAD); inPlace {
			w.inPlace.sendInPlace(s.p)
			s.batch = w.inPlace.batches().next()
			w.buf = s.p.mem[:]
		} else {
			w.buf = w.sink.buffer(max(k.mtu, w.n+size))
		}
	}
	h.put(w.buf[w.n:])
	if s != nil && !inPlace {
		copy(w.buf[w.n+IKCP_OVERHEAD:], s.p.data)
	}
	w.n += size
	if s != nil {
		k.charge(size)
	}
	k.count.OutSegs++
}

// charge charges a segment with data, of so many bytes, to the pacers.
func (k *KCP) charge(size int) {
	if w := &k.out; !w.hasData {
		w.hasData = true
		k.limitPacer.spend(k.reserved)
	}
	k.limitPacer.spend(size)
	k.ccPacer.spend(size)
}

// endDatagram hands over the datagram being written, if any.
func (k *KCP) endDatagram(now int64) {
	if k.out.buf == nil {
		return
	}
	if fill := int(k.mtuBounds.fill); fill > k.out.n && k.needsFragments(k.out.n) {
		k.fillDatagram(fill)
	}
	if k.trace != nil {
		k.traceDatagram(now, EventSent, k.out.buf[k.reserved:k.out.n])
	}
	if k.log.mask != 0 {
		k.log.segments(&logOutput, k.conv, k.out.buf[k.reserved:k.out.n], true)
	}
	k.out.end(now)
}

// writeWith writes h with the data b.
func (k *KCP) writeWith(now int64, h *header, b []byte) {
	h.len = uint32(len(b))
	k.write(now, h, nil)
	copy(k.out.buf[k.out.n-len(b):k.out.n], b)
	h.len = 0
}
