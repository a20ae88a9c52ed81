package kcp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/flynn/noise"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// noiseVector is a known answer in the format of
// https://github.com/noiseprotocol/noise_wiki/wiki/Test-vectors.
type noiseVector struct {
	Protocol      string   `json:"protocol_name"`
	InitPrologue  string   `json:"init_prologue"`
	InitPSKs      []string `json:"init_psks"`
	InitEphemeral string   `json:"init_ephemeral"`
	InitRemote    string   `json:"init_remote_static"`
	RespPrologue  string   `json:"resp_prologue"`
	RespPSKs      []string `json:"resp_psks"`
	RespStatic    string   `json:"resp_static"`
	RespEphemeral string   `json:"resp_ephemeral"`
	Messages      []struct {
		Payload    string `json:"payload"`
		Ciphertext string `json:"ciphertext"`
	} `json:"messages"`
}

// ends returns both ends of a vector's handshake.
func (v *noiseVector) ends(t *testing.T) (initiator, responder *noise.HandshakeState) {
	p := slices.IndexFunc(noisePatterns[:], func(p noise.HandshakePattern) bool {
		return v.Protocol == "Noise_"+p.Name+"psk0_"+string(noiseSuite.Name())
	})
	if p < 0 || len(v.InitPSKs) != 1 || len(v.RespPSKs) != 1 {
		t.Fatalf("%s is not used here, or has not one key", v.Protocol)
	}
	config := noise.Config{
		CipherSuite: noiseSuite, Pattern: noisePatterns[p], Prologue: unhex(t, v.InitPrologue), Initiator: true,
		PresharedKey: unhex(t, v.InitPSKs[0]), Random: bytes.NewReader(unhex(t, v.InitEphemeral)), PeerStatic: unhex(t, v.InitRemote),
	}
	initiator, err := noise.NewHandshakeState(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Prologue, config.PresharedKey = unhex(t, v.RespPrologue), unhex(t, v.RespPSKs[0])
	config.Random, config.PeerStatic, config.Initiator = bytes.NewReader(unhex(t, v.RespEphemeral)), nil, false
	if v.RespStatic != "" {
		if config.StaticKeypair, err = noiseSuite.GenerateKeypair(bytes.NewReader(unhex(t, v.RespStatic))); err != nil {
			t.Fatal(err)
		}
	}
	if responder, err = noise.NewHandshakeState(config); err != nil {
		t.Fatal(err)
	}
	return initiator, responder
}

// The library gives the known answers of another implementation for both patterns.
func TestNoiseVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/noise.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []noiseVector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for i := range file.Vectors {
		file.Vectors[i].check(t)
	}
}

// check exchanges a vector's messages: the first two are the handshake's.
func (v *noiseVector) check(t *testing.T) {
	a, b := v.ends(t)
	same := func(what string, got []byte, want string, err error) {
		t.Helper()
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: %s is %x, %v, want %s", v.Protocol, what, got, err, want)
		}
	}
	m := v.Messages
	sent, _, _, err := a.WriteMessage(nil, unhex(t, m[0].Payload))
	same("HELLO", sent, m[0].Ciphertext, err)
	read, _, _, err := b.ReadMessage(nil, sent)
	same("HELLO's payload", read, m[0].Payload, err)
	sent, b1, b2, err := b.WriteMessage(nil, unhex(t, m[1].Payload))
	same("WELCOME", sent, m[1].Ciphertext, err)
	read, a1, a2, err := a.ReadMessage(nil, sent)
	same("WELCOME's payload", read, m[1].Payload, err)
	from, to := []*noise.CipherState{a1, b2}, []*noise.CipherState{b1, a2}
	for n, message := range m[2:] {
		sent, err := from[n%2].Encrypt(nil, nil, unhex(t, message.Payload))
		same("a message", sent, message.Ciphertext, err)
		read, err := to[n%2].Decrypt(nil, nil, sent)
		same("what it says", read, message.Payload, err)
	}
}

