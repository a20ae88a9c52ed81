package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"sync"

	"github.com/pkg/errors"
	"github.com/tjfoc/gmsm/sm4"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/blowfish"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/cast5"
	"golang.org/x/crypto/salsa20"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/tea"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/twofish"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/xtea"
)

// BlockCrypt encrypts and decrypts whole datagrams, from the first byte of the
// nonce to the last byte sent. Both peers need the same one with the same key.
//
// In Encrypt and Decrypt, dst and src are the same slice or do not overlap. dst
// has room for len(src) bytes at least; exactly len(src) of them are written.
// Neither keeps a slice after it returned. One BlockCrypt serves any number of
// sessions at the same time, so both must be safe for concurrent use. They have
// no error result: a datagram that does not decrypt is found out afterwards, by
// its checksum.
//
// The ciphers of this package allocate nothing per datagram. Those from
// [NewAESGCMCrypt] and [NewAEADCrypt] authenticate what they encrypt. The others
// hide it, but their CRC-32 only tells a datagram under another key or damaged
// on its way from a good one; it does not stop an attacker from altering one.
// [NewNoneBlockCrypt], [NewSimpleXORBlockCrypt] and [NewTEABlockCrypt] (16 of
// TEA's 64 rounds) do not withstand an attacker at all, and the ciphers with
// 8-byte blocks (3DES, Blowfish, CAST5, TEA, XTEA) leak plaintext after some 2³²
// blocks, 32 GiB, under one key. Prefer AES.
type BlockCrypt interface {
	// Encrypt writes the encryption of the datagram src to dst.
	Encrypt(dst, src []byte)

	// Decrypt writes the decryption of the datagram src to dst.
	Decrypt(dst, src []byte)
}

// NewAESBlockCrypt returns AES in cipher feedback mode. A key of 16, 24 or 32
// bytes selects AES-128, AES-192 or AES-256; another length is an error.
func NewAESBlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("AES", "16, 24 or 32", key, aes.NewCipher)
}

// NewBlowfishBlockCrypt returns Blowfish in cipher feedback mode. A key that is
// not 1 to 56 bytes long is an error.
func NewBlowfishBlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("Blowfish", "1 to 56", key, blowfish.NewCipher)
}

// NewCast5BlockCrypt returns CAST5 (RFC 2144) in cipher feedback mode. A key that
// is not 16 bytes long is an error.
func NewCast5BlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("CAST5", "16", key, cast5.NewCipher)
}

// NewTripleDESBlockCrypt returns 3DES with three keys (SP 800-67) in cipher
// feedback mode. A key that is not 24 bytes long is an error, and so is any key
// where Go's FIPS 140-3 mode forbids DES.
func NewTripleDESBlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("3DES", "24", key, des.NewTripleDESCipher)
}

// NewTwofishBlockCrypt returns Twofish in cipher feedback mode. A key that is not
// 16, 24 or 32 bytes long is an error.
func NewTwofishBlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("Twofish", "16, 24 or 32", key, twofish.NewCipher)
}

// NewTEABlockCrypt returns TEA with 16 rounds, a quarter of the cipher's standard
// 64, in cipher feedback mode. It hides data from a glance and no more. A key
// that is not 16 bytes long is an error.
func NewTEABlockCrypt(key []byte) (BlockCrypt, error) {
	const rounds = 16 // what deployed peers run
	return newBlockCrypt("TEA", "16", key, func(key []byte) (cipher.Block, error) {
		return tea.NewCipherWithRounds(key, rounds)
	})
}

// NewXTEABlockCrypt returns XTEA in cipher feedback mode. A key that is not 16
// bytes long is an error.
func NewXTEABlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("XTEA", "16", key, xtea.NewCipher)
}

