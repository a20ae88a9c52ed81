package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// virtually runs f in virtual time and ends the process. A synctest bubble needs a *testing.T, and
// only testing.Main gives one to a program.
func virtually(f func() error) {
	started := time.Now()
	os.Args = os.Args[:1] // testing has flags of its own
	testing.Init()
	testing.Main(
		func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "path", F: func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// A bubble begins in the year 2000. quic-go takes times since its initialization,
				// which was outside the bubble, and takes 0 for no time.
				time.Sleep(time.Until(started) + time.Hour)
				if err := f(); err != nil {
					t.Fatal(err)
				}
			})
			os.Exit(0) // before testing prints something
		}}}, nil, nil)
}

// emulation is the behaviour of the network from the senders to the receivers, and back.
type emulation struct {
	there, back netem.Path
	shared      netem.Path // of a bottleneck that all flows there share, if it is not zero

	// farther is how much longer than there and back the paths of each flow are, 0 for those it has none of.
	farther []time.Duration
}

// world is a network with a sender and a receiver for each flow.
type world struct {
	*netem.Network
	emulation
	bottleneck *netem.Bottleneck // with the behaviour shared, nil for none

	mu    sync.Mutex       // guards the rest
	flows [][2]*netem.Conn // sender and receiver of each
	conns []*conn
}

// dial opens a stream. It is given up if it has not delivered everything when patience has passed
// after the end of its load.
func (w *world) dial(open opener, load time.Duration) (*conn, error) {
	c, err := open(w)
	if err != nil {
		return nil, err
	}
	c.patience = time.AfterFunc(load+patience, c.giveUp)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
	return c, nil
}

// patience is how long a transport may go on to deliver after its load has ended.
var patience = 5 * time.Minute

// change gives all flows the paths of e.
func (w *world) change(e emulation) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.emulation = e
	for i := range w.flows {
		if err := w.setPaths(i); err != nil {
			return err
		}
	}
	return nil
}

// setPaths sets those of flow i.
func (w *world) setPaths(i int) error {
	from, to := w.flows[i][0].LocalAddr(), w.flows[i][1].LocalAddr()
	there, back := w.there, w.back
	if i < len(w.farther) {
		there.Delay += w.farther[i]
		back.Delay += w.farther[i]
	}
	return errors.Join(w.SetPath(from, to, there), w.SetPath(to, from, back), w.SetRoute(from, to, w.bottleneck))
}

// flow binds the Conns of one more flow, with the paths of w between them.
func (w *world) flow() (from, to *netem.Conn, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := len(w.flows) + 1
	if from, err = w.Listen(fmt.Sprintf("10.0.0.%d:1000", i)); err != nil {
		return nil, nil, err
	}
	if to, err = w.Listen(fmt.Sprintf("10.0.1.%d:1000", i)); err != nil {
		return nil, nil, err
	}
	w.flows = append(w.flows, [2]*netem.Conn{from, to})
	return from, to, w.setPaths(i - 1)
}

// sent returns the payload bytes that were sent so far in each direction, over all flows.
func (w *world) sent() (there, back int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.flows {
		there += int64(w.Stats(f[0].LocalAddr(), f[1].LocalAddr()).SentBytes)
		back += int64(w.Stats(f[1].LocalAddr(), f[0].LocalAddr()).SentBytes)
	}
	return there, back
}

// wire returns a function that sets r's Wire and Reverse by the bytes sent since the call of wire.
func (w *world) wire() func(r *pathResult, delivered int64) {
	there, back := w.sent()
	return func(r *pathResult, delivered int64) {
		thereNow, backNow := w.sent()
		r.Wire = float64(thereNow-there) / float64(delivered)
		r.Reverse = float64(backNow-back) / float64(delivered)
	}
}

// close closes everything, and waits until the transports have ended.
func (w *world) close() {
	for _, c := range w.conns {
		c.close()
	}
	time.Sleep(settle)
	w.Network.Close()
	time.Sleep(settle)
}

// settle is longer than transports go on after they are closed. Virtual time costs nothing.
var settle = 10 * time.Second

// conn is a stream: Write is the sender's, Read the receiver's.
type conn struct {
	io.Writer
	io.Reader
	once     sync.Once
	end      func() // closes the transport
	patience *time.Timer
	gaveUp   atomic.Bool // the stream was given up, and Write and Read fail

	near, far io.ReadWriter         // the sender's end and the receiver's
	stats     func() transportStats // of the sender
}

