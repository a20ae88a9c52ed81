package kcp

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/reedsolomon"
)

// sameAsLibrary encodes a group of random shards of random lengths, loses lost random ones, and
// compares what interpolation makes of the rest with what the library does.
func sameAsLibrary(t *testing.T, rnd *rand.Rand, code *fecCode, lost int) {
	t.Helper()
	const size = 70
	n := code.data + code.parity
	lengths, all := make([]int, n), make([][]byte, n)
	for i := range all {
		all[i] = make([]byte, size)
		if lengths[i] = size; i < code.data {
			lengths[i] = 20 + rnd.IntN(size-19)
		}
		for k := range lengths[i] {
			all[i][k] = byte(rnd.Uint32())
		}
	}
	if err := code.rs.Encode(all); err != nil {
		t.Fatal(err)
	}
	shards := make([]*packet, n)
	for i := range shards {
		shards[i] = &packet{data: all[i][:lengths[i]]} // without its padding
	}
	theirs := make([][]byte, n)
	copy(theirs, all)
	for _, i := range rnd.Perm(n)[:lost] {
		shards[i], theirs[i] = nil, nil
	}
	if err := code.rs.Reconstruct(theirs); err != nil {
		t.Fatal(err)
	}
	var points fecPoints
	points.choose(shards, code.data)
	sum := make([]byte, size)
	for i, p := range shards {
		if p != nil {
			continue
		}
		clear(sum)
		points.interpolate(shards, uint8(i), sum)
		if !bytes.Equal(sum, theirs[i]) || !bytes.Equal(sum, all[i]) {
			t.Fatalf("%v: shard %d differs", code.fecCounts, i)
		}
	}
	// The shards are of one codeword, and no fewer say so.
	for _, c := range []struct {
		n    int
		zero bool
	}{{code.data + 1, true}, {code.data, false}} {
		if c.n > n-lost {
			continue
		}
		var points fecPoints
		points.choose(shards, c.n)
		clear(sum)
		if points.difference(shards, sum); (bytes.Count(sum, []byte{0}) == size) != c.zero {
			t.Errorf("%v: the difference of %d shards: zero is %v", code.fecCounts, c.n, !c.zero)
		}
	}
}

// Interpolation is the library's code, bit for bit, for all small counts, many large ones, and any
// losses.
func TestFECInterpolates(t *testing.T) {
	rnd := seeded(12, 12)
	var counts []fecCounts
	for data := 1; data <= 20; data += lighter(1, 7) {
		for parity := 1; parity <= 12; parity += lighter(1, 5) {
			counts = append(counts, fecCounts{data, parity})
		}
	}
	for range lighter(40, 2) {
		data := 1 + rnd.IntN(255)
		counts = append(counts, fecCounts{data, 1 + rnd.IntN(256-data)})
	}
	for _, c := range append(counts, fecCounts{255, 1}, fecCounts{1, 255}, fecCounts{128, 128}) {
		rs, err := reedsolomon.New(c.data, c.parity)
		if err != nil {
			t.Fatal(err)
		}
		code := &fecCode{fecCounts: c, rs: rs}
		for lost := range min(c.parity, 6) {
			sameAsLibrary(t, rnd, code, lost+1)
		}
		sameAsLibrary(t, rnd, code, c.parity)
	}
}

// FuzzFECInterpolate is TestFECInterpolates with counts and losses of the fuzzer's choice.
func FuzzFECInterpolate(f *testing.F) {
	f.Add(uint64(1), uint8(10), uint8(3), uint8(2))
	f.Add(uint64(2), uint8(1), uint8(255), uint8(200))
	f.Add(uint64(3), uint8(255), uint8(1), uint8(1))
	f.Add(uint64(4), uint8(128), uint8(128), uint8(128))
	f.Fuzz(func(t *testing.T, seed uint64, data, parity, lost uint8) {
		c := fecCounts{max(1, int(data)), max(1, int(parity))}
		if c.data+c.parity > fecShardsMax {
			t.Skip()
		}
		rs, err := reedsolomon.New(c.data, c.parity)
		if err != nil {
			t.Fatal(err)
		}
		code := &fecCode{fecCounts: c, rs: rs}
		sameAsLibrary(t, rand.New(rand.NewPCG(seed, 1)), code, min(int(lost), c.parity))
	})
}
