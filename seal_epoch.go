package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"

	"golang.org/x/crypto/chacha20poly1305"
)

// Each direction of a sealed session has a secret of its own, which is its AEAD's key, and a new one,
// derived from it, after each 2^epochShift datagrams: an epoch. So no key seals more than AES-GCM should
// (NIST SP 800-38D), and who takes a key from memory does not read what was sent in earlier epochs.
// Nothing announces an epoch but the numbers of its datagrams.

// epochShift is the number of bits of a datagram's number below its epoch's.
const epochShift = 22

// epochOf returns the epoch of a datagram's number.
func epochOf(number uint64) uint64 { return number >> epochShift }

// nextSecret derives the secret of the epoch after that of s (HKDF-Expand of RFC 5869:
// https://www.rfc-editor.org/rfc/rfc5869).
func nextSecret(s *secret) secret {
	return secret(mustDerive(hkdf.Expand(sha256.New, s[:], nextEpochLabel, secretSize)))
}

// headKey is the key of headCipher.
func headKey(id *identity) []byte {
	secret := id.psk[:]
	if id.pattern == patternKey {
		secret = append(secret[:len(secret):len(secret)], id.server[:]...)
	}
	return mustDerive(hkdf.Key(sha256.New, secret, nil, headLabel, headKeySize))
}

// headCipher returns the cipher that masks the headers of all sessions that know psk, and the listener's
// static public key with patternKey.
func headCipher(id *identity) cipher.Block {
	block, err := aes.NewCipher(headKey(id))
	if err != nil {
		panic(err) // the key has a valid length
	}
	return block
}

// mustDerive is for keys whose derivation has no reason to fail: their lengths are constant.
func mustDerive(key []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return key
}

// newSealAEAD returns the AEAD of an epoch, nil where Go's FIPS 140-3 mode forbids it.
func newSealAEAD(kind uint8, key *secret) cipher.AEAD {
	var aead cipher.AEAD
	block, err := aes.NewCipher(key[:])
	if err == nil && kind == sealGCM {
		aead, err = cipher.NewGCM(block)
	} else if err == nil {
		aead, err = chacha20poly1305.New(key[:])
	}
	if err != nil {
		return nil
	}
	return aead
}

// sealCipher returns the cipher for two ends with such bits of HELLO's ciphers.
func sealCipher(a, b uint8) uint8 {
	if a&b&ciphersGCM != 0 {
		return sealGCM
	}
	return sealChaCha
}

// ownCiphers are the bits of HELLO's ciphers of this end.
func ownCiphers() uint8 {
	if hardwareGCM {
		return ciphersGCM
	}
	return 0
}
