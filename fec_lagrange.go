package kcp

import "github.com/klauspost/reedsolomon"

// The bytes at one offset of a group's shards are the values of a polynomial over GF(2^8), of lower
// degree than there are data shards, at 0, 1, 2 and so on: this is what the default matrix of
// github.com/klauspost/reedsolomon amounts to. So any shard is a sum of multiples of as many others
// as there are data shards, by Lagrange interpolation. Its factors cost data² table look-ups, where
// the inversion of a matrix costs data³ multiplications.

// gfLog and gfExp are logarithms and powers of 2 in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. gfLog
// of 0 is 0, which leaves a product of logarithms as it is; gfExp is long enough for the sum of
// three logarithms.
var gfLog, gfExp = gfTables()

func gfTables() (log [256]uint8, exp [3 * 255]uint8) {
	x := 1
	for i := range 255 {
		log[x] = uint8(i)
		exp[i], exp[i+255], exp[i+510] = uint8(x), uint8(x), uint8(x)
		if x <<= 1; x > 255 {
			x ^= 0x11d
		}
	}
	return log, exp
}

// fecPoints are positions of shards in a group, and what interpolation from these shards needs.
type fecPoints struct {
	n       int
	pos     [fecShardsMax]uint8
	weights [fecShardsMax]uint8 // by index: log of the product of the differences to all others
}

// logProduct returns the logarithm of the product of the differences of x to all points but itself.
func (s *fecPoints) logProduct(x uint8) uint8 {
	sum := 0
	for _, p := range s.pos[:s.n] {
		sum += int(gfLog[x^p])
	}
	return uint8(sum % 255)
}

// choose makes the points, none yet, the positions of the first n shards that are there, and
// returns the length of the longest of these.
func (s *fecPoints) choose(shards []*packet, n int) (length int) {
	for pos := 0; s.n < n; pos++ {
		if p := shards[pos]; p != nil {
			length = max(length, len(p.data))
			s.pos[s.n] = uint8(pos)
			s.n++
		}
	}
	for i, p := range s.pos[:s.n] {
		s.weights[i] = s.logProduct(p)
	}
	return length
}

// interpolate adds to sum, all zeros, the shard at position x, which is none of the points. shard
// returns the bytes at a point; zeros may be missing at their end.
func (s *fecPoints) interpolate(shards []*packet, x uint8, sum []byte) {
	product := int(s.logProduct(x))
	for i, p := range s.pos[:s.n] {
		log := product + 255 - int(s.weights[i]) + 255 - int(gfLog[x^p])
		gfMulAdd(gfExp[log], shards[p].data, sum)
	}
}

// difference adds to sum, all zeros, the divided difference of the shards at the points. It is zero
// where a polynomial of a degree below n-1 explains all of them, that is, where one of the shards
// follows from the others.
func (s *fecPoints) difference(shards []*packet, sum []byte) {
	for i, p := range s.pos[:s.n] {
		gfMulAdd(gfExp[255-int(s.weights[i])], shards[p].data, sum)
	}
}

// gfMulAdd adds c times the elements of in to those of sum.
func gfMulAdd(c uint8, in, sum []byte) {
	reedsolomon.LowLevel{}.GalMulSliceXor(c, in, sum)
}
