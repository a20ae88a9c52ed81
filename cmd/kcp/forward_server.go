package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/xtaci/smux"

	"github.com/xtaci/kcp-go/v5"
)

// A forwardServer takes sessions, and connects to targets for them.
type forwardServer struct {
	*forwarding
	allowed []allowance
	log     *slog.Logger
}

func (f *forwarding) runServer(ctx context.Context, std *stdio) error {
	all, err := allowances(f.allow)
	if err != nil {
		return err
	}
	l, err := f.session.listen(ctx, f.serve)
	if err != nil {
		return err
	}
	defer l.Close()
	s := &forwardServer{forwarding: f, allowed: all, log: newLogger(std.err)}
	s.log.Info("listening", "address", l.Addr(), "keys", f.session.describeKeys(), "allow", strings.Join(f.allow, " "))
	notifySystemd("READY=1\nSTATUS=listening at " + l.Addr().String())
	go feedWatchdog(ctx)
	go reportStrangers(ctx, l, s.log)
	err = acceptEach(ctx, l, func(conn net.Conn) { s.serveSession(ctx, conn.(*kcp.UDPSession)) })
	notifySystemd("STOPPING=1")
	closeListener(l)
	s.log.Info("ended")
	return err
}

// serve serves one session.
func (s *forwardServer) serveSession(ctx context.Context, conn *kcp.UDPSession) {
	h, err := readHello(conn)
	log := s.log.With("from", conn.RemoteAddr())
	switch {
	case err != nil:
		log.Warn("not of kcp forward", "reason", err)
		writeLine(conn, answer{Refused: err.Error()})
		return
	case h.Do == doEcho:
		serveEcho(ctx, conn)
		return
	case h.Do != doForward:
		writeLine(conn, answer{Refused: "this is \"kcp forward -serve\", which runs no tests: \"kcp perf -serve\" does"})
		return
	}
	if why := s.check(h.Targets); why != "" {
		log.Warn("refused", "reason", why)
		writeLine(conn, answer{Refused: why})
		return
	}
	if writeLine(conn, answer{}) != nil {
		return
	}
	mux, err := smux.Server(conn, muxConfig())
	if err != nil {
		log.Error("multiplexer", "reason", err)
		return
	}
	log.Info("session", "targets", strings.Join(h.Targets, " "))
	s.tunnel(ctx, conn, mux, h.Targets, log)
	log.Info("session is over", "reason", sessionEnd(conn.Cause()))
}

// sessionEnd says why a session is over that this end has closed in the end.
func sessionEnd(cause error) string {
	if cause == nil || errors.Is(cause, net.ErrClosed) {
		return "the client has ended it"
	}
	return lostFailure("the client", cause).Error()
}

// check says which of the targets the server does not allow.
func (s *forwardServer) check(targets []string) string {
	if len(targets) > maxTargets {
		return "too many targets"
	}
	for _, t := range targets {
		if !allowed(s.allowed, t) {
			return t + " is not among the targets that the server allows (its -allow)"
		}
	}
	return ""
}

// tunnel serves the streams and datagrams of a session until it is over.
func (s *forwardServer) tunnel(ctx context.Context, conn *kcp.UDPSession, mux *smux.Session, targets []string, log *slog.Logger) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { mux.Close() })()
	flows := &serverFlows{targets: targets, idle: s.udpIdle, log: log, open: map[flowID]*serverFlow{}, over: make(chan struct{})}
	defer close(flows.over)
	t := newTunnel(conn, mux, flows.take)
	flows.send = t.send
	go t.receive(ctx)
	var streams sync.WaitGroup
	defer streams.Wait()
	defer t.close()
	for {
		stream, err := mux.AcceptStream()
		if err != nil {
			return // the session is over
		}
		streams.Go(func() { s.stream(ctx, t, stream, targets, log) })
	}
}

// stream serves one stream.
func (s *forwardServer) stream(ctx context.Context, t *tunnel, stream *smux.Stream, targets []string, log *slog.Logger) {
	defer stream.Close()
	var first [1]byte
	if _, err := io.ReadFull(stream, first[:]); err != nil {
		return
	}
	if first[0] == largeDatagrams {
		t.carryLarge(stream)
		return
	}
	if int(first[0]) >= len(targets) {
		return
	}
	network, address, _ := strings.Cut(targets[first[0]], ":")
	if network != "tcp" {
		return
	}
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		log.Warn("a connection failed", "target", targets[first[0]], "reason", err)
		writeLine(stream, answer{Refused: addressFailure(address, err).Error()})
		return
	}
	if writeLine(stream, answer{}) != nil {
		reset(conn)
		return
	}
	join(conn.(duplex), stream)
}

// dialTime bounds how long the server waits for a target.
const dialTime = 10 * time.Second
