package main

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/xtaci/kcp-go/v5"
)

// newCipher makes a cipher with a key of keySize bytes.
type newCipher struct {
	keySize int
	make    func(key []byte) (kcp.BlockCrypt, error)
}

// ciphers are the names of -crypt. Prefer those that authenticate what they encrypt: those with
// -gcm and -poly1305.
var ciphers = map[string]newCipher{
	"none":              {0, func([]byte) (kcp.BlockCrypt, error) { return nil, nil }},
	"aes-128-gcm":       {16, kcp.NewAESGCMCrypt},
	"aes-256-gcm":       {32, kcp.NewAESGCMCrypt},
	"chacha20-poly1305": {32, newChaCha20},
	"aes-128":           {16, kcp.NewAESBlockCrypt},
	"aes-192":           {24, kcp.NewAESBlockCrypt},
	"aes-256":           {32, kcp.NewAESBlockCrypt},
	"3des":              {24, kcp.NewTripleDESBlockCrypt},
	"blowfish":          {32, kcp.NewBlowfishBlockCrypt},
	"cast5":             {16, kcp.NewCast5BlockCrypt},
	"salsa20":           {32, kcp.NewSalsa20BlockCrypt},
	"sm4":               {16, kcp.NewSM4BlockCrypt},
	"tea":               {16, kcp.NewTEABlockCrypt},
	"twofish":           {32, kcp.NewTwofishBlockCrypt},
	"xor":               {32, kcp.NewSimpleXORBlockCrypt},
	"xtea":              {16, kcp.NewXTEABlockCrypt},
}

// newChaCha20 shows how to use a cipher that the package has no constructor for.
func newChaCha20(key []byte) (kcp.BlockCrypt, error) {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	return kcp.NewAEADCrypt(aead), nil
}

func cipherNames() string {
	return strings.Join(slices.Sorted(maps.Keys(ciphers)), ", ")
}

func checkCipher(name string) error {
	if _, ok := ciphers[name]; !ok {
		return fmt.Errorf("-crypt is %q, want one of %s", name, cipherNames())
	}
	return nil
}

// blockCrypt returns the cipher with a key derived from the passphrase. Both ends have to derive
// the same key.
func blockCrypt(name, passphrase string) (kcp.BlockCrypt, error) {
	c := ciphers[name]
	if c.keySize == 0 {
		return c.make(nil)
	}
	const (
		salt       = "kcp-go transfer"
		iterations = 100_000 // makes guessing slow
	)
	key, err := pbkdf2.Key(sha256.New, passphrase, []byte(salt), iterations, c.keySize)
	if err != nil {
		return nil, err
	}
	return c.make(key)
}
