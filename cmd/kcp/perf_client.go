package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/explain"
)

// A perfClient runs a test with a server.
type perfClient struct {
	*perfRun
	address string
	std     *stdio

	dialer  *kcp.Dialer
	control *kcp.UDPSession
	id      string           // of the test, at the server
	watched []explain.Sample // of the first session, under load
}

// A perfResult is what kcp perf -json prints.
type perfResult struct {
	Address string      `json:"address"`
	Spec    testSpec    `json:"spec"`
	Cipher  string      `json:"cipher"` // of sealed sessions, or empty
	KCP     *loadResult `json:"kcp"`
	TCP     *loadResult `json:"tcp,omitempty"`
}

// A loadResult is how the load went over one transport.
type loadResult struct {
	Up     transfer         `json:"up"`
	Down   transfer         `json:"down"`
	Idle   latency          `json:"idle_latency"`
	Loaded latency          `json:"loaded_latency"`
	CPU    cpuShares        `json:"cpu"`
	Client flowResults      `json:"client"`
	Server flowResults      `json:"server"`
	Every  []progressPoint  `json:"intervals"`
	Bound  *explain.Verdict `json:"bound,omitempty"` // of KCP

	watched []explain.Sample // of the first session, at the client
}

// A transfer is what one direction carried.
type transfer struct {
	Bytes   int64         `json:"bytes"`
	Took    time.Duration `json:"took"`
	Goodput float64       `json:"goodput"` // bytes a second
}

// cpuShares are of one core: 1 is all of it.
type cpuShares struct {
	Client float64 `json:"client"`
	Server float64 `json:"server"`
}

// run runs the test over KCP, and then over TCP if that is asked for.
func (c *perfClient) run(ctx context.Context) (r *perfResult, err error) {
	if c.dialer, err = c.session.dialer(); err != nil {
		return nil, err
	}
	if c.control, err = c.session.dial(ctx, c.dialer, c.address); err != nil {
		return nil, err
	}
	defer c.control.Close()
	defer context.AfterFunc(ctx, func() { c.control.SetDeadline(time.Now().Add(sayTime)) })()
	a, err := sayHello(c.control, hello{Do: doTest, Spec: &c.spec})
	if err != nil {
		return nil, lostFailure(c.address, err)
	}
	c.id = a.Test
	stats := c.control.Stats()
	r = &perfResult{Address: c.address, Spec: c.spec, Cipher: stats.Cipher}
	fmt.Fprintf(c.std.out, "%s: %s; %s\n", c.address, c.spec.describe(), describeSeal(&stats))
	if r.KCP, err = c.load(ctx, "KCP", c.dialSession); err != nil || !c.spec.TCP || ctx.Err() != nil {
		return r, err
	}
	if err := writeLine(c.control, struct{}{}); err != nil {
		return nil, lostFailure(c.address, err)
	}
	if err := readLine(c.control, maxLine, &a); err != nil {
		return nil, lostFailure(c.address, err)
	}
	r.TCP, err = c.load(ctx, "TCP", c.dialTCP)
	return r, err
}

func (c *perfClient) dialSession(ctx context.Context) (duplex, error) {
	return c.session.dial(ctx, c.dialer, c.address)
}

// dialTCP dials the address that the session has, at the port of the same number.
func (c *perfClient) dialTCP(ctx context.Context) (duplex, error) {
	d := net.Dialer{Timeout: c.session.timeout}
	conn, err := d.DialContext(ctx, "tcp", c.control.RemoteAddr().String())
	if err != nil {
		return nil, failf(codeNoAnswer, "no TCP connection to %s: %v; the server listens for TCP at the port of the same number, unless its log says otherwise", c.address, err)
	}
	return conn.(duplex), nil
}

// load runs the load over the connections that dial makes.
func (c *perfClient) load(ctx context.Context, name string, dial func(context.Context) (duplex, error)) (*loadResult, error) {
	r := new(loadResult)
	echo, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	defer echo.Close()
	if _, err := sayHello(echo, hello{Do: doEcho, Test: c.id}); err != nil {
		return nil, lostFailure(c.address, err)
	}
	probe := &prober{conn: echo}
	idle, err := probe.run(ctx, idleProbes, time.Millisecond)
	if err != nil {
		return nil, lostFailure(c.address, err)
	}
	r.Idle = summarize(idle)
	flows, err := c.open(ctx, dial)
	if err != nil {
		return nil, err
	}
	start, cpu := time.Now(), cpuTime()
	if err := c.drive(ctx, name, flows, probe, r); err != nil {
		return nil, lostFailure(c.address, err)
	}
	took := time.Since(start)
	r.CPU.Client = (cpuTime() - cpu).Seconds() / took.Seconds()
	return r, lostFailure(c.address, c.collect(name, r, took))
}

