package kcp

import "encoding/binary"

// fecEncoder numbers a session's datagrams and computes their parity while they are sent. It adds
// each datagram to the parity shards of the group, so it keeps no copy. The session's lock guards
// it.
type fecEncoder struct {
	code    *fecCode
	offset  int // bytes in front of the FEC header in a datagram's buffer
	pool    *packetPool
	adapter fecAdapter

	next     uint32    // seqid of the next datagram
	count    int       // data shards of the current group so far
	send     int       // parity shards that each group gets, at most code.parity
	noParity bool      // the current group gets no parity
	last     int64     // time of the last data shard, 0 before the first
	length   int       // bytes of the longest shard of the current group
	parity   []*packet // parity shards of the current group, length bytes each; empty for none
	sums     [][]byte  // scratch: the part of each parity shard that a data shard is added to
}

func newFECEncoder(code *fecCode, offset int, pool *packetPool) *fecEncoder {
	return &fecEncoder{code: code, offset: offset, pool: pool, send: code.parity, adapter: newFECAdapter(code)}
}

// encode makes b, whose FEC header is still to be filled in, the next data shard. When that
// completes a group with parity, encode returns the parity datagrams of the group. The caller owns
// them; the slice is valid until the next call.
func (e *fecEncoder) encode(b []byte, now int64) []*packet {
	if e.last != 0 {
		e.adapter.sent(now - e.last)
	}
	shard := b[e.offset+fecShardStart:]
	putFECHeader(b[e.offset:], e.next, fecTypeData)
	binary.LittleEndian.PutUint16(shard, uint16(len(shard)))
	if e.count == 0 {
		e.noParity = e.send == 0
	} else if now-e.last > int64(fecSparse) {
		e.skipParity()
	}
	e.last = now
	if !e.noParity {
		e.sum(shard)
	}
	e.advance(1)
	if e.count++; e.count < e.code.data {
		return nil
	}
	e.count = 0
	first := e.next
	e.advance(uint32(e.code.parity))
	if e.noParity {
		return nil
	}
	for i, p := range e.parity[:e.send] {
		putFECHeader(p.mem[e.offset:], first+uint32(i), fecTypeParity)
		p.data = p.mem[:e.offset+fecShardStart+e.length]
	}
	for _, p := range e.parity[e.send:] {
		e.pool.put(p)
	}
	done := e.parity[:e.send]
	e.parity, e.length = e.parity[:0], 0
	return done
}

// use makes code the code of all further groups, and parity the number of parity shards that each
// of them gets. It may be called between two groups only.
func (e *fecEncoder) use(code *fecCode, parity int) {
	if code.fecCounts != e.code.fecCounts {
		// A step of more than fecStraggler seqids tells the decoder. Groups start at multiples of
		// their size.
		n := code.shards()
		e.code = code
		e.next = (e.next + 2*fecStraggler + n - 1) / n * n
		e.advance(0)
	}
	e.send = parity
}

// sum adds a data shard to the parity shards of the current group. Shards count as padded with
// zeros to the length of the longest, and zeros add nothing.
func (e *fecEncoder) sum(shard []byte) {
	for len(e.parity) < e.code.parity {
		e.parity = append(e.parity, e.pool.get())
	}
	e.sums = e.sums[:0]
	start := e.offset + fecShardStart
	for _, p := range e.parity {
		if len(shard) > e.length {
			clear(p.mem[start+e.length : start+len(shard)])
		}
		e.sums = append(e.sums, p.mem[start:start+len(shard)])
	}
	e.length = max(e.length, len(shard))
	if err := e.code.rs.EncodeIdx(shard, e.count, e.sums); err != nil {
		e.skipParity() // cannot happen, the lengths are right; a group needs no parity
	}
}

// skipParity gives up the parity of the current group.
func (e *fecEncoder) skipParity() {
	e.noParity, e.length = true, 0
	for _, p := range e.parity {
		e.pool.put(p)
	}
	e.parity = e.parity[:0]
}

// skipGroup ends the current group without parity: what follows begins another one.
func (e *fecEncoder) skipGroup() {
	if e.count > 0 {
		e.skipParity()
		e.advance(e.code.shards() - uint32(e.count))
		e.count = 0
	}
}

// advance moves next on by n, and to 0 at the limit.
func (e *fecEncoder) advance(n uint32) {
	if e.next += n; e.next >= e.code.limit {
		e.next = 0
	}
}

// trim gives back the parity shards of the current group after a pause so long that the group gets
// no parity.
func (e *fecEncoder) trim(now int64) {
	if len(e.parity) > 0 && now-e.last > int64(fecSparse) {
		e.skipParity()
	}
}
