package kcp

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/reedsolomon"
)

// A repair is a sum over GF(2^8) of multiples of segments that are not acknowledged, from which a
// receiver rebuilds as many lost ones as it has repairs (docs/protocol.md, Repairs; a sliding-window
// code such as RLC, RFC 8681: https://www.rfc-editor.org/rfc/rfc8681).
//
// What is summed up are symbols, one of each segment: length (2), frg (1), cmd (1) and check (4), then the
// segment's data, padded with zeros to the longest. check is the CRC-32 (IEEE) of the serial number and
// the data.
const (
	repairWindow = 64 // serial numbers that a repair can cover
	repairBitmap = 8  // bytes of a REP in front of the sum: the members, counted from the REP's sn
	symbolHead   = 8  // bytes of a symbol in front of the data

	// repairIndexMax is the mask of a repair's index, in the REP's frg; bit 7 asks for an answer.
	repairIndexMax = 1<<7 - 1
	repairAnswer   = 1 << 7
	// repairOverhead is how much longer a REP is than the PUSH of its longest member.
	repairOverhead = repairBitmap + symbolHead
)

// gf has the operations on slices of GF(2^8), modulo x^8 + x^4 + x^3 + x^2 + 1.
var gf reedsolomon.LowLevel

// gfMul is the product of two elements.
func gfMul(a, b uint8) uint8 {
	if a == 0 || b == 0 {
		return 0
	}
	return gfExp[int(gfLog[a])+int(gfLog[b])]
}

// gfInverse is the inverse of an element other than 0.
func gfInverse(a uint8) uint8 { return gfExp[255-int(gfLog[a])] }

// repairCoefficient is the factor of segment sn in the repair with that index. The factors are a Cauchy
// matrix: no sum of fewer repairs than it has lost members leaves one out.
func repairCoefficient(index uint8, sn uint32) uint8 {
	return gfInverse(index&repairIndexMax ^ (1<<7 | uint8(sn)))
}

// putSymbolHead writes the head of the symbol of a segment with that data.
func putSymbolHead(b []byte, cmd, frg uint8, length int, check uint32) {
	le := binary.LittleEndian
	le.PutUint16(b, uint16(length))
	b[2], b[3] = frg, cmd
	le.PutUint32(b[4:], check)
}

// addToRepair adds the symbol of segment sn to sum, which is as long as that at least, in the repair with
// that index.
func addToRepair(sum []byte, index uint8, sn uint32, cmd, frg uint8, data []byte, check uint32) {
	f := repairCoefficient(index, sn)
	var head [symbolHead]byte
	putSymbolHead(head[:], cmd, frg, len(data), check)
	gf.GalMulSliceXor(f, head[:], sum)
	gf.GalMulSliceXor(f, data, sum[symbolHead:])
}

// symbolCheck is the check of a segment's symbol: CRC-32 over sn and data. The bytes of sn would be on the heap
// if they went through crc32.Update, too.
func symbolCheck(sn uint32, data []byte) uint32 {
	sum := ^uint32(0)
	for range 4 {
		sum = crc32.IEEETable[byte(sum^sn)] ^ sum>>8
		sn >>= 8
	}
	return crc32.Update(^sum, crc32.IEEETable, data)
}

// parseSymbol returns the segment sn that a symbol is of. ok is false for what is none: its equation was
// forged, or damaged without a cipher that would tell.
func parseSymbol(sn uint32, b []byte) (h header, data []byte, ok bool) {
	if len(b) < symbolHead {
		return h, nil, false
	}
	le := binary.LittleEndian
	n := int(le.Uint16(b))
	h = header{cmd: b[3], frg: b[2], sn: sn, len: uint32(n)}
	rest := b[symbolHead:]
	if n > len(rest) || h.cmd != IKCP_CMD_PUSH && (h.cmd != cmdFIN || n > 0) ||
		le.Uint32(b[4:]) != symbolCheck(sn, rest[:n]) {
		return h, nil, false
	}
	for _, x := range rest[n:] {
		if x != 0 {
			return h, nil, false
		}
	}
	return h, rest[:n], true
}
