package kcp

import (
	"crypto/sha256"
	"encoding/binary"
)

// digest tells a segment that was sent before there were keys: it is listed in HELLO, or in a sealed
// EARLY, so that nothing in it can be changed on the way.
type digest [digestSize]byte

// digestOf returns the digest of a PUSH or FIN.
func digestOf(cmd, frg uint8, sn uint32, data []byte) digest {
	mem := make([]byte, 0, 6+len(data))
	b := append(mem, cmd, frg)
	b = binary.LittleEndian.AppendUint32(b, sn)
	sum := sha256.Sum256(append(b, data...))
	return digest(sum[:])
}

// earlyData is what a listener keeps of a handshake's early data, until its digests are known.
type earlyData struct {
	list []earlySegment
}

// earlyDataMax is the most bytes of memory that the segments take that are kept of a handshake: each has a packet.
const (
	earlyDataMax     = 64 << 10
	earlySegmentsMax = earlyDataMax / mtuLimit
)

// keep keeps a segment, unless it is there already. What there is no room for comes again, sealed.
func (e *earlyData) keep(h *header, body []byte, pool *packetPool) {
	for i := range e.list {
		if s := &e.list[i]; s.h.sn == h.sn && s.h.cmd == h.cmd && s.h.frg == h.frg && string(s.p.data) == string(body) {
			return
		}
	}
	if len(e.list) >= earlySegmentsMax {
		return
	}
	p := pool.get()
	p.data = p.mem[:copy(p.mem[:], body)]
	e.list = append(e.list, earlySegment{*h, p, 0})
}

// take calls f with the segments that the list of digests names, from serial number first on, and
// forgets them.
func (e *earlyData) take(first uint32, digests []digest, pool *packetPool, f func(h *header, body []byte)) {
	left := e.list[:0]
	for _, s := range e.list {
		at := s.h.sn - first
		if at >= uint32(len(digests)) || digestOf(s.h.cmd, s.h.frg, s.h.sn, s.p.data) != digests[at] {
			left = append(left, s)
			continue
		}
		f(&s.h, s.p.data)
		pool.put(s.p)
	}
	clear(e.list[len(left):])
	e.list = left
}

// discard forgets everything.
func (e *earlyData) discard(pool *packetPool) {
	for _, s := range e.list {
		pool.put(s.p)
	}
	*e = earlyData{}
}