const (
	idleProbes  = 10
	loadedEvery = 50 * time.Millisecond // one probe under load
)

// open makes the connections of the load.
func (c *perfClient) open(ctx context.Context, dial func(context.Context) (duplex, error)) (flows []*flow, err error) {
	for range c.spec.Sessions {
		conn, err := dial(ctx)
		if err == nil {
			err = writeLine(conn, hello{Version: helloVersion, Do: doData, Test: c.id})
		}
		if err != nil {
			for _, f := range flows {
				hangUp(f.conn)
			}
			return nil, err
		}
		flows = append(flows, &flow{conn: conn})
	}
	return flows, nil
}

// drive runs the flows, measures round trips meanwhile, and shows the progress.
func (c *perfClient) drive(ctx context.Context, name string, flows []*flow, probe *prober, r *loadResult) error {
	loaded, over := context.WithCancel(context.Background())
	defer over()
	var all, beside sync.WaitGroup
	errs := make([]error, len(flows))
	r.Client = make([]flowResult, len(flows))
	for i, f := range flows {
		all.Go(func() {
			r.Client[i], errs[i] = f.run(ctx, &c.spec, c.spec.up(), c.spec.down())
			if errs[i] != nil { // the others would not be the test that was asked for
				for _, f := range flows {
					hangUp(f.conn)
				}
			}
		})
	}
	beside.Go(func() {
		times, _ := probe.run(loaded, 0, loadedEvery) // the flows tell what failed
		r.Loaded = summarize(times)
	})
	beside.Go(func() { r.Every = c.progress(loaded, name, flows) })
	beside.Go(func() { c.watch(loaded, flows[0]) })
	all.Wait()
	over()
	beside.Wait()
	return errors.Join(errs...)
}

// watch takes samples of a flow's session while it sends, or while it is under load if it does not.
func (c *perfClient) watch(ctx context.Context, f *flow) {
	s, ok := f.conn.(*kcp.UDPSession)
	if !ok {
		return
	}
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	for start := time.Now(); !f.wrote.Load(); {
		c.watched = append(c.watched, sampleOf(s, time.Since(start)))
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// series returns what judge needs of the first session: the client's samples, or what the server's end tells
// where that sends.
func (r *loadResult) series(reverse bool) []explain.Sample {
	if len(r.Client) == 0 || len(r.Server) == 0 || r.Client[0].Stats == nil || r.Server[0].Stats == nil {
		return nil
	}
	client, server := r.Client[0].Stats, r.Server[0].Stats
	if reverse {
		return []explain.Sample{{At: server.Age, Stats: *server, Peer: client}}
	}
	if len(r.watched) == 0 {
		return []explain.Sample{{At: client.Age, Stats: *client, Peer: server}}
	}
	series := slices.Clone(r.watched)
	series[len(series)-1].Peer = server
	return series
}

// samples returns the same of what kcp perf -json has printed.
func (r *perfResult) samples() ([]explain.Sample, error) {
	if series := r.KCP.series(!r.Spec.up()); series != nil {
		return series, nil
	}
	return nil, errors.New("a result without Stats")
}

// collect asks the server for its part.
func (c *perfClient) collect(name string, r *loadResult, took time.Duration) error {
	if err := writeLine(c.control, struct{}{}); err != nil {
		return err
	}
	c.control.SetReadDeadline(time.Now().Add(2 * sayTime))
	defer c.control.SetReadDeadline(time.Time{})
	var s serverReport
	if err := readLine(c.control, maxLine, &s); err != nil {
		return err
	}
	r.Server = s.Flows
	r.CPU.Server = s.CPU.Seconds() / took.Seconds()
	r.Up, r.Down = sum(r.Server), sum(r.Client)
	if r.watched = c.watched; name == "KCP" {
		v := explain.Judge(r.series(!c.spec.up()))
		r.Bound = &v
	}
	return nil
}

// sum adds up what the flows received.
func sum(flows flowResults) (t transfer) {
	t.Bytes = flows.received()
	for _, f := range flows {
		t.Took = max(t.Took, f.Took)
	}
	if t.Took > 0 {
		t.Goodput = float64(t.Bytes) / t.Took.Seconds()
	}
	return t
}
