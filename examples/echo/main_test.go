package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/xtaci/kcp-go/v5"
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

// A wrong command line and a failure have different exit statuses, and each says what is wrong.
func TestStatus(t *testing.T) {
	for _, c := range []struct {
		args, want string
		status     int
	}{
		{"-listen :1 -dial :2", "-listen and -dial", 2},
		{"x", `unexpected argument "x"`, 2},
		{"-nonsense", "-nonsense", 2},
		{"-h", "Flags:", 0},
		{"-listen 127.0.0.1:http-of-nowhere", "-listen: ", 1},
		{"-dial 127.0.0.1", "dial: address 127.0.0.1", 1},
	} {
		var complaints strings.Builder
		if got := status(strings.Fields(c.args), &complaints); got != c.status || !strings.Contains(complaints.String(), c.want) {
			t.Errorf("%s: status %d, %q, want %d, %q", c.args, got, &complaints, c.status, c.want)
		}
	}
}

// When the server stops, a client is told so.
func TestServerStops(t *testing.T) {
	block, err := newCipher("secret")
	if err != nil {
		t.Fatal(err)
	}
	l, err := kcp.ListenWithOptions("127.0.0.1:0", block, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told := make(chan string, 9)
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, l, func(format string, args ...any) { told <- fmt.Sprintf(format, args...) })
	}()
	in, lines := io.Pipe()
	echoes, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- client(t.Context(), l.Addr().String(), block, in, out) }()
	fmt.Fprintln(lines, "hello")
	if _, err := bufio.NewReader(echoes).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if s := <-told; !strings.HasSuffix(s, ": begins") {
		t.Error(s)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if s := <-told; !strings.Contains(s, ": ends after 6 bytes") {
		t.Error(s)
	}
	fmt.Fprintln(lines, "is anybody there?")
	if err := <-done; err == nil || !strings.HasSuffix(err.Error(), "has ended the session") {
		t.Error(err)
	}
}
