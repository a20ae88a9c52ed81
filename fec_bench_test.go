package kcp

import (
	"bytes"
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
			dec := fecDecoder{code: code, pool: new(packetPool), count: new(Snmp)}
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
