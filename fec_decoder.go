package kcp

// fecWindow is how many groups are open at a time: a shard may be overtaken by
// those of three later groups and still be of use.
const fecWindow = 4

// fecStraggler is how many seqids behind the newest a shard may arrive that was
// overtaken, and is of no use any more. What seems older was not overtaken: the peer
// has started again, or what seemed newer was not its.
const fecStraggler = 1 << 12

// fecDecoder rebuilds lost datagrams of a peer from its parity. It holds copies of
// the shards of at most fecWindow groups, follows the peer when its shard counts
// are not the ones expected, and needs not be told of any. The session's lock
// guards it.
type fecDecoder struct {
	code    *fecCode // of the peer; nil until it is known
	pool    *packetPool
	count   *Snmp
	groups  [fecWindow]fecGroup
	shape   *fecShape // there only while the peer's counts are in doubt
	scratch [][]byte
}

// fecGroup is what has arrived of one group.
type fecGroup struct {
	used   bool
	done   bool      // nothing is missing any more, and nothing is held
	base   uint32    // seqid of its first shard
	shards []*packet // by position, nil for missing
	have   int       // shards that are there
	data   int       // data shards among them
}

// add takes the shard of a valid FEC datagram with header h: what follows type. It
// calls deliver with the segments of each datagram that it could rebuild, valid
// during the call.
func (d *fecDecoder) add(h fecHeader, shard []byte, deliver func([]byte)) {
	isData := h.kind == fecTypeData
	if !isData {
		d.count.FECParityShards++
	}
	if len(shard) > mtuLimit || d.code != nil && h.seqid >= d.code.limit {
		d.count.FECErrs++
		return
	}
	if !d.fits(h.seqid, isData) {
		return
	}
	n := d.code.shards()
	pos := h.seqid % n
	g := d.group(h.seqid-pos, n)
	if g == nil || g.done || g.shards[pos] != nil {
		return
	}
	p := d.pool.get()
	p.data = p.mem[:copy(p.mem[:], shard)]
	g.shards[pos] = p
	g.have++
	if isData {
		g.data++
	}
	if g.have < d.code.data {
		return
	}
	if g.data < d.code.data {
		d.rebuild(g, deliver)
	}
	g.done = true
	d.drop(g)
}

// fits says whether a shard of that kind belongs at seqid under the peer's code, and
// looks for the right code where it doesn't. Nothing fits while the code is in doubt:
// what the wrong one rebuilds can look like a datagram of the peer's.
func (d *fecDecoder) fits(seqid uint32, isData bool) bool {
	matches := d.code != nil && (seqid%d.code.shards() < uint32(d.code.data)) == isData
	if matches && d.shape == nil {
		return true
	}
	if d.shape == nil {
		d.shape = new(fecShape)
	}
	d.shape.observe(seqid, isData, matches)
	if data, parity, ok := d.shape.infer(seqid); ok {
		d.shape = nil
		if d.code == nil || data != d.code.data || parity != d.code.parity {
			code, err := newFECCode(data, parity)
			if err != nil {
				return false
			}
			d.release()
			d.code = code
		}
		return (seqid%d.code.shards() < uint32(d.code.data)) == isData
	}
	if d.shape.agreed > fecShapeWindow {
		d.shape = nil // the misfits were noise
	}
	return false
}

// group returns the group that starts at base, nil if newer ones have displaced it.
func (d *fecDecoder) group(base, n uint32) *fecGroup {
	g := &d.groups[base/n%fecWindow]
	if g.used && g.base == base {
		return g
	}
	if g.used && g.base-base < fecStraggler {
		return nil
	}
	if g.used && !g.done && g.data < d.code.data {
		d.count.FECShortShards++
	}
	d.drop(g)
	if uint32(len(g.shards)) != n {
		g.shards = make([]*packet, n)
	}
	g.used, g.done, g.base = true, false, base
	return g
}

