package unmarked

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"golang.org/x/crypto/salsa20"
)

// An Envelope is the cipher layer of datagrams.
type Envelope interface {
	// Overhead is how many bytes longer a datagram is than its payload.
	Overhead() int
	// NonceSize is the length of the nonce.
	NonceSize() int
	// Seal returns the datagram with this nonce and payload.
	Seal(nonce, payload []byte) []byte
	// Open returns the payload of a datagram.
	Open(datagram []byte) ([]byte, error)
}

var errEnvelope = errors.New("unmarked: a datagram that was not sealed with this key")

const (
	nonceSize = 16
	crcSize   = 4
)

// iv is the initialization vector of all block ciphers; those with a block of 8 bytes take its head.
var iv = [16]byte{0xa7, 0x73, 0x4f, 0x9c, 0x12, 0xac, 0x1b, 0x01, 0xa4, 0x15, 0xf2, 0xc1, 0xfc, 0x78, 0xe6, 0x6b}

// stream is the envelope of nonce and CRC, with a cipher over all of it.
type stream struct {
	encrypt, decrypt func(dst, src []byte)
}

// CFB returns the envelope of a block cipher.
func CFB(block cipher.Block) Envelope {
	return stream{
		func(dst, src []byte) { cfb(block, dst, src, dst) },
		func(dst, src []byte) { cfb(block, dst, src, src) },
	}
}

// cfb runs full-block cipher feedback from src to dst, which do not overlap. ciphertext is that of
// them that has it, or will.
func cfb(block cipher.Block, dst, src, ciphertext []byte) {
	size := block.BlockSize()
	key := make([]byte, size)
	block.Encrypt(key, iv[:size])
	for {
		n := subtle.XORBytes(dst, src, key)
		if dst, src = dst[n:], src[n:]; len(src) == 0 {
			return
		}
		block.Encrypt(key, ciphertext[:size])
		ciphertext = ciphertext[n:]
	}
}

// Salsa20 returns the envelope of Salsa20, whose nonce is the head of the datagram's.
func Salsa20(key []byte) Envelope {
	var k [32]byte
	copy(k[:], key)
	run := func(dst, src []byte) {
		copy(dst[:8], src)
		salsa20.XORKeyStream(dst[8:], src[8:], src[:8], &k)
	}
	return stream{run, run}
}

// XOR returns the envelope that xors with a table made of key.
func XOR(key []byte) (Envelope, error) {
	table, err := pbkdf2.Key(sha1.New, string(key), []byte("sH3CIVoF#rWLtJo6"), 32, mtuMax)
	run := func(dst, src []byte) { subtle.XORBytes(dst, src, table) }
	return stream{run, run}, err
}

// None returns the envelope that has nonce and CRC, and encrypts nothing.
func None() Envelope {
	run := func(dst, src []byte) { copy(dst, src) }
	return stream{run, run}
}

func (stream) Overhead() int  { return nonceSize + crcSize }
func (stream) NonceSize() int { return nonceSize }

func (s stream) Seal(nonce, payload []byte) []byte {
	plain := append([]byte(nil), nonce...)
	plain = binary.LittleEndian.AppendUint32(plain, crc32.ChecksumIEEE(payload))
	plain = append(plain, payload...)
	sealed := make([]byte, len(plain))
	s.encrypt(sealed, plain)
	return sealed
}

func (s stream) Open(datagram []byte) ([]byte, error) {
	if len(datagram) < nonceSize+crcSize {
		return nil, errEnvelope
	}
	plain := make([]byte, len(datagram))
	s.decrypt(plain, datagram)
	payload := plain[nonceSize+crcSize:]
	if binary.LittleEndian.Uint32(plain[nonceSize:]) != crc32.ChecksumIEEE(payload) {
		return nil, errEnvelope
	}
	return payload, nil
}

type aead struct{ cipher.AEAD }

// AEAD returns the envelope of an authenticated cipher.
func AEAD(a cipher.AEAD) Envelope { return aead{a} }

// AES returns the envelope of AES, and GCM that of AES-GCM, with a key of 16, 24 or 32 bytes.
func AES(key []byte) (Envelope, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return CFB(block), nil
}

func GCM(key []byte) (Envelope, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	a, err := cipher.NewGCM(block)
	return AEAD(a), err
}

func (a aead) Overhead() int { return a.NonceSize() + a.AEAD.Overhead() }

func (a aead) Seal(nonce, payload []byte) []byte {
	return a.AEAD.Seal(append([]byte(nil), nonce...), nonce, payload, nil)
}

func (a aead) Open(datagram []byte) ([]byte, error) {
	if len(datagram) < a.NonceSize() {
		return nil, errEnvelope
	}
	return a.AEAD.Open(nil, datagram[:a.NonceSize()], datagram[a.NonceSize():], nil)
}

// seal returns the datagram of payload, with a fresh nonce. It may be payload itself.
func (c *Config) seal(payload []byte) []byte {
	if c.Envelope == nil {
		return payload
	}
	nonce := make([]byte, c.Envelope.NonceSize())
	rand.Read(nonce) // never fails
	return c.Envelope.Seal(nonce, payload)
}

// open returns a copy of the payload of a datagram.
func (c *Config) open(datagram []byte) ([]byte, error) {
	if c.Envelope == nil {
		return append([]byte(nil), datagram...), nil
	}
	return c.Envelope.Open(datagram)
}
