package kcp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

// follow carries groups over a lossless line and returns after how many of them the decoder has the
// sender's counts.
func (r *fecReceiver) follow(s *fecSender) int {
	for n := 1; n < 20; n++ {
		r.hear(s.group()...)
		if r.follows(s) {
			return n
		}
	}
	return -1
}

func TestFECFollows(t *testing.T) {
	codes := [][2]int{{10, 3}, {3, 2}, {1, 1}, {2, 1}, {3, 1}, {5, 1}, {1, 3}, {20, 10}, {100, 20}, {128, 128}, {2, 8}}
	for _, theirs := range codes {
		for _, ours := range append(codes, [2]int{0, 0}) {
			s, r := newFECSender(t, theirs[0], theirs[1]), newFECReceiver(t, ours[0], ours[1])
			if n := r.follow(s); n < 1 || n > 4 {
				t.Errorf("%v follows %v after %d groups", ours, theirs, n)
				continue
			}
			r.hear(s.group()...)
			if !r.proven {
				t.Errorf("%v is still in doubt of %v", ours, theirs)
			}
			group := s.group()
			r.hear(group[1:]...)
			r.wantRebuilt(group[0])
		}
	}
}

// The sender goes on with other counts, from the next multiple of its new group.
func TestFECFollowsChange(t *testing.T) {
	for _, c := range [][4]int{{10, 3, 3, 2}, {3, 2, 10, 3}, {3, 1, 5, 1}, {5, 1, 3, 1}, {10, 3, 10, 4}, {4, 2, 2, 1}, {2, 1, 4, 2}} {
		s, r := newFECSender(t, c[0], c[1]), newFECReceiver(t, c[0], c[1])
		for range 7 {
			r.hear(s.group()...)
		}
		next, sent := s.enc.next, s.sent
		s = newFECSender(t, c[2], c[3])
		n := s.enc.code.shards()
		s.enc.next = (next + n - 1) / n * n
		s.sent = sent
		if n := r.follow(s); n < 1 || n > 4 {
			t.Errorf("%v: followed after %d groups", c, n)
		}
		r.prove(s)
		r.wantRebuilt()
		group := s.group()
		r.hear(group[1:]...)
		r.wantRebuilt(group[0])
	}
}

// Our sender changes its counts on purpose. Then what has arrived may look like groups of the old
// ones, as below, where of 13 shards the 2 are lost that say otherwise, and is not rebuilt as such.
func TestFECChangeOnPurpose(t *testing.T) {
	s, r := newFECSender(t, 10, 3), newFECReceiver(t, 10, 3)
	r.prove(s)
	for s.enc.count != 0 {
		s.next()
	}
	s.enc.use(mustFECCode(t, 7, 2), 2)
	var alike [][]byte // as many as rebuild a group of 10/3
	var base uint32    // its seqid
	for len(alike) < 10 {
		for _, b := range s.group() {
			h, _ := parseFEC(b)
			pos := h.seqid % 13
			if h.seqid-pos != base {
				base, alike = h.seqid-pos, nil
			}
			if len(alike) < 10 && (pos < 10) == (h.kind == fecTypeData) {
				alike = append(alike, b)
			}
		}
	}
	r.hear(alike...)
	r.wantRebuilt()
	r.prove(s)
	group := s.group()
	r.hear(group[2:]...)
	r.wantRebuilt(group[0], group[1])
}

// What was sent before a change, and arrives again, is not taken for shards of the new groups.
func TestFECOldShardsAgain(t *testing.T) {
	s, r := newFECSender(t, 10, 3), newFECReceiver(t, 10, 3)
	r.prove(s)
	var old [][]byte
	for range 10 {
		old = append(old, s.group()...)
	}
	r.hear(old...)
	s.enc.use(mustFECCode(t, 4, 1), 1)
	r.prove(s)
	alike := false
	for i := 0; i+5 <= len(old); i++ {
		first, _ := parseFEC(old[i])
		fourth, _ := parseFEC(old[i+3])
		last, _ := parseFEC(old[i+4])
		if first.seqid%5 == 0 && fourth.kind == fecTypeData && last.kind == fecTypeParity {
			r.hear(old[i+1 : i+5]...) // enough of a group of 4/1, if it were one
			alike = true
		}
	}
	if !alike {
		t.Fatal("no shards that look like a group of 4/1")
	}
	r.wantRebuilt()
	r.prove(s)
	group := s.group()
	r.hear(group[1:]...)
	r.wantRebuilt(group[0])
}