func (c *conn) close() {
	c.patience.Stop()
	c.once.Do(c.end)
}

func (c *conn) giveUp() {
	c.gaveUp.Store(true)
	c.once.Do(c.end)
}

// opener opens a stream over the world's next flow.
type opener func(w *world) (*conn, error)

// tuning is the settings of both ends of a session.
type tuning struct {
	untuned      bool // no setter is called
	stream       bool
	nodelay      [4]int // arguments of SetNoDelay
	window       int    // segments, in both directions
	ackNoDelay   bool
	data, parity int  // FEC shards, 0 for none
	blocks       bool // FEC in groups, though the peer takes repairs
}

func (t tuning) settings() kcp.Settings {
	s := kcp.Settings{DataShards: t.data, ParityShards: t.parity}
	if t.blocks {
		s.RepairBudget = -1
	}
	return s
}

func (t tuning) apply(s *kcp.UDPSession) {
	if t.untuned {
		return
	}
	s.SetStreamMode(t.stream)
	s.SetNoDelay(t.nodelay[0], t.nodelay[1], t.nodelay[2], t.nodelay[3])
	s.SetWindowSize(t.window, t.window) // 0 leaves them as they are
	s.SetACKNoDelay(t.ackNoDelay)
}

func kcpOpener(t tuning) opener {
	return func(w *world) (*conn, error) {
		from, to, err := w.flow()
		if err != nil {
			return nil, err
		}
		lc := kcp.ListenConfig{Settings: t.settings()}
		l, err := lc.ListenConn(to)
		if err != nil {
			return nil, err
		}
		d := kcp.Dialer{Settings: t.settings(), Conv: 1}
		client, err := d.DialConn(context.Background(), from, to.LocalAddr())
		if err != nil {
			return nil, err
		}
		t.apply(client)
		var server *kcp.UDPSession
		hello := make([]byte, 1)
		for _, step := range []func() error{
			func() error { _, err := client.Write(hello); return err },
			func() (err error) { server, err = l.AcceptKCP(); return err },
			func() error { t.apply(server); return nil },
			func() error { _, err := server.Read(hello); return err },
			func() error { _, err := server.Write(hello); return err },
			func() error { _, err := client.Read(hello); return err },
		} {
			if err := step(); err != nil {
				return nil, err
			}
		}
		return &conn{Writer: client, Reader: server, near: client, far: server, stats: statsOf(client), end: func() {
			client.Close()
			server.Close()
			l.Close()
		}}, nil
	}
}

// quicOpen opens a stream of quic-go, whose congestion control is CUBIC.
func quicOpen(w *world) (*conn, error) {
	from, to, err := w.flow()
	if err != nil {
		return nil, err
	}
	cert, err := tlsConfig()
	if err != nil {
		return nil, err
	}
	cfg := &quic.Config{
		InitialStreamReceiveWindow: 8 << 20,
		MaxStreamReceiveWindow:     32 << 20,
		MaxConnectionReceiveWindow: 64 << 20,
		HandshakeIdleTimeout:       time.Minute,
		MaxIdleTimeout:             time.Hour,
	}
	client, server := &quic.Transport{Conn: from}, &quic.Transport{Conn: to}
	l, err := server.Listen(cert, cfg)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	c, err := client.Dial(ctx, to.LocalAddr(), &tls.Config{InsecureSkipVerify: true, NextProtos: cert.NextProtos}, cfg) // to this process
	if err != nil {
		return nil, err
	}
	out, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := out.Write([]byte{0}); err != nil {
		return nil, err
	}
	s, err := l.Accept(ctx)
	if err != nil {
		return nil, err
	}
	in, err := s.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(in, make([]byte, 1))
	return &conn{Writer: out, Reader: in, near: out, far: in, stats: quicStats(c), end: func() {
		c.CloseWithError(0, "")
		s.CloseWithError(0, "")
		l.Close()
		client.Close()
		server.Close()
	}}, err
}

// quicStats returns the function that tells where c stands.
func quicStats(c *quic.Conn) func() transportStats {
	return func() transportStats {
		s := c.ConnectionStats()
		return transportStats{
			RTT: s.SmoothedRTT, MinRTT: s.MinRTT, RTTVar: s.MeanDeviation,
			CongestionWindow: float64(s.CongestionWindow), LostFast: float64(s.PacketsLost),
		}
	}
}
