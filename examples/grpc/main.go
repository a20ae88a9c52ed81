// Grpc calls a gRPC service over a KCP session: a kcp.Dialer is gRPC's context dialer, and a kcp
// listener its listener. The service is gRPC's own health check. Both ends are in this process, on
// the loopback interface.
//
//	grpc             100 calls, 10 at a time
//	grpc -calls 5000
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/xtaci/kcp-go/v5"
)

func main() { os.Exit(status()) }

// status runs the program and returns its exit status.
func status() int {
	calls := flag.Int("calls", 100, "`number` of calls, 1 to 1000000")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Grpc calls a gRPC service over a KCP session. Flags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		fmt.Fprintf(os.Stderr, "grpc: unexpected argument %q\n", flag.Arg(0))
		return 2
	case *calls < 1 || *calls > 1e6:
		fmt.Fprintf(os.Stderr, "grpc: -calls is %d, want 1 to 1000000\n", *calls)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *calls, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		return 1
	}
	return 0
}

// atATime is how many calls are under way together.
const atATime = 10

// settings suit gRPC, which writes frames of any size and finds dead peers by its own keepalive.
var settings = kcp.Settings{Profile: kcp.LowLatency, StreamMode: true}

// run serves, and makes the given number of calls.
func run(ctx context.Context, calls int, out io.Writer) error {
	lc := kcp.ListenConfig{Settings: settings}
	l, err := lc.Listen(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go server.Serve(l) // until Stop, or an error that makes the calls fail
	defer server.Stop()

	d := kcp.Dialer{Settings: settings}
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a cipher in settings would encrypt
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return d.DialContext(ctx, "udp", addr)
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := grpc_health_v1.NewHealthClient(conn)

	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	for range calls {
		group.Go(func() error {
			r, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
			if err == nil && r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
				err = fmt.Errorf("the service is %v", r.GetStatus())
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Fprintf(out, "%d calls to %v in %v, %d at a time: %v each.\n", calls, l.Addr(),
		took.Round(time.Millisecond), atATime, (took * atATime / time.Duration(calls)).Round(time.Microsecond))
	return nil
}
