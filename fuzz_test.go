package kcp

import (
	"bytes"
	"testing"
)

// program reads a fuzz input as a sequence of choices. Past its end all are 0.
type program struct{ b []byte }

func (p *program) done() bool { return len(p.b) == 0 }

func (p *program) byte() (c byte) {
	if len(p.b) > 0 {
		c, p.b = p.b[0], p.b[1:]
	}
	return c
}

func (p *program) n(limit int) int { return int(p.byte()) % limit }

// offset is a small number, negative or positive.
func (p *program) offset() uint32 { return uint32(int32(int8(p.byte()))) }

func (p *program) bytes(n int) []byte {
	b := bytes.Clone(p.b[:min(n, len(p.b))])
	p.b = p.b[len(b):]
	return b
}

// wantPoolSound empties a pool and wants no packet in it twice.
func wantPoolSound(t testing.TB, pool *packetPool) {
	t.Helper()
	seen := make(map[*packet]bool)
	found := func(p *packet) {
		if seen[p] {
			t.Fatal("a packet was put back twice")
		}
		seen[p] = true
	}
	for ; pool != nil; pool = pool.parent {
		for _, p := range pool.free {
			found(p)
		}
		pool.free = nil
		for {
			p, ok := pool.pool.Get().(*packet)
			if !ok {
				break
			}
			found(p)
		}
	}
}
