// Kcp measures paths, forwards ports and explains sessions of github.com/xtaci/kcp-go/v5. See
// kcp help, and docs/command.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], &stdio{out: os.Stdout, err: os.Stderr, in: os.Stdin, width: terminalWidth}))
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	width    func() int // of the terminal that out is, in columns; 0 if it is none
}

// terminalWidth returns the width of the terminal that stdout is, 0 if it is none.
func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// run runs the command that args name, until it is done or ctx is, and returns the exit code.
func run(ctx context.Context, args []string, std *stdio) int {
	if len(args) == 0 {
		fmt.Fprint(std.err, overview())
		return codeUsage
	}
	c := find(strings.TrimLeft(args[0], "-")) // "kcp -help" too
	if c == nil {
		return report(std, "kcp", usagef("there is no command %q; kcp help lists them", args[0]))
	}
	fs, do := c.flagSet()
	rest, err := parse(fs, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(std.out, c.help())
		return codeDone
	case err != nil:
		return report(std, "kcp "+c.name, usagef("%v; kcp help %s lists the options", err, c.name))
	}
	return report(std, "kcp "+c.name, do(ctx, std, rest))
}

// report prints an error in one paragraph, and returns its exit code.
func report(std *stdio, who string, err error) int {
	if err == nil {
		return codeDone
	}
	if !errors.Is(err, errInterrupted) {
		fmt.Fprintf(std.err, "%s: %v\n", who, err)
	}
	var f *failure
	if errors.As(err, &f) {
		return f.code
	}
	return codeFailed
}

// parse is fs.Parse that takes options after other arguments, too, and returns those.
func parse(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		parsed := args[:len(args)-fs.NArg()]
		if len(parsed) > 0 && parsed[len(parsed)-1] == "--" {
			return append(rest, fs.Args()...), nil
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
}
