package kcp

import (
	"bytes"
	"fmt"
	"testing"
)

const benchFECSize = 1400

// BenchmarkFECEncode is the cost of the parity of 10/3, for each data datagram.
func BenchmarkFECEncode(b *testing.B) {
	enc := newFECEncoder(mustFECCode(b, 10, 3), 0, new(packetPool))
	datagram := random(1, benchFECSize)
	b.SetBytes(benchFECSize)
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range enc.encode(datagram, 0) {
			enc.pool.put(p)
		}
	}
}

// BenchmarkFECDecode is the cost of the decoder for each datagram that arrives, 10/3.
func BenchmarkFECDecode(b *testing.B) {
	for _, c := range []struct {
		name string
		lost int // of each group's data
	}{{"NoLoss", 0}, {"Loss1", 1}, {"Loss3", 3}} {
		b.Run(c.name, func(b *testing.B) {
			code := mustFECCode(b, 10, 3)
			enc := newFECEncoder(code, 0, new(packetPool))
			var group [][]byte
			for i := range 10 {
				d := random(uint64(i), benchFECSize)
				parity := enc.encode(d, 0)
				group = append(group, d)
				for _, p := range parity {
					group = append(group, bytes.Clone(p.data))
				}
			}
			dec := newFECDecoder(code, false, new(packetPool), new(Snmp))
			deliver := func([]byte) {}
			base, i := uint32(0), 0
			add := func(group [][]byte) {
				h, _ := parseFEC(group[i])
				h.seqid += base
				dec.add(h, group[i][fecShardStart:], deliver)
				if i++; i == len(group) {
					i = 0
					if base += code.shards(); base >= code.limit {
						base = 0
					}
				}
			}
			for range 2 * len(group) {
				add(group)
			}
			if !dec.proven {
				b.Fatal("the code is not proven after two groups")
			}
			group = group[c.lost:]
			b.SetBytes(benchFECSize)
			b.ReportAllocs()
			for b.Loop() {
				add(group)
			}
		})
	}
}

// BenchmarkFECHostile is the cost for each datagram of what a peer may send to make work: large
// groups with a random half missing, in shards of a header each, one of them as long as can be; and
// shards that nothing can be made of.
func BenchmarkFECHostile(b *testing.B) {
	for _, c := range []fecCounts{{10, 3}, {64, 64}, {128, 128}} {
		for _, longest := range []int{26, benchFECSize} {
			b.Run(fmt.Sprintf("Halves/%d+%d/%d", c.data, c.parity, longest), func(b *testing.B) {
				code := mustFECCode(b, c.data, c.parity)
				d, _, next := provenDecoder(b, code)
				shards := attackGroup(b, code, 1)
				shards[code.data] = append(shards[code.data], make([]byte, longest-26)...)
				rnd := seeded(1, 1)
				for i := 0; i < b.N; {
					for _, pos := range rnd.Perm(len(shards))[:code.data] {
						kind := uint16(fecTypeData)
						if pos >= code.data {
							kind = fecTypeParity
						}
						d.add(fecHeader{next + uint32(pos), kind, 0}, shards[pos], func([]byte) {})
						i++
					}
					next += code.shards()
				}
			})
		}
	}
	for _, c := range []struct {
		name string
		span uint32
		kind uint32
	}{{"Anywhere", 0xfffffffe, 2}, {"Near", 4000, 2}, {"NearData", 4000, 1}} {
		b.Run("Random/"+c.name, func(b *testing.B) {
			d := newFECDecoder(mustFECCode(b, 128, 128), false, new(packetPool), new(Snmp))
			rnd := seeded(1, 1)
			shard := make([]byte, 26)
			for range b.N {
				d.add(fecHeader{rnd.Uint32N(c.span), uint16(fecTypeData + rnd.Uint32N(c.kind)), 26}, shard, func([]byte) {})
			}
		})
	}
}
