package kcp

import (
	crand "crypto/rand"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Entropy is a source of nonces, one for each datagram that is encrypted: 16 bytes with a block
// cipher, NonceSize bytes (12 for AES-GCM) with an AEAD.
//
// A nonce must never repeat under one key, also not after a restart, nor in another process or
// machine with the same key. With an AEAD, a repeated nonce lets an observer forge datagrams, and
// read the two that have it. Random nonces satisfy this in practice: among 2³² of 12 bytes, two are
// equal with a probability of 2⁻³³. SP 800-38D, section 8.3, allows no more than 2³²
// (https://csrc.nist.gov/pubs/sp/800/38/d/final).
type Entropy interface {
	// Init makes the source ready. A source that was ready gets a new key. SetEntropy calls Init
	// once, before the first Fill.
	Init()

	// Fill fills nonce, of any length. Sessions call it for each datagram, at the same time, so it
	// must be fast and safe for concurrent use.
	Fill(nonce []byte)
}

var (
	defaultEntropy chachaEntropy
	customEntropy  atomic.Pointer[Entropy] // nil for defaultEntropy
)

// SetEntropy calls e.Init and makes e the source of nonces for sessions and listeners made from
// then on, in the whole process. Those that exist keep theirs. A nil e restores the default.
// SetEntropy is safe for concurrent use.
//
// The default consists of ChaCha8 generators with keys from the system's entropy (crypto/rand), and
// new keys after each MiB. It is four times as fast as reading the system's entropy for each nonce,
// with one disadvantage: when a running virtual machine is cloned, the clones go on with equal
// nonces until they get new keys. Where that happens, set a source that reads crypto/rand.
func SetEntropy(e Entropy) {
	if e == nil {
		customEntropy.Store(nil)
		return
	}
	e.Init()
	customEntropy.Store(&e)
}

// currentEntropy returns the source for a session or listener made now.
func currentEntropy() Entropy {
	if e := customEntropy.Load(); e != nil {
		return *e
	}
	return &defaultEntropy
}

// chachaEntropy is the default source. Each processor has a generator of its own, through a
// sync.Pool, so Fill takes no lock and allocates nothing. The zero value is ready for use.
type chachaEntropy struct {
	inits atomic.Uint64 // calls of Init
	pool  sync.Pool     // of *chachaGenerator
}

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
