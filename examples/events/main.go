// Events is a server for very many sessions: it holds 10,000 of them without a goroutine for each,
// as does its client, which has them all on one socket. Nobody waits in Read or Write; goroutines
// that are as many as processors call TryRead and TryWrite when a session says that it is worth it.
//
//	events                 server and clients in this process, over loopback
//	events -sessions 1000  fewer of them
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

func main() { os.Exit(status()) }

// status runs the program and returns its exit status.
func status() int {
	sessions := flag.Int("sessions", 10_000, "`number` of sessions open at a time, at least 1")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Events holds many sessions with few goroutines. Flags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		fmt.Fprintf(os.Stderr, "events: unexpected argument %q\n", flag.Arg(0))
		return 2
	case *sessions < 1:
		fmt.Fprintf(os.Stderr, "events: -sessions is %d, want at least 1\n", *sessions)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if _, err := run(ctx, *sessions, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		return 1
	}
	return 0
}

// run opens the sessions, has each of them say something twice and be answered, and closes them. It
// returns how many goroutines there were when all were open.
func run(ctx context.Context, sessions int, out io.Writer) (goroutines int, err error) {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	srv := newServer(runtime.GOMAXPROCS(0))
	defer srv.close()
	accepted := make(chan error, 1)
	go func() { accepted <- srv.accept(l) }()

	t, err := kcp.OpenTransport("udp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer t.Close()
	clients := newClients(t, l.Addr())
	defer clients.close()
	for round := range 2 {
		start := time.Now()
		if err := clients.ask(ctx, sessions, fmt.Sprintf("round %d", round)); err != nil {
			return 0, err
		}
		goroutines = runtime.NumGoroutine()
		fmt.Fprintf(out, "%d sessions answered in %.2f s; %d goroutines\n", srv.sessions(),
			time.Since(start).Seconds(), goroutines)
	}
	if n := srv.sessions(); n != sessions {
		return 0, fmt.Errorf("the server has %d sessions, want %d", n, sessions)
	}
	clients.close()
	for srv.sessions() > 0 {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case err := <-accepted:
			return 0, err
		case <-time.After(10 * time.Millisecond):
		}
	}
	fmt.Fprintln(out, "all of them closed")
	return goroutines, nil
}
