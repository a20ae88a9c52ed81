package main

import (
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// Ten thousand sessions at both ends have a few dozen goroutines.
func TestRun(t *testing.T) {
	sessions := 10_000
	if raceEnabled {
		sessions = 1000
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out strings.Builder
	goroutines, err := run(ctx, sessions, &out)
	t.Logf("%s", &out)
	if err != nil {
		t.Fatal(err)
	}
	// Those of the test, of a listener, of timers and workers, and what sends or notifies just now.
	if most := 50 + 10*runtime.NumCPU() + asking; goroutines > most || most > sessions/2 {
		t.Errorf("%d goroutines, want at most %d", goroutines, most)
	}
}

// What does not fit into the windows goes on when there is room, and a reader that is slow slows its
// peer down.
func TestMuch(t *testing.T) {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	srv := newServer(2)
	defer srv.close()
	go srv.accept(l)
	socket, err := kcp.OpenTransport("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	done := make(chan error, 4)
	for range cap(done) {
		s, err := socket.Dial(t.Context(), &kcp.Dialer{Settings: kcp.Settings{StreamMode: true}}, l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.SetDeadline(time.Now().Add(time.Minute))
		const size = 4 << 20
		go s.Write(make([]byte, size))
		go func() {
			_, err := io.CopyN(io.Discard, s, size)
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
