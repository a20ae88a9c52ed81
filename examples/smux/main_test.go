package main

import (
	"context"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), 4, 1<<18, &out); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "matches"); got != 4 {
		t.Errorf("%d streams match, want 4:\n%s", got, &out)
	}
	for _, want := range []string{"\n1  ", "\n2  ", "\n3  ", "\n4  "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no stream %q:\n%s", want, &out)
		}
	}
}

// Hundreds of streams side by side, in one session.
func TestHundreds(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), 300, 1<<15, &out); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "matches"); got != 300 {
		t.Errorf("%d streams match, want 300", got)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, 2, 1<<30, new(strings.Builder)); err == nil {
		t.Error("no error")
	}
}
