package unmarked

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/klauspost/reedsolomon"
)

const (
	fecData   = 0xf1
	fecParity = 0xf2
	fecOOB    = 0xf3
	// fecSparse is how far apart two datagrams of a group are if its parity is left out.
	fecSparse = 500 * time.Millisecond
	// fecKept is how many groups a decoder remembers.
	fecKept = 8
)

// code is a Reed-Solomon code of data and parity shards.
type code struct {
	reedsolomon.Encoder
	data, parity uint32
}

func newCode(data, parity int) code {
	rs, err := reedsolomon.New(data, parity)
	if err != nil {
		panic(fmt.Sprintf("unmarked: FEC of %d and %d shards: %v", data, parity, err))
	}
	return code{rs, uint32(data), uint32(parity)}
}

func (c *code) shards() uint32 { return c.data + c.parity }

// paws is where seqids start again.
func (c *code) paws() uint32 { return 0xffffffff / c.shards() * c.shards() }

// encoder makes FEC datagrams of segments.
type encoder struct {
	code
	next  uint32
	group [][]byte // shards since the group began
	last  time.Time
	thin  bool // its datagrams came far apart
}

func newEncoder(data, parity int) *encoder { return &encoder{code: newCode(data, parity)} }

// header appends the seqid and the type.
func header(b []byte, seqid uint32, kind uint16) []byte {
	b = binary.LittleEndian.AppendUint32(b, seqid)
	return binary.LittleEndian.AppendUint16(b, kind)
}

// encode returns the datagrams to send for one of segments: itself, and the parity of a full group.
func (e *encoder) encode(segments []byte) (datagrams [][]byte) {
	now := time.Now()
	if len(e.group) > 0 && now.Sub(e.last) > fecSparse {
		e.thin = true
	}
	e.last = now
	shard := binary.LittleEndian.AppendUint16(nil, uint16(len(segments)+2))
	shard = append(shard, segments...)
	e.group = append(e.group, shard)
	datagrams = [][]byte{append(header(nil, e.take(), fecData), shard...)}
	if uint32(len(e.group)) < e.data {
		return datagrams
	}
	for _, p := range e.parityOf(e.group) {
		seqid := e.take()
		if !e.thin {
			datagrams = append(datagrams, append(header(nil, seqid, fecParity), p...))
		}
	}
	e.group, e.thin = nil, false
	return datagrams
}

func (e *encoder) take() uint32 {
	seqid := e.next
	e.next = (e.next + 1) % e.paws()
	return seqid
}

// parityOf returns the parity shards of a group.
func (c *code) parityOf(group [][]byte) [][]byte {
	longest := 0
	for _, shard := range group {
		longest = max(longest, len(shard))
	}
	all := make([][]byte, c.shards())
	for i := range all {
		all[i] = make([]byte, longest)
		if i < len(group) {
			copy(all[i], group[i])
		}
	}
	if err := c.Encode(all); err != nil {
		panic(err)
	}
	return all[c.data:]
}

// decoder rebuilds shards.
type decoder struct {
	code
	fixed bool
	kinds map[uint32]bool // seqids seen of late: is it data?
	group map[uint32]map[uint32][]byte
}

func newDecoder(data, parity int, fixed bool) *decoder {
	d := &decoder{code: newCode(max(data, 1), max(parity, 1)), fixed: fixed, kinds: make(map[uint32]bool)}
	d.group = make(map[uint32]map[uint32][]byte)
	return d
}

// add takes a shard, from its size on, and returns the segments that it was missing for.
func (d *decoder) add(seqid uint32, isData bool, shard []byte) (rebuilt [][]byte) {
	d.adapt(seqid, isData)
	if seqid >= d.paws() || isData != (seqid%d.shards() < d.data) {
		return nil
	}
	first := seqid - seqid%d.shards()
	if d.group[first] == nil {
		d.group[first] = make(map[uint32][]byte)
	}
	d.group[first][seqid-first] = shard
	rebuilt = d.rebuild(d.group[first])
	if len(d.group) > fecKept {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(d.group)), func(a, b uint32) int { return int(int32(a - b)) })
		delete(d.group, oldest)
	}
	return rebuilt
}

// rebuild returns what is missing of a group of which just enough is there.
func (d *decoder) rebuild(group map[uint32][]byte) (rebuilt [][]byte) {
	if uint32(len(group)) != d.data {
		return nil
	}
	longest := 0
	for _, shard := range group {
		longest = max(longest, len(shard))
	}
	all := make([][]byte, d.shards())
	for i, shard := range group {
		all[i] = make([]byte, longest)
		copy(all[i], shard)
	}
	if d.ReconstructData(all) != nil {
		return nil
	}
	for i, shard := range all[:d.data] {
		if group[uint32(i)] != nil || len(shard) < 2 {
			continue
		}
		if size := int(binary.LittleEndian.Uint16(shard)); size >= 2 && size <= len(shard) {
			rebuilt = append(rebuilt, shard[2:size])
		}
	}
	return rebuilt
}

// adapt notes what kind of shard a seqid was, and takes over the counts that the kinds show.
func (d *decoder) adapt(seqid uint32, isData bool) {
	if d.fixed {
		return
	}
	d.kinds[seqid] = isData
	for old := range d.kinds {
		if seqid-old > 1024 && old-seqid > 1024 {
			delete(d.kinds, old)
		}
	}
	if isData == (seqid%d.shards() < d.data) {
		return
	}
	data, parity := d.runs(seqid)
	if data > 0 && parity > 0 && data+parity <= 256 && (data != d.data || parity != d.parity) {
		d.code = newCode(int(data), int(parity))
		clear(d.group)
	}
}

// runs returns the lengths of the latest unbroken runs of data and parity that end at or before a
// seqid, both ends of which were seen; 0 if there are none.
func (d *decoder) runs(seqid uint32) (data, parity uint32) {
	var length uint32
	for at := seqid; seqid-at < 1024 && (data == 0 || parity == 0); at-- {
		kind, ok := d.kinds[at]
		after, known := d.kinds[at+1]
		switch {
		case !ok:
			length = 0
		case known && kind == after && length > 0:
			length++
		case known && kind != after: // the last of a run
			length = 1
		}
		if before, ok := d.kinds[at-1]; ok && before != kind && length > 0 {
			if kind {
				data = length
			} else {
				parity = length
			}
		}
	}
	return data, parity
}
