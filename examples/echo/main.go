// Echo is about the shortest good server and client: the server sends back what it receives, the
// client sends lines and prints what comes back. Without flags both run in this process, over
// loopback:
//
//	echo                  both, with three lines to send
//	echo -listen :4000    the server alone
//	echo -dial HOST:4000  the client alone; it sends what it reads from stdin
package main

import (
	"bufio"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

const (
	// idle is how long a client may be silent before the server ends the session. A client that
	// closes its session tells the server, whose Read returns io.EOF. A client that crashed, or
	// lost its network, tells nothing.
	idle = time.Minute
	// patience is how long an echo may take. There is no handshake: a client learns that there is
	// no server by the missing answer.
	patience = 5 * time.Second
)

func main() { os.Exit(status(os.Args[1:], os.Stderr)) }

// status runs the program and returns its exit status: 2 after wrong usage, 1 after another error.
func status(args []string, complaints io.Writer) int {
	f := flag.NewFlagSet("echo", flag.ContinueOnError)
	f.SetOutput(complaints)
	listen := f.String("listen", "", "only serve, on this `address`, such as :4000")
	dial := f.String("dial", "", "only be a client, of the server at this `address`, such as localhost:4000")
	key := f.String("key", "it's no secret", "`passphrase` that both ends share")
	f.Usage = func() {
		fmt.Fprintln(complaints, "Echo is a server that sends back what it gets, a client of it, or both. Flags:")
		f.PrintDefaults()
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil: // Parse has told it
		return 2
	case f.NArg() > 0:
		fmt.Fprintf(complaints, "echo: unexpected argument %q\n", f.Arg(0))
		return 2
	case *listen != "" && *dial != "":
		fmt.Fprintln(complaints, "echo: -listen and -dial are two programs: leave out both to run them in one")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *listen, *dial, *key)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(complaints, "echo:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, listen, dial, key string) error {
	block, err := newCipher(key)
	if err != nil {
		return err
	}
	switch {
	case listen != "":
		l, err := kcp.ListenWithOptions(listen, block, 0, 0)
		if err != nil {
			return fmt.Errorf("-listen: %w", err)
		}
		log.Println("serves echoes on", l.Addr())
		return serve(ctx, l, log.Printf)
	case dial != "":
		fmt.Println("Sends the lines of stdin to", dial, "and prints the echoes.")
		return client(ctx, dial, block, os.Stdin, os.Stdout)
	default:
		return both(ctx, block, os.Stdout)
	}
}

// newCipher returns the cipher of a passphrase. It authenticates: datagrams under another
// passphrase are dropped.
func newCipher(passphrase string) (kcp.BlockCrypt, error) {
	const iterations = 100_000 // makes guessing slow
	key, err := pbkdf2.Key(sha256.New, passphrase, []byte("kcp-go echo"), iterations, 32)
	if err != nil {
		return nil, err
	}
	return kcp.NewAESGCMCrypt(key)
}

// both runs a server and a client of it.
func both(ctx context.Context, block kcp.BlockCrypt, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	l, err := kcp.ListenWithOptions("127.0.0.1:0", block, 0, 0)
	if err != nil {
		stop()
		return err
	}
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, func(string, ...any) {}) }()
	fmt.Fprintln(out, "Sends three lines to an echo server in this process, on", l.Addr())
	lines := strings.NewReader("hello\nThis is a session over UDP,\nencrypted, in order and without loss.\n")
	err = client(ctx, l.Addr().String(), block, lines, out)
	stop()
	return errors.Join(err, <-served)
}

// serve echoes until ctx is done, and tells of each session when it begins and ends.
func serve(ctx context.Context, l *kcp.Listener, tell func(format string, args ...any)) error {
	var sessions sync.WaitGroup
	defer sessions.Wait() // or the program would end before the clients are told
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		s, err := l.AcceptKCP()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		sessions.Go(func() {
			tell("%v: begins", s.RemoteAddr())
			n, err := echo(ctx, s)
			tell("%v: ends after %d bytes: %v", s.RemoteAddr(), n, err)
		})
	}
}

// echo sends back what s receives, until the client ends the stream or is silent for idle. It
// returns how much that was, and what ended it.
func echo(ctx context.Context, s *kcp.UDPSession) (total int, err error) {
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	tune(s)
	b := make([]byte, 4096)
	for {
		s.SetReadDeadline(time.Now().Add(idle))
		n, err := s.Read(b)
		if err != nil {
			return total, err
		}
		if _, err := s.Write(b[:n]); err != nil {
			return total, err
		}
		total += n
	}
}

// client sends the lines of in to the server at addr, one after the other, and prints the echoes on
// out.
func client(ctx context.Context, addr string, block kcp.BlockCrypt, in io.Reader, out io.Writer) error {
	s, err := kcp.DialWithOptions(addr, block, 0, 0)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer s.Close()
	tune(s)
	done := make(chan error, 1)
	go func() { done <- exchange(s, in, out) }() // may be left behind, reading from in
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exchange sends the lines of in on s and prints each echo on out before it sends the next line.
func exchange(s net.Conn, in io.Reader, out io.Writer) error {
	lines, echoes := bufio.NewScanner(in), bufio.NewReader(s)
	for lines.Scan() {
		start := time.Now()
		s.SetDeadline(start.Add(patience))
		_, err := fmt.Fprintln(s, lines.Text())
		var echo string
		if err == nil {
			echo, err = echoes.ReadString('\n')
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("no answer from %v in %v: is a server there, with the same -key?", s.RemoteAddr(), patience)
		case err == io.EOF, errors.Is(err, syscall.ECONNRESET):
			return fmt.Errorf("the server at %v has ended the session", s.RemoteAddr())
		case err != nil:
			return err
		}
		fmt.Fprintf(out, "%s  (%v)\n", strings.TrimSuffix(echo, "\n"), time.Since(start).Round(10*time.Microsecond))
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line longer than %d KiB", bufio.MaxScanTokenSize>>10)
	}
	return lines.Err()
}

// tune makes s answer fast: a segment is retransmitted when two later ones were acknowledged, or
// soon when nothing is heard. The last argument, nc=0, leaves the congestion window on, which
// amounts as small as a line never fill.
func tune(s *kcp.UDPSession) {
	s.SetStreamMode(true)
	s.SetNoDelay(1, 10, 2, 0)
}