// A sender that starts again from 0 is followed when its counts are proven again: they might be
// others now.
func TestFECFollowsRestart(t *testing.T) {
	s, r := newFECSender(t, 10, 3), newFECReceiver(t, 10, 3)
	s.enc.next = 13 * 100_000
	r.prove(s)
	s.enc.next = 0
	group := s.group()
	r.hear(group[1:]...)
	r.wantRebuilt()
	for n := 0; !r.proven; n++ {
		if n == 5 {
			t.Fatal("not proven")
		}
		r.hear(s.group()...)
	}
	r.wantRebuilt(group[0])
}

// lossy passes the datagrams of count groups with loss and reordering.
func (r *fecReceiver) lossy(s *fecSender, count int, loss float64) {
	r.Helper()
	var overtaken [][]byte
	for range count {
		for _, b := range s.group() {
			switch {
			case s.rnd.Float64() < loss:
			case s.rnd.IntN(20) == 0:
				overtaken = append(overtaken, b)
			default:
				r.hear(b)
			}
			if len(overtaken) > 0 && s.rnd.IntN(4) == 0 {
				r.hear(overtaken[0])
				overtaken = overtaken[1:]
			}
		}
	}
}

func TestFECFollowsOverLoss(t *testing.T) {
	for _, c := range [][4]int{{0, 0, 10, 3}, {3, 2, 10, 3}, {10, 3, 5, 2}, {3, 1, 5, 1}, {5, 1, 3, 1}, {2, 1, 3, 2}, {20, 5, 4, 4}} {
		for seed := range uint64(lighter(30, 3)) {
			s, r := newFECSender(t, c[2], c[3]), newFECReceiver(t, c[0], c[1])
			s.rnd = seeded(seed, 5)
			s.enc.next = s.enc.code.shards() * uint32(s.rnd.IntN(1000))
			s.size = func() int { return 50 } // where all are alike nothing gives a wrong result away
			r.lossy(s, 60, 0.05)
			if !r.follows(s) || !r.proven {
				t.Errorf("%v seed %d: not followed after 60 groups", c, seed)
			}
			r.wantGenuine(s)
		}
	}
}

// In doubt of the counts nothing must be rebuilt: this peer's parity at seqid 11 is that of 6 to
// 10, and with the counts expected it would pass for that of 8 to 10.
func TestFECDoubtRebuildsNothing(t *testing.T) {
	for lost := range 30 {
		s, r := newFECSender(t, 5, 1), newFECReceiver(t, 3, 1)
		s.size = func() int { return 50 }
		for range 5 {
			for _, b := range s.group() {
				if h, _ := parseFEC(b); int(h.seqid) != lost {
					r.hear(b)
				}
			}
		}
		r.wantGenuine(s)
	}
}

// Groups whose parity was left out, in part or all, must not be taken for others.
func TestFECNotFooledBySkippedParity(t *testing.T) {
	s, r := newFECSender(t, 4, 2), newFECReceiver(t, 0, 0)
	for i := range 200 {
		if s.rnd.IntN(3) == 0 {
			s.now += int64(time.Second)
		}
		all := s.next()
		if len(all) > 1 && i%5 == 0 {
			all = all[:2] // the last parity is lost
		}
		r.hear(all...)
		if r.proven && !r.follows(s) {
			t.Fatalf("after %d: taken for %d+%d", i, r.counts.data, r.counts.parity)
		}
	}
	if !r.proven {
		t.Error("not found out")
	}
	r.wantGenuine(s)
}

