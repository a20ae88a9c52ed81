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

// startsAt says whether the data starts at mem[at].
func (p *packet) startsAt(at int) bool { return len(p.data) > 0 && &p.data[0] == &p.mem[at] }

// packetPool recycles packets. The one that all share may be used by any goroutine. A
// session puts one of its own before it, guarded by its lock, as most packets circulate
// within a session: between its windows, and between a flush and the socket.
type packetPool struct {
	parent *packetPool // nil for the shared one
	free   []*packet   // at most poolOwn; used with a parent only
	pool   sync.Pool   // used without

	// Segments are sent from where they are, and may be acknowledged before the system call
	// returns that sends them. Each batch of datagrams has a number.
	taken uint32       // batches that were begun to be sent
	sent  uint32       // of them, those that are done: all, or all but the last
	held  [2][]*packet // put back before their batch was sent: of one with an even number, of one with an odd
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

// put takes back a packet that nothing refers to any more. It does not look into it: another
// processor may have written there last, and what it wrote would have to be fetched.
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

// batch returns the number of the batch that a datagram goes with that is written now.
func (pp *packetPool) batch() uint32 { return pp.taken + 1 }

// unsent says whether that batch is still to be sent, or being sent. No datagram has 0.
func (pp *packetPool) unsent(batch uint32) bool { return int32(batch-pp.sent) > 0 }

// putSegment is put for a packet that lies in a datagram of that batch.
func (pp *packetPool) putSegment(p *packet, batch uint32) {
	if pp.unsent(batch) {
		pp.held[batch&1] = append(pp.held[batch&1], p)
	} else {
		pp.put(p)
	}
}

// begin is called when a batch is begun to be sent, and done when it was sent.
func (pp *packetPool) begin() { pp.taken++ }

func (pp *packetPool) done() {
	pp.sent = pp.taken
	held := pp.held[pp.sent&1]
	for _, p := range held {
		pp.put(p)
	}
	clear(held)
	pp.held[pp.sent&1] = held[:0]
}
