package kcp

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"sync"
)

// maxBlockSize is the longest block of the ciphers in bytes: that of AES, SM4 and Twofish. The
// others have blocks of 8.
const maxBlockSize = 16

// cfbIV is the initialization vector of every datagram; ciphers with 8-byte blocks take its first
// half. It never changes: the random nonce at the start of each datagram makes the first block of
// ciphertext, and so all that follow, differ from those of any other.
var cfbIV = [maxBlockSize]byte{0xa7, 0x73, 0x4f, 0x9c, 0x12, 0xac, 0x1b, 0x01, 0xa4, 0x15, 0xf2, 0xc1, 0xfc, 0x78, 0xe6, 0x6b}

// cfb is a block cipher in cipher feedback mode with segments of a whole block (SP 800-38A, section
// 6.3: https://csrc.nist.gov/pubs/sp/800/38/a/final). Each block is xored with the keystream E(the
// ciphertext block before it), the first with E(IV). A short last block takes the head of its
// keystream block.
//
// Encryption is a chain, as the keystream of a block depends on the ciphertext before it, so its
// speed is the latency of the cipher. Decryption has all the ciphertext at hand. It makes the
// keystream first and xors at the end, so that the processor works on neighbouring blocks at the
// same time (AES: twice the speed).
type cfb struct {
	block cipher.Block
	first [maxBlockSize]byte // E(IV)
}

func newCFB(block cipher.Block) *cfb {
	c := &cfb{block: block}
	block.Encrypt(c.first[:], cfbIV[:block.BlockSize()])
	return c
}

// cfbChunk is the number of bytes that Decrypt handles at a time: a multiple of both block sizes,
// and more than the 1500 bytes of the longest datagram.
const cfbChunk = 1536

// keystreams recycles buffers for the keystream, which would escape to the heap: they are arguments
// of cipher.Block, an interface. A buffer has one block more than a chunk, for the chunk after it.
var keystreams = sync.Pool{New: func() any { return new([cfbChunk + maxBlockSize]byte) }}

// Encrypt implements BlockCrypt.
func (c *cfb) Encrypt(dst, src []byte) {
	buf := keystreams.Get().(*[cfbChunk + maxBlockSize]byte)
	defer keystreams.Put(buf)

	size := c.block.BlockSize()
	ks := buf[:size]
	copy(ks, c.first[:])
	dst = dst[:len(src)]
	for len(src) > size {
		xorBlock(dst[:size], src[:size], ks)
		c.block.Encrypt(ks, dst)
		dst, src = dst[size:], src[size:]
	}
	subtle.XORBytes(dst, src, ks)
}

// cfbLanes is the most datagrams that encryptLanes takes. While one chain waits for the cipher, the
// processor works on the three others (AES: more than twice the speed of one at a time).
const cfbLanes = 4

// encryptLanes encrypts up to cfbLanes datagrams of one length in place: a block of each in turn.
func (c *cfb) encryptLanes(lanes [][]byte) {
	buf := keystreams.Get().(*[cfbChunk + maxBlockSize]byte)
	defer keystreams.Put(buf)

	size := c.block.BlockSize()
	for i := range lanes {
		copy(buf[i*size:], c.first[:size])
	}
	at := 0
	for ; len(lanes[0])-at > size; at += size {
		for i, b := range lanes {
			block, ks := b[at:at+size], buf[i*size:(i+1)*size]
			xorBlock(block, block, ks)
			c.block.Encrypt(ks, block)
		}
	}
	for i, b := range lanes {
		subtle.XORBytes(b[at:], b[at:], buf[i*size:(i+1)*size])
	}
}

// xorBlock sets dst to src xor ks, one block. Ciphers with 8-byte blocks store two 32-bit words
// each. A wider load would have to wait until both have left the processor's store buffer, on the
// critical path of the chain. So xorBlock loads 32-bit words: a quarter faster with TEA, and never
// slower.
func xorBlock(dst, src, ks []byte) {
	if len(ks) != 8 {
		subtle.XORBytes(dst, src, ks)
		return
	}
	le := binary.LittleEndian
	le.PutUint32(dst, le.Uint32(src)^le.Uint32(ks))
	le.PutUint32(dst[4:], le.Uint32(src[4:])^le.Uint32(ks[4:]))
}

// Decrypt implements BlockCrypt.
func (c *cfb) Decrypt(dst, src []byte) {
	buf := keystreams.Get().(*[cfbChunk + maxBlockSize]byte)
	defer keystreams.Put(buf)

	size := c.block.BlockSize()
	ks := buf[:]
	copy(ks, c.first[:size])
	dst = dst[:len(src)]
	for len(src) > 0 {
		n := min(len(src), cfbChunk)
		for i := size; i <= n; i += size {
			c.block.Encrypt(ks[i:], src[i-size:])
		}
		subtle.XORBytes(dst, src[:n], ks)
		copy(ks, ks[n:n+size]) // the next chunk's first block: its ciphertext may be overwritten
		dst, src = dst[n:], src[n:]
	}
}
