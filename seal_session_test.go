package kcp

import (
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
