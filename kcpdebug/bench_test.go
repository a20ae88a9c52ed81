package kcpdebug

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// many makes so many sessions, of which half are accepted ones.
func many(b *testing.B, sessions int) {
	network := netem.New(1)
	l, block := demoListener(b, network)
	all := make([]*kcp.UDPSession, sessions/2)
	for i := range all {
		host := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		conn, err := network.Listen(netip.AddrPortFrom(host, 5000).String())
		if err != nil {
			b.Fatal(err)
		}
		if all[i], err = kcp.NewConn2(l.Addr(), block, 0, 0, conn); err != nil {
			b.Fatal(err)
		}
		all[i].Write([]byte("hello"))
	}
	for start := time.Now(); l.Stats().Sessions < len(all); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			b.Fatalf("%+v", l.Stats())
		}
	}
	b.Cleanup(func() {
		for _, s := range all {
			s.SetLinger(0)
			s.Close()
		}
		l.Close()
		network.Close()
	})
}

// What the page costs: a sample of all sessions, and an answer to one who looks at the list.
func BenchmarkPage(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			many(b, n)
			s := newSampler()
			b.Run("sample", func(b *testing.B) {
				for b.Loop() {
					if s.newest != nil {
						s.newest.at = time.Time{} // too old
					}
					if rows := s.sample().rows; len(rows) < n {
						b.Fatalf("%d sessions", len(rows))
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/session")
			})
			h := Handler()
			for _, query := range []string{"sort=-out", "sort=peer&q=10.1.2", "sort=rtt&offset=900"} {
				b.Run(query, func(b *testing.B) {
					for b.Loop() {
						w := httptest.NewRecorder()
						h.ServeHTTP(w, httptest.NewRequest("GET", "/sessions.json?"+query, nil))
						b.ReportMetric(float64(w.Body.Len()), "B/answer")
					}
				})
			}
		})
	}
}
