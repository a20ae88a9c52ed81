package netem

import (
	"net"
	"net/netip"
	"time"
)

// Rebind gives c another address on the network, as a NAT does that has forgotten the mapping of a
// socket behind it: what c sends comes from addr from now on, and what is sent to its former address,
// or on the way there, is lost. LocalAddr stays, as the socket knows nothing of it. addr is as for
// [Network.Listen], and so are the errors. Directions that [Network.SetPath] and [Network.SetRoute]
// have set for the former address are the same for the new one.
func (c *Conn) Rebind(addr string) error {
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	at, err := n.freeLocked(addr)
	if err == nil && c.closed {
		err = net.ErrClosed
	}
	if err != nil {
		return &net.OpError{Op: "rebind", Net: "udp", Source: c.addr, Err: err}
	}
	now := n.now()
	n.runLocked(now)
	n.inheritLocked(c.bound, at, now)
	delete(n.conns, c.bound)
	n.conns[at] = c
	c.bound, c.last = at, nil
	return nil
}

// Bound returns the address that the network knows c by: that of LocalAddr, until [Conn.Rebind].
func (c *Conn) Bound() net.Addr {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	return net.UDPAddrFromAddrPort(c.bound)
}

// inheritLocked gives the links from and to the address at the paths and routes of those of old.
func (n *Network) inheritLocked(old, at netip.AddrPort, now time.Duration) {
	type heir struct{ of, by flow }
	var heirs []heir // collected first, as linkLocked adds to n.links
	for f := range n.links {
		switch old {
		case f.from:
			heirs = append(heirs, heir{f, flow{at, f.to}})
		case f.to:
			heirs = append(heirs, heir{f, flow{f.from, at}})
		}
	}
	for _, h := range heirs {
		from := n.links[h.of]
		if !from.own && from.via == &from.private {
			continue
		}
		l := n.linkLocked(h.by)
		if from.own {
			l.own = true
			l.setPath(from.path, now)
		}
		if from.via != &from.private {
			l.via = from.via
		}
	}
}
