package kcp

import "sync"

// packet is a pooled buffer that holds one segment's data in a window, one shard
// in a FEC group, or one datagram on its way out. Whoever holds the pointer owns
// it and either hands it over or puts it back, once.
type packet struct {
	data []byte // what it holds, within mem
	frg  uint8  // of a segment's data: segments of the message still to come
	mem  [mtuLimit]byte
}

// packetPool recycles packets. The core is given one, so that it reaches for no
// global.
type packetPool struct{ pool sync.Pool }

// packets is the pool that all sessions share.
var packets packetPool

// get returns a packet with no data and arbitrary bytes in mem.
func (pp *packetPool) get() *packet {
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
	p.data, p.frg = nil, 0
	pp.pool.Put(p)
}
