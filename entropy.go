package kcp

import (
	crand "crypto/rand"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Entropy is a source of nonces, one for each datagram that is encrypted: 16 bytes
// with a block cipher, NonceSize bytes (12 for AES-GCM) with an AEAD.
//
// A nonce must never come twice under one key, also not after a restart, nor from
// another process or machine that uses the same key. With an AEAD a repeat lets an
// observer forge datagrams and read the two it happened in. Random nonces satisfy
// this in practice: among 2³² of 12 bytes, two are equal with a probability of
// 2⁻³³ (SP 800-38D draws the line there).
type Entropy interface {
	// Init makes the source ready, or keys it anew if it was. SetEntropy calls it
	// once, before the first Fill.
	Init()

	// Fill fills nonce, of any length. Sessions call it at the same time: it must
	// be safe for concurrent use, and quick.
	Fill(nonce []byte)
}

var (
	defaultEntropy chachaEntropy
	customEntropy  atomic.Pointer[Entropy] // nil: defaultEntropy
)

// SetEntropy calls e.Init and makes e the source of nonces for sessions and
// listeners made from then on, in the whole process. Those that exist keep theirs.
// A nil e restores the default. SetEntropy is safe for concurrent use.
//
// The default is made of ChaCha8 generators with keys from the system's entropy
// (crypto/rand), and new keys after each MiB. It is four times as fast as reading
// the system's entropy for each nonce, with one disadvantage: when a running
// virtual machine is cloned, the clones go on with equal nonces until they need new
// keys. Where that happens, set a source that reads crypto/rand.
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

// chachaEntropy is the default source. It gives every processor a generator of its
// own, through a sync.Pool, so that Fill takes no lock and allocates nothing. Its
// zero value is ready for use.
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

// rekeyBytes is what a generator puts out under one key: 65536 nonces of 16 bytes.
// Reading a key from the system costs as much as ten of them, so it does not show;
// and a state that leaked tells no more than the rest of these.
const rekeyBytes = 1 << 20

// chachaGenerator belongs to whoever took it from the pool. Its zero value has
// nothing left, so that it gets its first key the way it gets the later ones.
type chachaGenerator struct {
	chacha rand.ChaCha8
	left   int    // bytes until the next key
	inits  uint64 // chachaEntropy.inits when it got its key
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
