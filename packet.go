package kcp

import "sync"

// packet is a pooled buffer that holds one segment's data in a window, one shard
// in a FEC group, or one datagram on its way out. Whoever holds the pointer owns
// it and either hands it over or puts it back, once.
type packet struct {
	data   []byte  // what it holds, within mem, or within that of lender
	frg    uint8   // of a segment's data: segments of the message still to come
	fin    bool    // of a segment: it is a FIN, without data
	lent   bool    // a datagram that is being sent lies in mem
	freed  bool    // it was put back while lent
	lender *packet // the segment of which this is the datagram, nil for one with memory of its own
	mem    [mtuLimit]byte
}

// inPlace says whether the data starts at mem[at], and mem is free to be sent.
func (p *packet) inPlace(at int) bool {
	return !p.lent && len(p.data) > 0 && &p.data[0] == &p.mem[at]
}

// datagram returns the memory that a datagram is written to.
func (p *packet) datagram() []byte {
	if p.lender != nil {
		return p.lender.mem[:]
	}
	return p.mem[:]
}

// own copies a datagram that lies in a segment to memory of its own.
func (p *packet) own() {
	if p.lender != nil {
		p.data = p.mem[:copy(p.mem[:], p.data)]
	}
}

// packetPool recycles packets. The one that all share may be used by any goroutine. A
// session puts one of its own before it, guarded by its lock, as most packets circulate
// within a session: between its windows, and between a flush and the socket.
type packetPool struct {
	parent *packetPool // nil for the shared one
	free   []*packet   // at most poolOwn; used with a parent only
	lent   int         // packets that are lent
	pool   sync.Pool   // used without
}

// poolOwn is how many free packets a session keeps: what the acknowledgements of a large window
// set free. They go to the parent after a pause.
const poolOwn = 1024

// packets is the pool that all sessions share.
var packets packetPool

// get returns a packet with no data and arbitrary bytes in mem.
func (pp *packetPool) get() *packet {
	p := pp.take()
	p.data, p.frg, p.fin = nil, 0, false
	return p
}

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

// lend returns a datagram that lies in a segment, until it is put back by putDatagram.
func (pp *packetPool) lend(segment *packet) *packet {
	p := pp.get()
	p.lender, segment.lent = segment, true
	pp.lent++
	return p
}

// putDatagram is put for a datagram, which may lie in a segment.
func (pp *packetPool) putDatagram(p *packet) {
	if segment := p.lender; segment != nil {
		p.data, p.lender, segment.lent = nil, nil, false
		pp.lent--
		if segment.freed {
			segment.freed = false
			pp.put(segment)
		}
	}
	pp.put(p)
}

// put takes back a packet that nothing refers to any more. It looks into it only where it has
// to: what another processor had written last would have to be fetched first.
func (pp *packetPool) put(p *packet) {
	if pp.lent > 0 && p.lent {
		p.freed = true // until the datagram is put back
		return
	}
	if raceEnabled {
		p.data = nil
		for i := range p.mem { // a late reader sees garbage instead of plausible data
			p.mem[i] = 0xdb
		}
	}
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