// rebuild computes the missing data shards of g, which has enough shards for that.
func (d *fecDecoder) rebuild(g *fecGroup, deliver func([]byte)) {
	length := 0
	for _, p := range g.shards {
		if p != nil {
			length = max(length, len(p.data))
		}
	}
	d.scratch = d.scratch[:0]
	for i, p := range g.shards {
		switch {
		case p != nil:
			clear(p.mem[len(p.data):length]) // data starts at mem[0]
			d.scratch = append(d.scratch, p.mem[:length])
		case i < d.code.data:
			p = d.pool.get()
			g.shards[i] = p
			d.scratch = append(d.scratch, p.mem[:0]) // room for the result
		default:
			d.scratch = append(d.scratch, nil)
		}
	}
	if err := d.code.rs.ReconstructData(d.scratch); err != nil {
		d.count.FECErrs++
		return
	}
	for i, p := range g.shards[:d.code.data] {
		if p.data != nil {
			continue // it had arrived
		}
		shard := d.scratch[i]
		size := int(shard[0]) | int(shard[1])<<8
		if size < fecSizeField || size > len(shard) {
			d.count.FECErrs++
			continue
		}
		d.count.FECRecovered++
		deliver(shard[fecSizeField:size])
	}
}

// drop gives the shards of g back.
func (d *fecDecoder) drop(g *fecGroup) {
	for i, p := range g.shards {
		if p != nil {
			d.pool.put(p)
			g.shards[i] = nil
		}
	}
	g.have, g.data = 0, 0
}

// release gives all memory back. The groups that were open are forgotten.
func (d *fecDecoder) release() {
	for i := range d.groups {
		d.drop(&d.groups[i])
		d.groups[i] = fecGroup{}
	}
	d.scratch = nil
}

// holding says whether shards are held.
func (d *fecDecoder) holding() bool {
	for i := range d.groups {
		if d.groups[i].have > 0 {
			return true
		}
	}
	return false
}

// fecShapeWindow is how many seqids back the search for the peer's shard counts
// looks: two of the largest groups.
const fecShapeWindow = 2 * fecShardsMax

// fecShape finds a peer's shard counts in the runs of data and parity it sends:
// where parity turns into data a group starts, where data turns into parity its
// parity does.
type fecShape struct {
	seqid  [fecShapeWindow]uint32
	kind   [fecShapeWindow]shardKind
	agreed int // observations in a row that fit the code in use
}

type shardKind uint8

const (
	shardUnknown shardKind = iota
	shardData
	shardParity
)

func (s *fecShape) observe(seqid uint32, isData, matches bool) {
	i := seqid % fecShapeWindow
	s.seqid[i], s.kind[i] = seqid, shardParity
	if isData {
		s.kind[i] = shardData
	}
	if s.agreed++; !matches {
		s.agreed = 0
	}
}

func (s *fecShape) at(seqid uint32) shardKind {
	if i := seqid % fecShapeWindow; s.seqid[i] == seqid {
		return s.kind[i]
	}
	return shardUnknown
}

// infer looks for the last whole group, seen without a hole, that ended before
// newest: a run of data, a run of parity, and data again. (A hole may hide parity
// that was lost or left out.) Group starts are multiples of the group size, which
// must hold for what was found.
func (s *fecShape) infer(newest uint32) (data, parity int, ok bool) {
	end := newest
	for s.at(end) != shardData || s.at(end-1) != shardParity {
		if end--; newest-end > fecShapeWindow {
			return 0, 0, false
		}
	}
	middle := end
	for s.at(middle-1) == shardParity {
		middle--
	}
	start := middle
	for start > 0 && s.at(start-1) == shardData {
		start--
	}
	size := end - start
	if start == middle || size > fecShardsMax || start%size != 0 ||
		start > 0 && s.at(start-1) != shardParity {
		return 0, 0, false
	}
	return int(middle - start), int(end - middle), true
}
