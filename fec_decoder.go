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
//
// A peer that changes its counts in mid-stream skips more than fecStraggler seqids. Such a
// step, back no less than forth, takes the proof back.
//
// What is rebuilt under wrong counts can look like a datagram of the peer's: the code
// maps equal bytes to themselves, and conv, cmd and len are equal in most. So nothing
// is rebuilt before the counts are proven, those that were expected no less than those
// that were inferred: no others explain the kinds of shard seen, and one group with a
// shard more than needed is a codeword under them. Neither would do alone. A codeword
// of 9/4 is one of 10/3 too, and 10/2 sends the first group of 10/3 but for a shard; and
// a datagram that is not the peer's can rule the right counts out. Groups wait for the
// proof within the window, so where the ends agree it costs this: what is lost at first
// is rebuilt about a group later, or sent again.
type fecDecoder struct {
	code    *fecCode // of the peer, as far as known; nil for not at all
	pool    *packetPool
	count   *Snmp
	groups  [fecWindow]fecGroup
	newest  uint32   // seqid of the last shard that was not overtaken
	proven  bool     // code is the peer's beyond doubt
	shape   fecShape // empty if it is
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

// finish rebuilds what is missing of g if enough of it is there.
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

// doubt takes back what was proven, and what was held under it.
func (d *fecDecoder) doubt() {
	d.release()
	d.proven, d.shape = false, fecShape{}
}

// fits says whether a shard of that kind belongs at seqid under the code. A code that is
// not proven it sets right by what it sees.
func (d *fecDecoder) track(seqid uint32, isData bool) bool {
	if d.proven {
		d.proven = d.code.fits(seqid, isData)
		return d.proven // if not, the peer has other counts now, or this shard is not its
	}
	if len(d.shape.left) == 0 {
		d.shape = newFECShape()
	}
	d.shape.observe(seqid, isData)
	if d.code != nil && !d.code.fits(seqid, isData) {
		d.release()
		d.code = nil
	}
	if data, parity, ok := d.shape.counts(); ok && d.code == nil {
		d.code, _ = newFECCode(data, parity) // these are counts that it takes
	}
	return d.code != nil && d.code.fits(seqid, isData)
}

// prove says whether the code is proven now. Every group that can speak against it may.
func (d *fecDecoder) prove() bool {
	if _, _, ok := d.shape.counts(); !ok {
		return false
	}
	for i := range d.groups {
		g := &d.groups[i]
		if g.have <= d.code.data {
			continue
		}
		if d.proven = d.isCodeword(g); !d.proven { // something that was seen was not the peer's
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

// isCodeword says whether the shards of g, of which there are more than needed, agree.
// It is asked a few times a session.
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

// pad fills the shards of g up with zeros to the longest and returns that length.
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

// release gives the memory of all groups back. They are forgotten, and not counted as
// given up: what one lacks may not have been sent yet. What is known of the code stays.
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

// fecShape finds a peer's shard counts in the kinds of shard it sends. It keeps those
// that explain all that was seen: data first, then parity, in groups that start at
// multiples of their size. The peer's are always among them, whatever is lost, left out
// or late, so when no others are left it is these. When none at all are left, not all
// that was seen was one peer's.
type fecShape struct {
	left []fecSize
	seen uint32 // shards
}

// fecSize is a size that groups may have, with from least to most data shards.
type fecSize struct{ size, least, most uint16 }

func newFECShape() fecShape {
	s := fecShape{left: make([]fecSize, 0, fecShardsMax-1)}
	for n := uint16(2); n <= fecShardsMax; n++ {
		s.left = append(s.left, fecSize{size: n, least: 1, most: n - 1})
	}
	return s
}

// observe strikes out what a shard of that kind at seqid rules out.
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

// counts returns the peer's counts when no others are left. A few shards picked for it
// would do, but a large code takes milliseconds to make: the peer has to send as many as
// a group has.
func (s *fecShape) counts() (data, parity int, ok bool) {
	if len(s.left) != 1 {
		return 0, 0, false
	}
	c := s.left[0]
	return int(c.most), int(c.size - c.most), c.least == c.most && s.seen >= uint32(c.size)
}
