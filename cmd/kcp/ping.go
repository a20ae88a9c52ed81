package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/format"
)

// A pingRun is what the options of kcp ping say.
type pingRun struct {
	session  sessionOptions
	count    int
	interval time.Duration
	wait     time.Duration
	size     int
	stream   bool
	json     bool
}

var pingCommand = &command{
	name:  "ping",
	usage: []string{"[options] HOST:PORT"},
	short: "measure round trips through a session",
	long: `"kcp ping HOST:4000" makes a session with a "kcp perf -serve" or a "kcp forward -serve" and has it return
messages: datagrams beside the stream (SendDatagram), which are not sent again, so that what is lost is what
the path loses. With -stream they go through the stream: none is lost, and one that was sent again is late.

It ends after -count messages or an interrupt, and tells how many came back, and how long they took. The exit
code is 0 if any came back.`,
	setup: func(fs *flag.FlagSet) doFunc {
		p := &pingRun{interval: time.Second, wait: 2 * time.Second, size: 64}
		between(fs, &p.count, 1, 1<<30, "count", "`number` of messages (default until interrupted)")
		duration(fs, &p.interval, time.Millisecond, time.Hour, "interval", "`time` between two messages")
		duration(fs, &p.wait, time.Millisecond, time.Minute, "wait", "`time` after which one that has not come back counts as lost")
		between(fs, &p.size, pingHeader, 65000, "size", "`bytes` of a message")
		fs.BoolVar(&p.stream, "stream", false, "through the stream, where what is lost is sent again")
		fs.BoolVar(&p.json, "json", false, "print one JSON object, and nothing else")
		p.session.declare(fs, true)
		return p.run
	},
}

// pingHeader is the length of the serial number in a message.
const pingHeader = 8

// A pingResult is what kcp ping -json prints.
type pingResult struct {
	Address  string  `json:"address"`
	Sent     int     `json:"sent"`
	Answered int     `json:"answered"`
	Loss     float64 `json:"loss"` // share of the sent
	Sealed   bool    `json:"sealed"`
	Cipher   string  `json:"cipher,omitempty"`
	latency
}

func (p *pingRun) run(ctx context.Context, std *stdio, args []string) error {
	address, err := one(args, "HOST:PORT")
	if err != nil {
		return err
	}
	p.session.keepAlive, p.session.userTimeout = time.Second, 10*time.Second
	d, err := p.session.dialer()
	if err != nil {
		return err
	}
	d.Profile = kcp.LowLatency
	s, err := p.session.dial(ctx, d, address)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := sayHello(s, hello{Do: doEcho}); err != nil {
		return lostFailure(address, err)
	}
	if most := s.MaxDatagramSize(); !p.stream && p.size > most {
		return usagef("-size %d: a datagram has at most %d bytes here; -stream takes more", p.size, most)
	}
	return p.ping(ctx, std, s, address)
}

// ping sends the messages and prints what comes back.
func (p *pingRun) ping(ctx context.Context, std *stdio, s *kcp.UDPSession, address string) error {
	b := newPinger(p, s)
	stats := s.Stats()
	if !p.json {
		fmt.Fprintf(std.out, "%s: messages of %d bytes through a session, %s\n", address, p.size, describeSeal(&stats))
		b.show = func(format string, args ...any) { fmt.Fprintf(std.out, format+"\n", args...) }
	}
	err := b.run(ctx)
	r := pingResult{Address: address, Sent: b.sent, Answered: len(b.times), Sealed: stats.Sealed, Cipher: stats.Cipher}
	if b.sent > 0 {
		r.Loss = 1 - float64(r.Answered)/float64(b.sent)
	}
	r.latency = summarize(b.times)
	if p.json {
		writeLine(std.out, r)
	} else {
		fmt.Fprintf(std.out, "%d sent, %d came back, %.1f%% lost\n", r.Sent, r.Answered, 100*r.Loss)
		if r.Answered > 0 {
			fmt.Fprintf(std.out, "round trip min %s, avg %s, median %s, p99 %s, max %s ms\n",
				format.Milliseconds(r.Min), format.Milliseconds(r.Mean), format.Milliseconds(r.Median), format.Milliseconds(r.P99), format.Milliseconds(r.Max))
		}
	}
	switch {
	case err != nil:
		return lostFailure(address, err)
	case r.Sent > 0 && r.Answered == 0:
		return failf(codeNoAnswer, "%s took the session, and no message came back: the path loses them all, or those of %d bytes", address, p.size)
	}
	return nil
}
