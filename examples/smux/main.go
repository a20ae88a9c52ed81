// Smux moves data through many streams over one session, with the multiplexer github.com/xtaci/smux
// on top of package kcp. Both ends are in this process, with real sockets on the loopback interface
// between them:
//
//	smux                        8 streams at a time, 8 MiB through each
//	smux -streams 100 -size 1   100 streams, 1 MiB through each
//
// Each stream begins with the length of its data. The server answers with the data's SHA-256, which
// the client compares. (CloseWrite could end the data as well, but up to smux v1.5.56 it loses an
// answer that the server's Close follows at once.)
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/xtaci/smux"

	"github.com/xtaci/kcp-go/v5"
)

func main() { os.Exit(status()) }

// status runs the program and returns its exit status.
func status() int {
	streams := flag.Int("streams", 8, "`number` of streams at a time, 1 to 1000")
	size := flag.Int("size", 8, "`MiB` through each stream, 1 to 1000")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Smux moves data through many streams over one session. Flags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	var err error
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case *streams < 1 || *streams > 1000:
		err = fmt.Errorf("-streams is %d, want 1 to 1000", *streams)
	case *size < 1 || *size > 1000:
		err = fmt.Errorf("-size is %d MiB, want 1 to 1000", *size)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "smux:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *streams, int64(*size)<<20, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "smux:", err)
		return 1
	}
	return 0
}

// result is the outcome of one stream.
type result struct {
	took  time.Duration
	sum   []byte // SHA-256 of the data sent
	wrong bool   // the server has another SHA-256
}

// run moves size bytes through each of the given number of streams.
func run(ctx context.Context, streams int, size int64, out io.Writer) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		return err
	}
	defer l.Close()
	client, err := dial(l.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	fmt.Fprintf(out, "Moves %d × %d MiB, each through a stream of its own, over one session, %v to %v.\n\n",
		streams, size>>20, client.LocalAddr(), client.RemoteAddr())

	// Closing makes calls return that are blocked on the client or the listener.
	defer context.AfterFunc(ctx, func() {
		client.Close()
		l.Close()
	})()
	go func() {
		if err := serve(ctx, l); err != nil {
			fail(fmt.Errorf("server: %w", err))
		}
	}()

	start := time.Now()
	results := make([]result, streams)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			var err error
			if results[i], err = move(client, uint64(i), size); err != nil {
				fail(fmt.Errorf("client: stream %d: %w", i+1, err))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return report(out, results, size, time.Since(start))
}

// dial returns the client's end of a session's multiplexer.
func dial(addr string) (*smux.Session, error) {
	s, err := kcp.DialWithOptions(addr, nil, 0, 0)
	if err != nil {
		return nil, err
	}
	tune(s)
	return smux.Client(s, config())
}

// serve accepts a session and serves its streams until the session is closed.
func serve(ctx context.Context, l *kcp.Listener) error {
	s, err := l.AcceptKCP()
	if err != nil {
		return err
	}
	tune(s)
	server, err := smux.Server(s, config())
	if err != nil {
		return err
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { server.Close() })()
	for {
		stream, err := server.AcceptStream()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer stream.Close()
			answer(stream) // a failure closes the stream, which the client notices
		}()
	}
}

// answer is the server's end of a stream.
func answer(stream io.ReadWriter) error {
	var size [8]byte
	if _, err := io.ReadFull(stream, size[:]); err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, stream, int64(binary.BigEndian.Uint64(size[:]))); err != nil {
		return err
	}
	_, err := stream.Write(hash.Sum(nil))
	return err
}

// move sends size random bytes through a stream of its own.
func move(client *smux.Session, seed uint64, size int64) (result, error) {
	start := time.Now()
	stream, err := client.OpenStream()
	if err != nil {
		return result{}, err
	}
	defer stream.Close()
	if _, err := stream.Write(binary.BigEndian.AppendUint64(nil, uint64(size))); err != nil {
		return result{}, err
	}
	hash := sha256.New()
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	if _, err := io.CopyN(io.MultiWriter(stream, hash), random, size); err != nil {
		return result{}, err
	}
	answer := make([]byte, sha256.Size)
	if _, err := io.ReadFull(stream, answer); err != nil {
		return result{}, err
	}
	sum := hash.Sum(nil)
	wrong := [sha256.Size]byte(answer) != [sha256.Size]byte(sum)
	return result{time.Since(start), sum, wrong}, nil
}

func report(out io.Writer, results []result, size int64, took time.Duration) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "stream\ttime\tgoodput\tSHA-256")
	wrong := false
	for i, r := range results {
		remark := "matches"
		if r.wrong {
			remark, wrong = "DIFFERS", true
		}
		fmt.Fprintf(w, "%d\t%v\t%s\t%x… %s\n", i+1, r.took.Round(time.Millisecond), rate(size, r.took), r.sum[:4], remark)
	}
	fmt.Fprintf(w, "all\t%v\t%s\t\n", took.Round(time.Millisecond), rate(size*int64(len(results)), took))
	if err := w.Flush(); err != nil {
		return err
	}
	if wrong {
		return errors.New("what arrived is not what was sent")
	}
	return nil
}

func rate(bytes int64, d time.Duration) string {
	return fmt.Sprintf("%.1f MB/s", float64(bytes)/1e6/d.Seconds())
}

// tune sets what suits loopback: large windows for a fast path, and no congestion window, as there
// is no other traffic. Streams need stream mode.
func tune(s *kcp.UDPSession) {
	s.SetStreamMode(true)
	s.SetNoDelay(1, 10, 2, 0)
	s.SetWindowSize(1024, 1024)
}

// config returns the settings that both ends have to agree on.
func config() *smux.Config {
	c := smux.DefaultConfig()
	c.Version = 2                 // a window for each stream: none blocks the others
	c.MaxStreamBuffer = 1 << 20   // that window, in bytes
	c.MaxReceiveBuffer = 16 << 20 // of all streams together, in bytes
	return c
}
