package kcp

import (
	"hash/crc32"
	"testing"
)

// benchmarkCrypt measures both directions on a datagram of the default MTU, in place, as sessions
// do it.
func benchmarkCrypt(b *testing.B, newCrypt func([]byte) (BlockCrypt, error), keySize int) {
	crypt, err := newCrypt(make([]byte, keySize))
	if err != nil {
		b.Fatal(err)
	}
	datagram := make([]byte, 1400)
	run := func(name string, f func(dst, src []byte), src []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				f(datagram, src)
			}
		})
	}
	run("encrypt", crypt.Encrypt, datagram)
	if _, ok := crypt.(*aeadCrypt); ok {
		// The same good datagram each time: one that was opened does not open again.
		sealed := make([]byte, len(datagram))
		crypt.Encrypt(sealed, datagram)
		run("decrypt", crypt.Decrypt, sealed)
		return
	}
	run("decrypt", crypt.Decrypt, datagram)
}

func BenchmarkAES128(b *testing.B)   { benchmarkCrypt(b, NewAESBlockCrypt, 16) }
func BenchmarkAES192(b *testing.B)   { benchmarkCrypt(b, NewAESBlockCrypt, 24) }
func BenchmarkAES256(b *testing.B)   { benchmarkCrypt(b, NewAESBlockCrypt, 32) }
func BenchmarkSM4(b *testing.B)      { benchmarkCrypt(b, NewSM4BlockCrypt, 16) }
func BenchmarkTEA(b *testing.B)      { benchmarkCrypt(b, NewTEABlockCrypt, 16) }
func BenchmarkXTEA(b *testing.B)     { benchmarkCrypt(b, NewXTEABlockCrypt, 16) }
func BenchmarkXOR(b *testing.B)      { benchmarkCrypt(b, NewSimpleXORBlockCrypt, 32) }
func BenchmarkBlowfish(b *testing.B) { benchmarkCrypt(b, NewBlowfishBlockCrypt, 32) }
func BenchmarkNone(b *testing.B)     { benchmarkCrypt(b, NewNoneBlockCrypt, 32) }
func BenchmarkCast5(b *testing.B)    { benchmarkCrypt(b, NewCast5BlockCrypt, 16) }
func Benchmark3DES(b *testing.B)     { benchmarkCrypt(b, NewTripleDESBlockCrypt, 24) }
func BenchmarkTwofish(b *testing.B)  { benchmarkCrypt(b, NewTwofishBlockCrypt, 32) }
func BenchmarkSalsa20(b *testing.B)  { benchmarkCrypt(b, NewSalsa20BlockCrypt, 32) }
func BenchmarkAESGCM(b *testing.B)   { benchmarkCrypt(b, NewAESGCMCrypt, 16) }

// The checksum that every datagram with a BlockCrypt other than an AEAD carries.
func BenchmarkCRC32(b *testing.B) {
	datagram := make([]byte, 1400)
	b.SetBytes(int64(len(datagram)))
	b.ReportAllocs()
	for b.Loop() {
		crc32.ChecksumIEEE(datagram)
	}
}

// The nonce of a datagram from the default entropy.
func BenchmarkNonce(b *testing.B) {
	nonce := make([]byte, 16)
	entropy := new(chachaEntropy)
	b.SetBytes(int64(len(nonce)))
	b.ReportAllocs()
	for b.Loop() {
		entropy.Fill(nonce)
	}
}
