package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/xtaci/smux"

	"github.com/xtaci/kcp-go/v5"
)

// A forwardClient listens at ports, and carries what comes through a session, of which it makes a new one
// whenever the last one has failed.
type forwardClient struct {
	*forwarding
	log     *slog.Logger
	dialer  *kcp.Dialer
	targets []string
	flows   *clientFlows

	mu      sync.Mutex // guards the rest
	current *tunnel    // nil while there is none
	changed chan struct{}
}

func (f *forwarding) runClient(ctx context.Context, std *stdio) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &forwardClient{forwarding: f, log: newLogger(std.err), flows: newClientFlows(f.udpIdle), changed: make(chan struct{})}
	var err error
	if c.dialer, err = f.session.dialer(); err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	if err := c.listen(ctx, &all); err != nil {
		return err
	}
	notifySystemd("READY=1\nSTATUS=connecting to " + f.via)
	go feedWatchdog(ctx)
	err = c.keep(ctx)
	notifySystemd("STOPPING=1")
	if err == nil {
		c.log.Info("ended")
	}
	return err
}

// listen listens at the ports, and carries what comes, on goroutines that all counts.
func (c *forwardClient) listen(ctx context.Context, all *sync.WaitGroup) error {
	tcp, err1 := pairs("tcp", c.tcp)
	udp, err2 := pairs("udp", c.udp)
	if err := errors.Join(err1, err2); err != nil {
		return usagef("%v", err)
	}
	for _, p := range tcp {
		l, err := net.Listen("tcp", p.listen)
		if err != nil {
			return listenFailure("TCP", p.listen, err)
		}
		target := c.target(p.target)
		c.log.Info("listening", "network", "tcp", "address", l.Addr(), "target", p.target)
		all.Go(func() { acceptEach(ctx, l, func(conn net.Conn) { c.connection(ctx, conn.(*net.TCPConn), target) }) })
	}
	for _, p := range udp {
		conn, err := net.ListenPacket("udp", p.listen)
		if err != nil {
			return listenFailure("UDP", p.listen, err)
		}
		target := c.target(p.target)
		c.log.Info("listening", "network", "udp", "address", conn.LocalAddr(), "target", p.target)
		all.Go(func() { c.datagrams(ctx, conn.(*net.UDPConn), target) })
	}
	return nil
}

// target numbers a target.
func (c *forwardClient) target(name string) byte {
	c.targets = append(c.targets, name)
	return byte(len(c.targets) - 1)
}

// connection carries a TCP connection.
func (c *forwardClient) connection(ctx context.Context, conn *net.TCPConn, target byte) {
	stream, err := c.open(ctx, target)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("a connection was reset", "from", conn.RemoteAddr(), "target", c.targets[target], "reason", err)
		}
		reset(conn)
		return
	}
	join(conn, &answered{Stream: stream, refused: func(why string) {
		c.log.Warn("the server has no connection", "target", c.targets[target], "reason", why)
	}})
}

// open opens a stream to a target, in a session that is there by -timeout.
func (c *forwardClient) open(ctx context.Context, target byte) (*smux.Stream, error) {
	t, err := c.await(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := t.mux.OpenStream()
	if err != nil {
		return nil, err
	}
	_, err = stream.Write([]byte{target})
	return stream, err
}

// answered is a stream whose first line from the server is an answer. What the client sends does not wait
// for it.
type answered struct {
	*smux.Stream
	known   bool
	refused func(why string)
}

func (a *answered) Read(b []byte) (int, error) {
	if !a.known {
		var first answer
		if err := readLine(a.Stream, maxLine, &first); err != nil {
			return 0, err
		}
		if first.Refused != "" {
			a.refused(first.Refused)
			return 0, errNotForward
		}
		a.known = true
	}
	return a.Stream.Read(b)
}

// datagrams carries what comes to a UDP port, until ctx is done.
func (c *forwardClient) datagrams(ctx context.Context, conn *net.UDPConn, target byte) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	b := make([]byte, maxUDP)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		switch {
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // of a peer that is gone (ICMP)
		}
		flow := c.flows.find(conn, clientPeer{target, from})
		if t := c.now(); t != nil && flow != nil {
			t.send(newDatagram(target, flow.id.number, b[:n]))
		}
	}
}

