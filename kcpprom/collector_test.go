package kcpprom

import (
	"io"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	kcp "github.com/xtaci/kcp-go/v5"
)

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"InPkts": "in_pkts", "FECErrs": "fec_errs", "KCPInErrors": "kcp_in_errors", "RingBufferSndQueue": "ring_buffer_snd_queue",
		"OOBPackets": "oob_packets", "Sessions": "sessions", "HalfOpen": "half_open",
	} {
		if got := snake(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// gather returns the values of a family, by their labels, those of a histogram as its count.
func gather(t *testing.T, r *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[strings.Join(labels, ",")] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// The collector has what the process, its listeners and its sessions have, in the form that Prometheus asks
// for.
func TestCollector(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewCollector())
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := kcp.DialWithOptions(l.Addr().String(), nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	io.WriteString(c, "hello")
	s, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	io.ReadFull(s, make([]byte, 5))
	io.WriteString(s, "hello")
	io.ReadFull(c, make([]byte, 5))

	addr := l.Addr().String()
	for _, w := range []struct {
		family, labels string
		least          float64
	}{
		{"kcp_curr_estab", "", 2},
		{"kcp_in_pkts_total", "", 2},
		{"kcp_bytes_sent_total", "", 10},
		{"kcp_listener_sessions", addr, 1},
		{"kcp_listener_accepted_total", addr, 1},
		{"kcp_sessions", "application", 2},
		{"kcp_session_rtt_seconds", "", 1},
	} {
		values := gather(t, r, w.family)
		if got, ok := values[w.labels]; !ok || got < w.least {
			t.Errorf("%s{%s}: %v, %v in all, want at least %v", w.family, w.labels, got, values, w.least)
		}
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
