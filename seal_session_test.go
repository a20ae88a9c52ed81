package kcp

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// phase is how far a session is on the way to being sealed.
func (s *UDPSession) phase() sealPhase {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seal == nil {
		return sealUnsealed
	}
	return s.seal.phase
}

func wantPhase(t testing.TB, want sealPhase, sessions ...*UDPSession) {
	t.Helper()
	for _, s := range sessions {
		if got := s.phase(); got != want {
			t.Errorf("phase %d, want %d", got, want)
		}
	}
}

// Datagrams of the longest size are sealed as others are, also where the shared cipher's head is longer than
// that of sealing, and where they are not sent from where a segment lies, as they have two.
func TestSealedFullSize(t *testing.T) {
	for _, crypt := range []string{"aes", "salsa20", "gcm"} {
		for _, fec := range []int{0, 10} {
			t.Run(fmt.Sprintf("%s, %d data shards", crypt, fec), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 30 * time.Millisecond}, func(w *world) {
					settings := Settings{
						Block: newCrypt(t, crypt), MTU: mtuLimit, FixedMTU: true, WriteDelay: true,
						DataShards: fec, ParityShards: fec * 3 / 10,
					}
					c, s := w.pair(w.settle(settings, PrivateKey{}))
					wantPhase(t, sealProven, c, s)
					const count = 100
					message := make([]byte, (c.core.mtu-c.core.reserved)/2-IKCP_OVERHEAD)
					for range count {
						if _, err := c.Write(message); err != nil {
							t.Fatal(err)
						}
					}
					s.SetReadDeadline(time.Now().Add(10 * time.Second))
					for range count {
						if n, err := s.Read(make([]byte, mtuLimit)); n != len(message) || err != nil {
							t.Fatalf("%d bytes, %v", n, err)
						}
					}
					if n := w.snmp.Copy(); n.InCsumErrors != 0 || n.InErrs != 0 || n.RetransSegs != 0 {
						t.Errorf("%+v", n)
					}
					closeAll(c, s)
				})
			})
		}
	}
}

// With a cipher that is there for secrecy, sessions of two ends are sealed without anybody asking for
// it, and carry everything as before, to the end of both streams.
func TestSealedSessions(t *testing.T) {
	for _, crypt := range []string{"aes", "salsa20", "gcm"} {
		for _, fec := range []bool{false, true} {
			t.Run(crypt, func(t *testing.T) {
				virtual(t, netem.Path{Delay: 30 * time.Millisecond, Loss: 0.05, Jitter: 5 * time.Millisecond}, func(w *world) {
					cfg := w.config(newCrypt(t, crypt), 0, 0)
					if fec {
						cfg = w.config(newCrypt(t, crypt), 10, 3)
					}
					w.limitMtu(IKCP_MTU_DEF)
					c, s := w.pair(cfg)
					wantPhase(t, sealProven, c, s)
					w.check(exchange(c, s, 1<<20))
					w.check(c.CloseWrite())
					if _, err := s.Read(make([]byte, 1)); err != io.EOF {
						t.Error(err)
					}
					w.check(s.Close())
					if _, err := c.Read(make([]byte, 1)); err != io.EOF {
						t.Error(err)
					}
					w.check(c.Close())
					w.sleep(time.Minute)
					if n := w.snmp.Copy(); n.InCsumErrors != 0 || n.KCPInErrors != 0 || n.Sealed != 2 {
						t.Errorf("%+v", n)
					}
				})
			})
		}
	}
}
