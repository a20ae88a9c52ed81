package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/xtaci/smux"

	"github.com/xtaci/kcp-go/v5"
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

// counting counts the calls of WriteBuffers, by which smux sends a frame without joining its pieces.
type counting struct {
	*kcp.UDPSession
	gathered atomic.Int64
}

func (c *counting) WriteBuffers(v [][]byte) (int, error) {
	c.gathered.Add(1)
	return c.UDPSession.WriteBuffers(v)
}

// Both versions of smux's protocol, with its frames written in pieces, in stream mode and without.
func TestVersions(t *testing.T) {
	for _, version := range []int{1, 2} {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprintf("v%d, stream mode %t", version, stream), func(t *testing.T) {
				cfg := config()
				cfg.Version = version
				l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 10, 3)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				served := make(chan error, 1)
				go func() { served <- serveOne(l, cfg, stream) }()
				s, err := kcp.DialWithOptions(l.Addr().String(), nil, 10, 3)
				if err != nil {
					t.Fatal(err)
				}
				s.SetStreamMode(stream)
				conn := &counting{UDPSession: s}
				client, err := smux.Client(conn, cfg)
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for i := range 8 {
					wg.Go(func() {
						if r, err := move(client, uint64(i), 1<<18); err != nil || r.wrong {
							t.Errorf("stream %d: wrong %t, %v", i, r.wrong, err)
						}
					})
				}
				wg.Wait()
				if conn.gathered.Load() == 0 {
					t.Error("nothing went through WriteBuffers")
				}
				client.Close()
				l.Close()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// serveOne serves the streams of one session until the client closes it.
func serveOne(l *kcp.Listener, cfg *smux.Config, stream bool) error {
	s, err := l.AcceptKCP()
	if err != nil {
		return err
	}
	s.SetStreamMode(stream)
	server, err := smux.Server(s, cfg)
	if err != nil {
		return err
	}
	defer server.Close()
	for {
		stream, err := server.AcceptStream()
		if err != nil {
			return nil // the session is over
		}
		go func() {
			defer stream.Close()
			answer(stream)
		}()
	}
}
