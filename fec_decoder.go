package kcp

// fecWindow is the number of groups that are open at a time. A shard may be overtaken by shards of
// three later groups and still be of use.
const fecWindow = 4

// fecDecoder rebuilds lost datagrams of a peer from its parity (docs/protocol.md, The decoder). It
// holds copies of the shards of at most fecWindow groups. It infers the peer's shard counts from
// the shards that arrive, so the counts that it starts with may be wrong or missing. The session's
// lock guards it.
//
// A peer that changes its counts during a session skips more than fecStraggler seqids. A step of
// more than fecStraggler seqids in either direction resets proven.
//
// A datagram that was rebuilt under wrong counts can look like the peer's: the code maps equal
// bytes to themselves, and conv, cmd and len are equal in most datagrams. So the decoder rebuilds
// nothing before the counts are proven, whether they were expected or inferred. Two conditions
// prove them: no other counts explain the kinds of the shards seen, and a group of which one shard
// more than needed is there is a codeword. One condition alone is not enough. A codeword of 9/4 is
// one of 10/3, too, and with 10/2 a peer sends the first group of 10/3 but for one shard; and a
// datagram that is not the peer's can rule out the right counts. Groups wait for the proof as long
// as they are in the window. So the cost, where both ends have the same counts, is that a datagram
// lost at first is rebuilt about a group later, or its segments are retransmitted.
type fecDecoder struct {
	code    *fecCode // the peer's, as far as is known; nil while it is unknown
	pool    *packetPool
	count   *Snmp
	groups  [fecWindow]fecGroup // by number of the group, modulo fecWindow
	newest  uint32              // seqid of the newest shard
	proven  bool                // code is known to be the peer's
	shape   fecShape            // evidence for the counts; empty once they are proven
	scratch [][]byte            // argument of the code's methods
}

// fecGroup holds the shards of one group that have arrived.
type fecGroup struct {
	used   bool      // the group is in the window
	done   bool      // the group was complete or could be rebuilt; it holds no shards any more
	base   uint32    // seqid of its first shard
	shards []*packet // by position, nil for missing
	have   int       // shards held
	data   int       // data shards among them
}

