package kcp

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	// repairRows is how many equations a decoder holds.
	repairRows = 32
	// repairSpan is how far apart the segments that these rebuild may be.
	repairSpan = 128
	// repairWork is how many multiplications of a symbol a decoder has credit for, and
	// repairWorkEarned how many each segment earns that arrives: what a forged repair can cost is bounded.
	repairWork       = 1024
	repairWorkEarned = 16
)

// knownSymbol is the symbol of a segment that has arrived: the first n bytes of p.
type knownSymbol struct {
	p  *packet // nil for none
	sn uint32
	n  int
}

// repairRow is an equation: the sum over all missing segments of c times their symbols is the first n
// bytes of p.
type repairRow struct {
	c     [repairSpan]uint8 // by serial number, modulo repairSpan
	p     *packet
	n     int
	pivot uint32 // the newest segment that is missing; its factor is 1, and 0 in all other rows
	ts    uint32 // of the newest repair in the sum
}

// add adds f times o.
func (r *repairRow) add(f uint8, o *repairRow) {
	gf.GalMulSliceXor(f, o.c[:], r.c[:])
	r.addSymbol(f, o.p.mem[:o.n])
	if before(r.ts, o.ts) {
		r.ts = o.ts
	}
}

// addSymbol adds f times a symbol to the sum.
func (r *repairRow) addSymbol(f uint8, b []byte) {
	if len(b) > r.n {
		clear(r.p.mem[r.n:len(b)])
		r.n = len(b)
	}
	gf.GalMulSliceXor(f, b, r.p.mem[:r.n])
}

// missing is the number of segments that are missing.
func (r *repairRow) missing() int { return repairSpan - bytes.Count(r.c[:], []byte{0}) }

// repairDecoder rebuilds lost segments from repairs, by Gaussian elimination. It holds what has arrived
// and may be a member of further repairs, and the equations, in reduced row echelon form.
type repairDecoder struct {
	pool  *packetPool
	known [repairWindow]knownSymbol // by serial number
	rows  []*repairRow              // oldest first
	spare []*repairRow
	base  uint32 // the newest base of a repair
	top   uint32 // all segments that are missing in rows are of the repairSpan ones up to this
	work  int    // see repairWork
}

func newRepairDecoder(pool *packetPool) *repairDecoder {
	return &repairDecoder{pool: pool, work: repairWork}
}

// arrived takes a segment that has arrived, for the first time.
func (d *repairDecoder) arrived(h *header, data []byte) {
	if len(data) > mtuLimit-symbolHead {
		return
	}
	d.work = min(d.work+repairWorkEarned, repairWork)
	s := &d.known[h.sn%repairWindow]
	switch {
	case s.p == nil:
		s.p = d.pool.take()
	case before(h.sn, s.sn):
		return
	}
	s.sn, s.n = h.sn, symbolHead+len(data)
	putSymbolHead(s.p.mem[:], h.cmd, h.frg, len(data), symbolCheck(h.sn, data))
	copy(s.p.mem[symbolHead:], data)
	d.substitute(h.sn, s.p.mem[:s.n])
}

// withdraw takes the news that there is no data of segment sn any more: equations with it are of no use.
func (d *repairDecoder) withdraw(sn uint32) {
	if d.top-sn >= repairSpan {
		return
	}
	kept := d.rows[:0]
	for _, r := range d.rows {
		if r.c[sn%repairSpan] != 0 {
			d.drop(r)
		} else {
			kept = append(kept, r)
		}
	}
	d.rows = kept
}

// substitute puts the symbol of segment sn into all equations.
func (d *repairDecoder) substitute(sn uint32, symbol []byte) {
	if len(d.rows) == 0 || d.top-sn >= repairSpan {
		return
	}
	var again *repairRow
	kept := d.rows[:0]
	for _, r := range d.rows {
		if f := r.c[sn%repairSpan]; f != 0 {
			r.addSymbol(f, symbol)
			r.c[sn%repairSpan] = 0
			if r.pivot == sn {
				again = r // no other one has it
				continue
			}
		}
		kept = append(kept, r)
	}
	d.rows = kept
	if again != nil {
		d.insert(again)
	}
}

