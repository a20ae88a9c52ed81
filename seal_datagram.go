package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"sync"
)

// A sealed datagram is the receiver's index, the number, ciphertext and tag. The first two are the
// additional data of the AEAD, whose nonce the number is. Then they are masked with what the head cipher
// makes of the datagram's end, as in QUIC (RFC 9001, section 5.4:
// https://www.rfc-editor.org/rfc/rfc9001#section-5.4): nothing in the datagram is constant, or counts.
const (
	sealedHead = 4 + 8
	sealedTail = 16
	sealedSize = sealedHead + sealedTail // of the shortest
	// sealNonceSize is the length of a nonce: 4 zero bytes and the number.
	sealNonceSize = 12
)

// datagramSealer seals what one end of a session sends. Everything is done in place, in memory that is
// there before.
type datagramSealer struct {
	mu     sync.Mutex
	head   cipher.Block
	index  uint32 // what the receiver wants to be called by
	number uint64 // of the next datagram
	cipher uint8
	secret secret      // of its epoch
	aead   cipher.AEAD // likewise, nil until it is used
	nonce  [sealNonceSize]byte
	mask   [aes.BlockSize]byte
}

// seal seals the payload that follows sealedHead bytes of any value in b, with room for sealedTail bytes
// behind it, and returns the datagram, which b begins with. The payload may be elsewhere.
func (t *datagramSealer) seal(b, payload []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	number := t.number
	if t.number++; number != 0 && epochOf(number) != epochOf(number-1) {
		t.secret, t.aead = nextSecret(&t.secret), nil
	}
	if t.aead == nil {
		t.aead = newSealAEAD(t.cipher, &t.secret)
	}
	head := b[:sealedHead]
	binary.LittleEndian.PutUint32(head, t.index)
	binary.LittleEndian.PutUint64(head[4:], number)
	copy(t.nonce[4:], head[4:])
	b = t.aead.Seal(head, t.nonce[:], payload, head)
	t.head.Encrypt(t.mask[:], b[len(b)-aes.BlockSize:])
	subtle.XORBytes(b, b[:sealedHead], t.mask[:])
	return b
}

// trim gives memory back after a pause.
func (t *datagramSealer) trim() {
	t.mu.Lock()
	t.aead = nil
	t.mu.Unlock()
}

// unmask returns what the first bytes of datagram b say, if it is sealed, and leaves them as they are.
// mask is for its use.
func unmask(head cipher.Block, b []byte, mask *[aes.BlockSize]byte) (index uint32, number uint64, ok bool) {
	if len(b) < sealedSize {
		return 0, 0, false
	}
	head.Encrypt(mask[:], b[len(b)-aes.BlockSize:])
	le := binary.LittleEndian
	return le.Uint32(b) ^ le.Uint32(mask[:]), le.Uint64(b[4:]) ^ le.Uint64(mask[4:]), true
}

// datagramOpener opens what one end of a session receives, each datagram once.
type datagramOpener struct {
	mu      sync.Mutex
	cipher  uint8
	newest  uint64    // epoch of what has been received
	secrets [3]secret // of the epochs around newest, each at its number modulo 3
	aeads   [3]cipher.AEAD
	window  replayWindow
	repeats uint64
	nonce   [sealNonceSize]byte
}

// newDatagramOpener returns an opener whose first epoch has that secret.
func newDatagramOpener(cipher uint8, s secret) *datagramOpener {
	o := &datagramOpener{cipher: cipher}
	o.secrets[0], o.secrets[1] = s, nextSecret(&s)
	return o
}

// openResult is what came of opening a datagram.
type openResult uint8

const (
	sealedOther  openResult = iota // it is none of these: its number has no key
	sealedOpened                   // it has opened
	sealedRepeat                   // it has been received before, or is too old
	sealedForged                   // it does not authenticate; its content is lost
	sealedEarly                    // there are no keys yet
)

// open opens datagram b, whose first bytes say index and number, in place.
func (o *datagramOpener) open(b []byte, index uint32, number uint64) (payload []byte, result openResult) {
	o.mu.Lock()
	defer o.mu.Unlock()
	epoch := epochOf(number)
	if epoch > o.newest+1 || epoch+1 < o.newest {
		return nil, sealedOther
	}
	if !o.window.fresh(number) {
		o.repeats++
		return nil, sealedRepeat
	}
	head := b[:sealedHead]
	binary.LittleEndian.PutUint32(head, index)
	binary.LittleEndian.PutUint64(head[4:], number)
	copy(o.nonce[4:], head[4:])
	aead := &o.aeads[epoch%3]
	if *aead == nil {
		*aead = newSealAEAD(o.cipher, &o.secrets[epoch%3])
	}
	payload, err := (*aead).Open(b[sealedHead:sealedHead], o.nonce[:], b[sealedHead:], head)
	if err != nil {
		return nil, sealedForged
	}
	o.window.note(number)
	if epoch > o.newest {
		o.newest = epoch
		o.secrets[(epoch+1)%3] = nextSecret(&o.secrets[epoch%3])
		o.aeads[(epoch+1)%3] = nil
	}
	return payload, sealedOpened
}

// seen returns the epoch of what has been received, and how many repeats were dropped.
func (o *datagramOpener) seen() (epoch, repeats uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest, o.repeats
}

// trim gives memory back after a pause.
func (o *datagramOpener) trim() {
	o.mu.Lock()
	clear(o.aeads[:])
	o.mu.Unlock()
}
