// Transfer moves data from a dialled session to an accepted one and checks that it arrived intact.
// Both ends are in this process; between them is an emulated bad link or, with -udp, a pair of real
// sockets on the loopback interface. Or each is on a machine of its own, for a path of yours:
//
//	transfer                      32 MiB, 60 ms round trip, 5% of the datagrams lost each way
//	transfer -loss 20 -fec 10/3   a worse link, with forward error correction
//	transfer -udp -file PATH      a file of yours over real sockets
//
//	transfer -listen :4000                   receives at one machine, and keeps nothing
//	transfer -dial HOST:4000 -size 100MiB    sends at the other
//
// It shows its progress while it runs, and at the end what the protocol did.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() { os.Exit(status()) }

// status runs the program and returns its exit status.
func status() int {
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "transfer: %v\nRun it with -h to see the flags.\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, terminalWidth); err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		return 1
	}
	return 0
}

// terminalWidth returns the width of the terminal that stdout is, 0 if stdout is none.
func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}
