package kcp

import (
	"math"
	"sync"
)

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
	// that sends them returns. Batches of datagrams are numbered; one is sent at a time.
	begun uint32       // the last batch that was taken to be sent
	done  uint32       // the last that was sent
	held  [2][]*packet // held[n&1]: packets of batch n that were put back before it was sent
}

// poolOwn is how many free packets a session keeps: what the acknowledgements of a large window
// set free. They go to the parent after a pause.
const poolKeep = 1024

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
	case len(pp.free) < poolKeep:
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
	for i := range pp.held {
		if len(pp.held[i]) == 0 {
			pp.held[i] = nil
		}
	}
}

// nextBatch returns the number of the batch that a datagram goes with that is written now.
// It is never 0, which stands for none.
func (pp *packetPool) nextBatch() uint32 {
	if pp.begun == math.MaxUint32 {
		return 2 // as odd and even alternate
	}
	return pp.begun + 1
}

// unsent says whether a batch is still to be sent, or being sent: the next one, or the last that
// was begun.
func (pp *packetPool) unsent(batch uint32) bool {
	return batch == pp.nextBatch() || batch == pp.begun && batch != pp.done
}

// putSegment is put for a packet that lies in a datagram of that batch, or in none.
func (pp *packetPool) putSegment(p *packet, batch uint32) {
	if pp.unsent(batch) {
		pp.held[batch&1] = append(pp.held[batch&1], p)
	} else {
		pp.put(p)
	}
}

// beginBatch is called when a batch is taken to be sent.
func (pp *packetPool) beginBatch() { pp.begun = pp.nextBatch() }

// endBatch is called when it was sent.
func (pp *packetPool) endBatch() {
	pp.done = pp.begun
	held := pp.held[pp.done&1]
	for _, p := range held {
		pp.put(p)
	}
	clear(held)
	pp.held[pp.done&1] = held[:0]
}
