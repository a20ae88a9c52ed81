package kcp

import (
	"bytes"
	"crypto/sha256"

	"golang.org/x/sys/cpu"
)

// Sealed sessions (docs/protocol.md, Sealed sessions). From the bottom up:
//
//	seal_psk.go        what the configured cipher gives to the handshake
//	seal_keys.go       the listener's key pair, as programs see it
//	seal_noise.go      the handshake: both Noise patterns
//	seal_records.go    HELLO, WELCOME, RETRY, TOKEN and EARLY on the wire
//	seal_epoch.go      a direction's keys, one after the other
//	seal_keylog.go     the secrets, for a debugger
//	seal_replay.go     the numbers that have been received
//	seal_datagram.go   datagrams under those keys
//	seal_early.go      what was sent before there were keys
//	seal_token.go      tickets, and tokens against floods
//	seal_half_open.go  a listener's unfinished handshakes
//	seal_dialler.go    the dialler's states
//	seal_listener.go   the listener's

// psk is the pre-shared key of a handshake.
type psk = [32]byte

// pskLabel sets its derivation apart from all else that is done with the cipher.
const pskLabel = "kcp sealed session psk 1"

// pskOf derives the pre-shared key from the shared cipher: a digest of what that makes of 64 zero bytes.
// So any cipher gives one, a program's own, too. ok is false for one that gives none, as it is not
// deterministic, or leaves the zeros as they are.
func pskOf(block BlockCrypt) (key psk, ok bool) {
	once, again := encryptZeros(block), encryptZeros(block)
	zeros := make([]byte, pskProbe)
	if !bytes.Equal(once, again) || len(once) < pskProbe || bytes.Equal(once[:pskProbe], zeros) {
		return key, false
	}
	return sha256.Sum256(append([]byte(pskLabel), once...)), true
}

// pskProbe is how many zero bytes the cipher is given.
const pskProbe = 64

// encryptZeros returns what a cipher makes of pskProbe zero bytes: an AEAD, with a nonce of zeros and no
// additional data.
func encryptZeros(block BlockCrypt) []byte {
	zeros := make([]byte, pskProbe)
	if c, ok := block.(*aeadCrypt); ok {
		if c == nil || c.AEAD == nil {
			return nil
		}
		return c.Seal(zeros[:0], make([]byte, c.NonceSize()), zeros, nil)
	}
	b := make([]byte, pskProbe)
	block.Encrypt(b, zeros)
	return b
}

// cheapCipher says whether a cipher was chosen for something else than secrecy: to be cheap, or for its
// standard. Sessions with it are sealed only where that is required.
func cheapCipher(block BlockCrypt) bool {
	switch block.(type) {
	case noneCrypt, xorTable, *sm4Crypt:
		return true
	}
	return false
}

// hardwareGCM says whether the processor has instructions for AES and for GCM's multiplication.
var hardwareGCM = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
	cpu.S390X.HasAES && cpu.S390X.HasAESGCM || cpu.S390X.HasAES && cpu.S390X.HasGHASH
