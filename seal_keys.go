package kcp

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"

	"github.com/pkg/errors"
)

// A PrivateKey is what a listener proves its identity with: see ListenConfig.PrivateKey. It is a key of
// X25519 (RFC 7748: https://www.rfc-editor.org/rfc/rfc7748). The zero value is none. Its text form, as
// MarshalText gives it, is base64; String shows the public key only, so that logs have no secret.
type PrivateKey [32]byte

// A PublicKey belongs to a PrivateKey: see Settings.ServerKey. The zero value is none. Its text form is
// base64.
type PublicKey [32]byte

// NewPrivateKey makes a key.
func NewPrivateKey() (k PrivateKey) {
	rand.Read(k[:]) // never fails
	return k
}

// Public returns the public key, none of none.
func (k PrivateKey) Public() (p PublicKey) {
	if k == (PrivateKey{}) {
		return p
	}
	key, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		return p // where Go's FIPS 140-3 mode forbids X25519
	}
	copy(p[:], key.PublicKey().Bytes())
	return p
}

// ParsePrivateKey reads the text form of a private key.
func ParsePrivateKey(text string) (k PrivateKey, err error) {
	err = parseKey("private", text, k[:])
	return k, err
}

// ParsePublicKey reads the text form of a public key.
func ParsePublicKey(text string) (k PublicKey, err error) {
	err = parseKey("public", text, k[:])
	return k, err
}

// parseKey reads the base64 of a key, into to. The text is not in the error: it may be a secret.
func parseKey(kind, text string, to []byte) error {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != len(to) {
		return errors.Errorf("kcp: %s key of %d characters: must be %d bytes in base64, %d characters",
			kind, len(text), len(to), base64.StdEncoding.EncodedLen(len(to)))
	}
	copy(to, b)
	return nil
}

// String returns the text form.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// String names the key by its public one, and shows no secret.
func (k PrivateKey) String() string { return "private key of " + k.Public().String() }

// MarshalText implements encoding.TextMarshaler.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParsePublicKey(string(text))
	return err
}

// MarshalText implements encoding.TextMarshaler. The text is secret.
func (k PrivateKey) MarshalText() ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString(k[:])), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *PrivateKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParsePrivateKey(string(text))
	return err
}