// testRandom gives the same bytes in each run.
func testRandom(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// testIdentities returns an identity of each pattern, the listener's.
func testIdentities() []identity {
	private := PrivateKey{1, 2, 3}
	return []identity{
		{psk: psk{7}, pattern: patternPSK},
		{psk: psk{7}, pattern: patternKey, private: private, server: private.Public()},
	}
}

// Both ends of a handshake get the same keys, each its own, whatever comes in between: answers that were
// made by somebody else, with a changed bit, or with a point of low order, and copies.
func TestHandshake(t *testing.T) {
	for _, id := range testIdentities() {
		dialler := id
		dialler.private = PrivateKey{}
		i, err := newInitiator(dialler, 77, []byte("hello"), testRandom(1))
		if err != nil {
			t.Fatal(err)
		}
		r, payload, ok := openHello(&id, 77, i.message, testRandom(2))
		if !ok || string(payload) != "hello" {
			t.Fatalf("HELLO opens as %q, %t", payload, ok)
		}
		answer, send, receive, ok := r.answer([]byte("welcome"))
		if !ok {
			t.Fatal("no answer")
		}
		for bit := range 8 * len(answer) {
			forged := bytes.Clone(answer)
			forged[bit/8] ^= 1 << (bit % 8)
			if bit == 255 { // X25519 ignores it, but Noise's hash does not
				continue
			}
			if bit%37 != 0 {
				continue
			}
			if _, _, _, ok := i.open(forged); ok {
				t.Fatalf("opens with bit %d changed", bit)
			}
		}
		if _, _, _, ok := i.open(make([]byte, len(answer))); ok {
			t.Fatal("opens with a point of low order")
		}
		payload, s, rcv, ok := i.open(answer)
		if !ok || string(payload) != "welcome" || s != receive || rcv != send || s == rcv {
			t.Fatalf("WELCOME opens as %q, %t; keys %x %x and %x %x", payload, ok, s, rcv, send, receive)
		}
		if _, _, ok := openHello(&id, 78, i.message, testRandom(3)); ok {
			t.Error("opens for another conversation")
		}
		for _, other := range []identity{{psk: psk{8}, pattern: id.pattern, private: id.private, server: id.server}} {
			if _, _, ok := openHello(&other, 77, i.message, testRandom(3)); ok {
				t.Error("opens with another pre-shared key")
			}
		}
		if id.pattern == patternKey {
			other := id
			other.private = PrivateKey{9}
			other.server = other.private.Public()
			if _, _, ok := openHello(&other, 77, i.message, testRandom(3)); ok {
				t.Error("opens with another static key")
			}
		}
		for n := range len(i.message) {
			if _, _, ok := openHello(&id, 77, i.message[:n], testRandom(3)); ok {
				t.Fatalf("opens with %d bytes", n)
			}
		}
	}
}

// Every cipher gives a pre-shared key of its own, but those that do nothing or are not deterministic.
func TestPSK(t *testing.T) {
	seen := make(map[psk]string)
	for _, spec := range append(slices.Clone(cipherSpecs), cipherSpec{"gcm", 16, NewAESGCMCrypt}) {
		name := spec.name
		c := mustCrypt(t, spec, random(1, spec.keySize))
		key, ok := pskOf(c)
		if ok == (name == "none") {
			t.Errorf("%s: %t", name, ok)
		}
		if cheap := name == "none" || name == "xor" || name == "sm4"; cheapCipher(c) != cheap {
			t.Errorf("%s: cheap is %t", name, cheapCipher(c))
		}
		if again, _ := pskOf(c); again != key {
			t.Errorf("%s: not the same again", name)
		}
		if other := seen[key]; ok && other != "" {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[key] = name
	}
	if _, ok := pskOf(&randomCrypt{}); ok {
		t.Error("a cipher that is not deterministic gives a key")
	}
}

// randomCrypt is a program's cipher with a nonce of its own.
type randomCrypt struct{ n byte }

func (c *randomCrypt) Encrypt(dst, src []byte) {
	c.n++
	for i := range src {
		dst[i] = src[i] + c.n
	}
}

func (c *randomCrypt) Decrypt(dst, src []byte) { copy(dst, src) }

// Keys have a text form, which is read back, and a private one is not printed.
func TestKeyText(t *testing.T) {
	private := NewPrivateKey()
	public := private.Public()
	text, _ := private.MarshalText()
	var k PrivateKey
	if err := k.UnmarshalText(text); err != nil || k != private {
		t.Errorf("%v, %v", k, err)
	}
	if p, err := ParsePublicKey(public.String()); err != nil || p != public {
		t.Errorf("%v, %v", p, err)
	}
	if strings.Contains(private.String(), string(text)) {
		t.Error("String shows the private key")
	}
	for _, bad := range []string{"", "AAAA", "*", public.String() + "A", public.String()[:40]} {
		if _, err := ParsePublicKey(bad); err == nil || bad != "" && bad != "*" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if (PrivateKey{}).Public() != (PublicKey{}) {
		t.Error("no key has a public key")
	}
}