// Where both ends agree, what is lost before the proof is rebuilt when that comes: with the first
// datagram that the counts expected explain and no others do.
func TestFECHoldsUntilProven(t *testing.T) {
	for _, c := range [][2]int{{10, 3}, {3, 2}, {2, 2}, {5, 5}, {1, 2}, {70, 30}} {
		data, parity := c[0], c[1]
		for hole := range data {
			s, r := newFECSender(t, data, parity), newFECReceiver(t, data, parity)
			group, next := s.group(), s.group()
			r.hear(group[:hole]...)
			r.hear(group[hole+1:]...)
			r.wantRebuilt()
			for len(next) > 0 && !r.proven {
				r.wantRebuilt()
				r.hear(next[0])
				next = next[1:]
			}
			r.wantRebuilt(group[hole])
			r.hear(next...)
			if !r.proven || r.holding() || r.count.FECErrs+r.count.FECShortShards > 0 {
				t.Errorf("%v without %d: proven is %v, %+v", c, hole, r.proven, *r.count)
			}
		}
	}
}

// Once shards have contradicted each other, a group that cannot be rebuilt proves nothing, nor does
// one that just can. All that wait are rebuilt when one with a shard to spare comes, if the window has not passed them.
func TestFECHoldsWindow(t *testing.T) {
	for count := 1; count <= fecWindow+2; count++ {
		s, r := newFECSender(t, 4, 2), newFECReceiver(t, 4, 2)
		r.contradicted = true
		var lost [][]byte
		for i := range count {
			group := s.group()
			a, b := i%4, 4+i%2 // one of data, one of parity
			lost = append(lost, group[a])
			for i, x := range group {
				if i != a && i != b {
					r.hear(x)
				}
			}
		}
		if r.proven {
			t.Fatal("proven without a shard to spare")
		}
		r.wantRebuilt()
		given := max(0, count+1-fecWindow)
		r.wholeGroupProves(s)
		r.wantRebuilt(lost[given:]...)
		if n := r.count.FECShortShards; int(n) != given {
			t.Errorf("%d groups: %d given up, want %d", count, n, given)
		}
	}
}

// wholeGroupProves carries one group without loss, which must be the proof.
func (r *fecReceiver) wholeGroupProves(s *fecSender) {
	r.Helper()
	if r.hear(s.group()...); !r.proven {
		r.Fatal("a whole group proves nothing")
	}
}

// A pause forgets the groups and nothing else.
func TestFECReleaseKeepsProof(t *testing.T) {
	s, r := newFECSender(t, 3, 2), newFECReceiver(t, 3, 2)
	r.hear(s.group()[:4]...)
	r.release()
	r.wholeGroupProves(s)
	r.hear(s.group()[:2]...)
	r.release()
	if r.holding() {
		t.Error("something is held after release")
	}
	group := s.group()
	r.hear(group[1:]...)
	r.wantRebuilt(group[0])
	if r.count.FECShortShards != 0 {
		t.Errorf("%d groups given up", r.count.FECShortShards)
	}
}

// Kinds that fit do not make up for sums that don't.
func TestFECSumsTell(t *testing.T) {
	s, r := newFECSender(t, 5, 2), newFECReceiver(t, 5, 2)
	for range 20 {
		group := s.group()
		for _, b := range group[5:] {
			b[len(b)-1] ^= 1
		}
		r.hear(group[1:]...)
	}
	if r.proven || r.count.FECErrs == 0 {
		t.Errorf("proven is %v, %d errors", r.proven, r.count.FECErrs)
	}
	r.wantRebuilt()
	r.release() // the last of these groups may have nothing to spare
	r.prove(s)
	errs := r.count.FECErrs
	group := s.group()
	r.hear(group[1:]...)
	r.wantRebuilt(group[0])
	if r.count.FECErrs != errs {
		t.Errorf("%d errors since the proof", r.count.FECErrs-errs)
	}
}

// A datagram that is not the peer's puts the counts in doubt, not for long, and what is lost
// meanwhile is found, whole groups or not.
func TestFECDoubtEnds(t *testing.T) {
	s, r := newFECSender(t, 100, 30), newFECReceiver(t, 100, 30)
	groups := func(count int) (lost [][]byte) {
		for range count {
			group := s.group()
			hole := s.rnd.IntN(98) + 1
			lost = append(lost, group[hole])
			r.hear(group[:hole]...)
			r.hear(group[hole+1:]...)
		}
		return lost
	}
	r.prove(s)
	var lost [][]byte
	for range 3 {
		lost = append(lost, groups(2)...)
		r.wantRebuilt(lost...)
		noise := s.next()[0]
		putFECHeader(noise, s.enc.next+3, fecTypeParity)
		r.hear(noise)
		lost = append(lost, noise)
		if r.proven {
			t.Fatal("nothing is in doubt")
		}
		for s.enc.count > 0 {
			r.hear(s.next()...)
		}
		lost = append(lost, groups(3)...)
		if !r.proven {
			t.Error("the doubt goes on")
		}
		r.wantRebuilt(lost...)
	}
}

