package main

import (
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"1": 1, "1500": 1500, "1.5k": 1500, "32MiB": 32 << 20, "2.5 MB": 2500000, "1g": 1e9, "7b": 7,
		"": 0, "0": 0, "-1": 0, "x": 0, "1e30": 0, "nan": 0, "3 apples": 0, "9999999GB": 0,
	} {
		if n, err := parseBytes(s); n != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %d, %v, want %d", s, n, err, want)
		}
	}
}

func TestLatency(t *testing.T) {
	l := summarize([]time.Duration{5, 1, 3, 2, 4})
	if l != (latency{Count: 5, Min: 1, Mean: 3, Median: 3, P99: 5, Max: 5}) {
		t.Errorf("%+v", l)
	}
	if l := summarize(nil); l != (latency{}) {
		t.Errorf("%+v", l)
	}
}

func TestProgressFitsTheTerminal(t *testing.T) {
	for width, want := range map[int]string{10: "0123456789", 15: "██░░ 0123456789", 50: "███████████████░░░░░░░░░░░░░░░ 0123456789", 5: "01234", 0: "", -1: ""} {
		if s := fit(0.5, "0123456789", width); s != want {
			t.Errorf("%d: %q, want %q", width, s, want)
		}
	}
}
