package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/format"
)

// A perfServer answers tests, one at a time, and echoes.
type perfServer struct {
	log  *slog.Logger
	once bool
	stop context.CancelFunc

	mu   sync.Mutex
	test *serverTest // nil between tests
}

// A serverTest is a test at the server.
type serverTest struct {
	id    string
	spec  testSpec
	ctx   context.Context // until it is over, or its client is gone
	flows sync.WaitGroup

	mu    sync.Mutex
	begun int // flows
	ended flowResults
}

// A serverReport is the server's part of the results.
type serverReport struct {
	Flows flowResults   `json:"flows"`
	CPU   time.Duration `json:"cpu"`
}

// servePerf serves tests at address until ctx is done, or for one test.
func servePerf(ctx context.Context, std *stdio, o *sessionOptions, address string, once bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l, err := o.listen(ctx, address)
	if err != nil {
		return err
	}
	defer l.Close()
	log := newLogger(std.err)
	p := &perfServer{log: log, once: once, stop: stop}
	log.Info("listening", "address", l.Addr(), "keys", o.describeKeys())
	tcp, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		log.Warn("no TCP beside it, so tests with -tcp fail", "reason", listenFailure("TCP", l.Addr().String(), err))
	} else {
		defer tcp.Close()
		go acceptEach(ctx, tcp, func(conn net.Conn) { p.serve(ctx, conn) })
	}
	go reportStrangers(ctx, l, log)
	err = acceptEach(ctx, l, func(conn net.Conn) { p.serve(ctx, conn) })
	closeListener(l)
	if err == nil && !once {
		log.Info("ended")
	}
	return err
}

// acceptEach calls serve with each connection, on a goroutine of its own, until ctx is done, and waits for
// them.
func acceptEach(ctx context.Context, l net.Listener, serve func(net.Conn)) error {
	var all sync.WaitGroup
	defer all.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return failf(codeFailed, "%v", err)
		}
		all.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { hangUp(conn) })()
			serve(conn)
		})
	}
}

// closeListener waits until the sessions are over and the port is free, but not for long.
func closeListener(l *kcp.Listener) {
	l.Close()
	select {
	case <-l.Done():
	case <-time.After(goodbyeTime):
	}
}

// hangUp ends a connection at once.
func hangUp(conn net.Conn) {
	if s, ok := conn.(*kcp.UDPSession); ok {
		s.Abort()
	}
	conn.Close()
}

// strangersEvery is how often the datagrams are reported that did not open.
const strangersEvery = 10 * time.Second

// reportStrangers logs that datagrams did not open, which is all that a wrong key shows.
func reportStrangers(ctx context.Context, l *kcp.Listener, log *slog.Logger) {
	ticks := time.NewTicker(strangersEvery)
	defer ticks.Stop()
	var last uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if n := l.Stats().InvalidInputs; n > last {
			log.Warn("datagrams that do not open: their sender has another -key or -cipher, or none", "count", n-last)
			last = n
		}
	}
}

// serve serves one connection.
func (p *perfServer) serve(ctx context.Context, conn net.Conn) {
	h, err := readHello(conn)
	if err != nil {
		p.log.Warn("not of kcp perf or kcp ping", "from", conn.RemoteAddr(), "reason", err)
		writeLine(conn, answer{Refused: err.Error()})
		return
	}
	s, isKCP := conn.(*kcp.UDPSession)
	switch test := p.find(h.Test); {
	case h.Do == doTest && isKCP:
		p.serveTest(ctx, s, h.Spec)
	case h.Do == doEcho && (isKCP || test != nil):
		serveEcho(ctx, conn)
	case h.Do == doData && test != nil:
		test.serveFlow(conn)
	case h.Do == doForward:
		writeLine(conn, answer{Refused: "this is \"kcp perf -serve\", which forwards nothing: \"kcp forward -serve\" does"})
	default:
		writeLine(conn, answer{Refused: fmt.Sprintf("there is no test that this connection (%q) is part of", h.Do)})
	}
}

// serveEcho returns what comes, stream and datagrams.
func serveEcho(ctx context.Context, conn net.Conn) {
	if writeLine(conn, answer{}) != nil {
		return
	}
	if s, ok := conn.(*kcp.UDPSession); ok {
		s.SetNoDelay(1, 10, 2, 0)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			for {
				b, err := s.ReceiveDatagram(ctx)
				if err != nil {
					return
				}
				s.SendDatagram(b) // lost where the path or the queue loses it
			}
		}()
	}
	io.Copy(conn, conn)
}

