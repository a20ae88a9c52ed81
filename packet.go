package kcp

import "sync"

// packet is a pooled buffer that holds one segment's data in a window, one shard
// in a FEC group, or one datagram on its way out. Whoever holds the pointer owns
// it and either hands it over or puts it back, once.
type packet struct {
	data []byte // what it holds, within mem
	frg  uint8  // of a segment's data: segments of the message still to come
	fin  bool   // of a segment: it is a FIN, without data
	mem  [mtuLimit]byte
}

// packetPool recycles packets. The one that all share may be used by any goroutine. A
// session puts one of its own before it, guarded by its lock, as most packets circulate
// within a session: between its windows, and between a flush and the socket.
type packetPool struct {
	parent *packetPool // nil for the shared one
	free   []*packet   // at most poolOwn; used with a parent only
	pool   sync.Pool   // used without
}

// poolOwn is how many free packets a session keeps: what a few batches of acknowledgements
// set free. They go to the parent after a pause.
const poolOwn = 256

// packets is the pool that all sessions share.
var packets packetPool

// get returns a packet with no data and arbitrary bytes in mem.
func (pp *packetPool) get() *packet {
	if last := len(pp.free) - 1; last >= 0 {
		p := pp.free[last]
		pp.free = pp.free[:last]
		return p
	}
	if pp.parent != nil {
		return pp.parent.get()
	}
	if p, ok := pp.pool.Get().(*packet); ok {
		return p
	}
	return new(packet)
}

// put takes back a packet that nothing refers to any more.
func (pp *packetPool) put(p *packet) {
	if raceEnabled {
		for i := range p.mem { // a late reader sees garbage instead of plausible data
			p.mem[i] = 0xdb
		}
	}
	p.data, p.frg, p.fin = nil, 0, false
	switch {
	case pp.parent == nil:
		pp.pool.Put(p)
	case len(pp.free) < poolOwn:
		pp.free = append(pp.free, p)
	default:
		pp.parent.put(p)
	}
}

// trim gives a session's free packets to the parent.
func (pp *packetPool) trim() {
	for _, p := range pp.free {
		pp.parent.put(p)
	}
	pp.free = nil
}