// newBlockCrypt makes a key's block cipher and puts it in cipher feedback mode.
// The cipher's own package knows which keys fit; the error adds what the caller
// needs to read: the cipher's name, and its key lengths in bytes.
func newBlockCrypt[B cipher.Block](name, lengths string, key []byte, newCipher func([]byte) (B, error)) (BlockCrypt, error) {
	block, err := newCipher(key)
	if err != nil {
		return nil, keyError(err, name, lengths, key)
	}
	return newCFB(block), nil
}

func keyError(err error, name, lengths string, key []byte) error {
	return errors.Wrapf(err, "kcp: %s with a key of %d bytes, needs %s", name, len(key), lengths)
}

// sm4Crypt is SM4 in cipher feedback mode. gmsm's cipher keeps the block it works
// on in itself, so that one value must not run twice at a time: each use takes one
// of its own from a pool.
type sm4Crypt struct {
	key  [sm4.BlockSize]byte
	pool sync.Pool // of *cfb
}

// NewSM4BlockCrypt returns SM4 (GB/T 32907-2016) in cipher feedback mode. A key
// that is not 16 bytes long is an error.
func NewSM4BlockCrypt(key []byte) (BlockCrypt, error) {
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, keyError(err, "SM4", "16", key)
	}
	c := new(sm4Crypt)
	copy(c.key[:], key)
	c.pool.Put(newCFB(block))
	return c, nil
}

func (c *sm4Crypt) get() *cfb {
	if mode, ok := c.pool.Get().(*cfb); ok {
		return mode
	}
	block, err := sm4.NewCipher(c.key[:])
	if err != nil {
		panic(err) // the length is right, and nothing else can be wrong
	}
	return newCFB(block)
}

func (c *sm4Crypt) Encrypt(dst, src []byte) {
	mode := c.get()
	mode.Encrypt(dst, src)
	c.pool.Put(mode)
}

func (c *sm4Crypt) Decrypt(dst, src []byte) {
	mode := c.get()
	mode.Decrypt(dst, src)
	c.pool.Put(mode)
}

// salsaNonceSize is how much of a datagram's nonce Salsa20 takes for its own. It
// stays in clear, and the keystream starts right after it.
const salsaNonceSize = 8

type salsa20Crypt struct {
	key [32]byte
}

// NewSalsa20BlockCrypt returns Salsa20/20, keyed with the first 32 bytes of key. A
// shorter one, nil as well, is padded with zeros. The error is always nil.
func NewSalsa20BlockCrypt(key []byte) (BlockCrypt, error) {
	c := new(salsa20Crypt)
	copy(c.key[:], key)
	return c, nil
}

func (c *salsa20Crypt) Encrypt(dst, src []byte) {
	dst = dst[:len(src)]
	n := copy(dst, src[:min(len(src), salsaNonceSize)])
	if n == salsaNonceSize {
		salsa20.XORKeyStream(dst[n:], src[n:], dst[:n], &c.key)
	}
}

func (c *salsa20Crypt) Decrypt(dst, src []byte) { c.Encrypt(dst, src) }

// xorTable is what the XOR cipher lays over each datagram: 1500 bytes, the longest
// datagram deployed peers read.
type xorTable []byte

// NewSimpleXORBlockCrypt returns a cipher that xors each datagram with the same
// 1500 bytes, derived from a key of any length, nil as well, with PBKDF2
// (RFC 8018, HMAC-SHA1, 32 iterations). Whoever sees two datagrams sees the xor of
// their contents, so this is camouflage, not encryption. It fails only where Go's
// FIPS 140-3 mode forbids the derivation.
func NewSimpleXORBlockCrypt(key []byte) (BlockCrypt, error) {
	const (
		salt       = "sH3CIVoF#rWLtJo6"
		iterations = 32
		size       = 1500
	)
	table, err := pbkdf2.Key(sha1.New, string(key), []byte(salt), iterations, size)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: XOR table from the key")
	}
	return xorTable(table), nil
}

func (t xorTable) Encrypt(dst, src []byte) {
	dst = dst[:len(src)]
	for len(src) > 0 { // beyond the table, it starts over
		n := xorBytes(dst, src, t)
		dst, src = dst[n:], src[n:]
	}
}

