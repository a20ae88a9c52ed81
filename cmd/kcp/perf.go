package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/xtaci/kcp-go/v5/cmd/kcp/format"
)

// A perfRun is what the options of kcp perf say.
type perfRun struct {
	session sessionOptions
	serve   string
	once    bool

	reverse, both bool
	spec          testSpec
	json          bool
	interval      time.Duration
	stats         string
}

var perfCommand = &command{
	name:  "perf",
	usage: []string{"-serve ADDRESS [options]", "[options] HOST:PORT"},
	short: "measure what a path carries: goodput, latency under load, loss, CPU",
	long: `"kcp perf -serve :4000" waits for tests at one end of a path, one at a time, and answers "kcp ping".
"kcp perf HOST:4000" at the other end sends for 10 seconds, and tells

  goodput   what arrived, divided by the time that it took
  latency   of round trips through a second session, before the load and under it
  loss      of what was sent, as the sender's session has found it
  limit     what kept the sender from sending more, and for how long
  cpu       of both processes, in percent of one core
  bound by  what all that comes down to: see "kcp help explain"

With -tcp the same is then done with TCP connections over the same path, without encryption, and put beside it.
The server listens for them at the TCP port of the same number.

The options of sessions are the client's; the server takes over -profile, -cc, -window and -rate for its ends.
Its -fec, -mtu and buffers are its own.`,
	setup: func(fs *flag.FlagSet) doFunc {
		p := &perfRun{spec: testSpec{Sessions: 1, Time: 10 * time.Second}}
		fs.StringVar(&p.serve, "serve", "", "be the server, at this `address`, such as :4000")
		fs.BoolVar(&p.once, "once", false, "server: end after one test")
		fs.BoolVar(&p.reverse, "reverse", false, "the server sends")
		fs.BoolVar(&p.both, "both", false, "both send, at the same time")
		between(fs, &p.spec.Sessions, 1, maxTestSessions, "sessions", "`number` of sessions that share the load")
		duration(fs, &p.spec.Time, 100*time.Millisecond, maxTestTime, "time", "`time` to send for")
		amount(fs, &p.spec.Bytes, "bytes", "`bytes` that each session sends, instead of -time")
		fs.BoolVar(&p.spec.TCP, "tcp", false, "then the same with TCP")
		fs.BoolVar(&p.json, "json", false, "print one JSON object, and nothing else")
		duration(fs, &p.interval, 100*time.Millisecond, time.Hour, "interval", "`time` between two lines of progress; on a terminal one line is redrawn unless it is given (default 1s)")
		file(fs, &p.stats, "stats", "`socket` at which \"kcp explain\" may join")
		p.session.declare(fs, false)
		return p.run
	},
}

func (p *perfRun) run(ctx context.Context, std *stdio, args []string) error {
	stop, err := serveStats(ctx, p.stats)
	if err != nil {
		return err
	}
	defer stop()
	p.prepare()
	if p.serve != "" {
		if err := none(args); err != nil {
			return err
		}
		return servePerf(ctx, std, &p.session, p.serve, p.once)
	}
	address, err := one(args, "HOST:PORT of the server, or -serve ADDRESS")
	switch {
	case err != nil:
		return err
	case p.once:
		return usagef("-once is the server's")
	case p.reverse && p.both:
		return usagef("-reverse and -both exclude each other")
	}
	return p.measure(ctx, std, address)
}

// prepare fills in what follows from other options.
func (p *perfRun) prepare() {
	p.session.keepAlive, p.session.userTimeout = time.Second, 10*time.Second
	s := &p.spec
	if s.Bytes > 0 {
		s.Time = 0
	}
	s.Direction = "up"
	if p.reverse {
		s.Direction = "down"
	} else if p.both {
		s.Direction = "both"
	}
	s.Profile, s.Congestion, s.Window, s.Rate = p.session.profile, p.session.congestion, p.session.window, p.session.rate
}

// measure runs the tests and prints the results.
func (p *perfRun) measure(ctx context.Context, std *stdio, address string) error {
	c := &perfClient{perfRun: p, address: address, std: std}
	if p.json {
		c.std = &stdio{out: io.Discard, err: std.err, width: func() int { return 0 }}
	}
	r, err := c.run(ctx)
	if err != nil {
		return err
	}
	if p.json {
		err = writeLine(std.out, r)
	} else {
		r.print(std.out)
	}
	if err == nil && ctx.Err() != nil {
		err = errInterrupted
	}
	return err
}

// newLogger returns what the servers log with. systemd's journal has the time already.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && underSystemd() {
			return slog.Attr{}
		}
		return a
	}}))
}

// describe says what the test does, in one line.
func (t *testSpec) describe() string {
	who := map[string]string{"up": "the client sends", "down": "the server sends", "both": "both send"}[t.Direction]
	much := "for " + format.Short(t.Time)
	if t.Bytes > 0 {
		much = format.Bytes(float64(t.Bytes))
	}
	return fmt.Sprintf("%s %s, %s", who, much, format.Count(t.Sessions, "session"))
}
