package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	crand "crypto/rand"
	"crypto/subtle"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Entropy is a source of nonces, one for each datagram that is encrypted: 16 bytes with a block
// cipher, NonceSize bytes (12 for AES-GCM) with an AEAD. [EntropyReader] makes it what SetEntropy
// takes.
//
// A nonce must never repeat under one key, also not after a restart, nor in another process or
// machine with the same key. With an AEAD, a repeated nonce lets an observer forge datagrams, and
// read the two that have it. Random nonces satisfy this in practice: among 2³² of 12 bytes, two are
// equal with a probability of 2⁻³³. SP 800-38D, section 8.3, allows no more than 2³²
// (https://csrc.nist.gov/pubs/sp/800/38/d/final).
type Entropy interface {
	// Init makes the source ready. A source that was ready gets a new key.
	Init()

	// Fill fills nonce, of any length. Sessions call it for each datagram, at the same time, so it
	// must be fast and safe for concurrent use.
	Fill(nonce []byte)
}

var (
	defaultEntropy chachaEntropy
	customEntropy  atomic.Pointer[Entropy] // nil for defaultEntropy
)

// SetEntropy makes r the source of nonces for sessions and listeners made from then on, in the whole
// process. Those that exist keep theirs. A nil r restores the default. SetEntropy is safe for
// concurrent use.
//
// With a block cipher, a nonce is what r gives. With an AEAD, whose nonces must never repeat, it is
// the default's with r's added, bit by bit without carry: as unique as the better of the two. While
// Read fails, nonces come from crypto/rand. Read is called for each datagram, by one goroutine at a
// time, unless r is made by this package; it must not block.
//
// The default is [NewEntropyChacha8]'s kind. It is four times as fast as reading the system's entropy
// for each nonce, with one disadvantage: when a running virtual machine is cloned, the clones go on
// with equal nonces until they get new keys. Where that happens, set crypto/rand.Reader.
func SetEntropy(r io.Reader) {
	if isNil(r) {
		customEntropy.Store(nil)
		return
	}
	var e Entropy = &readerEntropy{r: r}
	switch r := r.(type) {
	case *chachaEntropy:
		e = r
	case *aesEntropy:
		e = r
	case filler:
		e = r
	}
	customEntropy.Store(&e)
}

// blockEntropy returns the source of a block cipher's nonces, for a session or listener made now.
func blockEntropy() Entropy {
	if e := customEntropy.Load(); e != nil {
		return *e
	}
	return &defaultEntropy
}

// aeadEntropy is blockEntropy for an AEAD.
func aeadEntropy() Entropy {
	if e := customEntropy.Load(); e != nil {
		return mixedEntropy{*e}
	}
	return &defaultEntropy
}

// NewEntropy returns a source for SetEntropy of the default's kind: see [NewEntropyChacha8].
func NewEntropy() io.Reader { return NewEntropyChacha8() }

// NewEntropyChacha8 returns a source of ChaCha8 generators with keys from crypto/rand, and new keys
// after each MiB. It is safe for concurrent use, each processor having a generator of its own; Read
// fills its buffer and returns no error.
func NewEntropyChacha8() io.Reader { return new(chachaEntropy) }

// NewEntropyAES returns a source of AES-256 generators in counter mode, whose keys are replaced by
// their own output after each 4 KiB, so that what they gave cannot be computed from their state
// (fast key erasure: https://blog.cr.yp.to/20170723-random.html), and by crypto/rand's after each
// MiB. It is safe for concurrent use, each processor having a generator of its own; Read fills its
// buffer and returns no error.
func NewEntropyAES() io.Reader { return new(aesEntropy) }

// EntropyReader makes e, after its Init, a source for SetEntropy. Read fills its buffer and returns
// no error; it may be called by several goroutines, as e's Fill may. A nil e is the default.
func EntropyReader(e Entropy) io.Reader {
	if isNil(e) {
		return NewEntropy()
	}
	e.Init()
	return filler{e}
}

// filler is an Entropy and its reader.
type filler struct{ Entropy }

func (f filler) Read(p []byte) (int, error) { f.Fill(p); return len(p), nil }

// readerEntropy is a reader of the program's as an Entropy.
type readerEntropy struct {
	mu sync.Mutex
	r  io.Reader
}

func (*readerEntropy) Init() {}

// Fill implements Entropy. What a reader gives before it fails may be anything, and is not used.
func (e *readerEntropy) Fill(nonce []byte) {
	e.mu.Lock()
	_, err := io.ReadFull(e.r, nonce)
	e.mu.Unlock()
	if err != nil {
		crand.Read(nonce) // returns no error: without entropy it ends the program
	}
}