// wrongFECCounts is what a receiver expects and what its peer uses. Of some the codewords are the
// same, or the first group's, or every other group's.
var wrongFECCounts = [][4]int{
	{10, 3, 10, 2}, {10, 3, 10, 4}, {10, 3, 9, 4}, {10, 3, 8, 5}, {10, 3, 11, 2}, {10, 3, 20, 5}, {3, 1, 5, 1},
	{5, 1, 3, 1}, {2, 2, 3, 1}, {2, 2, 1, 3}, {2, 2, 2, 6}, {3, 2, 4, 1}, {4, 3, 5, 1}, {4, 2, 2, 1}, {2, 1, 4, 2},
	{1, 1, 2, 1}, {1, 1, 1, 3}, {1, 3, 1, 1}, {12, 2, 12, 3}, {5, 6, 5, 3}, {16, 6, 17, 1}, {20, 5, 4, 4},
}

// Whatever is lost, what is rebuilt is what was sent.
func TestFECWrongCountsRebuildNothingWrong(t *testing.T) {
	seeds := lighter[uint64](12, 2)
	counts := wrongFECCounts
	rnd := seeded(6, 6)
	for range lighter(20, 2) {
		counts = append(counts, [4]int{1 + rnd.IntN(20), 1 + rnd.IntN(6), 1 + rnd.IntN(20), 1 + rnd.IntN(6)})
	}
	for _, c := range counts {
		for _, loss := range []float64{0, 0.02, 0.1, 0.2, 0.3} {
			recovered := uint64(0)
			for seed := range seeds {
				s, r := newFECSender(t, c[2], c[3]), newFECReceiver(t, c[0], c[1])
				s.rnd = seeded(seed, 8)
				r.authentic = seed%4 > 1
				s.size = func() int { return 50 } // where all are alike nothing gives a wrong result away
				if seed%2 == 1 {
					s.enc.next = s.enc.code.shards() * s.rnd.Uint32N(1000)
				}
				r.lossy(s, 40, loss)
				r.wantGenuine(s)
				recovered += r.count.FECRecovered
			}
			if (loss == 0.02 || loss == 0.1) && recovered == 0 && seeds > 2 { // 17/1 repairs little of more
				t.Errorf("%v, loss %v: nothing was rebuilt", c, loss)
			}
		}
	}
}

// If just those datagrams are lost that would give the wrong counts away, the sums could prove them
// for some, as would identical shards, which are a codeword under any counts.
func TestFECMisfitsLost(t *testing.T) {
	for _, c := range wrongFECCounts {
		for i := range 4 {
			alike := i%2 == 1
			s, r := newFECSender(t, c[2], c[3]), newFECReceiver(t, c[0], c[1])
			r.authentic = i > 1
			s.size = func() int { return 50 }
			for range 100 {
				for _, b := range s.group() {
					h, _ := parseFEC(b)
					if alike {
						clear(b[fecShardStart:])
						b[fecShardStart] = 52
					}
					if r.expected.fits(h.seqid, h.kind == fecTypeData) {
						r.hear(b)
					}
				}
			}
			if r.proven && (alike || !r.follows(s)) {
				t.Errorf("%v: %v is proven, alike is %v", c, r.counts, alike)
			}
			if alike && len(r.got) > 0 {
				t.Errorf("%v: %d rebuilt", c, len(r.got))
			} else if !alike {
				r.wantGenuine(s)
			}
		}
	}
}

// soleCounts returns the only counts that are left.
func soleCounts(s *fecShape) (fecCounts, bool) {
	c, ok := s.sole()
	return c.counts(), ok && c.least == c.most
}

