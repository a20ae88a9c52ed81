package kcp

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
)

// Over a million nonces, half of them of 12 bytes and half of 16, drawn by several goroutines: none
// comes twice. It compares the first 8 bytes only, which are as random as the rest. Two of 2²⁰ are
// equal by chance in one of 2²⁵ runs.
func TestEntropyNeverRepeats(t *testing.T) {
	const (
		goroutines = 4
		draws      = 1 << 20
	)
	var entropy chachaEntropy
	heads := make([]uint64, draws)
	var wg sync.WaitGroup
	for mine := range slices.Chunk(heads, draws/goroutines) {
		wg.Go(func() {
			nonce := make([]byte, 16)
			for i := range mine {
				entropy.Fill(nonce[:12+i%2*4])
				mine[i] = binary.LittleEndian.Uint64(nonce)
			}
		})
	}
	wg.Wait()
	slices.Sort(heads)
	if n := len(slices.Compact(heads)); n != draws {
		t.Errorf("%d of %d nonces repeat", draws-n, draws)
	}
}

// Each byte is filled: over 40 draws it is non-zero at least once, but for one chance in 2³²⁰.
func TestEntropyFillsAll(t *testing.T) {
	var entropy chachaEntropy
	for size := range 100 {
		p, seen := make([]byte, size), make([]byte, size)
		for range 40 {
			entropy.Fill(p)
			for i := range p {
				seen[i] |= p[i]
			}
			clear(p)
		}
		if bytes.IndexByte(seen, 0) >= 0 {
			t.Errorf("%d bytes: some are not filled", size)
		}
	}
}

// A generator gets a new key when its output under the old one is used up, and after Init.
func TestEntropyRekeys(t *testing.T) {
	var g chachaGenerator
	draw := func(size int, inits uint64, left int) {
		t.Helper()
		g.fill(make([]byte, size), inits)
		if g.left != left || g.inits != inits {
			t.Errorf("%d bytes left after %d Inits, want %d after %d", g.left, g.inits, left, inits)
		}
	}
	draw(16, 0, rekeyBytes-16)
	draw(rekeyBytes-32, 0, 16)
	draw(16, 0, 0)
	draw(16, 0, rekeyBytes-16)
	draw(12, 0, rekeyBytes-28)
	draw(12, 1, rekeyBytes-12)
	draw(rekeyBytes+1, 1, -1) // more than a key is for, and it still comes in one piece
	draw(1, 1, rekeyBytes-1)

	var entropy chachaEntropy
	entropy.Init()
	if n := entropy.inits.Load(); n != 1 {
		t.Errorf("%d Inits counted, want 1", n)
	}
}

func TestEntropyAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop values")
	}
	var entropy chachaEntropy
	nonce := make([]byte, 16)
	if n := testing.AllocsPerRun(100, func() { entropy.Fill(nonce) }); n != 0 {
		t.Errorf("%v allocations for a nonce", n)
	}
}

// constantEntropy counts its Inits and fills with one byte.
type constantEntropy struct {
	inits int
	value byte
}

func (e *constantEntropy) Init() { e.inits++ }

func (e *constantEntropy) Fill(nonce []byte) {
	for i := range nonce {
		nonce[i] = e.value
	}
}

func TestSetEntropy(t *testing.T) {
	defer SetEntropy(nil)
	if currentEntropy() != &defaultEntropy {
		t.Error("the default is not the first")
	}
	before := currentEntropy()

	mine := &constantEntropy{value: 7}
	SetEntropy(mine)
	if mine.inits != 1 {
		t.Errorf("%d calls of Init, want 1", mine.inits)
	}
	nonce := make([]byte, 4)
	currentEntropy().Fill(nonce)
	if !bytes.Equal(nonce, []byte{7, 7, 7, 7}) {
		t.Errorf("%x is not from the source that was set", nonce)
	}
	if before != &defaultEntropy {
		t.Error("a source taken before changed")
	}

	SetEntropy(nil)
	if currentEntropy() != &defaultEntropy {
		t.Error("nil does not restore the default")
	}
}

func TestSetEntropyConcurrently(t *testing.T) {
	defer SetEntropy(nil)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			nonce := make([]byte, 16)
			for i := range 200 {
				if (i+g)%2 == 0 {
					SetEntropy(&constantEntropy{value: 1})
				} else {
					SetEntropy(nil)
				}
				currentEntropy().Fill(nonce)
			}
		})
	}
	wg.Wait()
}
