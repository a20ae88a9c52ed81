package kcp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// cipherSpec is one cipher of the package with a key length that it takes.
type cipherSpec struct {
	name    string // as in testdata/ciphers.json
	keySize int
	make    func(key []byte) (BlockCrypt, error)
}

var cipherSpecs = []cipherSpec{
	{"aes-128", 16, NewAESBlockCrypt},
	{"aes-192", 24, NewAESBlockCrypt},
	{"aes-256", 32, NewAESBlockCrypt},
	{"tea", 16, NewTEABlockCrypt},
	{"xtea", 16, NewXTEABlockCrypt},
	{"blowfish", 32, NewBlowfishBlockCrypt},
	{"cast5", 16, NewCast5BlockCrypt},
	{"3des", 24, NewTripleDESBlockCrypt},
	{"twofish", 32, NewTwofishBlockCrypt},
	{"sm4", 16, NewSM4BlockCrypt},
	{"salsa20", 32, NewSalsa20BlockCrypt},
	{"xor", 32, NewSimpleXORBlockCrypt},
	{"none", 16, NewNoneBlockCrypt},
}

// cipherVectors are the known answers, by cipher.
type cipherVectors struct {
	Cipher string
	Key    hexBytes
	Cases  []struct{ Plaintext, Ciphertext hexBytes }
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func loadCipherVectors(t *testing.T) []cipherVectors {
	t.Helper()
	data, err := os.ReadFile("testdata/ciphers.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []cipherVectors }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.Vectors
}

func mustCrypt(t testing.TB, spec cipherSpec, key []byte) BlockCrypt {
	t.Helper()
	crypt, err := spec.make(key)
	if err != nil {
		t.Fatalf("%s: %v", spec.name, err)
	}
	return crypt
}

func TestCipherVectors(t *testing.T) {
	seen := make(map[string]bool)
	for _, v := range loadCipherVectors(t) {
		i := slices.IndexFunc(cipherSpecs, func(s cipherSpec) bool { return s.name == v.Cipher })
		if i < 0 {
			t.Errorf("no cipher is called %s", v.Cipher)
			continue
		}
		seen[v.Cipher] = true
		crypt := mustCrypt(t, cipherSpecs[i], v.Key)
		for _, c := range v.Cases {
			check := func(what string, f func(dst, src []byte), src, want []byte) {
				t.Helper()
				apart := make([]byte, len(src))
				f(apart, src)
				if !bytes.Equal(apart, want) {
					t.Errorf("%s, %d bytes: %s\n got %x\nwant %x", v.Cipher, len(src), what, apart, want)
				}
				inPlace := bytes.Clone(src)
				f(inPlace, inPlace)
				if !bytes.Equal(inPlace, want) {
					t.Errorf("%s, %d bytes: %s in place\n got %x\nwant %x", v.Cipher, len(src), what, inPlace, want)
				}
			}
			check("encrypt", crypt.Encrypt, c.Plaintext, c.Ciphertext)
			check("decrypt", crypt.Decrypt, c.Ciphertext, c.Plaintext)
		}
	}
	for _, spec := range cipherSpecs {
		if !seen[spec.name] {
			t.Errorf("no known answers for %s", spec.name)
		}
	}
}

// Whatever its length, a datagram comes back, nothing beyond it is touched, and in place gives the
// same as apart. A short one must not panic, a long one not wrap.
func TestCipherRoundTrip(t *testing.T) {
	lengths := []int{cfbChunk - 1, cfbChunk, cfbChunk + 1, cfbChunk + 17, 2000, 2 * cfbChunk, 5000}
	for n := 0; n <= 1600; n += 1 + n/40 {
		lengths = append(lengths, n)
	}
	plain := random(1, slices.Max(lengths))
	const guard = 0xa5
	for _, spec := range cipherSpecs {
		crypt := mustCrypt(t, spec, random(2, spec.keySize))
		apart := make([]byte, len(plain)+1)
		inPlace := make([]byte, len(plain)+1)
		for _, n := range lengths {
			apart[n] = guard
			crypt.Encrypt(apart, plain[:n])
			copy(inPlace, plain[:n])
			inPlace[n] = guard
			crypt.Encrypt(inPlace[:n], inPlace[:n])
			if !bytes.Equal(apart[:n], inPlace[:n]) {
				t.Errorf("%s, %d bytes: encryption in place differs", spec.name, n)
			}
			if n >= 32 && spec.name != "none" && bytes.Equal(apart[n-16:n], plain[n-16:n]) {
				t.Errorf("%s, %d bytes: the tail is in clear", spec.name, n)
			}
			crypt.Decrypt(inPlace[:n], inPlace[:n])
			if !bytes.Equal(inPlace[:n], plain[:n]) {
				t.Errorf("%s, %d bytes: not the same after decryption in place", spec.name, n)
			}
			if inPlace[n] != guard || apart[n] != guard {
				t.Errorf("%s, %d bytes: wrote beyond them", spec.name, n)
			}
			crypt.Decrypt(inPlace, apart[:n])
			if !bytes.Equal(inPlace[:n], plain[:n]) {
				t.Errorf("%s, %d bytes: not the same after decryption", spec.name, n)
			}
		}
	}
}

// The format in its plainest form, against the code that is made to be fast, on every length around
// the ends of blocks and chunks.
func TestCFBReference(t *testing.T) {
	aesBlock, _ := aes.NewCipher(random(3, 16))
	tea := mustCrypt(t, cipherSpec{"tea", 16, NewTEABlockCrypt}, random(3, 16)).(*cfb)
	for _, block := range []cipher.Block{aesBlock, tea.block} {
		size := block.BlockSize()
		reference := func(plain []byte) []byte {
			out := make([]byte, len(plain))
			feedback := cfbIV[:size]
			ks := make([]byte, size)
			for i := range plain {
				if i%size == 0 {
					block.Encrypt(ks, feedback)
				}
				out[i] = plain[i] ^ ks[i%size]
				if i%size == size-1 {
					feedback = out[i+1-size : i+1]
				}
			}
			return out
		}
		mode := newCFB(block)
		plain := random(4, 4*cfbChunk)
		check := func(n int) {
			want := reference(plain[:n])
			got := make([]byte, n)
			mode.Encrypt(got, plain[:n])
			if !bytes.Equal(got, want) {
				t.Errorf("block size %d: encryption of %d bytes differs", size, n)
			}
			mode.Decrypt(got, want)
			if !bytes.Equal(got, plain[:n]) {
				t.Errorf("block size %d: decryption of %d bytes differs", size, n)
			}
		}
		for n := range 100 {
			check(n)
			check(cfbChunk - 50 + n)
			check(2*cfbChunk - 50 + n)
		}
	}
}

func TestXORTableRepeats(t *testing.T) {
	crypt := mustCrypt(t, cipherSpec{"xor", 16, NewSimpleXORBlockCrypt}, []byte("key"))
	out := make([]byte, 4000)
	crypt.Encrypt(out, make([]byte, 4000))
	if !bytes.Equal(out[:1500], out[1500:3000]) || !bytes.Equal(out[:1000], out[3000:]) {
		t.Error("not the table over and over")
	}
}

func TestSalsa20Key(t *testing.T) {
	encrypt := func(key []byte) []byte {
		out := make([]byte, 64)
		mustCrypt(t, cipherSpec{"salsa20", 32, NewSalsa20BlockCrypt}, key).Encrypt(out, make([]byte, 64))
		return out
	}
	key := random(5, 40)
	if !bytes.Equal(encrypt(key), encrypt(key[:32])) {
		t.Error("bytes after the 32nd are part of the key")
	}
	if !bytes.Equal(encrypt(key[:20]), encrypt(append(bytes.Clone(key[:20]), make([]byte, 12)...))) {
		t.Error("a short key is not padded with zeros")
	}
	if !bytes.Equal(encrypt(nil), encrypt(make([]byte, 32))) {
		t.Error("a nil key is not all zeros")
	}
}

func TestKeyLengths(t *testing.T) {
	fits := func(lengths ...int) func(int) bool {
		return func(n int) bool { return slices.Contains(lengths, n) }
	}
	all := func(int) bool { return true }
	for _, test := range []struct {
		name  string // as the error has it
		make  func([]byte) (BlockCrypt, error)
		fits  func(int) bool
		wants string
	}{
		{"AES", NewAESBlockCrypt, fits(16, 24, 32), "needs 16, 24 or 32"},
		{"AES-GCM", NewAESGCMCrypt, fits(16, 24, 32), "needs 16, 24 or 32"},
		{"Twofish", NewTwofishBlockCrypt, fits(16, 24, 32), "needs 16, 24 or 32"},
		{"3DES", NewTripleDESBlockCrypt, fits(24), "needs 24"},
		{"Blowfish", NewBlowfishBlockCrypt, func(n int) bool { return n >= 1 && n <= 56 }, "needs 1 to 56"},
		{"CAST5", NewCast5BlockCrypt, fits(16), "needs 16"},
		{"SM4", NewSM4BlockCrypt, fits(16), "needs 16"},
		{"TEA", NewTEABlockCrypt, fits(16), "needs 16"},
		{"XTEA", NewXTEABlockCrypt, fits(16), "needs 16"},
		{"Salsa20", NewSalsa20BlockCrypt, all, ""},
		{"XOR", NewSimpleXORBlockCrypt, all, ""},
		{"none", NewNoneBlockCrypt, all, ""},
	} {
		for n := -1; n <= 70; n++ {
			var key []byte // nil for -1
			if n >= 0 {
				key = make([]byte, n)
			}
			crypt, err := test.make(key)
			if test.fits(n) {
				if err != nil || crypt == nil {
					t.Errorf("%s, %d bytes: %v, %v", test.name, n, crypt, err)
				}
				continue
			}
			if err == nil || crypt != nil {
				t.Errorf("%s, %d bytes: %v, no error", test.name, n, crypt)
				continue
			}
			want := fmt.Sprintf("kcp: %s with a key of %d bytes, %s: ", test.name, max(n, 0), test.wants)
			if !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%q does not start with %q", err, want)
			}
		}
	}
}

// A caller may wipe its key once the cipher is made.
func TestKeyIsCopied(t *testing.T) {
	specs := append(slices.Clone(cipherSpecs), cipherSpec{"aes-gcm", 16, NewAESGCMCrypt})
	plain := random(6, 100)
	for _, spec := range specs {
		key := random(7, spec.keySize)
		crypt := mustCrypt(t, spec, key)
		before, after := make([]byte, len(plain)), make([]byte, len(plain))
		crypt.Encrypt(before, plain)
		clear(key)
		if c, ok := crypt.(*sm4Crypt); ok {
			c.pool.Get() // and the next one is made from the key again
		}
		crypt.Encrypt(after, plain)
		if !bytes.Equal(before, after) {
			t.Errorf("%s: the cipher changed with the caller's key", spec.name)
		}
	}
}

// One value serves many sessions at a time. Without the race detector, mixed-up state still shows
// as a wrong result.
func TestCipherConcurrency(t *testing.T) {
	specs := append(slices.Clone(cipherSpecs), cipherSpec{"aes-gcm", 16, NewAESGCMCrypt})
	for _, spec := range specs {
		crypt := mustCrypt(t, spec, random(8, spec.keySize))
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				plain := random(uint64(g), 500)
				clear(plain[len(plain)-16:]) // the tag's room
				buf := make([]byte, len(plain))
				want := make([]byte, len(plain))
				crypt.Encrypt(want, plain)
				for range 20 {
					crypt.Encrypt(buf, plain)
					if !bytes.Equal(buf, want) {
						t.Errorf("%s: encryption differs", spec.name)
						return
					}
					crypt.Decrypt(buf, buf)
					if !bytes.Equal(buf, plain) {
						t.Errorf("%s: decryption differs", spec.name)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func testAEADs(t *testing.T) map[string]BlockCrypt {
	t.Helper()
	key := random(9, 32)
	gcm, err := NewAESGCMCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	chacha, err := chacha20poly1305.New(key)
	if err != nil {
		t.Fatal(err)
	}
	xchacha, err := chacha20poly1305.NewX(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]BlockCrypt{
		"AES-GCM":            gcm,
		"ChaCha20-Poly1305":  NewAEADCrypt(chacha),
		"XChaCha20-Poly1305": NewAEADCrypt(xchacha),
	}
}

func TestAEADRoundTrip(t *testing.T) {
	for name, crypt := range testAEADs(t) {
		aead := crypt.(*aeadCrypt).AEAD
		nonce, overhead := aead.NonceSize(), aead.Overhead()
		for n := nonce + overhead; n <= 1500; n += 1 + n/50 {
			datagram := random(10, n)
			clear(datagram[n-overhead:])
			sealed := make([]byte, n+1)
			crypt.Encrypt(sealed, datagram)
			want := aead.Seal(bytes.Clone(datagram[:nonce]), datagram[:nonce], datagram[nonce:n-overhead], nil)
			if !bytes.Equal(sealed[:n], want) || sealed[n] != 0 {
				t.Fatalf("%s, %d bytes: not nonce, ciphertext, tag", name, n)
			}
			inPlace := bytes.Clone(datagram)
			crypt.Encrypt(inPlace, inPlace)
			if !bytes.Equal(inPlace, want) {
				t.Fatalf("%s, %d bytes: encryption in place differs", name, n)
			}
			opened := make([]byte, n+1)
			crypt.Decrypt(opened, inPlace)
			crypt.Decrypt(inPlace, inPlace)
			if !bytes.Equal(opened[:n], datagram) || !bytes.Equal(inPlace, datagram) || opened[n] != 0 {
				t.Fatalf("%s, %d bytes: not the same after decryption", name, n)
			}
		}
	}
}

// What does not open shows none of its plaintext, wherever it was altered.
func TestAEADTampered(t *testing.T) {
	for name, crypt := range testAEADs(t) {
		nonce := crypt.(*aeadCrypt).NonceSize()
		const n = 100
		sealed := random(11, n)
		crypt.Encrypt(sealed, sealed)
		zeros := make([]byte, n)
		for i := range sealed {
			altered := bytes.Clone(sealed)
			altered[i] ^= 1
			apart := bytes.Repeat([]byte{0xff}, n)
			crypt.Decrypt(apart, altered)
			crypt.Decrypt(altered, altered)
			if !bytes.Equal(apart[nonce:], zeros[nonce:]) || !bytes.Equal(altered[nonce:], zeros[nonce:]) {
				t.Errorf("%s: not zeroed with byte %d altered", name, i)
			}
		}
	}
}

// Where nothing can be encrypted, nothing leaves in clear.
func TestAEADFailsClosed(t *testing.T) {
	crypts := testAEADs(t)
	crypts["nil AEAD"] = NewAEADCrypt(nil)
	if crypts["nil AEAD"].(*aeadCrypt).AEAD != nil {
		t.Error("a nil AEAD is not told by its field")
	}
	for name, crypt := range crypts {
		limit := 1500
		if c := crypt.(*aeadCrypt); c.AEAD != nil {
			limit = c.NonceSize() + c.Overhead()
		}
		for n := 0; n < limit; n += 1 + n/50 {
			for what, f := range map[string]func(dst, src []byte){"Encrypt": crypt.Encrypt, "Decrypt": crypt.Decrypt} {
				src := bytes.Repeat([]byte{1}, n)
				dst := bytes.Repeat([]byte{2}, n+1)
				f(dst, src)
				f(src, src)
				zeros := make([]byte, n)
				if !bytes.Equal(src, zeros) || !bytes.Equal(dst[:n], zeros) || dst[n] != 2 {
					t.Errorf("%s: %s of %d bytes does not give zeros", name, what, n)
				}
			}
		}
	}
}

func TestCipherAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop values")
	}
	// What an AEAD from elsewhere allocates is its own affair: only AES-GCM here.
	specs := append(slices.Clone(cipherSpecs), cipherSpec{"aes-gcm", 16, NewAESGCMCrypt})
	p := make([]byte, 1400)
	for _, spec := range specs {
		crypt := mustCrypt(t, spec, random(12, spec.keySize))
		if n := testing.AllocsPerRun(20, func() {
			crypt.Encrypt(p, p)
			crypt.Decrypt(p, p)
		}); n != 0 {
			t.Errorf("%s: %v allocations for a datagram there and back", spec.name, n)
		}
	}
}

// Anything may come from the network: no cipher panics on it, and each gives it back when the
// result is encrypted again.
func FuzzCipherDecrypt(f *testing.F) {
	for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17, 20, 1400, 1500, 1501, cfbChunk, 2 * cfbChunk} {
		f.Add(random(13, n))
	}
	var crypts []BlockCrypt
	for _, spec := range cipherSpecs {
		crypts = append(crypts, mustCrypt(f, spec, random(14, spec.keySize)))
	}
	gcm, err := NewAESGCMCrypt(random(14, 16))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for i, crypt := range crypts {
			p := bytes.Clone(datagram)
			crypt.Decrypt(p, p)
			crypt.Encrypt(p, p)
			if !bytes.Equal(p, datagram) {
				t.Errorf("%s: %d bytes changed", cipherSpecs[i].name, len(p))
			}
		}
		p := make([]byte, len(datagram))
		gcm.Decrypt(p, datagram)
	})
}

