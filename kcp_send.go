package kcp

// Send queues a copy of b as one message, or as bytes of the stream in stream mode. It returns 0;
// -1 when b is empty; and -2, having queued nothing, when b needs more than 255 segments. A
// message of more segments than the peer's receive window is never delivered, as the peer's Recv
// waits for its end.
func (k *KCP) Send(b []byte) int {
	k.noteWrite(clock())
	return k.send(b)
}

// send is Send for a write that has been noted.
func (k *KCP) send(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	var tail *packet
	size, fill := len(b), 0
	if k.stream && k.snd.queued() > 0 && k.snd.end != k.seal.listed && !k.tailExpires() {
		tail = k.snd.at(k.snd.end - 1).p
		fill = min(len(b), max(0, k.roomOf(k.snd.end-1)-len(tail.data)))
	}
	count := k.segmentsOf(len(b) - fill)
	if count > maxFragments {
		return -2
	}
	if fill > 0 {
		tail.data = append(tail.data, b[:fill]...)
		k.snd.bytesQueued += fill
		b = b[fill:]
	}
	for i := count - 1; i >= 0; i-- {
		p := k.pool.get()
		room := k.dataRoom()
		at := k.reserved + IKCP_OVERHEAD // its place in a datagram of its own, see inPlaceBatches
		p.data = p.mem[at : at+copy(p.mem[at:at+room], b)]
		b = b[len(p.data):]
		if !k.stream {
			p.frg = uint8(i)
		}
		k.snd.push(p)
	}
	if k.log.mask != 0 {
		k.log.bytes(IKCP_LOG_SEND, "kcp send", k.conv, size)
	}
	return 0
}

// segmentsOf is how many segments n bytes are cut into, or more than maxFragments.
func (k *KCP) segmentsOf(n int) (count int) {
	for sn := k.snd.end; n > 0 && count <= maxFragments; sn++ {
		n -= k.roomOf(sn)
		count++
	}
	return count
}

// dataRoom is the most data bytes of the segment that is cut next.
func (k *KCP) dataRoom() int { return k.roomOf(k.snd.end) }

// roomOf is the most data bytes of the segment with serial number sn, if it is cut now: those that are
// sent before the peer has acknowledged anything share their datagram with a WINS.
func (k *KCP) roomOf(sn uint32) int {
	room := k.mss
	switch {
	case k.caps.announcing && k.mss > IKCP_OVERHEAD:
		room -= IKCP_OVERHEAD
	case k.repairs.on && k.mss >= repairMSS: // a repair has to fit into a datagram
		room = k.repairRoom()
	}
	switch c := &k.seal; {
	case c.room == 0:
	case sn == 0:
		room -= c.room
	case sn < IKCP_WND_RCV:
		room -= len(c.mark)
	}
	return room
}
