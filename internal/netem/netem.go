// Package netem emulates a network of UDP sockets inside one process, for tests, examples and
// benchmarks.
//
// A [Network] binds each [Conn], which is a net.PacketConn, at an IP address and a port. Every
// ordered pair of those is a link with its own [Path], its own queue, its own random stream and its
// own [Stats]. A datagram goes through
//
//	WriteTo → tap → MTU → policer → drop-tail queue → bottleneck → loss → duplication
//	        → delay, jitter, reordering → receive buffer → ReadFrom
//
// and every datagram that is dropped on this way is counted. Loss, duplication, jitter and
// reordering of a datagram are drawn when it is sent, from a generator seeded by the network's seed
// and the two addresses, and every datagram takes the same number of draws. So they depend, for the
// n-th datagram of a link, on the seed and on the link's Path alone: not on other links, on timing
// or on how goroutines are scheduled.
//
// The package keeps time with time.Now and time.AfterFunc alone: one timer for a network, and one
// for each Conn with a read deadline. For a network created in a testing/synctest bubble, delays
// and rates are therefore exact to the nanosecond and cost no waiting. In real time they are as
// precise as the timers of the Go runtime: a late timer delivers everything that has come due.
//
//	a, b, err := netem.Pipe(1, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.01}, netem.Path{})
//	if err != nil {
//		return err
//	}
//	defer a.Network().Close()
//	a.WriteTo([]byte("hello"), b.LocalAddr())
//
// The package emulates datagrams, not IP: there are no fragments that are lost alone, no ICMP, no name resolution,
// no wildcard address and no multicast. WriteTo never blocks: a sender faster than its Path
// overflows the queue, as at a router, and nothing slows the sender down, as the send buffer of a
// real socket would.
package netem

