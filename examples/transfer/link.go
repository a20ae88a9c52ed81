package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// ipUDP is the number of bytes that the headers of IPv4 and UDP add to a datagram on a real link.
const ipUDP = 28

// link is a dialled session and the listener that it leads to, or one of them.
type link struct {
	about    string // description of one line
	sender   *kcp.UDPSession
	listener *kcp.Listener
	stats    func() (there, back netem.Stats) // nil with real sockets
	free     func()                           // to be called after both ends are closed
}

// open sets up the link that the options describe.
func (o *options) open(ctx context.Context) (*link, error) {
	block, err := blockCrypt(o.crypt, o.key)
	if err != nil {
		return nil, err
	}
	switch {
	case o.listen != "":
		return o.openListener(block)
	case o.dial != "":
		return o.openSession(ctx, block)
	case o.udp:
		return o.openUDP(block)
	}
	return o.openEmulated(block)
}

func (o *options) openListener(block kcp.BlockCrypt) (*link, error) {
	listener, err := kcp.ListenWithOptions(o.listen, block, o.data, o.parity)
	if err != nil {
		return nil, fmt.Errorf("-listen: %w", err)
	}
	return &link{about: fmt.Sprintf("at %v", listener.Addr()), listener: listener, free: func() {}}, nil
}

// openSession waits for the receiver's first answer: whatever keeps it away is an error here.
func (o *options) openSession(ctx context.Context, block kcp.BlockCrypt) (*link, error) {
	d := kcp.Dialer{
		Settings:    kcp.Settings{Block: block, DataShards: o.data, ParityShards: o.parity},
		WaitForPeer: true,
		Timeout:     patience,
	}
	conn, err := d.DialContext(ctx, "udp", o.dial)
	if errors.Is(err, syscall.ETIMEDOUT) {
		err = fmt.Errorf("%w: is a receiver there, with the same -crypt and -key?", err)
	}
	if err != nil {
		return nil, fmt.Errorf("-dial: %w", err)
	}
	about := fmt.Sprintf("%v to %v", conn.LocalAddr(), conn.RemoteAddr())
	return &link{about: about, sender: conn.(*kcp.UDPSession), free: func() {}}, nil
}

func (o *options) openUDP(block kcp.BlockCrypt) (*link, error) {
	listener, err := kcp.ListenWithOptions("127.0.0.1:0", block, o.data, o.parity)
	if err != nil {
		return nil, err
	}
	sender, err := kcp.DialWithOptions(listener.Addr().String(), block, o.data, o.parity)
	if err != nil {
		listener.Close()
		return nil, err
	}
	about := fmt.Sprintf("real sockets, %v to %v", sender.LocalAddr(), listener.Addr())
	return &link{about: about, sender: sender, listener: listener, free: func() {}}, nil
}

func (o *options) openEmulated(block kcp.BlockCrypt) (*link, error) {
	path := netem.Path{
		Delay:     o.rtt / 2,
		Jitter:    o.jitter,
		Loss:      o.loss / 100,
		Bandwidth: o.bandwidth,
		Overhead:  ipUDP,
		Queue:     int(o.queue),
	}
	if path.Queue == 0 {
		// Routers usually have a queue for a round trip at the full rate.
		path.Queue = int(min(max(o.inFlight(), 64<<10), math.MaxInt32))
	}
	a, b, err := netem.Pipe(o.seed, path, path)
	if err != nil {
		return nil, err
	}
	network := a.Network()
	listener, err := kcp.ServeConn(block, o.data, o.parity, b)
	if err != nil {
		network.Close()
		return nil, err
	}
	sender, err := kcp.NewConn2(b.LocalAddr(), block, o.data, o.parity, a)
	if err != nil {
		network.Close()
		return nil, err
	}
	return &link{
		about:    o.describe(path),
		sender:   sender,
		listener: listener,
		stats: func() (there, back netem.Stats) {
			return network.Stats(a.LocalAddr(), b.LocalAddr()), network.Stats(b.LocalAddr(), a.LocalAddr())
		},
		free: func() { network.Close() },
	}, nil
}

func (o *options) describe(path netem.Path) string {
	s := fmt.Sprintf("emulated, %v round trip", o.rtt)
	if o.jitter > 0 {
		s += fmt.Sprintf(" and up to %v of jitter", o.jitter)
	}
	if o.bandwidth == 0 {
		return s + ", no limit of bandwidth"
	}
	return s + fmt.Sprintf(", %s/s each way, queue of %s", si(float64(o.bandwidth)), si(float64(path.Queue)))
}

// inFlight returns the bandwidth-delay product in bytes: what is in flight when the link is full.
func (o *options) inFlight() int64 {
	return int64(float64(o.bandwidth) * (o.rtt + o.jitter).Seconds())
}

// tune gives an end the settings for the link. The congestion control, which the last argument of
// SetNoDelay leaves on, finds what the link carries, and the windows follow it.
func (o *options) tune(s *kcp.UDPSession) {
	s.SetStreamMode(true)     // a stream of bytes: fill every segment
	s.SetNoDelay(1, 10, 2, 0) // low latency
	s.SetMtu(o.mtu)           // parse checked it
	if o.window > 0 {
		s.SetWindowSize(o.window, o.window) // both ends: the smaller of the two counts
	}
}
