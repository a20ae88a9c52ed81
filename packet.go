package kcp

import "sync"

// packet is a pooled buffer for the data of one segment in a window, or of several small ones, one
// shard of a FEC group, or one datagram on its way out. Whoever holds the pointer owns it, and
// either hands it over or puts it back, once.
type packet struct {
	data   []byte // what it holds, within mem; of a jumbo datagram on its way out a large buffer
	frg    uint8  // of a segment to be sent: fragments of the message that follow
	cmd    uint8  // of a segment to be sent: PUSH, or FIN or SKIP, without data
	shared uint16 // the small segments in the receive window whose data it holds
	mem    [mtuLimit]byte
}

// appendHeader appends a segment without data to the datagram that p holds.
func (p *packet) appendHeader(h *header) {
	at := len(p.data)
	p.data = p.data[:at+IKCP_OVERHEAD]
	h.put(p.data[at:])
}

// largeBuffer holds a jumbo datagram.
type largeBuffer [jumboLimit]byte

// largeBuffers recycles them. They are taken once a path has been found to carry such datagrams.
var largeBuffers = sync.Pool{New: func() any { return new(largeBuffer) }}

// startsAt says whether the data starts at mem[at].
func (p *packet) startsAt(at int) bool { return len(p.data) > 0 && &p.data[0] == &p.mem[at] }

// packetPool recycles packets. The shared one may be used by any goroutine. Each session has one
// of its own in front of it, guarded by the session's lock, as most packets circulate within a
// session: between its windows, and between a flush and the socket.
type packetPool struct {
	parent *packetPool // nil for the shared one
	free   []*packet   // at most poolKeep; used with a parent only
	pool   sync.Pool   // used without
}

// poolKeep is the number of free packets that a session keeps: what the acknowledgements of a
// large window set free. They go to the parent after a pause.
const poolKeep = 1024

// packets is the pool that all sessions share.
var packets packetPool

// get returns a packet with no data and arbitrary bytes in mem.
func (pp *packetPool) get() *packet {
	p := pp.take()
	p.data, p.frg, p.cmd = nil, 0, IKCP_CMD_PUSH
	return p
}

// take is get that leaves everything as it is.
func (pp *packetPool) take() *packet {
	if last := len(pp.free) - 1; last >= 0 {
		p := pp.free[last]
		pp.free = pp.free[:last]
		return p
	}
	if pp.parent != nil {
		return pp.parent.take()
	}
	if p, ok := pp.pool.Get().(*packet); ok {
		return p
	}
	return new(packet)
}

// put takes back a packet that nothing refers to any more. It does not read or write the packet:
// another processor may have written there last, and its cache lines would have to be fetched.
func (pp *packetPool) put(p *packet) {
	if raceEnabled {
		p.data = nil
		for i := range p.mem { // a late reader sees garbage instead of plausible data
			p.mem[i] = 0xdb
		}
	}
	switch {
	case pp.parent == nil:
		pp.pool.Put(p)
	case len(pp.free) < poolKeep:
		pp.free = append(pp.free, p)
	default:
		pp.parent.put(p)
	}
}

// shrink gives half of a session's free packets to the parent if that are four times as many as its
// windows hold.
func (pp *packetPool) shrink(held int) {
	if n := len(pp.free); pp.parent != nil && n > ringMin && n/4 > held {
		for _, p := range pp.free[n/2:] {
			pp.parent.put(p)
		}
		pp.free = append([]*packet(nil), pp.free[:n/2]...)
	}
}

// trim gives a session's free packets to the parent.
func (pp *packetPool) trim() {
	for _, p := range pp.free {
		pp.parent.put(p)
	}
	pp.free = nil
}
