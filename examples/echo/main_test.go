package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
)

func TestBoth(t *testing.T) {
	block, err := newCipher("secret")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := both(t.Context(), block, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hello  (", "over UDP,  (", "without loss.  ("} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

func TestLongLine(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	err := exchange(client, strings.NewReader(strings.Repeat("x", 1<<17)), io.Discard)
	if want := "line longer than 64 KiB"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		listen, dial string
		rest         []string
		want         string
	}{
		{":1", ":2", nil, "-listen and -dial"},
		{"127.0.0.1:http-of-nowhere", "", nil, "-listen: "},
		{"", "127.0.0.1", nil, "dial: address 127.0.0.1"},
		{"", "", []string{"x"}, `unexpected argument "x"`},
	} {
		if err := run(context.Background(), c.listen, c.dial, "", c.rest); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("-listen %q -dial %q %q: error %v, want %s", c.listen, c.dial, c.rest, err, c.want)
		}
	}
}
