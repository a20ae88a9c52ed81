package kcp

import (
	"encoding/binary"
	"time"

	"github.com/klauspost/reedsolomon"
)

// The FEC header (docs/protocol.md, Forward error correction): seqid, 4 bytes; type, 2; size, 2. A
// shard starts at the size field, which parity covers, too. size is the length of the shard in
// bytes, those of the field included.
const (
	fecTypeData   = 0x00f1
	fecTypeParity = 0x00f2
	fecTypeOOB    = 0x00f3 // out of band: not a shard

	fecHeaderSize = 8 // bytes in front of the segments
	fecShardStart = 6 // where the shard starts: at the size field
	fecSizeField  = 2 // bytes of the size field

	oobSeqid = 0xffffffff // the seqid of each out-of-band datagram
	convSize = 4          // bytes of the conv that segments and out-of-band payloads begin with

	// fecShardsMax is the most shards of a group: the number of elements of GF(2^8).
	fecShardsMax = 256
	// fecSparse is the pause between two data shards of a group beyond which the group gets no
	// parity: it would come too late to be of use.
	fecSparse = 500 * time.Millisecond
)

// fecHeader is the header of a FEC datagram.
type fecHeader struct {
	seqid uint32 // number of the shard
	kind  uint16 // fecTypeData, fecTypeParity or fecTypeOOB
	size  uint16 // bytes from the size field on; in a parity shard it is parity
}

// parseFEC reads the FEC header of datagram b. ok is false for a datagram without one.
func parseFEC(b []byte) (h fecHeader, ok bool) {
	if len(b) < fecHeaderSize {
		return h, false
	}
	le := binary.LittleEndian
	h.seqid, h.kind, h.size = le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:])
	return h, h.kind >= fecTypeData && h.kind <= fecTypeOOB
}

// body returns the bytes behind the header in datagram b, from which h was read: segments, or the
// conv and payload of an out-of-band datagram. ok is false when the size field is below 2 or counts
// more than there is.
func (h fecHeader) body(b []byte) (body []byte, ok bool) {
	end := fecShardStart + int(h.size)
	if end < fecHeaderSize || end > len(b) {
		return nil, false
	}
	return b[fecHeaderSize:end], true
}

// putFECHeader writes seqid and kind. The size field is the first part of the shard.
func putFECHeader(b []byte, seqid uint32, kind uint16) {
	binary.LittleEndian.PutUint32(b, seqid)
	binary.LittleEndian.PutUint16(b[4:], kind)
}

// fecCounts is the number of data shards and of parity shards in a group.
type fecCounts struct{ data, parity int }

func (c fecCounts) shards() uint32 { return uint32(c.data + c.parity) }

// limit is where seqid wraps to 0: the last multiple of the group size.
func (c fecCounts) limit() uint32 { return 0xffffffff / c.shards() * c.shards() }

// fits says whether seqid is the number of a data shard, for isData true, or of a parity shard.
func (c fecCounts) fits(seqid uint32, isData bool) bool {
	return (seqid%c.shards() < uint32(c.data)) == isData
}

// fecCode is a Reed–Solomon code over GF(2^8) with data and parity shards in each group, and the
// default matrix of github.com/klauspost/reedsolomon. It is immutable, and sessions share it.
type fecCode struct {
	fecCounts
	limit uint32 // fecCounts.limit
	rs    reedsolomon.Encoder
}

// fecStraggler is the most seqids that an overtaken shard may be behind the newest one; one so late
// is of no use. A shard that is further behind was not overtaken: either the peer has started
// again, or the shard that seemed newer was not the peer's. A step of more than fecStraggler seqids
// in either direction resets proven.
const fecStraggler = 1 << 12
