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

// BlockCrypt encrypts and decrypts whole datagrams, from the first byte of the nonce to the last
// byte sent. Both ends need the same cipher with the same key.
//
// In Encrypt and Decrypt, dst and src are the same slice or do not overlap. dst has room for
// len(src) bytes at least; exactly len(src) of them are written. Neither method keeps a slice after
// it returned. One BlockCrypt serves any number of sessions at the same time, so both methods must
// be safe for concurrent use. They return no error: a datagram that was not decrypted correctly is
// detected by its checksum afterwards.
//
// The ciphers of this package allocate nothing per datagram. Those from [NewAESGCMCrypt] and
// [NewAEADCrypt] authenticate what they encrypt. The others do not: their CRC-32 detects a datagram
// under another key or damaged on its way, but does not stop an attacker from altering one.
// [NewNoneBlockCrypt], [NewSimpleXORBlockCrypt] and [NewTEABlockCrypt] (16 of TEA's 64 rounds) do
// not withstand an attacker at all, and the ciphers with 8-byte blocks (3DES, Blowfish, CAST5, TEA,
// XTEA) leak plaintext after some 2³² blocks, 32 GiB, under one key (https://sweet32.info). Prefer
// AES.
type BlockCrypt interface {
	// Encrypt writes the encryption of the datagram src to dst.
	Encrypt(dst, src []byte)

	// Decrypt writes the decryption of the datagram src to dst.
	Decrypt(dst, src []byte)
}

// NewAESBlockCrypt returns AES in cipher feedback mode (SP 800-38A, section 6.3:
// https://csrc.nist.gov/pubs/sp/800/38/a/final). A key of 16, 24 or 32 bytes selects AES-128,
// AES-192 or AES-256; another length is an error.
func NewAESBlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("AES", "16, 24 or 32", key, aes.NewCipher)
}

// NewBlowfishBlockCrypt returns Blowfish in cipher feedback mode. A key that is not 1 to 56 bytes
// long is an error.
func NewBlowfishBlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("Blowfish", "1 to 56", key, blowfish.NewCipher)
}

// NewCast5BlockCrypt returns CAST5 (RFC 2144: https://www.rfc-editor.org/rfc/rfc2144) in cipher
// feedback mode. A key that is not 16 bytes long is an error.
func NewCast5BlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("CAST5", "16", key, cast5.NewCipher)
}

// NewTripleDESBlockCrypt returns 3DES with three keys (SP 800-67:
// https://csrc.nist.gov/pubs/sp/800/67/r2/final) in cipher feedback mode. A key that is not 24
// bytes long is an error, and so is any key where Go's FIPS 140-3 mode forbids DES.
func NewTripleDESBlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("3DES", "24", key, des.NewTripleDESCipher)
}

// NewTwofishBlockCrypt returns Twofish in cipher feedback mode. A key that is not 16, 24 or 32
// bytes long is an error.
func NewTwofishBlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("Twofish", "16, 24 or 32", key, twofish.NewCipher)
}

// NewTEABlockCrypt returns TEA with 16 rounds, a quarter of the cipher's standard 64, in cipher
// feedback mode. It does not withstand an attacker. A key that is not 16 bytes long is an error.
func NewTEABlockCrypt(key []byte) (BlockCrypt, error) {
	const rounds = 16 // what deployed peers run
	return newBlockCrypt("TEA", "16", key, func(key []byte) (cipher.Block, error) {
		return tea.NewCipherWithRounds(key, rounds)
	})
}

// NewXTEABlockCrypt returns XTEA in cipher feedback mode. A key that is not 16 bytes long is an
// error.
func NewXTEABlockCrypt(key []byte) (BlockCrypt, error) {
	return newBlockCrypt("XTEA", "16", key, xtea.NewCipher)
}

// newBlockCrypt makes a block cipher with the key and puts it in cipher feedback mode. newCipher
// decides which keys are valid; the error adds the cipher's name and its key lengths in bytes.
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

// sm4Crypt is SM4 in cipher feedback mode. The cipher of package gmsm holds the block that it works
// on, so two goroutines must not use one value at a time: each call takes a value from a pool.
type sm4Crypt struct {
	key  [sm4.BlockSize]byte
	pool sync.Pool // of *cfb
}

// NewSM4BlockCrypt returns SM4 (GB/T 32907-2016; in English:
// https://datatracker.ietf.org/doc/html/draft-ribose-cfrg-sm4) in cipher feedback mode. A key that
// is not 16 bytes long is an error.
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
		panic(err) // cannot happen: NewSM4BlockCrypt has accepted the key
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

// salsaNonceSize is the number of bytes at the start of a datagram that are Salsa20's own nonce.
// They stay in clear, and the keystream starts right behind them.
const salsaNonceSize = 8

type salsa20Crypt struct {
	key [32]byte
}

// NewSalsa20BlockCrypt returns Salsa20/20 (https://cr.yp.to/snuffle/spec.pdf) with the first 32
// bytes of key as the key. A shorter key, nil as well, is padded with zeros. The error is always
// nil.
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

// xorTable is xored with each datagram: 1500 bytes, as many as the longest datagram that deployed
// peers read.
type xorTable []byte