import (
	"cmp"
	"errors"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ErrAddrInUse is the error of [Network.Listen] for an address that is bound, and for a port of 0
// when all ports of the ephemeral range are bound.
var ErrAddrInUse = errors.New("address already in use")

var (
	errInvalidAddr  = errors.New("want a *net.UDPAddr with an IP address and a port")
	errUnspecified  = errors.New("a wildcard address cannot be bound")
	errOtherNetwork = errors.New("netem: the Bottleneck belongs to another Network")
)

// The dynamic ports (RFC 6335, section 6: https://www.rfc-editor.org/rfc/rfc6335#section-6).
const (
	firstEphemeral = 49152
	lastEphemeral  = 65535
)

// never is a time that does not come.
const never time.Duration = math.MaxInt64

// A Network is a set of Conns and the links between them. Its methods may be called by several
// goroutines at once, while traffic flows. [New] makes one.
type Network struct {
	// Lock order: Network.mu, then Conn.mu. Times inside the package are durations since epoch.

	seed  uint64
	epoch time.Time // time 0 of the network's clock

	mu       sync.Mutex // guards what follows, and every link and Bottleneck
	closed   bool
	conns    map[netip.AddrPort]*Conn
	links    map[flow]*link
	standard Path // of the links that SetPath was not called for
	tap      func(from, to netip.AddrPort, b []byte) bool
	port     uint16 // ephemeral port that Listen tries next
	seq      uint64 // datagrams submitted

	events eventHeap
	timer  *time.Timer   // runs fire; created when first needed
	armed  time.Duration // when timer fires, never if it does not
}

// flow names a link: an ordered pair of addresses.
type flow struct{ from, to netip.AddrPort }

// New returns a network without Conns, whose links have the zero Path. The seed determines
// everything random on it.
func New(seed uint64) *Network {
	return &Network{
		seed:  seed,
		epoch: time.Now(),
		conns: make(map[netip.AddrPort]*Conn),
		links: make(map[flow]*link),
		port:  firstEphemeral,
		armed: never,
	}
}

// Pipe returns two Conns, at 192.0.2.1:1000 and 192.0.2.2:1000, on a network of their own: ab is
// the path from a to b and ba the path back. Closing a and b frees all but what is in flight;
// a.Network().Close() frees that too.
func Pipe(seed uint64, ab, ba Path) (a, b *Conn, err error) {
	n := New(seed)
	// 192.0.2.0/24 is for examples (RFC 5737, section 3:
	// https://www.rfc-editor.org/rfc/rfc5737#section-3).
	if a, err = n.Listen("192.0.2.1:1000"); err != nil {
		return nil, nil, err
	}
	if b, err = n.Listen("192.0.2.2:1000"); err != nil {
		return nil, nil, err
	}
	err = cmp.Or(
		n.SetPath(a.LocalAddr(), b.LocalAddr(), ab),
		n.SetPath(b.LocalAddr(), a.LocalAddr(), ba),
	)
	if err != nil {
		return nil, nil, err
	}
	return a, b, nil
}

// Listen binds a Conn at addr, an IPv4 or IPv6 literal with a port such as "192.0.2.1:4000" or
// "[2001:db8::1]:0". Port 0 picks a free port from 49152 on, in ascending order. The error is a
// *net.OpError around [ErrAddrInUse], net.ErrClosed, or a *net.AddrError for an addr of another
// form or a wildcard address.
func (n *Network) Listen(addr string) (*Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, err := n.freeLocked(addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	c := newConn(n, at)
	n.conns[at] = c
	return c, nil
}

// freeLocked returns addr, an IP literal with a port, if nothing is bound there.
func (n *Network) freeLocked(addr string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return at, &net.AddrError{Err: err.Error(), Addr: addr}
	}
	at = unmap(at)
	switch {
	case at.Addr().IsUnspecified():
		return at, &net.AddrError{Err: errUnspecified.Error(), Addr: addr}
	case n.closed:
		return at, net.ErrClosed
	case at.Port() == 0:
		at = n.freePortLocked(at.Addr())
	}
	if at.Port() == 0 || n.conns[at] != nil {
		return at, ErrAddrInUse
	}
	return at, nil
}

// freePortLocked returns ip with a port free there, or with port 0 if none is.
func (n *Network) freePortLocked(ip netip.Addr) netip.AddrPort {
	for range lastEphemeral - firstEphemeral + 1 {
		at := netip.AddrPortFrom(ip, n.port)
		if n.port++; n.port < firstEphemeral {
			n.port = firstEphemeral
		}
		if n.conns[at] == nil {
			return at
		}
	}
	return netip.AddrPortFrom(ip, 0)
}

// SetDefault sets the behaviour of all links that SetPath has not been called for, also of those in
// use. The error names the field of p that is out of bounds.
func (n *Network) SetDefault(p Path) error {
	p, err := p.resolve()
	if err != nil {
		return err
	}
	n.update(func(now time.Duration) {
		n.standard = p
		for _, l := range n.links {
			if !l.own {
				l.setPath(p, now)
			}
		}
	})
	return nil
}

// SetPath sets the behaviour of the direction from one address to the other, bound or not. It may
// change while traffic flows. Datagrams on the wire keep their arrival time. Datagrams in the
// queue, and the rest of the one being transmitted, get the new Bandwidth and Delay, and keep the
// loss, duplication, jitter and reordering that were drawn when they were sent. A change makes no
// datagram overtake another. The error names the field of p that is out of bounds, or an address
// that is no *net.UDPAddr.
func (n *Network) SetPath(from, to net.Addr, p Path) error {
	p, err := p.resolve()
	if err != nil {
		return err
	}
	f, err := flowOf(from, to)
	if err != nil {
		return err
	}
	n.update(func(now time.Duration) {
		l := n.linkLocked(f)
		l.own = true
		l.setPath(p, now)
	})
	return nil
}

// NewBottleneck returns a queue and a rate for several links to share. It takes Bandwidth, Overhead
// and Queue from p. Setting another field is an error: the others stay with each link's own Path,
// so that flows of different delays can meet in one queue.
func (n *Network) NewBottleneck(p Path) (*Bottleneck, error) {
	p, err := p.resolveShared()
	if err != nil {
		return nil, err
	}
	return &Bottleneck{net: n, rate: p}, nil
}

// SetRoute leads the direction from one address to the other through b, whose Bandwidth, Overhead
// and Queue then replace those of the link's Path. A nil b leads it back through the link's own.
// Datagrams already queued stay where they are, so those on a new route may overtake them. It is an
// error if b belongs to another Network, or an address is no *net.UDPAddr.
func (n *Network) SetRoute(from, to net.Addr, b *Bottleneck) error {
	f, err := flowOf(from, to)
	if err != nil {
		return err
	}
	if b != nil && b.net != n {
		return errOtherNetwork
	}
	n.update(func(time.Duration) {
		l := n.linkLocked(f)
		if l.via = b; b == nil {
			l.via = &l.private
		}
	})
	return nil
}

// SetTap makes every WriteTo call f first. The datagram is dropped, and counted, if f returns
// false; what is drawn for other datagrams does not depend on f. A nil f removes the tap. b is the
// network's copy: f may change its bytes but not keep it. f runs without locks, so it may call
// methods of the network, and runs concurrently for concurrent writers.
func (n *Network) SetTap(f func(from, to netip.AddrPort, b []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = f
}

// Stats returns the counters of the direction from one address to the other, zero if nothing was
// ever sent that way.
func (n *Network) Stats(from, to net.Addr) Stats {
	f, err := flowOf(from, to)
	if err != nil {
		return Stats{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.links[f]; l != nil {
		return l.stats
	}
	return Stats{}
}

// Queued returns the bytes, payload and Overhead, that wait for the bottleneck of the direction from
// one address to the other, with the datagram being transmitted; those of all links that share it.
func (n *Network) Queued(from, to net.Addr) int {
	f, err := flowOf(from, to)
	if err != nil {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runLocked(n.now())
	if l := n.links[f]; l != nil && l.via.waiting.len() > 0 {
		return l.via.backlog + l.via.waiting.peek().size
	}
	return 0
}

// Total returns the sums of the counters of all links.
func (n *Network) Total() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	var sum Stats
	for _, l := range n.links {
		sum.add(&l.stats)
	}
	return sum
}

// Close closes every Conn, discards the datagrams in flight, which it counts as Unbound, and stops
// the timer. It always returns nil, also when called again.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, c := range n.conns {
		c.closeLocked()
	}
	for _, e := range n.events {
		if e.d != nil {
			e.d.link.stats.Unbound++
			e.d.free()
		} else {
			e.q.discard()
		}
	}
	n.events = nil
	if n.timer != nil {
		n.timer.Stop()
	}
	return nil
}

// now returns the time on the network's clock.
func (n *Network) now() time.Duration { return time.Since(n.epoch) }

// until returns t on the network's clock, never for the zero time.
func (n *Network) until(t time.Time) time.Duration {
	if t.IsZero() {
		return never
	}
	now, d := n.now(), time.Until(t)
	if d > never-now {
		return never
	}
	return now + d
}

// update runs change with the time, with n.mu held: after everything that came due under the old
// state, and before everything that comes due under the new one.
func (n *Network) update(change func(now time.Duration)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	n.runLocked(now)
	change(now)
	n.runLocked(now)
}

// fire is the timer's function. A spurious run is harmless.
func (n *Network) fire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed = never
	n.runLocked(n.now())
}

// runLocked processes the events due by now in order and arms the timer for the next one.
func (n *Network) runLocked(now time.Duration) {
	for len(n.events) > 0 && n.events[0].due <= now {
		if e := n.events.pop(); e.d != nil {
			n.deliverLocked(e.d)
		} else {
			e.q.transmitted(e.due)
		}
	}
	if len(n.events) == 0 || n.events[0].due >= n.armed {
		return
	}
	n.armed = n.events[0].due
	if n.timer == nil {
		n.timer = time.AfterFunc(n.armed-now, n.fire)
	} else {
		n.timer.Reset(n.armed - now)
	}
}

// submitLocked sends d over l. pass is false if the tap has refused d.
func (n *Network) submitLocked(l *link, d *datagram, pass bool) {
	now := n.now()
	n.runLocked(now)
	n.seq++
	d.link, d.seq = l, n.seq
	l.submit(d, pass, now)
	n.runLocked(now)
}

// Inject delivers b to whatever is bound at to, at once, as if it had come from the address from: so an
// attacker can who forges addresses. No tap sees it.
func (n *Network) Inject(from, to netip.AddrPort, b []byte) {
	d := newDatagram(b)
	n.mu.Lock()
	defer n.mu.Unlock()
	d.link = n.linkLocked(flow{from, to})
	n.deliverLocked(d)
}

// deliverLocked hands d to the Conn that is bound at its destination.
func (n *Network) deliverLocked(d *datagram) {
	l := d.link
	c := n.conns[l.to]
	if c == nil {
		l.stats.Unbound++
		d.free()
		return
	}
	seq, size := d.seq, uint64(len(d.b))
	if !c.receive(d) { // receive has taken d over
		l.stats.BufferDrops++
		return
	}
	l.stats.Delivered++
	l.stats.DeliveredBytes += size
	if seq < l.newest {
		l.stats.Reordered++
	} else {
		l.newest = seq
	}
}

// linkLocked returns the link of flow f, which it creates if there is none.
func (n *Network) linkLocked(f flow) *link {
	if l := n.links[f]; l != nil {
		return l
	}
	h := fnv.New64a()
	h.Write([]byte(f.from.String() + " " + f.to.String()))
	l := &link{
		net:      n,
		to:       f.to,
		from:     f.from,
		fromAddr: net.UDPAddrFromAddrPort(f.from),
		rand:     rand.New(rand.NewPCG(n.seed, h.Sum64())),
		path:     n.standard,
		private:  Bottleneck{net: n, rate: n.standard},
		tokens:   float64(n.standard.Policer.Burst),
	}
	l.via = &l.private
	n.links[f] = l
	return l
}

// flowOf returns the flow between two addresses.
func flowOf(from, to net.Addr) (flow, error) {
	f, err := addrPort(from)
	if err != nil {
		return flow{}, err
	}
	t, err := addrPort(to)
	return flow{f, t}, err
}

// addrPort returns a, a *net.UDPAddr, in the form that the package keeps addresses in.
func addrPort(a net.Addr) (netip.AddrPort, error) {
	if u, ok := a.(*net.UDPAddr); ok {
		if ap := unmap(u.AddrPort()); ap.IsValid() {
			return ap, nil
		}
	}
	err := &net.AddrError{Err: errInvalidAddr.Error()}
	if a != nil {
		err.Addr = a.String()
	}
	return netip.AddrPort{}, err
}

// unmap returns an IPv4-mapped IPv6 address as IPv4, so that both forms name the same Conn.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
