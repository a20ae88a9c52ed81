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
// nothing before the counts are proven: no others explain the shards seen, by their kinds or by
// their bytes. What counts explain is never ruled out by a shard of the peer's own, whatever is
// lost. So that is proof when nobody else can have sent the shards, which a cipher sees to, and for
// the counts that this end has as well, as long as no shard has contradicted another. Everything
// else takes a group of which one shard more than needed is there, and is a codeword: otherwise a
// few forged datagrams could rule out the right counts. Groups wait for the proof as long as they
// are in the window.
type fecDecoder struct {
	expected     fecCounts // this end's own, zero for none
	authentic    bool      // nobody but the peer can have sent the shards
	pool         *packetPool
	count        *Snmp
	counts       fecCounts           // the peer's, as far as is known; zero while they are unknown
	limit        uint32              // of counts
	groups       [fecWindow]fecGroup // by number of the group, modulo fecWindow
	newest       uint32              // seqid of the newest shard
	proven       bool                // counts are known to be the peer's
	contradicted bool                // two shards were not of one peer and one choice of counts
	shape        fecShape            // evidence for the counts; empty once they are proven
	credit       int                 // work that may be done for the proof, see spend
}

const (
	// fecCredit is the work that each datagram pays for while the counts are not proven, and
	// fecCreditMax what may be saved: enough for the proof of any counts. One is a few nanoseconds.
	fecCredit    = 64
	fecCreditMax = 1 << 17
)

// newFECDecoder returns one that expects the counts of this end's code, nil for none.
func newFECDecoder(code *fecCode, authentic bool, pool *packetPool, count *Snmp) *fecDecoder {
	d := &fecDecoder{authentic: authentic, pool: pool, count: count, credit: fecCreditMax}
	if code != nil {
		d.expected = code.fecCounts
		d.follow(d.expected)
	}
	return d
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
	if len(shard) > mtuLimit || d.counts.data > 0 && h.seqid >= d.limit {
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
	n := d.counts.shards()
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
	} else if d.prove(h.seqid) {
		for i := range d.groups {
			d.finish(&d.groups[i], deliver)
		}
	}
}

// finish rebuilds the missing data shards of g once enough shards are there.
func (d *fecDecoder) finish(g *fecGroup, deliver func([]byte)) {
	if !g.used || g.done || g.have < d.counts.data {
		return
	}
	if g.data < d.counts.data {
		d.rebuild(g, deliver)
	} else {
		d.count.FECFullShardSet++
	}
	g.done = true
	d.drop(g)
}

// doubt resets proven, and drops all shards held and all evidence for the counts.
func (d *fecDecoder) doubt() {
	d.contradicted = d.contradicted || d.proven || d.shape.seen > 0
	d.follow(d.counts)
	d.proven = false
	d.shape.clear()
}

// follow sets the counts, zero for unknown, and drops all shards held.
func (d *fecDecoder) follow(counts fecCounts) {
	for i := range d.groups {
		g := &d.groups[i]
		d.drop(g)
		g.used, g.done = false, false
	}
	if d.counts = counts; counts.data > 0 {
		d.limit = counts.limit()
	}
}

// spend says whether so much work may be done for the proof now. Shards without an end that prove
// nothing cost no more than their number pays for; evidence that is not looked at counts as lost.
func (d *fecDecoder) spend(work int) bool {
	if d.credit < work {
		return false
	}
	d.credit -= work
	return true
}

// track says whether seqid is the number of a data shard, for isData true, or of a parity shard,
// under the counts. Counts that are not proven are corrected by the shard first.
func (d *fecDecoder) track(seqid uint32, isData bool) bool {
	if d.proven {
		if !d.counts.fits(seqid, isData) { // they have changed, or the shard is not the peer's
			d.proven, d.contradicted = false, true
		}
		return d.proven
	}
	if d.counts.data > 0 && !d.counts.fits(seqid, isData) {
		d.follow(fecCounts{})
	}
	d.credit = min(d.credit+fecCredit, fecCreditMax)
	s := &d.shape
	switch {
	case len(s.left) == 0 && d.spend(2*fecShardsMax):
		s.start()
		s.observe(seqid, isData)
	case len(s.left) > 0 && d.spend(len(s.left)):
		s.observe(seqid, isData)
		d.contradicted = d.contradicted || len(s.left) == 0
	}
	if n := len(s.left); n > 0 && n <= fecFew && !s.explains(d.counts) {
		d.follow(s.left[n-1].counts())
	}
	return d.counts.data > 0 && d.counts.fits(seqid, isData)
}

