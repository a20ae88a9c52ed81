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

// The library gives the known answers of both patterns.
func TestNoiseVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/noise.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []map[string]string
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		p := noisePatterns[patternPSK]
		if strings.HasPrefix(v["handshake"], "Noise_NK") {
			p = noisePatterns[patternKey]
		}
		config := func(role string) noise.Config {
			return noise.Config{
				CipherSuite: noiseSuite, Pattern: p, Prologue: unhex(t, v["prologue"]), PresharedKey: unhex(t, v["preshared_key"]),
				Random: bytes.NewReader(unhex(t, v["gen_"+role+"_ephemeral"])), Initiator: role == "init",
			}
		}
		ci, cr := config("init"), config("resp")
		if key := v["resp_static"]; key != "" {
			static, err := noiseSuite.GenerateKeypair(bytes.NewReader(unhex(t, key)))
			if err != nil {
				t.Fatal(err)
			}
			cr.StaticKeypair, ci.PeerStatic = static, static.Public
		}
		a, err := noise.NewHandshakeState(ci)
		if err != nil {
			t.Fatal(err)
		}
		b, err := noise.NewHandshakeState(cr)
		if err != nil {
			t.Fatal(err)
		}
		want := func(name string, got []byte, err error) {
			t.Helper()
			if err != nil || hex.EncodeToString(got) != v[name] {
				t.Errorf("%s: %s is %x, %v, want %s", v["handshake"], name, got, err, v[name])
			}
		}
		m0, _, _, err := a.WriteMessage(nil, unhex(t, v["msg_0_payload"]))
		want("msg_0_ciphertext", m0, err)
		p0, _, _, err := b.ReadMessage(nil, m0)
		want("msg_0_payload", p0, err)
		m1, b1, b2, err := b.WriteMessage(nil, unhex(t, v["msg_1_payload"]))
		want("msg_1_ciphertext", m1, err)
		p1, a1, a2, err := a.ReadMessage(nil, m1)
		want("msg_1_payload", p1, err)
		m2, err := a1.Encrypt(nil, nil, unhex(t, v["msg_2_payload"]))
		want("msg_2_ciphertext", m2, err)
		m3, err := b2.Encrypt(nil, nil, unhex(t, v["msg_3_payload"]))
		want("msg_3_ciphertext", m3, err)
		if a1.UnsafeKey() != b1.UnsafeKey() || a2.UnsafeKey() != b2.UnsafeKey() {
			t.Error("the ends have different keys")
		}
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