// lossInEachGroup carries 20 groups without the datagram at position hole, and returns the first
// group of which that is rebuilt, or after which the counts are proven where it is parity; -1 for
// none.
func (r *fecReceiver) lossInEachGroup(s *fecSender, hole int) (first int) {
	r.Helper()
	var lost [][]byte
	first = -1
	for n := range 20 {
		group := s.group()
		lost = append(lost, group[hole])
		r.hear(group[:hole]...)
		r.hear(group[hole+1:]...)
		if first < 0 && r.proven && hole >= s.enc.code.data {
			first = n
		}
	}
	for n, b := range lost {
		if first < 0 && r.got[string(b[fecHeaderSize:])] == 1 {
			first = n
		}
		if first >= 0 && hole < s.enc.code.data && r.got[string(b[fecHeaderSize:])] != 1 {
			r.Errorf("group %d is not rebuilt, and group %d was", n, first)
		}
	}
	r.wantGenuine(s)
	return first
}

// Where each group loses one datagram, always the same, every one of them is rebuilt, when nobody
// but the peer can have sent the shards, or both ends have the same counts. Otherwise that takes a
// shard to spare.
func TestFECLossInEachGroup(t *testing.T) {
	for _, theirs := range lighter([]fecCounts{{1, 1}, {2, 1}, {3, 1}, {10, 3}, {16, 16}, {1, 2}, {3, 2}, {40, 8}}, []fecCounts{{1, 1}, {10, 3}, {3, 2}}) {
		for _, ours := range []fecCounts{theirs, {10, 3}, {5, 5}, {2, 1}, {0, 0}} {
			for _, authentic := range []bool{false, true} {
				line := ""
				for hole := range int(theirs.shards()) {
					if theirs.data > lighter(20, 10) && hole > 1 && hole < theirs.data-1 {
						continue
					}
					s, r := newFECSender(t, theirs.data, theirs.parity), newFECReceiver(t, ours.data, ours.parity)
					r.authentic = authentic
					first := r.lossInEachGroup(s, hole)
					line += fmt.Sprint(" ", first)
					latest := -1 // where nothing tells the counts
					switch {
					case theirs.data == 1, hole == theirs.data:
						continue // the kinds of what is left do not tell data from parity, or nothing is to be rebuilt
					case authentic, ours == theirs, theirs.parity > 1:
						latest = 2
					}
					if first > latest || first < 0 && latest >= 0 {
						t.Errorf("%v without %d, expecting %v, authentic %v: rebuilt from group %d on, want %d",
							theirs, hole, ours, authentic, first, latest)
					}
				}
				t.Logf("%v, expecting %v, authentic %-5v: from group%.80s", theirs, ours, authentic, line)
			}
		}
	}
}

// A string is a run of seqids: d for data, p for parity, a dot for a hole.
func TestFECShape(t *testing.T) {
	for _, c := range []struct {
		start        uint32
		seen         string
		data, parity int // 0 while others are possible
	}{
		{0, "dddppd", 3, 2},
		{0, "dddpp", 0, 0},       // more parity may follow
		{0, "ddd.pd", 0, 0},      // 4/1 also is possible
		{0, "d.dppd", 3, 2},      // whatever is in the hole, data comes first
		{0, "dddp.d", 0, 0},      // 3/1 starts a group there
		{0, "dddp.ddd", 3, 2},    // which would have parity at 7
		{0, "ddd..dddpp", 0, 0},  // 8/2, or 3/2 whose first parity was left out
		{0, "ddd..dddppd", 0, 0}, // still
		{0, "ddd..dddppdddp", 3, 2},
		{5, "dddppd", 0, 0}, // a group need not start at the first that was seen
		{5, "dddppdddp", 3, 2},
		{1, "ddddppd", 5, 2},
		{0, "dpd", 1, 1},
		{1, "pppddddddd", 0, 0},
		{0, "dppp", 0, 0},
		{0, "ddpddpdpdd", 0, 0}, // of no peer
		{0xfffffff8, "dddppdddp", 0, 0},
		{0, strings.Repeat("d", 255) + "p", 255, 1},
		{0, strings.Repeat("d", 255), 0, 0},
		{0, strings.Repeat("d", 256), 0, 0},
		{0, "d" + strings.Repeat("p", 255), 1, 255},
		{0, strings.Repeat("d", 200) + strings.Repeat("p", 56) + "d", 200, 56},
		{0, strings.Repeat("d", 200) + strings.Repeat("p", 57) + "d", 0, 0},
	} {
		var s fecShape
		s.start()
		seqid := c.start - 1
		for _, kind := range c.seen {
			if seqid++; kind != '.' {
				s.observe(seqid, kind == 'd')
			}
		}
		if counts, ok := soleCounts(&s); ok != (c.data > 0) || ok && counts != (fecCounts{c.data, c.parity}) {
			t.Errorf("%d: %.40s looks like %v, %v; left %v", c.start, c.seen, counts, ok, s.left)
		}
	}
}

