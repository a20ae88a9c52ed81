package main

import (
	"fmt"
	"math"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// ipUDP is what the headers of IPv4 and UDP add to a datagram on a real link.
const ipUDP = 28

// link is a dialled session and the listener it leads to.
type link struct {
	about    string // one line for people
	sender   *kcp.UDPSession
	listener *kcp.Listener
	stats    func() (there, back netem.Stats) // nil with real sockets
	free     func()                           // after both ends are closed
}

// open sets up the link that o asks for.
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
		// What routers are usually given: a round trip's worth.
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

// inFlight is the bandwidth-delay product: the bytes on their way when the link is full.
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

// overtakers is how many later segments have to be acknowledged before one is sent again.
// The usual two must do where datagrams keep their order. With FEC that is too soon: those
// that rebuild a lost one come last in its group. And jitter lets as many overtake one as
// are sent in that time.
func (o *options) overtakers() int {
	late := float64(o.bandwidth) * o.jitter.Seconds() / float64(o.mtu)
	return max(2, o.data+o.parity) + int(late)
}

// pace is what an end may send a second, 0 for no limit. SetNoDelay's last argument
// switched congestion control off, for that would take each of the link's random losses
// for a sign of congestion. So nothing else keeps an end from flooding the queue. The
// limit counts less of a datagram than the link does; a twentieth of what the link then
// carries is left for acknowledgements.
func (o *options) pace() uint32 {
	if o.udp {
		return 0
	}
	const uncounted = 36 // at most, of nonce, tag and FEC header
	counted := float64(o.mtu-uncounted) / float64(o.mtu+ipUDP)
	return uint32(0.95 * counted * float64(o.bandwidth))
}

// segments is how large the windows of both ends are: -window, or what keeps the link
// full. That is one and a half of what is in flight, for a round trip that varies, and as
// much again for each time that some segment of it is bound to be sent again: the window
// starts at the oldest segment that is missing, and everything behind that waits with it.
func (o *options) segments() int {
	const (
		least = 256  // for links so short that the ends' timers count for more
		local = 1024 // where there is no rate to derive it from
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
