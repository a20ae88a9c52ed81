package main

import (
	"fmt"
	"math"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// ipUDP is the number of bytes that the headers of IPv4 and UDP add to a datagram on a real link.
const ipUDP = 28

// link is a dialled session and the listener that it leads to.
type link struct {
	about    string // description of one line
	sender   *kcp.UDPSession
	listener *kcp.Listener
	stats    func() (there, back netem.Stats) // nil with real sockets
	free     func()                           // to be called after both ends are closed
}

// open sets up the link that the options describe.
func (o *options) open() (*link, error) {
	block, err := blockCrypt(o.crypt, o.key)
	if err != nil {
		return nil, err
	}
	if o.udp {
		return o.openUDP(block)
	}
	return o.openEmulated(block)
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

// tune gives an end the settings for the link.
func (o *options) tune(s *kcp.UDPSession) {
	s.SetStreamMode(true)                       // a stream of bytes: fill every segment
	s.SetNoDelay(1, 10, o.overtakers(), 1)      // low latency
	s.SetMtu(o.mtu)                             // parse checked it
	s.SetWindowSize(o.segments(), o.segments()) // both ends: the smaller of the two counts
	s.SetRateLimit(o.pace())
}

// overtakers returns how many later segments have to be acknowledged before a segment is declared
// lost. Two are enough where datagrams keep their order. With FEC they are too few, as the parity
// that rebuilds a lost datagram comes last in its group. With jitter a datagram may be overtaken by
// as many as are sent in the time of the jitter.
func (o *options) overtakers() int {
	late := float64(o.bandwidth) * o.jitter.Seconds() / float64(o.mtu)
	return max(2, o.data+o.parity) + int(late)
}

// pace returns the rate limit of an end in bytes a second, 0 for no limit. SetNoDelay's last
// argument, nc=1, leaves out the congestion window, so nothing else keeps an end from flooding the
// queue. The limit counts fewer bytes of a datagram than the link does. A twentieth of the rate is
// left for acknowledgements.
func (o *options) pace() uint32 {
	if o.udp {
		return 0
	}
	const uncounted = 36 // bytes at most, of nonce, tag and FEC header
	counted := float64(o.mtu-uncounted) / float64(o.mtu+ipUDP)
	return uint32(0.95 * counted * float64(o.bandwidth))
}

// segments returns the windows of both ends, in segments: -window, or as many as keep the link
// full. These are one and a half bandwidth-delay products, for a round trip that varies, and as
// many again for each time that some segment among them has to be retransmitted: the window starts
// at the oldest segment that is missing, and everything behind that segment waits for it.
func (o *options) segments() int {
	const (
		least = 256  // for links so short that the timers of the ends take longer
		local = 1024 // where there is no rate to derive the windows from
	)
	switch {
	case o.window > 0:
		return o.window
	case o.udp || o.bandwidth == 0:
		return local
	}
	inFlight := max(1, float64(o.inFlight())/float64(o.mtu))
	rounds := 1.0
	if o.loss > 0 {
		rounds += math.Log(inFlight) / math.Log(100/o.loss)
	}
	return int(min(max(1.5*rounds*inFlight, least), math.MaxUint16))
}
