// Tunnel carries TCP connections through one encrypted KCP session, for a path where TCP is slow
// because it loses datagrams. One end listens for TCP connections, the other dials TCP:
//
//	TUNNEL_KEY=secret tunnel -serve :4000 -target localhost:80       beside the server
//	TUNNEL_KEY=secret tunnel -listen localhost:8080 -via host:4000   beside the client
//
// Each connection is a stream of github.com/xtaci/smux. Either end may be restarted: open
// connections are reset, as if the path had failed, and new connections use a new session.
package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

func main() { os.Exit(status()) }

// status runs the program and returns its exit status.
func status() int {
	serve := flag.String("serve", "", "UDP `address` to take tunnels at")
	target := flag.String("target", "", "TCP `address` that -serve dials for each connection")
	listen := flag.String("listen", "", "TCP `address` to take connections at")
	via := flag.String("via", "", "UDP `address` of the other end, for -listen")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Tunnel carries TCP through an encrypted KCP session: -serve with -target at one end, -listen with -via\nat the other, the same passphrase in TUNNEL_KEY at both. Flags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	passphrase := os.Getenv("TUNNEL_KEY")
	err := checkUsage(*serve, *target, *listen, *via, passphrase, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "tunnel:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *serve != "" {
		err = runServer(ctx, *serve, *target, passphrase)
	} else {
		err = runClient(ctx, *listen, *via, passphrase)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tunnel:", err)
		return 1
	}
	return 0
}

// checkUsage returns what is wrong with the flags, the passphrase and the other arguments.
func checkUsage(serve, target, listen, via, passphrase string, args []string) error {
	server := serve != "" && target != "" && listen == "" && via == ""
	client := listen != "" && via != "" && serve == "" && target == ""
	switch {
	case len(args) > 0:
		return fmt.Errorf("unexpected argument %q", args[0])
	case !server && !client:
		return errors.New("wants either -serve with -target or -listen with -via")
	case passphrase == "":
		return errors.New("wants a passphrase, the same at both ends, in the environment variable TUNNEL_KEY")
	}
	return nil
}

func runServer(ctx context.Context, addr, target, passphrase string) error {
	s, err := settings(passphrase)
	if err != nil {
		return err
	}
	lc := kcp.ListenConfig{Settings: s}
	l, err := lc.Listen(ctx, "udp", addr)
	if err != nil {
		return err
	}
	log.Printf("tunnels at %v to %s", l.Addr(), target)
	var d net.Dialer
	return serveTunnels(ctx, l, func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", target) })
}

func runClient(ctx context.Context, addr, via, passphrase string) error {
	s, err := settings(passphrase)
	if err != nil {
		return err
	}
	// WaitForPeer makes a wrong address or key an error of the first connection.
	d := kcp.Dialer{Settings: s, WaitForPeer: true, Timeout: silence}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	log.Printf("connections at %v through %s", l.Addr(), via)
	return serveConnections(ctx, l, func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "udp", via) })
}

// silence is how long the other end may be silent before the session counts as failed.
const silence = 5 * time.Second

// settings returns the settings of the session, the same at both ends.
func settings(passphrase string) (kcp.Settings, error) {
	key, err := pbkdf2.Key(sha256.New, passphrase, []byte("kcp tunnel example"), 100_000, 32)
	if err != nil {
		return kcp.Settings{}, err
	}
	block, err := kcp.NewAESGCMCrypt(key)
	return kcp.Settings{Block: block, Profile: kcp.Balanced, StreamMode: true, UserTimeout: silence}, err
}
