package kcp

import (
	"encoding/binary"
	"sync"
)

// peekSize is how many bytes of a datagram tell whether it can be one of ours: the envelope's header, a
// segment's conv and cmd, or a FEC header's sequence number and type.
const peekSize = blockHeaderSize + convSize + 2

// peeks recycles the buffers of [envelope.alien], which would escape to the heap.
var peeks = sync.Pool{New: func() any { return new([peekSize]byte) }}

// decryptsHeads says whether the head of what a cipher decrypts to depends on nothing behind it, as with
// all of this package's but AEADs, which check what they decrypt. Of a program's own it is not known.
func decryptsHeads(block BlockCrypt) bool {
	switch block.(type) {
	case *cfb, *sm4Crypt, *salsa20Crypt, xorTable:
		return true
	}
	return false
}

// alien says that datagram b, which is left as it is, would not be understood if it did open. It costs
// two blocks of the cipher, where decryption and checksum of a full-size datagram cost a hundred.
// What was sealed under another key passes one time in ten or so.
func (e *envelope) alien(b []byte) bool {
	if !e.heads || len(b) < peekSize {
		return false
	}
	buf := peeks.Get().(*[peekSize]byte)
	defer peeks.Put(buf)
	e.block.Decrypt(buf[:], b[:peekSize])
	at := buf[blockHeaderSize+convSize:]
	if kind := binary.LittleEndian.Uint16(at); kind >= fecTypeData && kind <= fecTypeOOB {
		return false
	}
	return at[0] < IKCP_CMD_PUSH || at[0] > cmdLast
}