// mixedEntropy is a source of the program's, and the default's added to it.
type mixedEntropy struct{ program Entropy }

func (e mixedEntropy) Init() { e.program.Init() }

// Fill implements Entropy.
func (e mixedEntropy) Fill(nonce []byte) {
	e.program.Fill(nonce)
	for mask := [32]byte{}; len(nonce) > 0; {
		n := min(len(nonce), len(mask))
		defaultEntropy.Fill(mask[:n])
		subtle.XORBytes(nonce, nonce[:n], mask[:n])
		nonce = nonce[n:]
	}
}

// chachaEntropy is the default source. Each processor has a generator of its own, through a
// sync.Pool, so Fill takes no lock and allocates nothing. The zero value is ready for use.
type chachaEntropy struct {
	inits atomic.Uint64 // calls of Init
	pool  sync.Pool     // of *chachaGenerator
}

// Read implements io.Reader.
func (e *chachaEntropy) Read(p []byte) (int, error) { e.Fill(p); return len(p), nil }

// Init implements Entropy: every generator gets a new key before its next output.
func (e *chachaEntropy) Init() { e.inits.Add(1) }

// Fill implements Entropy.
func (e *chachaEntropy) Fill(nonce []byte) {
	g, ok := e.pool.Get().(*chachaGenerator)
	if !ok {
		g = new(chachaGenerator)
	}
	g.fill(nonce, e.inits.Load())
	e.pool.Put(g)
}

// rekeyBytes is the number of bytes that a generator gives under one key: 65536 nonces of 16 bytes.
// Reading a key from the system costs as much as ten nonces, so the cost does not matter; and a
// leaked state reveals no more than the other nonces of its key.
const rekeyBytes = 1 << 20

// A chachaGenerator belongs to the goroutine that took it from the pool. The zero value has no
// bytes left, so it gets its first key like the later ones.
type chachaGenerator struct {
	chacha rand.ChaCha8
	left   int    // bytes until the next key
	inits  uint64 // chachaEntropy.inits when the generator got its key
}

func (g *chachaGenerator) fill(nonce []byte, inits uint64) {
	if g.left < len(nonce) || g.inits != inits {
		var key [32]byte
		crand.Read(key[:]) // returns no error: without entropy it ends the program
		g.chacha.Seed(key)
		g.left, g.inits = rekeyBytes, inits
	}
	g.left -= len(nonce)
	g.chacha.Read(nonce) // returns no error
}

// aesEntropy is chachaEntropy with generators of AES.
type aesEntropy struct {
	inits atomic.Uint64
	pool  sync.Pool // of *aesGenerator
}

func (e *aesEntropy) Read(p []byte) (int, error) { e.Fill(p); return len(p), nil }

func (e *aesEntropy) Init() { e.inits.Add(1) }

func (e *aesEntropy) Fill(nonce []byte) {
	g, ok := e.pool.Get().(*aesGenerator)
	if !ok {
		g = new(aesGenerator)
	}
	g.fill(nonce, e.inits.Load())
	e.pool.Put(g)
}

// aesGenerator makes a block of key stream at a time. It begins with the key of the next, and each
// part of the rest is erased when it is given away. The zero value has none left.
type aesGenerator struct {
	block [aesBlock]byte
	used  int    // bytes of block that were given away
	left  int    // bytes until the next key of the system's
	inits uint64 // aesEntropy.inits when the generator got its last
}

const (
	aesBlock = 4 << 10
	aesKey   = 32
)

func (g *aesGenerator) fill(p []byte, inits uint64) {
	if g.inits != inits {
		g.left, g.inits = 0, inits
	}
	for len(p) > 0 {
		if g.left <= 0 || g.used == aesBlock {
			g.next()
		}
		n := copy(p, g.block[g.used:])
		clear(g.block[g.used : g.used+n])
		p = p[n:]
		g.used += n
		g.left -= n
	}
}

// next makes the next block, under the key that the last one began with or one from the system.
func (g *aesGenerator) next() {
	key := g.block[:aesKey]
	if g.left <= 0 {
		crand.Read(key) // returns no error: without entropy it ends the program
		g.left = rekeyBytes
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has a valid length
	}
	clear(g.block[:])
	cipher.NewCTR(c, make([]byte, aes.BlockSize)).XORKeyStream(g.block[:], g.block[:])
	g.used = aesKey
}