// NewSimpleXORBlockCrypt returns a cipher that xors each datagram with the same 1500 bytes. They
// are derived from a key of any length, nil as well, with PBKDF2 (RFC 8018, section 5.2:
// https://www.rfc-editor.org/rfc/rfc8018#section-5.2; HMAC-SHA1, 32 iterations). An observer of two
// datagrams has the xor of their contents, so this is obfuscation, not encryption. The error is nil
// unless Go's FIPS 140-3 mode forbids the derivation.
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
	for len(src) > 0 { // beyond the end of the table, it starts over
		n := xorBytes(dst, src, t)
		dst, src = dst[n:], src[n:]
	}
}

func (t xorTable) Decrypt(dst, src []byte) { t.Encrypt(dst, src) }

type noneCrypt struct{}

// NewNoneBlockCrypt returns a cipher that encrypts nothing, for any key. Datagrams still carry
// nonce and checksum, unlike those of a session whose BlockCrypt is nil, so the two do not
// interoperate. The error is always nil.
func NewNoneBlockCrypt(key []byte) (BlockCrypt, error) { return noneCrypt{}, nil }

func (noneCrypt) Encrypt(dst, src []byte) { copy(dst[:len(src)], src) }
func (noneCrypt) Decrypt(dst, src []byte) { copy(dst[:len(src)], src) }

// aeadCrypt makes a BlockCrypt of an AEAD. Sessions recognize it and call the AEAD's Seal and Open
// themselves, as Open reports a datagram that does not authenticate. Encrypt and Decrypt do the
// same in the shape of the interface.
type aeadCrypt struct {
	cipher.AEAD // nil after NewAEADCrypt(nil)
	// apart says that Seal may write elsewhere than it reads. All are to, by cipher.AEAD's contract,
	// but programs have some that work in place only.
	apart  bool
	nonces nonceCount
}

// NewAESGCMCrypt returns AES-GCM (SP 800-38D: https://csrc.nist.gov/pubs/sp/800/38/d/final) with
// 12-byte nonces and 16-byte tags, the cipher to choose on processors with AES instructions. A key
// of 16, 24 or 32 bytes selects AES-128, AES-192 or AES-256; another length is an error, and so is
// any key where Go's FIPS 140-3 mode forbids nonces from outside. The nonces are random (see
// [SetEntropy]), so the key must be changed before 2³² datagrams were sealed with it (SP 800-38D,
// section 8.3), by all who have it. What the result has sealed is in Stats.KeyDatagrams, and log/slog's
// default logger warns once at half of that and once at all of it.
func NewAESGCMCrypt(key []byte) (BlockCrypt, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, keyError(err, "AES-GCM", "16, 24 or 32", key)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errors.Wrap(err, "kcp: AES-GCM")
	}
	return &aeadCrypt{AEAD: aead, apart: true}, nil
}

// NewAEADCrypt returns a BlockCrypt that seals each datagram with aead, such as ChaCha20-Poly1305
// from golang.org/x/crypto: nonce, ciphertext, tag, and no checksum. aead must be safe for
// concurrent use, as those of the standard library are. It is only ever asked to work in place, and
// may return new memory all the same. With a nil aead there is nothing to encrypt
// with: sessions and listeners refuse the result with an error, and its Encrypt and Decrypt write
// zeros.
//
// The nonces are random, so a key may seal 2³² datagrams if they have 12 bytes: see [NewAESGCMCrypt]. More
// bytes allow more; with 20 and above there is no limit.
//
// Sessions do not call Encrypt and Decrypt of the result. Other callers pass a datagram that
// consists of the nonce (NonceSize bytes, new for every datagram), the plaintext, and room for the
// tag (Overhead bytes). Encrypt keeps the nonce and puts ciphertext and tag behind it. Decrypt puts
// back the plaintext, and zeros for the tag; when the datagram does not authenticate, everything
// behind the nonce becomes zeros. A datagram that is too short for nonce and tag becomes zeros as a
// whole.
func NewAEADCrypt(aead cipher.AEAD) BlockCrypt {
	return &aeadCrypt{AEAD: aead}
}

// prepare copies src to dst and returns the nonce's length and where the room for the tag begins.
// Without an AEAD, or when src is too short, it clears dst instead, as no plaintext may pass, and
// ok is false.
func (c *aeadCrypt) prepare(dst, src []byte) (nonce, tag int, ok bool) {
	if c.AEAD != nil {
		nonce, tag = c.NonceSize(), len(src)-c.Overhead()
	}
	if c.AEAD == nil || tag < nonce {
		clear(dst)
		return 0, 0, false
	}
	copy(dst, src)
	return nonce, tag, true
}

// Encrypt implements BlockCrypt; see NewAEADCrypt.
func (c *aeadCrypt) Encrypt(dst, src []byte) {
	dst = dst[:len(src):len(src)]
	if nonce, tag, ok := c.prepare(dst, src); ok {
		copy(dst[nonce:], c.Seal(dst[nonce:nonce], dst[:nonce], dst[nonce:tag], nil))
	}
}

// Decrypt implements BlockCrypt; see NewAEADCrypt.
func (c *aeadCrypt) Decrypt(dst, src []byte) {
	dst = dst[:len(src):len(src)]
	nonce, tag, ok := c.prepare(dst, src)
	if !ok {
		return
	}
	plaintext, err := c.Open(dst[nonce:nonce], dst[:nonce], dst[nonce:], nil)
	if err != nil {
		tag = nonce
	}
	copy(dst[nonce:tag], plaintext)
	clear(dst[tag:])
}
