package kcptest

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A Network is what the Conns of a test send through. Its methods may be called at any time and by
// several goroutines. What is wrong with their arguments fails the test and ends the goroutine, as
// t.Fatal does.
type Network struct {
	t   *testing.T
	net *netem.Network

	mu     sync.Mutex             // guards the rest
	cut    map[[2]netip.Addr]bool // pairs of hosts, in both orders
	filter func(from, to netip.AddrPort, payload []byte) bool

	filtering sync.Mutex // held while filter runs
}

// Listen opens a Conn at addr, an IP address with a port such as "10.0.0.1:4000" or "[2001:db8::1]:0". Port 0
// is any that is free. Every IP address is a host of its own that is simply there. A server and a client are
// the same to the network.
func (n *Network) Listen(addr string) *Conn {
	n.t.Helper()
	c, err := n.net.Listen(addr)
	n.check(err)
	return &Conn{PacketConn: c, at: c, net: n}
}

// SetPath makes p the path of all directions that SetPathBetween and SetDirection have not set.
func (n *Network) SetPath(p Path) {
	n.t.Helper()
	n.check(n.net.SetDefault(n.emulated(p)))
}

// SetPathBetween makes p the path from a to b, and that from b to a. What is on its way meanwhile still arrives, what
// waits in the queue is sent at the new rate, and nothing overtakes.
func (n *Network) SetPathBetween(a, b net.Addr, p Path) {
	n.t.Helper()
	n.SetDirection(a, b, p)
	n.SetDirection(b, a, p)
}

// SetDirection is SetPathBetween for the direction from one address to the other alone.
func (n *Network) SetDirection(from, to net.Addr, p Path) {
	n.t.Helper()
	n.check(n.net.SetPath(from, to, n.emulated(p)))
}

// Share leads what is sent from each of the addresses to the address to through one bottleneck, with the
// Rate, Queue and Overhead of p, in the place of their own. The other fields of p must be zero: they stay
// those of each direction.
func (n *Network) Share(p Path, to net.Addr, from ...net.Addr) {
	n.t.Helper()
	shared, err := n.net.NewBottleneck(n.emulated(p))
	n.check(err)
	for _, a := range from {
		n.check(n.net.SetRoute(a, to, shared))
	}
}

// Partition drops everything that is sent between the hosts (IP addresses) of a and b from now on, in both
// directions, until Heal.
func (n *Network) Partition(a, b net.Addr) {
	n.t.Helper()
	x, y := n.host(a), n.host(b)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut == nil {
		n.cut = make(map[[2]netip.Addr]bool)
	}
	n.cut[[2]netip.Addr{x, y}], n.cut[[2]netip.Addr{y, x}] = true, true
}

// Heal ends all partitions.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = nil
}

// SetFilter makes f be asked about each datagram that is sent, one call at a time; it is dropped where f
// returns false. f may change the payload, but not keep it, and may call the methods of the Network, but
// not write to a Conn. A nil f ends that.
func (n *Network) SetFilter(f func(from, to netip.AddrPort, payload []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.filter = f
}

// Stats returns what became of the datagrams from one address to the other.
func (n *Network) Stats(from, to net.Addr) Stats {
	n.t.Helper()
	n.address(from)
	n.address(to)
	return stats(n.net.Stats(from, to))
}

// Total returns what became of all datagrams.
func (n *Network) Total() Stats { return stats(n.net.Total()) }

// pass says whether the network takes a datagram.
func (n *Network) pass(from, to netip.AddrPort, payload []byte) bool {
	n.mu.Lock()
	f, cut := n.filter, n.cut[[2]netip.Addr{from.Addr(), to.Addr()}]
	n.mu.Unlock()
	if cut || f == nil {
		return !cut
	}
	n.filtering.Lock()
	defer n.filtering.Unlock()
	return f(from, to, payload)
}

func (n *Network) emulated(p Path) netem.Path {
	n.t.Helper()
	e, err := p.emulated()
	n.check(err)
	return e
}

func (n *Network) host(a net.Addr) netip.Addr {
	n.t.Helper()
	return n.address(a).AddrPort().Addr().Unmap()
}

func (n *Network) address(a net.Addr) *net.UDPAddr {
	n.t.Helper()
	u, ok := a.(*net.UDPAddr)
	if !ok || u == nil {
		n.t.Fatalf("kcptest: the address is %v (%T), want a *net.UDPAddr", a, a)
	}
	return u
}

func (n *Network) check(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal("kcptest: ", err)
	}
}

// A Conn is a net.PacketConn on a Network, as a UDP socket is one on a host. Its addresses are *net.UDPAddrs.
// It has a receive buffer of 8 MiB.
type Conn struct {
	net.PacketConn
	at  *netem.Conn
	net *Network
}

// Rebind gives c another address on the network, as a NAT does that has forgotten a mapping, or a phone
// that changes networks: what c sends comes from addr from now on, and what is sent to its former address
// is lost. LocalAddr does not change, as nobody tells the program; PublicAddr tells the test. addr is as for
// [Network.Listen]. Paths that were set for the former address are the same for the new one.
func (c *Conn) Rebind(addr string) {
	c.net.t.Helper()
	c.net.check(c.at.Rebind(addr))
}

// PublicAddr returns the address that others see c at: LocalAddr, until Rebind.
func (c *Conn) PublicAddr() net.Addr { return c.at.Bound() }

// Stall makes reads wait for the time d, as those of a process that gets no processor. What arrives
// meanwhile waits in the receive buffer.
func (c *Conn) Stall(d time.Duration) { c.at.Stall(d) }

// SetReadBuffer bounds the receive buffer to that many bytes, at least 1, of payload and 256 more for each
// datagram. What finds no room is dropped.
func (c *Conn) SetReadBuffer(bytes int) error { return c.at.SetReadBuffer(bytes) }
