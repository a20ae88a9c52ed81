package kcp

import (
	"bytes"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
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

// setEntropy sets a source until the test is over.
func setEntropy(t *testing.T, r io.Reader) {
	t.Helper()
	t.Cleanup(func() { SetEntropy(nil) })
	SetEntropy(r)
}

// nonceOf is the nonce of a datagram that e seals.
func nonceOf(e *envelope) []byte {
	b := make([]byte, e.head, mtuLimit)
	return e.seal(append(b, "payload"...))
}

func TestSetEntropy(t *testing.T) {
	defer SetEntropy(nil)
	if blockEntropy() != &defaultEntropy || aeadEntropy() != &defaultEntropy {
		t.Error("the default is not the first")
	}
	before := blockEntropy()

	mine := &constantEntropy{value: 7}
	SetEntropy(EntropyReader(mine))
	if mine.inits != 1 {
		t.Errorf("%d calls of Init, want 1", mine.inits)
	}
	nonce := make([]byte, 4)
	blockEntropy().Fill(nonce)
	if !bytes.Equal(nonce, []byte{7, 7, 7, 7}) {
		t.Errorf("%x is not from the source that was set", nonce)
	}
	if before != &defaultEntropy {
		t.Error("a source taken before changed")
	}

	for _, none := range []io.Reader{nil, (*bytes.Reader)(nil)} {
		SetEntropy(EntropyReader(mine))
		SetEntropy(none)
		if blockEntropy() != &defaultEntropy || aeadEntropy() != &defaultEntropy {
			t.Error("nil does not restore the default")
		}
	}
	SetEntropy(EntropyReader(nil))
	if blockEntropy().Fill(nonce); bytes.Equal(nonce, []byte{7, 7, 7, 7}) {
		t.Error("a nil Entropy is not the default")
	}
}

func TestSetEntropyConcurrently(t *testing.T) {
	defer SetEntropy(nil)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			nonce := make([]byte, 16)
			for i := range 200 {
				switch (i + g) % 3 {
				case 0:
					SetEntropy(EntropyReader(&constantEntropy{value: 1}))
				case 1:
					SetEntropy(&countingReader{})
				default:
					SetEntropy(nil)
				}
				blockEntropy().Fill(nonce)
				aeadEntropy().Fill(nonce)
			}
		})
	}
	wg.Wait()
}

// countingReader gives 0, 1, 2 and so on. It is not safe for concurrent use.
type countingReader struct{ n byte }

func (r *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.n
		r.n++
	}
	return len(p), nil
}

// The nonces of a block cipher are what the reader gives, in sessions that are made later; those of
// an AEAD are unique whatever it gives.
func TestEntropyOfEnvelopes(t *testing.T) {
	aes, err := NewAESBlockCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	envelopeOf := func(c BlockCrypt) *envelope {
		e, err := newEnvelope(c)
		if err != nil {
			t.Fatal(err)
		}
		return &e
	}
	earlier := envelopeOf(aes)
	setEntropy(t, iotest.OneByteReader(&countingReader{}))
	block := envelopeOf(aes)

	b := nonceOf(block)
	aes.Decrypt(b, b)
	for i, c := range b[:nonceSize] {
		if int(c) != i {
			t.Fatalf("nonce %x is not the reader's", b[:nonceSize])
		}
	}
	b = nonceOf(earlier)
	aes.Decrypt(b, b)
	if b[1] == b[0]+1 && b[2] == b[0]+2 && b[3] == b[0]+3 {
		t.Error("a session that was there before takes the new source")
	}

	SetEntropy(EntropyReader(&constantEntropy{value: 9})) // the worst there is
	aead := envelopeOf(gcm)
	seen := make(map[string]bool)
	for range 1000 {
		nonce := string(nonceOf(aead)[:aead.head])
		if seen[nonce] {
			t.Fatalf("nonce %x repeats", nonce)
		}
		seen[nonce] = true
	}
}

// A clone of a virtual machine has the same default generator; what the program adds tells them
// apart.
func TestMixedEntropyAdds(t *testing.T) {
	for _, size := range []int{1, 12, 24, 32, 33, 100} {
		nonce := make([]byte, size)
		mixedEntropy{&constantEntropy{value: 0xff}}.Fill(nonce)
		if size > 12 && (bytes.Count(nonce, []byte{0xff}) == size || bytes.Count(nonce, []byte{0}) == size) {
			t.Errorf("%x: nothing is mixed", nonce)
		}
		mixed := mixedEntropy{&readerEntropy{r: crand.Reader}}
		a, b := make([]byte, 32), make([]byte, 32)
		mixed.Fill(a)
		mixed.Fill(b)
		if bytes.Equal(a, b) {
			t.Error("two nonces are equal")
		}
	}
}

