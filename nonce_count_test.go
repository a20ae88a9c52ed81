package kcp

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// The limits keep the probability of two equal nonces below 2⁻³³.
func TestNonceLimit(t *testing.T) {
	for size, want := range map[int]float64{0: 0, 4: 0, 8: 16, 12: 32, 16: 48, 19: 60, 20: -1, 24: -1, 255: -1} {
		got := nonceLimit(size)
		if want < 0 && got != 0 || want >= 0 && float64(got) != math.Exp2(want) {
			t.Errorf("%d bytes: %d, want 2^%.0f", size, got, want)
		}
	}
}

// warnings returns what f has the process's logger report.
func warnings(f func()) []string {
	var b bytes.Buffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	defer slog.SetDefault(was)
	f()
	return strings.Split(strings.TrimSpace(b.String()), "\n")
}

// Half of the limit and the limit are reported once each, also where one batch passes both.
func TestNonceWarnings(t *testing.T) {
	const limit = 1 << 32
	for _, tt := range []struct {
		name   string
		steps  []uint64
		reuse  int // batches after them
		wanted []string
	}{
		{"few", []uint64{1000}, 5, nil},
		{"before half", []uint64{limit/2 - 2}, 1, nil},
		{"half", []uint64{limit/2 - 1}, 5, []string{"soon"}},
		{"both", []uint64{limit/2 - 1, limit / 2}, 5, []string{"soon", "now"}},
		{"at once", []uint64{limit}, 5, []string{"now"}},
	} {
		var c nonceCount
		got := warnings(func() {
			for _, n := range tt.steps {
				c.add(int(n), limit)
			}
			for range tt.reuse {
				c.add(1, limit)
			}
			c.add(0, limit)
		})
		if len(tt.wanted) == 0 {
			tt.wanted = []string{""}
		}
		if len(got) != len(tt.wanted) {
			t.Errorf("%s: %q", tt.name, got)
			continue
		}
		for i, line := range got {
			if !strings.Contains(line, tt.wanted[i]) || line != "" && !strings.Contains(line, "level=WARN") {
				t.Errorf("%s: %q, want %q", tt.name, line, tt.wanted[i])
			}
		}
	}
}

// All that is sealed with a cipher is counted, whatever session sends it; ciphers without random nonces
// have no limit.
func TestKeyUse(t *testing.T) {
	for _, tt := range []struct {
		cipher string
		limit  uint64
	}{{"gcm", 1 << 32}, {"aes", 0}, {"plain", 0}} {
		virtual(t, netem.Path{}, func(w *world) {
			cfg := unsealed(w.config(newCrypt(t, tt.cipher), 2, 1)) // of both ends
			c, s := w.pair(cfg)
			w.check(exchange(c, s, 100_000))
			w.awaitIdle()
			st, other := c.Stats(), s.Stats()
			want := uint64(0)
			if tt.limit != 0 {
				want = st.DatagramsSent + other.DatagramsSent
			}
			if st.KeyDatagrams != want || other.KeyDatagrams != want || st.KeyLimit != tt.limit {
				t.Errorf("%s: %d and %d of %d, want %d of %d", tt.cipher, st.KeyDatagrams, other.KeyDatagrams, st.KeyLimit, want, tt.limit)
			}
			closeAll(c, s)
		})
	}
}