// prove says whether the counts are proven now that the shard at seqid is held.
func (d *fecDecoder) prove(seqid uint32) bool {
	d.weighBytes(seqid)
	c, ok := d.shape.sole()
	switch {
	case !ok || c.least != c.most:
		return false
	case c.counts() != d.counts:
		d.follow(c.counts())
		return false
	}
	proven := d.authentic || d.counts == d.expected && !d.contradicted
	for i := range d.groups {
		g := &d.groups[i]
		if g.have <= d.counts.data {
			continue
		}
		switch independent, known := d.independent(g.shards, d.counts.data+1); {
		case !known:
			return false
		case independent: // a shard that was seen was not the peer's
			d.count.FECErrs++
			d.doubt()
			return false
		}
		proven = true
	}
	if d.proven = proven; proven {
		d.shape = fecShape{}
	}
	return proven
}

// fecFew is the number of sizes from which on the bytes of shards have to tell which is right.
const fecFew = 4

// weighBytes rules out counts that do not explain the bytes of the shards that are held of the
// group, under these counts, of the shard at seqid: shards of which none follows from the others
// are no more than there are data shards.
func (d *fecDecoder) weighBytes(seqid uint32) {
	s := &d.shape
	if c, ok := s.sole(); len(s.left) > fecFew || ok && c.least == c.most {
		return
	}
	left := s.left[:0]
	for _, c := range s.left {
		if d.credit > fecCreditMax/2 && d.spend(int(c.size)) { // the kinds go first
			var shards [fecShardsMax]*packet
			n := d.regroup(seqid-seqid%uint32(c.size), shards[:c.size])
			if n == int(c.most) && c.least < c.most || n == int(c.most)+1 {
				if independent, known := d.independent(shards[:c.size], n); known && independent {
					c.least = uint16(n)
				}
			}
		}
		if c.least <= c.most {
			left = append(left, c)
		}
	}
	s.left = left
	d.contradicted = d.contradicted || len(left) == 0
}

// regroup fills shards, all nil, with those that are held from seqid base on, and returns their
// number.
func (d *fecDecoder) regroup(base uint32, shards []*packet) (n int) {
	for i := range d.groups {
		g := &d.groups[i]
		for pos, p := range g.shards {
			if at := g.base + uint32(pos) - base; p != nil && at < uint32(len(shards)) {
				shards[at] = p
				n++
			}
		}
	}
	return n
}

// independent says whether none of the first n shards that are there follows from the others.
// known is false when finding out is too much work for now.
func (d *fecDecoder) independent(shards []*packet, n int) (independent, known bool) {
	if !d.spend(n * (n + 32)) {
		return false, false
	}
	var points fecPoints
	p := d.pool.get()
	sum := p.mem[:points.choose(shards, n)]
	clear(sum)
	points.difference(shards, sum)
	for _, b := range sum {
		independent = independent || b != 0
	}
	d.pool.put(p)
	return independent, true
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
	if g.used && !g.done && g.data < d.counts.data {
		d.count.FECShortShards++
	}
	d.drop(g)
	if uint32(cap(g.shards)) < n {
		g.shards = make([]*packet, n)
	}
	g.shards = g.shards[:n]
	g.used, g.done, g.base = true, false, base
	return g
}

// rebuild computes the missing data shards of g, which has enough shards for that.
func (d *fecDecoder) rebuild(g *fecGroup, deliver func([]byte)) {
	var points fecPoints
	length := points.choose(g.shards, d.counts.data)
	p := d.pool.get()
	shard := p.mem[:length]
	for pos, held := range g.shards[:d.counts.data] {
		if held != nil {
			continue
		}
		clear(shard)
		points.interpolate(g.shards, uint8(pos), shard)
		size := int(shard[0]) | int(shard[1])<<8
		if size < fecSizeField || size > length {
			d.count.FECErrs++
			continue
		}
		d.count.FECRecovered++
		deliver(shard[fecSizeField:size])
	}
	d.pool.put(p)
}

// drop puts the shards of g back into the pool.
func (d *fecDecoder) drop(g *fecGroup) {
	if g.have == 0 {
		return
	}
	for i, p := range g.shards {
		if p != nil {
			d.pool.put(p)
			g.shards[i] = nil
		}
	}
	g.have, g.data = 0, 0
}

// release gives back the memory of all groups. It does not count them as given up, as a missing
// shard may not have been sent yet. The counts, proven and the evidence for them stay.
func (d *fecDecoder) release() {
	for i := range d.groups {
		d.drop(&d.groups[i])
		d.groups[i] = fecGroup{}
	}
}

// open returns how many groups are not complete, and the seqid of the first shard of the oldest, 0
// for none.
func (d *fecDecoder) open() (groups int, oldest uint32) {
	for i := range d.groups {
		if g := &d.groups[i]; g.have > 0 {
			if groups++; groups == 1 || before(g.base, oldest) {
				oldest = g.base
			}
		}
	}
	return groups, oldest
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