// add takes the shard of a valid FEC datagram with header h: the bytes behind the type field. It
// calls deliver with the segments of each datagram that it rebuilds, which are valid during the
// call.
func (d *fecDecoder) add(h fecHeader, shard []byte, deliver func([]byte)) {
	isData := h.kind == fecTypeData
	if !isData {
		d.count.FECParityShards++
	}
	if len(shard) > mtuLimit || d.code != nil && h.seqid >= d.code.limit {
		d.count.FECErrs++
		return
	}
	ahead := int32(h.seqid - d.newest)
	if ahead > fecStraggler || ahead < -fecStraggler {
		d.doubt()
	}
	if ahead > 0 || ahead < -fecStraggler {
		d.newest = h.seqid
	}
	if !d.track(h.seqid, isData) {
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
	if d.proven {
		d.finish(g, deliver)
	} else if d.prove() {
		for i := range d.groups {
			d.finish(&d.groups[i], deliver)
		}
	}
}

// finish rebuilds the missing data shards of g once enough shards are there.
func (d *fecDecoder) finish(g *fecGroup, deliver func([]byte)) {
	if !g.used || g.done || g.have < d.code.data {
		return
	}
	if g.data < d.code.data {
		d.rebuild(g, deliver)
	}
	g.done = true
	d.drop(g)
}

// doubt resets proven, and drops all shards held and all evidence for the counts.
func (d *fecDecoder) doubt() {
	d.release()
	d.proven, d.shape = false, fecShape{}
}

// track says whether seqid is the number of a data shard, for isData true, or of a parity shard,
// under the code. A code that is not proven is corrected by the shard first.
func (d *fecDecoder) track(seqid uint32, isData bool) bool {
	if d.proven {
		d.proven = d.code.fits(seqid, isData)
		return d.proven // if false, the counts have changed, or the shard is not the peer's
	}
	if len(d.shape.left) == 0 {
		d.shape = newFECShape()
	}
	d.shape.observe(seqid, isData)
	if d.code != nil && !d.code.fits(seqid, isData) {
		d.release()
		d.code = nil
	}
	if counts, ok := d.shape.counts(); ok && d.code == nil {
		d.code = fecCodes.request(counts) // nil while it is being made
	}
	return d.code != nil && d.code.fits(seqid, isData)
}

// prove says whether the code is proven now. It checks every group that has more shards than
// needed.
func (d *fecDecoder) prove() bool {
	if _, ok := d.shape.counts(); !ok {
		return false
	}
	for i := range d.groups {
		g := &d.groups[i]
		if g.have <= d.code.data {
			continue
		}
		if d.proven = d.isCodeword(g); !d.proven { // a shard that was seen was not the peer's
			d.count.FECErrs++
			d.doubt()
			return false
		}
	}
	if d.proven {
		d.shape = fecShape{}
	}
	return d.proven
}

// isCodeword says whether the shards of g, one more than needed or several, belong to one codeword.
// It is called a few times a session.
func (d *fecDecoder) isCodeword(g *fecGroup) bool {
	length := g.pad()
	shards := make([][]byte, len(g.shards))
	for i, p := range g.shards {
		if p != nil {
			shards[i] = p.mem[:length]
		}
	}
	if err := d.code.rs.Reconstruct(shards); err != nil {
		return false
	}
	ok, err := d.code.rs.Verify(shards)
	return ok && err == nil
}

// group returns the group of n shards that starts at base, nil if a newer one has taken its place.
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
	length := g.pad()
	d.scratch = d.scratch[:0]
	for i, p := range g.shards {
		switch {
		case p != nil:
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

// pad pads the shards of g with zeros to the length of the longest, and returns that length.
func (g *fecGroup) pad() (length int) {
	for _, p := range g.shards {
		if p != nil {
			length = max(length, len(p.data))
		}
	}
	for _, p := range g.shards {
		if p != nil {
			clear(p.mem[len(p.data):length]) // data starts at mem[0]
		}
	}
	return length
}

// drop puts the shards of g back into the pool.
func (d *fecDecoder) drop(g *fecGroup) {
	for i, p := range g.shards {
		if p != nil {
			d.pool.put(p)
			g.shards[i] = nil
		}
	}
	g.have, g.data = 0, 0
}

// release gives back the memory of all groups. It does not count them as given up, as a missing
// shard may not have been sent yet. The code, proven and the evidence for the counts stay.
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

// fecShape infers a peer's shard counts from the kinds of the shards that the peer sends. It keeps
// all counts that explain every shard seen: data first, then parity, in groups that start at
// multiples of their size. The peer's counts are always among them, whatever is lost, left out or
// late, so they are the last ones left. If none are left, some shard was not that peer's.
type fecShape struct {
	left []fecSize // the sizes that are not ruled out
	seen uint32    // shards observed
}

// fecSize is a size that the peer's groups may have, with the least and the most data shards that
// they then have.
type fecSize struct{ size, least, most uint16 }

func newFECShape() fecShape {
	s := fecShape{left: make([]fecSize, 0, fecShardsMax-1)}
	for n := uint16(2); n <= fecShardsMax; n++ {
		s.left = append(s.left, fecSize{size: n, least: 1, most: n - 1})
	}
	return s
}

// observe rules out all counts that do not explain a shard of that kind at seqid.
func (s *fecShape) observe(seqid uint32, isData bool) {
	s.seen++
	left := s.left[:0]
	for _, c := range s.left {
		pos := uint16(seqid % uint32(c.size))
		if isData {
			c.least = max(c.least, pos+1)
		} else {
			c.most = min(c.most, pos)
		}
		if c.least <= c.most {
			left = append(left, c)
		}
	}
	s.left = left
}

// counts returns the peer's counts when no others are left. A few chosen shards would achieve that,
// but a large code takes milliseconds to make, so the peer has to send as many shards as a group
// has.
func (s *fecShape) counts() (counts fecCounts, ok bool) {
	if len(s.left) != 1 {
		return counts, false
	}
	c := s.left[0]
	return fecCounts{int(c.most), int(c.size - c.most)}, c.least == c.most && s.seen >= uint32(c.size)
}
