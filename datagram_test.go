package kcp

import (
	"bytes"
	"testing"
)

// FuzzParseContents takes any opened datagram apart. What it finds are parts of the datagram, the
// same that a reader of docs/protocol.md would find.
func FuzzParseContents(f *testing.F) {
	push := segment(7, IKCP_CMD_PUSH, 0, []byte("data"))
	for _, b := range [][]byte{
		nil, {1}, push, push[:convSize], push[:convSize-1],
		framed(0, fecTypeData, push), framed(0, fecTypeData, nil), framed(0, fecTypeData, push)[:fecHeaderSize-1],
		framed(3, fecTypeParity, push), framed(oobSeqid, fecTypeOOB, push[:convSize]), framed(oobSeqid, fecTypeOOB, push[:2]),
		append(framed(1, fecTypeData, push), "behind"...), framed(1, 0xf0, push),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b := bytes.Clone(in)
		c, ok := parseContents(b)
		if !bytes.Equal(b, in) {
			t.Fatal("the datagram is changed")
		}
		kind := uint16(0)
		if len(b) >= fecHeaderSize {
			switch kind = uint16(b[4]) | uint16(b[5])<<8; kind {
			case fecTypeData, fecTypeParity, fecTypeOOB:
			default:
				kind = 0
			}
		}
		if c.kind() != kind || c.isFEC != (kind != 0) {
			t.Fatalf("of kind %#x, want %#x", c.kind(), kind)
		}
		want := b
		switch kind {
		case fecTypeParity:
			want = nil
		case fecTypeData, fecTypeOOB:
			size := int(b[6]) | int(b[7])<<8
			if fits := size >= fecSizeField && fecShardStart+size <= len(b); ok != fits {
				t.Fatalf("a size of %d in %d bytes is accepted: %t", size, len(b), ok)
			} else if !fits {
				return
			}
			want = b[fecHeaderSize : fecShardStart+size]
		}
		if !ok || !bytes.Equal(c.body, want) {
			t.Fatalf("ok %t, body %x, want %x", ok, c.body, want)
		}
		if c.hasConv != (len(want) >= convSize) || c.hasConv && uint64(c.conv) != littleEndian(want[:convSize]) {
			t.Fatalf("conv %#x (%t) of %x", c.conv, c.hasConv, want)
		}
	})
}