// Datagrams sealed together are what each is alone.
func TestCFBLanes(t *testing.T) {
	for _, spec := range cipherSpecs {
		block := mustCrypt(t, spec, random(1, spec.keySize))
		c, ok := block.(*cfb)
		if !ok {
			continue
		}
		for length := range 80 {
			for n := 1; n <= cfbLanes; n++ {
				var lanes, want [][]byte
				for i := range n {
					lanes = append(lanes, random(uint64(i), length))
					want = append(want, make([]byte, length))
					c.Encrypt(want[i], lanes[i])
				}
				c.encryptLanes(lanes)
				for i := range n {
					if !bytes.Equal(lanes[i], want[i]) {
						t.Fatalf("%s: %d of %d lanes of %d bytes differs", spec.name, i, n, length)
					}
				}
			}
		}
	}
}

// crypts is one cipher for each kind of envelope.
var crypts = []struct {
	name string
	make func(key []byte) (BlockCrypt, error)
}{
	{"plain", func([]byte) (BlockCrypt, error) { return nil, nil }},
	{"aes", NewAESBlockCrypt},
	{"salsa20", NewSalsa20BlockCrypt},
	{"gcm", NewAESGCMCrypt},
}

// newCrypt returns the cipher of that name in crypts.
func newCrypt(t testing.TB, name string) BlockCrypt {
	t.Helper()
	for _, c := range crypts {
		if c.name == name {
			block, err := c.make(random(1, 16))
			if err != nil {
				t.Fatal(err)
			}
			return block
		}
	}
	t.Fatalf("no cipher is called %s", name)
	return nil
}
