package kcp

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/klauspost/reedsolomon"
	"github.com/pkg/errors"
)

// FEC framing. A datagram starts with seqid(4) type(2) size(2); the size field is
// the first part of the shard that parity covers and counts itself.
const (
	fecTypeData   = 0x00f1
	fecTypeParity = 0x00f2
	fecTypeOOB    = 0x00f3

	fecHeaderSize = 8 // in front of the segments
	fecShardStart = 6 // where the shard starts: at the size field
	fecSizeField  = 2

	oobSeqid     = 0xffffffff
	oobConvField = 4 // an out-of-band datagram's conv, in front of its payload

	// fecShardsMax is the most shards of a group: the order of GF(2^8).
	fecShardsMax = 256
	// fecSparse is the pause between two data shards beyond which a group gets no
	// parity: it would come too late to be of use.
	fecSparse = 500 * time.Millisecond
)

// fecHeader is what a FEC datagram starts with.
type fecHeader struct {
	seqid uint32
	kind  uint16
	size  uint16
}

// parseFEC reads the FEC header of datagram b; ok is false when b is a plain one.
func parseFEC(b []byte) (h fecHeader, ok bool) {
	if len(b) < fecHeaderSize {
		return h, false
	}
	le := binary.LittleEndian
	h.seqid, h.kind, h.size = le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:])
	return h, h.kind >= fecTypeData && h.kind <= fecTypeOOB
}

// body returns what follows the header, b being the datagram that h was read from:
// segments, or an out-of-band conv and payload. ok is false when the size field
// does not fit.
func (h fecHeader) body(b []byte) (body []byte, ok bool) {
	end := fecShardStart + int(h.size)
	if end < fecHeaderSize || end > len(b) {
		return nil, false
	}
	return b[fecHeaderSize:end], true
}

func putFECHeader(b []byte, seqid uint32, kind uint16) {
	binary.LittleEndian.PutUint32(b, seqid)
	binary.LittleEndian.PutUint16(b[4:], kind)
}

// fecCode is a Reed–Solomon code of so many data and parity shards a group, with
// klauspost/reedsolomon's default matrix. It is immutable and shared.
type fecCode struct {
	data, parity int
	limit        uint32 // seqid wraps here: the last multiple of the group size
	rs           reedsolomon.Encoder
}

func (c *fecCode) shards() uint32 { return uint32(c.data + c.parity) }

// fits says whether a shard of that kind belongs at seqid.
func (c *fecCode) fits(seqid uint32, isData bool) bool {
	return (seqid%c.shards() < uint32(c.data)) == isData
}

// fecCodes caches codes by their counts, as sessions come in numbers with the same
// ones. A peer may show us any counts, so it is bounded.
var fecCodes = struct {
	sync.Mutex
	m map[[2]int]*fecCode
}{m: make(map[[2]int]*fecCode)}

const fecCodesMax = 64

// newFECCode returns the code of the given counts. It returns nil when either is 0,
// which means no FEC, and an error when they are negative or more than 256
// together.
func newFECCode(data, parity int) (*fecCode, error) {
	switch {
	case data < 0 || parity < 0:
		return nil, errors.Errorf("kcp: FEC shards %d/%d: counts must not be negative", data, parity)
	case data == 0 || parity == 0:
		return nil, nil
	case data > fecShardsMax || parity > fecShardsMax || data+parity > fecShardsMax:
		return nil, errors.Errorf("kcp: FEC shards %d/%d: at most %d together", data, parity, fecShardsMax)
	}
	key := [2]int{data, parity}
	fecCodes.Lock()
	defer fecCodes.Unlock()
	if c := fecCodes.m[key]; c != nil {
		return c, nil
	}
	// One datagram's shards are far too small to spread over goroutines.
	rs, err := reedsolomon.New(data, parity, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, errors.Wrapf(err, "kcp: FEC shards %d/%d", data, parity)
	}
	n := uint32(data + parity)
	c := &fecCode{data: data, parity: parity, limit: 0xffffffff / n * n, rs: rs}
	if len(fecCodes.m) < fecCodesMax {
		fecCodes.m[key] = c
	}
	return c, nil
}

// fecEncoder numbers a session's datagrams and computes their parity while they
// pass, shard by shard, so that it keeps no copy of them. The session's lock
// guards it.
type fecEncoder struct {
	code    *fecCode
	offset  int // where the FEC header is in a datagram's buffer
	pool    *packetPool
	adapter fecAdapter

	next     uint32    // seqid of the next datagram
	count    int       // data shards of this group so far
	send     int       // parity shards that this group gets, of those of the code
	noParity bool      // this group gets none
	last     int64     // time of the last data shard
	length   int       // of the longest shard of this group
	parity   []*packet // one per parity shard while the group has any, sums of length bytes
	sums     [][]byte  // scratch: the part of parity that a shard touches
}

func newFECEncoder(code *fecCode, offset int, pool *packetPool) *fecEncoder {
	return &fecEncoder{code: code, offset: offset, pool: pool, send: code.parity, adapter: newFECAdapter(code)}
}

// encode makes b, with its header still to be filled in, the next data shard. When
// that completes a group with parity it returns the group's parity datagrams, which
// are the caller's; the slice is valid until the next call.
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
		e.skip()
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

// use makes groups those of code from now on, of which each gets so many parity shards. It
// is for between two groups.
func (e *fecEncoder) use(code *fecCode, parity int) {
	if code != e.code {
		// The gap tells a decoder. Groups start at multiples of their size.
		n := code.shards()
		e.code = code
		e.next = (e.next + 2*fecStraggler + n - 1) / n * n
		e.advance(0)
	}
	e.send = parity
}

// sum adds a data shard to the parity of its group. Shards are padded with zeros to
// the longest, and a zero adds nothing.
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
		e.skip() // shapes are ours, so this cannot happen; without parity nothing is wrong either
	}
}

// skip gives up the parity of this group.
func (e *fecEncoder) skip() {
	e.noParity, e.length = true, 0
	for _, p := range e.parity {
		e.pool.put(p)
	}
	e.parity = e.parity[:0]
}

func (e *fecEncoder) advance(n uint32) {
	if e.next += n; e.next >= e.code.limit {
		e.next = 0
	}
}

// trim gives memory back after a pause so long that the group gets no parity.
func (e *fecEncoder) trim(now int64) {
	if len(e.parity) > 0 && now-e.last > int64(fecSparse) {
		e.skip()
	}
}