// repair takes a REP with header h, and says whether it brings something. rcv tells what has arrived.
func (d *repairDecoder) repair(h *header, body []byte, rcv *recvWindow) bool {
	members := binary.LittleEndian.Uint64(body)
	missing, inside := missingOf(h.sn, members, rcv)
	if inside && before(d.base, h.sn) {
		d.forget(h.sn)
	}
	if !inside || missing == 0 || d.work <= 0 || !d.reaches(h.sn, missing) {
		return false
	}
	r := d.row(h.ts, body[repairBitmap:])
	for set := members; set != 0; set &= set - 1 {
		sn := h.sn + uint32(bits.TrailingZeros64(set))
		f := repairCoefficient(h.frg, sn)
		if missing>>(sn-h.sn)&1 != 0 {
			r.c[sn%repairSpan] = f
		} else if s := &d.known[sn%repairWindow]; s.p != nil && s.sn == sn {
			r.addSymbol(f, s.p.mem[:s.n])
			d.work--
		} else { // it is not kept any more
			d.drop(r)
			return false
		}
	}
	return d.insert(r)
}

// missingOf returns those of the members of a repair that have not arrived. inside is false if one is
// none of the window.
func missingOf(base uint32, members uint64, rcv *recvWindow) (missing uint64, inside bool) {
	for set := members; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		switch sn := base + uint32(i); {
		case !rcv.inside(sn):
			return 0, false
		case !rcv.has(sn):
			missing |= 1 << i
		}
	}
	return missing, true
}

// reaches makes room for an equation of the segments missing, and says whether there is any.
func (d *repairDecoder) reaches(base uint32, missing uint64) bool {
	oldest := base + uint32(bits.TrailingZeros64(missing))
	newest := base + uint32(bits.Len64(missing)) - 1
	if len(d.rows) == 0 {
		d.top = newest
	}
	if before(newest, d.top) {
		return d.top-oldest < repairSpan
	}
	n := min(newest-d.top, repairSpan)
	kept := d.rows[:0]
	for _, r := range d.rows {
		gone := false
		for i := range n {
			gone = gone || r.c[(d.top+1+i)%repairSpan] != 0
		}
		if gone {
			d.drop(r)
		} else {
			kept = append(kept, r)
		}
	}
	d.rows, d.top = kept, newest
	return true
}

// insert takes an equation, unless it follows from the others.
func (d *repairDecoder) insert(r *repairRow) bool {
	for _, o := range d.rows {
		if f := r.c[o.pivot%repairSpan]; f != 0 {
			r.add(f, o)
			d.work--
		}
	}
	if r.missing() == 0 {
		d.drop(r)
		return false
	}
	for r.pivot = d.top; r.c[r.pivot%repairSpan] == 0; r.pivot-- {
	}
	f := gfInverse(r.c[r.pivot%repairSpan])
	gf.GalMulSlice(f, r.c[:], r.c[:])
	gf.GalMulSlice(f, r.p.mem[:r.n], r.p.mem[:r.n])
	d.work--
	for _, o := range d.rows {
		if f := o.c[r.pivot%repairSpan]; f != 0 {
			o.add(f, r)
			d.work--
		}
	}
	if len(d.rows) == repairRows {
		d.drop(d.rows[0])
		d.rows = d.rows[:copy(d.rows, d.rows[1:])]
	}
	d.rows = append(d.rows, r)
	return true
}

// solved returns a segment that can be rebuilt, its symbol in a packet that the caller puts back, and
// the ts of the newest repair that it takes. ok is false where there is none.
func (d *repairDecoder) solved() (sn, ts uint32, p *packet, n int, ok bool) {
	for i, r := range d.rows {
		if r.missing() == 1 {
			d.rows = append(d.rows[:i], d.rows[i+1:]...)
			p, r.p = r.p, nil
			d.spare = append(d.spare, r)
			return r.pivot, r.ts, p, r.n, true
		}
	}
	return 0, 0, nil, 0, false
}

// row returns an equation that sums up to b, without factors.
func (d *repairDecoder) row(ts uint32, b []byte) (r *repairRow) {
	if n := len(d.spare); n > 0 {
		r, d.spare = d.spare[n-1], d.spare[:n-1]
		clear(r.c[:])
	} else {
		r = new(repairRow)
	}
	r.p, r.ts = d.pool.take(), ts
	r.n = copy(r.p.mem[:], b)
	return r
}

// drop gives an equation up.
func (d *repairDecoder) drop(r *repairRow) {
	d.pool.put(r.p)
	r.p = nil
	d.spare = append(d.spare, r)
}

// forget gives back what is before base: it is a member of no further repair.
func (d *repairDecoder) forget(base uint32) {
	d.base = base
	for i := range d.known {
		if s := &d.known[i]; s.p != nil && before(s.sn, base) {
			d.pool.put(s.p)
			s.p = nil
		}
	}
}

// release gives everything back.
func (d *repairDecoder) release() {
	for i := range d.known {
		if s := &d.known[i]; s.p != nil {
			d.pool.put(s.p)
			s.p = nil
		}
	}
	for _, r := range d.rows {
		d.drop(r)
	}
	d.rows, d.spare = nil, nil
}
