package main

import (
	"context"
	"flag"
	"net"
	"strings"
	"time"
)

// A forwarding is what the options of kcp forward say.
type forwarding struct {
	session sessionOptions
	config  string

	serve  string
	allow  []string
	anyone bool

	via      string
	tcp, udp []string

	silence, udpIdle time.Duration
	stats            string
}

var forwardCommand = &command{
	name:  "forward",
	usage: []string{"-serve ADDRESS -key FILE -allow TARGET... [options]", "-via HOST:PORT -key FILE -tcp|-udp LISTEN=TARGET... [options]", "-config FILE"},
	short: "carry TCP and UDP ports through one session",
	long: `"kcp forward -via HOST:4000 -key FILE -tcp 127.0.0.1:8080=localhost:80 -udp 127.0.0.1:5353=10.0.0.1:53"
listens at the first address of each pair and carries what comes through one session to the server, which
connects to the second. TCP connections are streams, with half-close and resets; UDP datagrams are datagrams, and
may be lost, but for those that are too long for one, which go through a stream.

"kcp forward -serve :4000 -key FILE -allow tcp:localhost:80 -allow udp:10.0.0.1:53" is the server. A TARGET is
tcp:HOST:PORT or udp:HOST:PORT, where "*" is any host or port, or "any".

Either end may be started again. Then open TCP connections are reset, the client makes a new session as soon as it
can, and connections that come meanwhile wait -timeout for it.

A configuration file has an option a line, without "-": "serve :4000". Lines that begin with "#" are comments.
Options of the command line replace those of the file. Both ends tell systemd when they are ready and how it goes
(Type=notify, WatchdogSec), and end with code 0 after SIGTERM or SIGINT.`,
	setup: func(fs *flag.FlagSet) doFunc {
		f := &forwarding{silence: 10 * time.Second, udpIdle: time.Minute}
		file(fs, &f.config, "config", "`file` with options")
		fs.StringVar(&f.serve, "serve", "", "be the server, at this `address`, such as :4000")
		list(fs, &f.allow, "allow", "server: `target` that clients may reach; repeat it for more")
		fs.BoolVar(&f.anyone, "anyone", false, "server: serve clients without -key; who knows the address may use it")
		fs.StringVar(&f.via, "via", "", "be the client of the server at `host:port`")
		list(fs, &f.tcp, "tcp", "client: `listen=target`, a TCP port to forward; repeat it for more")
		list(fs, &f.udp, "udp", "client: `listen=target`, a UDP port to forward; repeat it for more")
		duration(fs, &f.silence, time.Second, 10*time.Minute, "silence", "`time` without a word from the other end after which the session has failed")
		duration(fs, &f.udpIdle, time.Second, 24*time.Hour, "udp-idle", "`time` after which a UDP peer that is silent is forgotten")
		file(fs, &f.stats, "stats", "`socket` at which \"kcp explain\" may join")
		f.session.declare(fs, false)
		return func(ctx context.Context, std *stdio, args []string) error {
			if err := none(args); err != nil {
				return err
			}
			if err := readConfig(fs, f.config); err != nil {
				return err
			}
			return f.run(ctx, std)
		}
	},
}

func (f *forwarding) run(ctx context.Context, std *stdio) error {
	f.session.keepAlive, f.session.userTimeout, f.session.idleTimeout = f.silence/5, f.silence, f.silence
	f.session.datagramQueue = forwardQueue
	client := len(f.tcp) + len(f.udp)
	switch {
	case (f.serve == "") == (f.via == ""):
		return usagef("want -serve ADDRESS at one end, or -via HOST:PORT at the other")
	case f.serve != "" && client > 0:
		return usagef("-tcp and -udp are the client's, which has -via")
	case f.serve != "" && len(f.allow) == 0:
		return usagef("-allow is missing: which targets may clients reach? For example -allow tcp:localhost:80, or -allow any")
	case f.serve != "" && !f.session.hasKey() && !f.anyone:
		return usagef("-key is missing: without it whoever finds the server may use it; \"kcp key shared FILE\" makes one, for both ends (-anyone does without)")
	case f.via != "" && client == 0:
		return usagef("-tcp or -udp is missing: which ports to forward? For example -tcp 127.0.0.1:8080=localhost:80")
	case f.via != "" && client > maxTargets:
		return usagef("at most %d ports", maxTargets)
	case f.via != "" && len(f.allow) > 0:
		return usagef("-allow is the server's")
	}
	stop, err := serveStats(ctx, f.stats)
	if err != nil {
		return err
	}
	defer stop()
	if f.serve != "" {
		return f.runServer(ctx, std)
	}
	return f.runClient(ctx, std)
}

// forwardQueue is how many datagrams may wait in a session, each way.
const forwardQueue = 1024

// maxTargets is the most forwarded ports of a session: what a byte numbers, but for largeDatagrams.
const maxTargets = 255

// A pair is a port at the client and what it leads to from the server.
type pair struct {
	listen string
	target string // tcp:HOST:PORT or udp:HOST:PORT
}

// pairs reads -tcp or -udp.
func pairs(network string, options []string) (all []pair, err error) {
	for _, o := range options {
		listen, target, ok := strings.Cut(o, "=")
		if !ok {
			return nil, usagef("-%s %s: want LISTEN=TARGET, such as 127.0.0.1:8080=localhost:80", network, o)
		}
		for _, address := range []string{listen, target} {
			if _, _, err := net.SplitHostPort(address); err != nil {
				return nil, usagef("-%s %s: %q is no address: want HOST:PORT", network, o, address)
			}
		}
		all = append(all, pair{listen, network + ":" + target})
	}
	return all, nil
}

// An allowance is one -allow.
type allowance struct{ network, host, port string }

// allowances reads -allow.
func allowances(options []string) (all []allowance, err error) {
	for _, o := range options {
		if o == "any" {
			all = append(all, allowance{"tcp", "*", "*"}, allowance{"udp", "*", "*"})
			continue
		}
		network, address, _ := strings.Cut(o, ":")
		host, port, err := net.SplitHostPort(address)
		if err != nil || network != "tcp" && network != "udp" {
			return nil, usagef("-allow %s: want tcp:HOST:PORT, udp:HOST:PORT or any", o)
		}
		all = append(all, allowance{network, host, port})
	}
	return all, nil
}

// allowed says whether a target, as pairs makes it, is allowed.
func allowed(all []allowance, target string) bool {
	network, address, _ := strings.Cut(target, ":")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	for _, a := range all {
		if a.network == network && (a.host == "*" || a.host == host) && (a.port == "*" || a.port == port) {
			return true
		}
	}
	return false
}