func (p *perfServer) find(id string) *serverTest {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.test == nil || p.test.id != id {
		return nil
	}
	return p.test
}

// begin makes a test, or says why not.
func (p *perfServer) begin(ctx context.Context, spec *testSpec) (*serverTest, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.test != nil {
		return nil, "another test is running; try again when it is over"
	}
	if why := spec.check(); why != "" {
		return nil, why
	}
	p.test = &serverTest{id: rand.Text(), spec: *spec, ctx: ctx}
	return p.test, ""
}

// serveTest is the control of a test: it lasts until the client says that the test is over, or is gone.
func (p *perfServer) serveTest(ctx context.Context, control *kcp.UDPSession, spec *testSpec) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	test, why := p.begin(ctx, spec)
	if why != "" {
		writeLine(control, answer{Refused: why})
		return
	}
	defer p.end(test)
	if p.once {
		defer p.stop()
	}
	log := p.log.With("from", control.RemoteAddr())
	log.Info("test", "direction", spec.Direction, "sessions", spec.Sessions, "time", spec.Time, "bytes", spec.Bytes, "tcp", spec.TCP)
	err := p.round(control, test, log, !spec.TCP)
	if spec.TCP && err == nil {
		var again struct{}
		if err = readLine(control, maxLine, &again); err == nil {
			err = p.round(control, test, log, true)
		}
	}
	if err != nil {
		log.Warn("the client has gone before the test was over", "reason", lostFailure("the client", err))
		return
	}
	control.CloseWrite()
	control.Read(make([]byte, 1)) // it has the report
}

// round is the test over one transport.
func (p *perfServer) round(control *kcp.UDPSession, test *serverTest, log *slog.Logger, last bool) error {
	if err := writeLine(control, answer{Test: test.id}); err != nil {
		return err
	}
	cpu := cpuTime()
	var done struct{}
	if err := readLine(control, maxLine, &done); err != nil {
		return err
	}
	r := serverReport{Flows: test.results(), CPU: cpuTime() - cpu}
	log.Info("done", "sent", format.Bytes(float64(r.Flows.sent())), "received", format.Bytes(float64(r.Flows.received())))
	if last {
		p.end(test) // before the client knows, as it may begin another one at once
	}
	return writeLine(control, r)
}

// end makes room for another test.
func (p *perfServer) end(test *serverTest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.test == test {
		p.test = nil
	}
}

// results waits for the flows, and returns how they went.
func (t *serverTest) results() flowResults {
	t.flows.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.ended
	t.ended, t.begun = nil, 0
	return r
}

// serveFlow is the server's end of one of the test's connections.
func (t *serverTest) serveFlow(conn net.Conn) {
	t.mu.Lock()
	full := t.begun >= t.spec.Sessions
	if !full {
		t.begun++
		t.flows.Add(1)
	}
	t.mu.Unlock()
	if full {
		return
	}
	defer t.flows.Done()
	defer context.AfterFunc(t.ctx, func() { hangUp(conn) })()
	if s, ok := conn.(*kcp.UDPSession); ok {
		t.spec.tune(s)
	}
	f := &flow{conn: conn.(duplex)}
	r, _ := f.run(t.ctx, &t.spec, t.spec.down(), t.spec.up())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = append(t.ended, r)
}

// tune gives the server's end of a session what the client has chosen.
func (t *testSpec) tune(s *kcp.UDPSession) {
	switch profiles[t.Profile] {
	case kcp.DefaultProfile:
		s.SetNoDelay(0, 100, 3, 0)
	case kcp.LowLatency:
		s.SetNoDelay(1, 10, 2, 0)
		s.SetACKNoDelay(true)
	case kcp.Balanced:
		s.SetNoDelay(1, 20, 2, 0)
	case kcp.Bulk:
		s.SetNoDelay(0, 40, 3, 0)
	}
	if c := controllers[t.Congestion]; c != nil {
		s.SetCongestionControl(c())
	}
	if t.Window > 0 {
		s.SetWindowSize(t.Window, t.Window)
	}
	s.SetRateLimit(uint32(min(t.Rate, 1<<32-1)))
}
