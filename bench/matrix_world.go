package main

import (
	"errors"
	"math/rand/v2"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// newWorld makes the network of the case.
func (c *matrixCase) newWorld() (w *world, err error) {
	w = &world{Network: netem.New(c.Seed<<32 + uint64(c.Index)), emulation: c.emulation()}
	if w.shared != (netem.Path{}) {
		w.bottleneck, err = w.NewBottleneck(w.shared)
	}
	return w, err
}

// emulation is the behaviour of both ways. Acknowledgements are lost and jittered as data is.
func (c *matrixCase) emulation() (e emulation) {
	e.back = netem.Path{Delay: c.RTT / 2, Jitter: c.Jitter, Loss: c.Loss}
	if b := c.Burst; b != nil { // Length is 1/Leave, and Loss is Enter/(Enter+Leave)
		e.back.Burst = netem.Burst{Enter: b.Loss / (1 - b.Loss) / b.Length, Leave: 1 / b.Length}
	}
	e.there = e.back
	if b := c.Back; b != nil {
		e.back.Bandwidth, e.back.Queue = int64(b.Bandwidth), b.Queue
	}
	if p := c.Policer; p != nil {
		e.there.Policer = netem.Policer{Rate: int64(p.Rate), Burst: p.Burst}
	}
	if bottleneck := (netem.Path{Bandwidth: int64(c.Bandwidth), Queue: c.Queue}); c.Cross != nil {
		e.shared = bottleneck
	} else {
		e.there.Bandwidth, e.there.Queue = bottleneck.Bandwidth, bottleneck.Queue
	}
	return e
}

// begin begins the cross traffic, the stalls and the change of the path, in a run of the time total.
func (c *matrixCase) begin(w *world, total time.Duration) error {
	if c.Change != nil {
		time.AfterFunc(seconds(c.Change.At*total.Seconds()), func() {
			e := c.changed().emulation()
			if w.bottleneck != nil {
				w.bottleneck.SetPath(e.shared) // which is drawn within bounds
			}
			w.change(e)
		})
	}
	if c.Stall != nil {
		go c.stall(w, rand.New(rand.NewPCG(c.Seed, uint64(c.Index))))
	}
	if c.Cross != nil {
		return c.cross(w)
	}
	return nil
}

// stall stalls the receivers from time to time, for ever.
func (c *matrixCase) stall(w *world, random *rand.Rand) {
	for {
		time.Sleep(seconds(c.Stall.Every.Seconds() * (0.5 + random.Float64())))
		w.mu.Lock()
		for _, f := range w.flows {
			f[1].Stall(c.Stall.For)
		}
		w.mu.Unlock()
		time.Sleep(c.Stall.For)
	}
}

// cross sends the cross traffic through the bottleneck, for ever.
func (c *matrixCase) cross(w *world) error {
	from, err1 := w.Listen("10.0.2.1:1000")
	to, err2 := w.Listen("10.0.3.1:1000")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	to.Close() // what arrives is of no interest
	if err := w.SetRoute(from.LocalAddr(), to.LocalAddr(), w.bottleneck); err != nil {
		return err
	}
	go func() {
		b := make([]byte, mtu)
		every := seconds(mtu / c.Cross.Rate)
		for next := time.Now(); ; next = next.Add(c.Cross.Off) {
			for end := next.Add(c.Cross.On); next.Before(end); next = next.Add(every) {
				time.Sleep(time.Until(next))
				from.WriteTo(b, to.LocalAddr())
			}
		}
	}()
	return nil
}

// opener returns what opens the package's sessions with c's settings and peer.
func (c *matrixCase) opener() opener {
	switch {
	case c.quic:
		return quicOpen
	case c.tcp != "":
		return tcpOpener(c.tcp)
	case c.Unmarked > 0:
		return c.openUnmarked
	}
	return kcpOpener(c.tuning)
}

// openUnmarked opens a session with a peer without extensions.
func (c *matrixCase) openUnmarked(w *world) (*conn, error) {
	from, to, err := w.flow()
	if err != nil {
		return nil, err
	}
	l := unmarked.Listen(unmarked.Config{
		DataShards: c.tuning.data, ParityShards: c.tuning.parity,
		SendWindow: c.peerWindow(), ReceiveWindow: c.peerWindow(),
		Interval: c.Unmarked, NoDelay: true, Resend: 2, Stream: true,
	}, to)
	client, err := kcp.NewConn3(1, to.LocalAddr(), nil, c.tuning.data, c.tuning.parity, from)
	if err != nil {
		return nil, err
	}
	c.tuning.apply(client)
	hello := make([]byte, 1)
	if _, err := client.Write(hello); err != nil {
		return nil, err
	}
	server, err := l.Accept()
	if err != nil {
		return nil, err
	}
	for _, step := range []func([]byte) (int, error){server.Read, server.Write, client.Read} {
		if _, err := step(hello); err != nil {
			return nil, err
		}
	}
	return &conn{Writer: client, Reader: server, near: client, far: server, stats: statsOf(client), end: func() {
		client.Close()
		l.Kill()
	}}, nil
}
