package kcp

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

// counts returns those with the most data shards.
func (c fecSize) counts() fecCounts { return fecCounts{int(c.most), int(c.size - c.most)} }

// start makes all counts possible.
func (s *fecShape) start() {
	if s.left == nil {
		s.left = make([]fecSize, 0, fecShardsMax-1)
	}
	s.left, s.seen = s.left[:0], 0
	for n := uint16(2); n <= fecShardsMax; n++ {
		s.left = append(s.left, fecSize{size: n, least: 1, most: n - 1})
	}
}

// clear forgets everything.
func (s *fecShape) clear() { s.left, s.seen = s.left[:0], 0 }

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

// explains says whether the peer may have these counts.
func (s *fecShape) explains(counts fecCounts) bool {
	for _, c := range s.left {
		if counts.data+counts.parity == int(c.size) && counts.data >= int(c.least) && counts.data <= int(c.most) {
			return true
		}
	}
	return false
}

// sole returns the size of the peer's groups when no other is left. A few chosen shards would
// achieve that, so the peer has to send as many shards as a group has.
func (s *fecShape) sole() (c fecSize, ok bool) {
	if len(s.left) != 1 {
		return c, false
	}
	return s.left[0], s.seen >= uint32(s.left[0].size)
}