func (c *forwardClient) now() *tunnel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// await waits for a session, up to -timeout.
func (c *forwardClient) await(ctx context.Context) (*tunnel, error) {
	late := time.NewTimer(c.session.timeout)
	defer late.Stop()
	for {
		c.mu.Lock()
		t, changed := c.current, c.changed
		c.mu.Unlock()
		if t != nil {
			return t, nil
		}
		select {
		case <-ctx.Done():
			return nil, errInterrupted
		case <-late.C:
			return nil, failf(codeNoAnswer, "there is no session with %s", c.via)
		case <-changed:
		}
	}
}

// set makes t the session that is used, nil for none.
func (c *forwardClient) set(t *tunnel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = t
	close(c.changed)
	c.changed = make(chan struct{})
}

// keep keeps a session with the server until ctx is done. That the server has another key, or says no, is
// an error as long as there has been none.
func (c *forwardClient) keep(ctx context.Context) error {
	var failures failureLog
	for had := false; ctx.Err() == nil; {
		began := time.Now()
		t, err := c.connect(ctx)
		if err == nil {
			had, failures = true, failureLog{}
			stats := t.session.Stats()
			c.log.Info("session", "with", c.via, "seal", describeSeal(&stats))
			notifySystemd("STATUS=connected to " + c.via)
			c.set(t)
			t.receive(ctx)
			c.set(nil)
			t.close()
			err = c.lost(t)
		}
		var f *failure
		switch {
		case ctx.Err() != nil && t != nil:
			select {
			case <-t.session.Done(): // the server knows
			case <-time.After(goodbyeTime):
			}
			return nil
		case ctx.Err() != nil:
			return nil
		case !had && errors.As(err, &f) && f.code != codeNoAnswer && f.code != codeLost:
			return err
		}
		if failures.isNew(err) {
			c.log.Warn("no session, trying again", "reason", err)
			notifySystemd("STATUS=" + err.Error())
		}
		pause(ctx, retryEvery-time.Since(began))
	}
	return nil
}

// lost says why a session is over.
func (c *forwardClient) lost(t *tunnel) error {
	if err := t.session.Cause(); err != nil {
		return lostFailure(c.via, err)
	}
	return failf(codeLost, "%s has ended the session", c.via)
}

// retryEvery is the time between two attempts to make a session.
const retryEvery = time.Second

// goodbyeTime bounds how long an end waits for the other one to hear that it ends.
const goodbyeTime = time.Second

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// connect makes a session with the server.
func (c *forwardClient) connect(ctx context.Context) (*tunnel, error) {
	s, err := c.session.dial(ctx, c.dialer, c.via)
	if err != nil {
		return nil, err
	}
	if _, err := sayHello(s, hello{Do: doForward, Targets: c.targets}); err != nil {
		s.Close()
		return nil, lostFailure(c.via, err)
	}
	mux, err := smux.Client(s, muxConfig())
	if err != nil {
		s.Close()
		return nil, err
	}
	t := newTunnel(s, mux, c.flows.take)
	if err := t.openLarge(); err != nil {
		t.close()
		return nil, lostFailure(c.via, err)
	}
	return t, nil
}

// A failureLog says which failures are worth a line: those that are not the last one's, and one a minute.
type failureLog struct {
	text string
	at   time.Time
}

func (l *failureLog) isNew(err error) bool {
	if text := err.Error(); strings.EqualFold(text, l.text) && time.Since(l.at) < time.Minute {
		return false
	}
	l.text, l.at = err.Error(), time.Now()
	return true
}
