package kcp

import (
	"bytes"
	"testing"
)

// FuzzEnvelope opens any datagram with any cipher, and what it sealed itself.
func FuzzEnvelope(f *testing.F) {
	key := random(4, 32)
	ciphers := []struct {
		make func([]byte) (BlockCrypt, error)
		size int
	}{
		{func([]byte) (BlockCrypt, error) { return nil, nil }, 0},
		{NewNoneBlockCrypt, 32}, {NewSimpleXORBlockCrypt, 32}, {NewSalsa20BlockCrypt, 32},
		{NewAESBlockCrypt, 16}, {NewSM4BlockCrypt, 16}, {NewTwofishBlockCrypt, 32}, {NewTripleDESBlockCrypt, 24},
		{NewCast5BlockCrypt, 16}, {NewBlowfishBlockCrypt, 32}, {NewTEABlockCrypt, 16}, {NewXTEABlockCrypt, 16},
		{NewAESGCMCrypt, 32},
	}
	var envelopes []envelope
	for _, c := range ciphers {
		block, err := c.make(key[:c.size])
		if err != nil {
			f.Fatal(err)
		}
		env, err := newEnvelope(block)
		if err != nil {
			f.Fatal(err)
		}
		envelopes = append(envelopes, env)
	}
	f.Fuzz(func(t *testing.T, kind uint8, in []byte) {
		env := envelopes[int(kind)%len(envelopes)]
		if payload, ok := env.open(bytes.Clone(in)); ok && len(payload) != len(in)-env.head-env.tail {
			t.Fatalf("%d bytes opened to %d", len(in), len(payload))
		}
		want := in[:min(len(in), mtuLimit-env.head-env.tail)]
		b := make([]byte, env.head, mtuLimit)
		sealed := env.seal(append(b, want...))
		if len(sealed) != env.head+len(want)+env.tail {
			t.Fatalf("%d bytes sealed to %d", len(want), len(sealed))
		}
		again := env.seal(append(bytes.Clone(b), want...))
		if env.head > 0 && bytes.Equal(sealed, again) {
			t.Fatal("two datagrams are sealed alike")
		}
		if len(sealed) > 0 {
			broken := bytes.Clone(sealed)
			broken[len(broken)-1] ^= 0x10 // the nonce's own bytes are not covered by the CRC
			if _, ok := env.open(broken); ok && env.head > 0 {
				t.Fatal("a changed datagram opens")
			}
		}
		if got, ok := env.open(sealed); !ok || !bytes.Equal(got, want) {
			t.Fatalf("%x opens to %x, %v", want, got, ok)
		}
	})
}
