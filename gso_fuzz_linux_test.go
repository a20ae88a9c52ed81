//go:build !kcpgeneric

package kcp

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzControlMessages reads any bytes as control messages, and splits what came with them. The size
// is that of the first message that tells one; nothing is lost or comes twice.
func FuzzControlMessages(f *testing.F) {
	gro := controlMessage(unix.SOL_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, 1400))
	stamp := controlMessage(unix.SOL_SOCKET, unix.SCM_TIMESTAMP, make([]byte, 16))
	for _, b := range [][]byte{
		nil, gro, append(bytes.Clone(stamp), gro...), append(bytes.Clone(gro), stamp...), gro[:unix.CmsgLen(2)], gro[:5],
		controlMessage(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, []byte{1, 0, 0, 0}),
		make([]byte, 128), controlMessage(unix.SOL_UDP, unix.UDP_GRO, []byte{255, 255, 255, 255}),
		controlMessage(unix.SOL_UDP, unix.UDP_GRO, []byte{1, 0}),
	} {
		f.Add(b, uint16(4000))
		f.Add(b, uint16(0))
	}
	from := peerAddr{}
	f.Fuzz(func(t *testing.T, b []byte, length uint16) {
		size, _ := parseControl(bytes.Clone(b))
		if size < 0 || size > math.MaxInt32 || size > 0 && len(b) < unix.CmsgLen(4) {
			t.Fatalf("a size of %d from %x", size, b)
		}
		if size > 0 && !bytes.Contains(b, binary.NativeEndian.AppendUint32(nil, uint32(size))) {
			t.Fatalf("a size of %d, which %x does not tell", size, b)
		}
		data := random(uint64(size), int(length))
		wantSplit(t, split(nil, data, size, from), data, size)
	})
}

// wantSplit checks the datagrams of a message that was received.
func wantSplit(t *testing.T, in []inbound, data []byte, size int) {
	t.Helper()
	whole := data[:0:0]
	for i, d := range in {
		if size > 0 && (len(d.data) > size || len(d.data) == 0 || len(d.data) < size && i != len(in)-1) {
			t.Fatalf("datagram %d of %d has %d bytes, the segments' size is %d", i, len(in), len(d.data), size)
		}
		if cap(d.data) > len(d.data) && size > 0 {
			t.Fatalf("datagram %d has room for the next", i)
		}
		whole = append(whole, d.data...)
	}
	if size == 0 && len(in) != 1 || !bytes.Equal(whole, data) {
		t.Fatalf("%d bytes became %d datagrams of %d", len(data), len(in), len(whole))
	}
}

// FuzzRxBatch lets the kernel have received anything: with each message any address, control
// messages and flags, and any lengths of them that recvmmsg(2) may return.
func FuzzRxBatch(f *testing.F) {
	message := func(length uint16, nameLen byte, name []byte, flags byte, control []byte) []byte {
		b := binary.LittleEndian.AppendUint16(nil, length)
		b = append(b, nameLen, byte(len(name)))
		b = append(b, name...)
		b = append(b, flags, byte(len(control)))
		return append(b, control...)
	}
	gro := controlMessage(unix.SOL_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, 1400))
	four := []byte{unix.AF_INET, 0, 0x12, 0x34, 10, 0, 0, 1}
	six := append([]byte{unix.AF_INET6, 0, 0x12, 0x34}, make([]byte, 24)...)
	f.Add(true, message(4000, 16, four, 0, gro))
	f.Add(false, bytes.Join([][]byte{message(100, 16, four, 0, nil), message(1501, 28, six, 0, nil), message(0, 0, nil, 0, nil)}, nil))
	f.Add(true, bytes.Join([][]byte{message(65000, 28, six, unix.MSG_CTRUNC, gro[:20]), message(1400, 255, four, 0, gro)}, nil))
	f.Fuzz(func(t *testing.T, offload bool, in []byte) {
		p := program{in}
		b := newRxBatch(4, mtuLimit+1)
		if offload {
			b = newRxBatch(4, 1<<16)
		}
		n := 0
		for ; n < len(b.hdrs) && !p.done(); n++ {
			h := &b.hdrs[n]
			length := int(p.byte()) | int(p.byte())<<8
			h.len = uint32(min(length, len(b.bufs[n])))
			h.hdr.Namelen = uint32(p.byte())
			copy(b.names[n][:], p.bytes(int(p.byte())))
			h.hdr.Flags = int32(p.byte())
			h.hdr.SetControllen(copy(b.cmsgs[n].b[:], p.bytes(int(p.byte()))))
			copy(b.bufs[n], random(uint64(n), int(h.len)))
		}
		got := b.inbound(n)
		for i := range n {
			h := &b.hdrs[i]
			data := b.bufs[i][:h.len]
			if h.hdr.Flags&unix.MSG_CTRUNC != 0 && h.len > mtuLimit {
				data = nil
			}
			size, _ := parseControl(b.cmsgs[i].b[:h.hdr.Controllen])
			count := 1
			if size > 0 {
				count = (len(data) + size - 1) / size
			}
			if count > len(got) {
				t.Fatalf("message %d: %d datagrams, want %d", i, len(got), count)
			}
			wantSplit(t, got[:count], data, size)
			for _, d := range got[:count] {
				if d.from != got[0].from || d.addr != nil {
					t.Fatalf("message %d: from %v and %v", i, d.from, got[0].from)
				}
			}
			got = got[count:]
		}
		if len(got) > 0 {
			t.Fatalf("%d datagrams of no message", len(got))
		}
	})
}
