package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, 500, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "500 calls") {
		t.Error(out.String())
	}
}
