package kcp

import "math"

// inPlaceBatches is the zero-copy contract between the core and the sender.
//
// A segment that fills a datagram is sent from where it lies: KCP.Send leaves the header's room in
// front of the data, the core writes the header there, and the datagram is the packet's own
// memory. The packet stays the send window's. Nobody but the core writes to it, and the core does
// not before the datagram was sent; a cipher writes its output to another packet. The packet may
// be acknowledged before the system call that sends it returns, so it is not reused before the
// datagram was sent.
//
// To that end the sender numbers its batches of datagrams. One batch is being sent at a time,
// begun; datagrams that are written meanwhile go with the next one. A segment knows the batch of
// the datagram that was written in it. While that batch is unsent, the segment's packet is held
// back when it is acknowledged, and a retransmission is written as a copy.
type inPlaceBatches struct {
	begun uint32       // the batch that was begun last
	done  uint32       // the batch that was sent last
	held  [2][]*packet // held[n&1]: packets of batch n that were given back before it was sent
}

// next returns the number of the batch that a datagram written now goes with. It is never 0,
// which stands for none.
func (b *inPlaceBatches) next() uint32 {
	if b.begun == math.MaxUint32 {
		return 2 // as odd and even alternate
	}
	return b.begun + 1
}

// unsent says whether a batch is still to be sent: the next one, or the one being sent.
func (b *inPlaceBatches) unsent(batch uint32) bool {
	return batch == b.next() || batch == b.begun && batch != b.done
}

// put gives back the packet of a segment whose datagram was written to that batch.
func (b *inPlaceBatches) put(pool *packetPool, p *packet, batch uint32) {
	if b.unsent(batch) {
		b.held[batch&1] = append(b.held[batch&1], p)
	} else {
		pool.put(p)
	}
}

// begin is called when a batch is about to be sent.
func (b *inPlaceBatches) begin() { b.begun = b.next() }

// end is called when it was sent.
func (b *inPlaceBatches) end(pool *packetPool) {
	b.done = b.begun
	held := b.held[b.done&1]
	for _, p := range held {
		pool.put(p)
	}
	clear(held)
	b.held[b.done&1] = held[:0]
}

// trim gives memory back.
func (b *inPlaceBatches) trim() {
	for i := range b.held {
		if len(b.held[i]) == 0 {
			b.held[i] = nil
		}
	}
}
