package kcp

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// FuzzFECDecode loses, repeats, delays and invents shards. What is rebuilt from genuine ones alone
// must be what was sent.
func FuzzFECDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		p := program{in}
		pool := new(packetPool)
		code := mustFECCode(t, 1+p.n(12), 1+p.n(4))
		enc := newFECEncoder(code, 0, pool)
		if p.byte()%4 == 0 {
			enc.next = code.limit - code.shards()*uint32(p.n(8))
			if enc.next == code.limit {
				enc.next = 0
			}
		}
		var count Snmp
		var expected *fecCode
		genuine := true
		switch p.n(3) {
		case 0: // it learns the counts by itself
		case 1:
			expected = code
		case 2: // it expects others, most likely
			expected = mustFECCode(t, 1+p.n(12), 1+p.n(4))
		}
		dec := newFECDecoder(expected, p.n(2) == 1, pool, &count)
		known := make(map[string]bool)
		var overtaken [][]byte
		now := int64(0)
		add := func(b []byte) {
			h, ok := parseFEC(b)
			if !ok {
				return
			}
			shard := b[fecShardStart:]
			if h.kind != fecTypeParity {
				body, ok := h.body(b)
				if !ok || h.kind == fecTypeOOB {
					return
				}
				shard = shard[:fecSizeField+len(body)]
			}
			dec.add(h, shard, func(got []byte) {
				if genuine && !known[string(got)] {
					t.Fatalf("rebuilt %x, which was never sent", got)
				}
			})
			wantFECBounded(t, dec)
		}
		deliver := func(b []byte) {
			switch p.n(8) {
			case 0: // lost
			case 1:
				overtaken = append(overtaken, bytes.Clone(b))
			case 2:
				add(bytes.Clone(b))
				fallthrough
			default:
				add(bytes.Clone(b))
			}
		}
		for n := 0; !p.done(); n++ {
			switch p.n(8) {
			case 0:
				if len(overtaken) > 0 {
					add(overtaken[len(overtaken)-1])
					overtaken = overtaken[:len(overtaken)-1]
				}
				continue
			case 1:
				if p.byte()%4 == 0 {
					genuine = false
					add(p.bytes(p.n(64)))
					continue
				}
			case 2:
				now += int64(p.byte()) * int64(10*time.Millisecond)
			}
			b := make([]byte, fecHeaderSize+4+p.n(40))
			binary.LittleEndian.PutUint32(b[fecHeaderSize:], uint32(n)+1)
			copy(b[fecHeaderSize+4:], random(uint64(n), len(b)))
			known[string(b[fecHeaderSize:])] = true
			parity := enc.encode(b, now)
			deliver(b)
			for _, q := range parity {
				deliver(q.data)
				pool.put(q)
			}
		}
		dec.release()
		enc.skipParity()
		wantPoolSound(t, pool)
	})
}
