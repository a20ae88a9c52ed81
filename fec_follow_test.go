package kcp

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// follow carries groups over a lossless line and returns after how many of them the
// decoder has the sender's counts.
func (r *fecReceiver) follow(s *fecSender) int {
	for n := 1; n < 20; n++ {
		r.hear(s.group()...)
		if r.code == s.enc.code {
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
			// Once something does not fit, the datagram after the first whole group tells.
			if n := r.follow(s); n < 1 || n > 4 {
				t.Errorf("%v follows %v after %d groups", ours, theirs, n)
				continue
			}
			r.hear(s.group()...)
			if r.shape != nil {
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
		r.wantRebuilt()
		group := s.group()
		r.hear(group[1:]...)
		r.wantRebuilt(group[0])
	}
}

// A sender that starts again from 0 is followed without a pause.
func TestFECFollowsRestart(t *testing.T) {
	s, r := newFECSender(t, 10, 3), newFECReceiver(t, 10, 3)
	s.enc.next = 13 * 100_000
	for range 10 {
		r.hear(s.group()...)
	}
	s.enc.next = 0
	group := s.group()
	r.hear(group[1:]...)
	r.wantRebuilt(group[0])
}

// lossy passes the datagrams of count groups with loss and reordering.
func (r *fecReceiver) lossy(s *fecSender, count int, loss float64) {
	r.Helper()
	var late [][]byte
	for range count {
		for _, b := range s.group() {
			switch {
			case s.rnd.Float64() < loss:
			case s.rnd.IntN(20) == 0:
				late = append(late, b)
			default:
				r.hear(b)
			}
			if len(late) > 0 && s.rnd.IntN(4) == 0 {
				r.hear(late[0])
				late = late[1:]
			}
		}
	}
}

func TestFECFollowsOverLoss(t *testing.T) {
	for _, c := range [][4]int{{0, 0, 10, 3}, {3, 2, 10, 3}, {10, 3, 5, 2}, {3, 1, 5, 1}, {5, 1, 3, 1}, {2, 1, 3, 2}, {20, 5, 4, 4}} {
		for seed := range uint64(30) {
			s, r := newFECSender(t, c[2], c[3]), newFECReceiver(t, c[0], c[1])
			s.rnd = rand.New(rand.NewPCG(seed, 5))
			s.enc.next = s.enc.code.shards() * uint32(s.rnd.IntN(1000))
			s.size = func() int { return 50 } // where all are alike nothing gives a wrong result away
			r.lossy(s, 60, 0.05)
			if r.code != s.enc.code {
				t.Errorf("%v seed %d: not followed after 60 groups", c, seed)
			}
			r.wantGenuine(s)
		}
	}
}

// In doubt of the counts nothing must be rebuilt: this peer's parity at seqid 11 is that of
// 6 to 10, and with the counts expected it would pass for that of 8 to 10.
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
		if r.code != nil && r.code != s.enc.code {
			t.Fatalf("after %d: taken for %d+%d", i, r.code.data, r.code.parity)
		}
	}
	if r.code == nil {
		t.Error("not found out")
	}
	r.wantGenuine(s)
}

// Counts that are never seen whole are believed again when enough fits them.
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
	groups(1)
	for range 2 {
		noise := s.next()[0]
		putFECHeader(noise, s.enc.next+3, fecTypeParity)
		r.hear(noise)
		if r.shape == nil {
			t.Fatal("nothing is in doubt")
		}
		for s.enc.count > 0 {
			r.hear(s.next()...)
		}
		groups(2)
		if r.shape == nil {
			t.Error("the doubt is over too soon")
		}
	}
	groups(3)
	if r.shape != nil {
		t.Error("the doubt goes on")
	}
	clear(r.got)
	r.count.FECRecovered = 0
	r.wantRebuilt(groups(3)...)
}

// A string is a run of seqids: d for data, p for parity, a dot for a hole.
func TestFECInfer(t *testing.T) {
	for _, c := range []struct {
		start        uint32
		seen         string
		data, parity int
	}{
		{0, "dddppd", 3, 2},
		{0, "dddpp", 0, 0},
		{5, "dddppd", 0, 0}, // what was before is not known
		{4, "pdddppd", 3, 2},
		{5, "pdddppd", 0, 0}, // a group starts at a multiple of its size
		{0, "d.dppd", 0, 0},
		{0, "ddd.pd", 0, 0},
		{0, "dddp.d", 0, 0},
		{0, "dddppd..dppd", 0, 0}, // the last group decides; the first one did when it ended
		{0, "dddppdddd", 3, 2},
		{0, "dpd", 1, 1},
		{1, "pppddddddd", 0, 0},
		{0xfffffff9, "pdddppd", 3, 2},
		{0xfffffffa, "dddppd", 0, 0},
		{255, "p" + strings.Repeat("d", 200) + strings.Repeat("p", 56) + "d", 200, 56},
		{256, "p" + strings.Repeat("d", 200) + strings.Repeat("p", 57) + "d", 0, 0},
	} {
		var s fecShape
		seqid := c.start - 1
		for _, kind := range c.seen {
			if seqid++; kind != '.' {
				s.observe(seqid, kind == 'd', false)
			}
		}
		if data, parity, ok := s.infer(seqid); data != c.data || parity != c.parity || ok != (data > 0) {
			t.Errorf("%d: %.40s looks like %d+%d", c.start, c.seen, data, parity)
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
	rnd := rand.New(rand.NewPCG(9, 9))
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
	if r.holding() || r.scratch != nil {
		t.Error("something is held after release")
	}
	if len(fecCodes.m) > fecCodesMax {
		t.Errorf("%d codes are cached", len(fecCodes.m))
	}
}
