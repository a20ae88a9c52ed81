package kcp

import (
	"fmt"
	"io"
	"testing"
)

// sealBench are the sessions that BenchmarkSealed compares.
var sealBench = []struct {
	name  string
	crypt string
	seal  SealMode
}{
	{"sealed with the AES key", "aes", SealAuto},
	{"sealed with the AES-GCM key", "gcm", SealAuto},
	{"AES-GCM", "gcm", SealOff},
	{"AES in CFB mode", "aes", SealOff},
	{"none", "plain", SealOff},
}

// sealedPairOver returns both ends of a session over loopback.
func sealedPairOver(b testing.TB, crypt string, seal SealMode) (c, s *UDPSession) {
	settings := Settings{Block: newCrypt(b, crypt), Seal: seal, StreamMode: true, SendWindow: 1024, ReceiveWindow: 1024}
	lc := ListenConfig{Settings: settings}
	nl, err := lc.Listen(b.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	l := nl.(*Listener)
	d := Dialer{Settings: settings}
	conn, err := d.Dial("udp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c = conn.(*UDPSession)
	if _, err := c.Write([]byte("x")); err != nil {
		b.Fatal(err)
	}
	if s, err = l.AcceptKCP(); err != nil {
		b.Fatal(err)
	}
	io.ReadFull(s, make([]byte, 1))
	s.Write([]byte("x"))
	io.ReadFull(c, make([]byte, 1))
	b.Cleanup(func() { closeAll(c, s, l) })
	return c, s
}

// BenchmarkSealed is bulk in one direction over loopback, and BenchmarkSealedEcho a request and its answer.
func BenchmarkSealed(b *testing.B) {
	for _, tt := range sealBench {
		b.Run(tt.name, func(b *testing.B) {
			c, s := sealedPairOver(b, tt.crypt, tt.seal)
			const size = 256 << 10
			b.SetBytes(size)
			b.ReportAllocs()
			data := make([]byte, size)
			done := make(chan error, 1)
			b.ResetTimer()
			go func() {
				_, err := io.CopyN(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, int64(size)*int64(b.N))
				done <- err
			}()
			for range b.N {
				if _, err := c.Write(data); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkSealedEcho(b *testing.B) {
	for _, tt := range sealBench {
		b.Run(tt.name, func(b *testing.B) {
			c, s := sealedPairOver(b, tt.crypt, tt.seal)
			for _, x := range []*UDPSession{c, s} {
				x.SetNoDelay(1, 10, 2, 1)
				x.SetACKNoDelay(true)
			}
			go io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
			msg := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				c.Write(msg)
				if _, err := io.ReadFull(c, msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSealedDatagram is what a datagram costs, sealed and opened.
func BenchmarkSealedDatagram(b *testing.B) {
	for kind, name := range sealCipherNames {
		b.Run(fmt.Sprintf("%s/%d", name, 1400), func(b *testing.B) {
			s, o := sealedPair(kind, 0)
			buf := make([]byte, mtuLimit)
			var mask [16]byte
			b.SetBytes(1400)
			b.ReportAllocs()
			for b.Loop() {
				sealed := s.seal(buf[:sealedHead], buf[sealedHead:1400-sealedTail])
				index, number, _ := unmask(s.head, sealed, &mask)
				if _, r := o.open(sealed, index, number); r != sealedOpened {
					b.Fatal(r)
				}
			}
		})
	}
}

// BenchmarkSealedHandshake is what both ends of a handshake compute.
func BenchmarkSealedHandshake(b *testing.B) {
	for _, id := range testIdentities() {
		b.Run(fmt.Sprint("pattern ", id.pattern), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				i, _ := newInitiator(id, 1, make([]byte, 60), testRandom(1))
				r, _, _ := openHello(&id, 1, i.message, testRandom(2))
				message, _, _, _ := r.answer(make([]byte, 60))
				if _, _, _, ok := i.open(message); !ok {
					b.Fatal("no handshake")
				}
			}
		})
	}
}