// The right counts are never struck out, and the only ones left soon.
func TestFECShapeFinds(t *testing.T) {
	rnd := seeded(3, 3)
	for range 300 {
		size := uint32(2 + rnd.IntN(60))
		data := 1 + rnd.Uint32N(size-1)
		base := size * rnd.Uint32N(0xffffffff/size-40)
		var s fecShape
		s.start()
		found := false
		for _, i := range rnd.Perm(int(40 * size)) { // in any order
			seqid := base + uint32(i)
			s.observe(seqid, seqid%size < data)
			counts, ok := soleCounts(&s)
			if ok && counts != (fecCounts{int(data), int(size - data)}) {
				t.Fatalf("%d/%d is taken for %v", data, size-data, counts)
			}
			found = found || ok
		}
		if !found {
			t.Errorf("%d/%d is not found: %v", data, size-data, s.left)
		}
	}
}

func TestFECNotFooledByNoise(t *testing.T) {
	noise := func(seqid uint32, kind uint16) []byte {
		b := make([]byte, fecHeaderSize+20)
		putFECHeader(b, seqid, kind)
		binary.LittleEndian.PutUint16(b[fecShardStart:], 22)
		return b
	}
	for name, shards := range map[string][][]byte{
		"of the other kind": {noise(12, fecTypeData), noise(0, fecTypeParity), noise(7, fecTypeParity)},
		"ahead":             {noise(13<<20, fecTypeData), noise(13<<20+13, fecTypeData), noise(13<<20+26, fecTypeData), noise(13<<20+39, fecTypeData)},
		"far ahead":         {noise(13<<27, fecTypeData), noise(13<<27+13, fecTypeData), noise(13<<27+26, fecTypeData), noise(13<<27+39, fecTypeData)},
		"a group of it":     {noise(1000, fecTypeData), noise(1001, fecTypeParity), noise(1002, fecTypeData), noise(1003, fecTypeParity), noise(1004, fecTypeData)},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := newFECSender(t, 10, 3), newFECReceiver(t, 10, 3)
			s.enc.next = 13 * 200
			r.hear(s.group()...)
			r.hear(shards...)
			r.hear(s.next()...)
			r.hear(shards...)
			for s.enc.next%13 != 0 {
				r.hear(s.next()...)
			}
			for range 2 {
				r.hear(s.group()...)
			}
			clear(r.got) // what is made of noise is noise
			r.count.FECRecovered = 0
			var lost [][]byte
			for range 8 {
				group := s.group()
				lost = append(lost, group[0])
				r.hear(group[1:]...)
			}
			r.wantRebuilt(lost...)
		})
	}
}

// Whatever comes, only so much is held.
func TestFECMemory(t *testing.T) {
	rnd := seeded(9, 9)
	r := newFECReceiver(t, 128, 128)
	most := 0
	for range 20_000 {
		b := make([]byte, fecHeaderSize+2)
		kind := uint16(fecTypeData)
		if rnd.IntN(2) == 0 {
			kind = fecTypeParity
		}
		putFECHeader(b, rnd.Uint32N(4096), kind)
		binary.LittleEndian.PutUint16(b[fecShardStart:], 4)
		r.hear(b)
		held := 0
		for i := range r.groups {
			held += r.groups[i].have
		}
		most = max(most, held)
	}
	if most > fecWindow*fecShardsMax {
		t.Errorf("%d shards held", most)
	}
	r.release()
	if r.holding() {
		t.Error("something is held after release")
	}
	if len(fecCodes.codes) > fecCodesMax {
		t.Errorf("%d codes are cached", len(fecCodes.codes))
	}
}