// While a reader fails, or gives less than it is asked for, nonces are the system's: never what was
// in the buffer, nor what the reader gave before it failed.
func TestEntropyOfFailingReaders(t *testing.T) {
	failure := errors.New("no entropy")
	for name, r := range map[string]io.Reader{
		"fails":       iotest.ErrReader(failure),
		"ends":        bytes.NewReader(nil),
		"fails later": io.MultiReader(bytes.NewReader(make([]byte, 5)), iotest.ErrReader(failure)),
		"times out":   iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(make([]byte, 16)))),
	} {
		t.Run(name, func(t *testing.T) {
			setEntropy(t, r)
			e := blockEntropy()
			seen := make(map[string]bool)
			for range 100 {
				nonce := make([]byte, 16)
				e.Fill(nonce)
				if bytes.HasPrefix(nonce, make([]byte, 5)) || seen[string(nonce)] {
					t.Fatalf("nonce %x", nonce)
				}
				seen[string(nonce)] = true
			}
		})
	}
	t.Run("recovers", func(t *testing.T) {
		setEntropy(t, io.MultiReader(iotest.TimeoutReader(bytes.NewReader(nil)), &countingReader{}))
		nonce := make([]byte, 16)
		for range 3 {
			blockEntropy().Fill(nonce)
		}
		if nonce[1] != nonce[0]+1 || nonce[15] != nonce[0]+15 {
			t.Errorf("nonce %x is not the reader's", nonce)
		}
	})
}

// The readers of this package are safe for concurrent use, never repeat, fill what they are given,
// and allocate nothing for a nonce.
func TestEntropyReaders(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"default": NewEntropy(), "AES": NewEntropyAES(), "ChaCha8": NewEntropyChacha8(),
		"adapter": EntropyReader(new(aesEntropy)),
	} {
		t.Run(name, func(t *testing.T) {
			setEntropy(t, r)
			if _, locked := blockEntropy().(*readerEntropy); locked {
				t.Error("it takes a lock that it does not need")
			}
			heads := make([]uint64, 1<<16)
			var wg sync.WaitGroup
			for mine := range slices.Chunk(heads, len(heads)/4) {
				wg.Go(func() {
					b := make([]byte, 16)
					for i := range mine {
						if n, err := r.Read(b[:8+i%2*8]); n != 8+i%2*8 || err != nil {
							t.Errorf("Read: %d, %v", n, err)
						}
						mine[i] = binary.LittleEndian.Uint64(b)
					}
				})
			}
			wg.Wait()
			slices.Sort(heads)
			if n := len(slices.Compact(heads)); n != 1<<16 {
				t.Errorf("%d nonces repeat", 1<<16-n)
			}
			long := make([]byte, 3*rekeyBytes)
			if _, err := io.ReadFull(r, long); err != nil {
				t.Fatal(err)
			}
			var counts [256]int
			for _, c := range long {
				counts[c]++
			}
			for c, n := range counts { // 12288 expected, with a deviation of 111
				if n < 11400 || n > 13200 {
					t.Errorf("byte %#x comes %d times", c, n)
				}
			}
			if raceEnabled {
				return // the race detector makes sync.Pool drop values
			}
			nonce, mixed := make([]byte, 16), aeadEntropy()
			if n := testing.AllocsPerRun(1000, func() { r.Read(nonce); mixed.Fill(nonce) }); n != 0 {
				t.Errorf("%v allocations for a nonce", n)
			}
		})
	}
}

// The key of an AES generator is replaced by each block, and what was given away is not kept.
func TestAESEntropyErasesKeys(t *testing.T) {
	var g aesGenerator
	out := make([]byte, 100)
	g.fill(out, 0)
	key := bytes.Clone(g.block[:aesKey])
	if bytes.Contains(g.block[:], out[:16]) {
		t.Error("what was given away is still there")
	}
	g.fill(make([]byte, aesBlock-aesKey-100), 0)
	if !bytes.Equal(g.block[:aesKey], key) || g.used != aesBlock {
		t.Errorf("the key changed within a block, or %d bytes are used", g.used)
	}
	g.fill(out[:1], 0)
	if bytes.Contains(g.block[:], key) {
		t.Error("the key is still there")
	}
	left := g.left
	g.fill(out[:1], 1)
	if g.left != rekeyBytes-1 || g.left == left {
		t.Errorf("%d bytes left after Init", g.left)
	}
}
