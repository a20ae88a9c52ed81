// P2p connects two peers that nobody can dial, as each is behind a NAT: both ask a rendezvous, a server
// that both can reach, for the other's address as it sees it, and then dial each other at the same time.
// What each sends opens its own NAT for what the other sends (UDP hole punching, RFC 5128, section 3.3:
// https://www.rfc-editor.org/rfc/rfc5128#section-3.3). Nobody listens, and the rendezvous sees none of it.
// Each peer has one socket for all of that, a kcp.Transport, and could dial more peers over it.
//
// Without flags the rendezvous and both peers run in this process, over loopback:
//
//	p2p                               all three, with a line to send each way
//	p2p -rendezvous :5000             the rendezvous alone
//	p2p -at HOST:5000 -room NAME      a peer; it sends lines of stdin, and prints what comes
//
// The secret that two peers share is that of their room: it is the key of their session, too. NATs that
// give each destination another port (RFC 4787, section 4.1, "address and port-dependent mapping") need
// a relay instead.
package main

import (
	"bufio"
	"context"
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

	"github.com/xtaci/kcp-go/v5"
)

func main() { os.Exit(status(os.Args[1:], os.Stderr)) }

// status runs the program and returns its exit status: 2 after wrong usage, 1 after another error.
func status(args []string, complaints io.Writer) int {
	f := flag.NewFlagSet("p2p", flag.ContinueOnError)
	f.SetOutput(complaints)
	rendezvous := f.String("rendezvous", "", "only be the rendezvous, on this `address`, such as :5000")
	at := f.String("at", "", "only be a peer, of the rendezvous at this `address`, such as example.org:5000")
	room := f.String("room", "", "`secret` that the two peers share")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil: // Parse has told it
		return 2
	case f.NArg() > 0:
		fmt.Fprintf(complaints, "p2p: unexpected argument %q\n", f.Arg(0))
		return 2
	case *rendezvous != "" && *at != "":
		fmt.Fprintln(complaints, "p2p: -rendezvous and -at are two programs: leave out both to run all in one")
		return 2
	case *at != "" && *room == "":
		fmt.Fprintln(complaints, "p2p: -at needs -room, the secret of the two peers")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *rendezvous, *at, *room); err != nil && ctx.Err() == nil {
		fmt.Fprintln(complaints, "p2p:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, rendezvous, at, room string) error {
	switch {
	case rendezvous != "":
		conn, err := net.ListenPacket("udp", rendezvous)
		if err != nil {
			return fmt.Errorf("-rendezvous: %w", err)
		}
		log.Println("brings peers together at", conn.LocalAddr())
		return introduce(ctx, conn)
	case at != "":
		return chat(ctx, at, room, os.Stdin, os.Stdout)
	}
	return all(ctx, os.Stdout)
}

// all runs a rendezvous and two peers, who send each other a line.
func all(ctx context.Context, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- introduce(ctx, conn) }()
	var (
		peers  sync.WaitGroup
		heard  [2]strings.Builder
		failed [2]error
	)
	for i, line := range []string{"hello, this is Alice\n", "hello, this is Bob\n"} {
		peers.Go(func() {
			failed[i] = chat(ctx, conn.LocalAddr().String(), "their secret", strings.NewReader(line), &heard[i])
		})
	}
	peers.Wait()
	fmt.Fprintf(out, "Alice hears:\n%sBob hears:\n%s", &heard[0], &heard[1])
	stop()
	return errors.Join(failed[0], failed[1], <-served)
}

// chat meets the other peer, sends it the lines of in, and prints what it sends to out, until both have
// ended.
func chat(ctx context.Context, at, room string, in io.Reader, out io.Writer) error {
	t, err := kcp.OpenTransport("udp", ":0")
	if err != nil {
		return err
	}
	defer t.Close()
	peer, err := meet(ctx, t, at, room)
	if err != nil {
		return err
	}
	defer func() { peer.Close(); <-peer.Done() }() // before the transport
	stop := context.AfterFunc(ctx, func() { peer.Close() })
	defer stop()
	fmt.Fprintln(out, "connected to", peer.RemoteAddr(), "by", peer.Stats().Cipher)
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(peer, in)
		sent <- errors.Join(err, peer.CloseWrite())
	}()
	lines := bufio.NewScanner(peer)
	for lines.Scan() {
		fmt.Fprintln(out, lines.Text())
	}
	return errors.Join(lines.Err(), <-sent)
}