func (t xorTable) Decrypt(dst, src []byte) { t.Encrypt(dst, src) }

type noneCrypt struct{}

// NewNoneBlockCrypt returns a cipher that encrypts nothing, for any key. Datagrams
// still carry nonce and checksum, which a nil BlockCrypt leaves out: the two do not
// talk to each other. The error is always nil.
func NewNoneBlockCrypt(key []byte) (BlockCrypt, error) { return noneCrypt{}, nil }

func (noneCrypt) Encrypt(dst, src []byte) { copy(dst[:len(src)], src) }
func (noneCrypt) Decrypt(dst, src []byte) { copy(dst[:len(src)], src) }

// aeadCrypt carries an AEAD where a BlockCrypt is asked for. Sessions look for it
// and call Seal and Open themselves, which report what does not open; Encrypt and
// Decrypt do the same in the shape of the interface.
type aeadCrypt struct {
	cipher.AEAD // nil after NewAEADCrypt(nil)
}

// NewAESGCMCrypt returns AES-GCM with 12-byte nonces and 16-byte tags (SP
// 800-38D), the one to choose on processors with AES instructions. A key of 16, 24
// or 32 bytes selects AES-128, AES-192 or AES-256; another length is an error, and
// so is any key where Go's FIPS 140-3 mode forbids nonces from outside. Nonces
// come from [SetEntropy]'s source, at random: change the key before 2³² datagrams.
func NewAESGCMCrypt(key []byte) (BlockCrypt, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, keyError(err, "AES-GCM", "16, 24 or 32", key)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: AES-GCM")
	}
	return NewAEADCrypt(aead), nil
}

// NewAEADCrypt returns a BlockCrypt that seals each datagram with aead, such as
// ChaCha20-Poly1305 from golang.org/x/crypto: nonce, ciphertext, tag, and no
// checksum. aead must be safe for concurrent use, as those of the standard library
// are. With a nil aead there is nothing to encrypt with: sessions and listeners
// refuse the result with an error, and its Encrypt and Decrypt write zeros.
//
// Sessions seal and open without the result's Encrypt and Decrypt. Who calls these
// hands over a datagram laid out as nonce (NonceSize bytes, new for every
// datagram), plaintext, room for the tag (Overhead bytes). Encrypt keeps the nonce
// and puts ciphertext and tag behind it. Decrypt puts back the plaintext, and zeros
// for the tag; when the datagram does not open, everything behind the nonce becomes
// zeros. One too short for nonce and tag becomes zeros as a whole.
func NewAEADCrypt(aead cipher.AEAD) BlockCrypt {
	return &aeadCrypt{aead}
}

// prepare copies the nonce to dst and returns how long it is and where the tag's
// room begins. When that cannot be, it clears dst instead: no plaintext may pass.
func (c *aeadCrypt) prepare(dst, src []byte) (nonce, tag int, ok bool) {
	if c.AEAD != nil {
		nonce, tag = c.NonceSize(), len(src)-c.Overhead()
	}
	if c.AEAD == nil || tag < nonce {
		clear(dst)
		return 0, 0, false
	}
	copy(dst, src[:nonce])
	return nonce, tag, true
}

// Encrypt: see NewAEADCrypt.
func (c *aeadCrypt) Encrypt(dst, src []byte) {
	dst = dst[:len(src):len(src)]
	if nonce, tag, ok := c.prepare(dst, src); ok {
		c.Seal(dst[nonce:nonce], dst[:nonce], src[nonce:tag], nil)
	}
}

// Decrypt: see NewAEADCrypt.
func (c *aeadCrypt) Decrypt(dst, src []byte) {
	dst = dst[:len(src):len(src)]
	nonce, tag, ok := c.prepare(dst, src)
	if !ok {
		return
	}
	if _, err := c.Open(dst[nonce:nonce], dst[:nonce], src[nonce:], nil); err != nil {
		tag = nonce
	}
	clear(dst[tag:])
}
