package netem

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// DefaultReadBuffer is the size of a receive buffer in bytes until [Conn.SetReadBuffer] is called.
const DefaultReadBuffer = 8 << 20

const (
	// maxPayload is the number of bytes that an IPv4 packet of 65535 bytes has behind the headers
	// of IP and UDP.
	maxPayload = 65535 - 20 - 8

	// bufferCost is the number of bytes that each datagram is charged to the receive buffer on top
	// of its payload, as kernels charge for their bookkeeping. It bounds the number of small
	// datagrams.
	bufferCost = 256
)

var errTooLong = errors.New("message too long")

// A Conn is a net.PacketConn on a [Network], with the semantics of a *net.UDPConn. Its methods may
// be called by several goroutines at once.
type Conn struct {
	net   *Network
	local netip.AddrPort
	addr  *net.UDPAddr // local, in the other form

	// Guarded by net.mu.
	bound         netip.AddrPort // what the network knows c by: local, until Rebind
	writeDeadline time.Duration
	last          *link // of the datagram that was written last
	fragments     bool  // see AllowFragments

	mu           sync.Mutex // guards the rest
	closed       bool       // set with net.mu held as well
	arrived      sync.Cond  // signalled for a datagram, a change of the deadline, and Close
	buffer       fifo[*datagram]
	buffered     int // bytes charged for buffer
	limit        int // of buffered, in bytes
	readDeadline time.Duration
	stalledUntil time.Duration // nothing is read before
	timer        *time.Timer   // wakes readers at readDeadline; created when first needed
}

var _ net.PacketConn = (*Conn)(nil)

func newConn(n *Network, at netip.AddrPort) *Conn {
	c := &Conn{
		net:           n,
		local:         at,
		bound:         at,
		addr:          net.UDPAddrFromAddrPort(at),
		limit:         DefaultReadBuffer,
		readDeadline:  never,
		writeDeadline: never,
	}
	c.arrived.L = &c.mu
	return c
}

// Network returns the network that c is bound to.
func (c *Conn) Network() *Network { return c.net }

// LocalAddr returns the *net.UDPAddr that c is bound to. All calls share it; do not modify it.
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// ReadFrom waits for a datagram and copies it to b; bytes that do not fit are lost. The address is
// a *net.UDPAddr that several calls share; do not modify it. The error is a *net.OpError around
// net.ErrClosed or os.ErrDeadlineExceeded.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, l, err := c.read(b)
	if err != nil {
		return 0, nil, err
	}
	return n, l.fromAddr, nil
}

// ReadFromUDPAddrPort is ReadFrom with the address as a value.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, l, err := c.read(b)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return n, l.from, nil
}

// read waits for a datagram, copies it to b, and returns the link that it came over.
func (c *Conn) read(b []byte) (int, *link, error) {
	d, err := c.next()
	if err != nil {
		return 0, nil, &net.OpError{Op: "read", Net: "udp", Source: c.addr, Err: err}
	}
	n, l := copy(b, d.b), d.link
	d.free()
	return n, l, nil
}

// next waits for a datagram and takes it from the buffer.
func (c *Conn) next() (*datagram, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return nil, net.ErrClosed
		case c.stalledUntil > 0 && c.net.now() < c.stalledUntil:
		case c.readDeadline != never && c.net.now() >= c.readDeadline:
			return nil, os.ErrDeadlineExceeded
		case c.buffer.len() > 0:
			d := c.buffer.pop()
			c.buffered -= len(d.b) + bufferCost
			return d, nil
		}
		c.arrived.Wait()
	}
}

// Stall makes reads return nothing for the time d from now on, as those of a process that gets no
// processor. What arrives meanwhile waits in the receive buffer. Writes do not stall, and Close wakes
// the readers. A later call replaces an earlier one.
func (c *Conn) Stall(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalledUntil = c.net.now() + d
	time.AfterFunc(d, c.wake)
}

// receive takes d over. It returns false if the buffer was full.
func (c *Conn) receive(d *datagram) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	cost := len(d.b) + bufferCost
	if cost > c.limit-c.buffered && c.buffer.len() > 0 {
		d.free()
		return false
	}
	c.buffer.push(d)
	c.buffered += cost
	c.arrived.Signal()
	return true
}

// WriteTo sends b to addr, a *net.UDPAddr. It copies b, never blocks, and returns len(b) and nil
// whether the datagram arrives or not. The error is a *net.OpError around net.ErrClosed,
// os.ErrDeadlineExceeded, or the reason why no socket could send b: addr is no IP address, or b is
// longer than 65507 bytes.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, err := addrPort(addr)
	if err != nil {
		return 0, c.writeError(nil, err)
	}
	return c.write(b, to)
}

// WriteToUDPAddrPort is WriteTo with the address as a value.
func (c *Conn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	if !addr.IsValid() {
		return 0, c.writeError(nil, &net.AddrError{Err: errInvalidAddr.Error(), Addr: addr.String()})
	}
	return c.write(b, unmap(addr))
}

func (c *Conn) write(b []byte, to netip.AddrPort) (int, error) {
	if len(b) > maxPayload {
		return 0, c.writeError(net.UDPAddrFromAddrPort(to), errTooLong)
	}
	d := newDatagram(b)
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	d.fragments = c.fragments
	if err := c.writableLocked(); err != nil {
		d.free()
		return 0, c.writeError(net.UDPAddrFromAddrPort(to), err)
	}
	pass := true
	if n.tap != nil {
		pass = n.callTapLocked(c.bound, to, d.b)
	}
	if c.last == nil || c.last.to != to {
		c.last = n.linkLocked(flow{c.bound, to})
	}
	n.submitLocked(c.last, d, pass)
	return len(b), nil
}

// callTapLocked calls the tap, with n.mu unlocked meanwhile.
func (n *Network) callTapLocked(from, to netip.AddrPort, b []byte) bool {
	tap := n.tap
	n.mu.Unlock()
	defer n.mu.Lock()
	return tap(from, to, b)
}

// writableLocked returns why c cannot write, nil if it can. Network.mu is held.
func (c *Conn) writableLocked() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.writeDeadline != never && c.net.now() >= c.writeDeadline:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *Conn) writeError(to net.Addr, err error) error {
	return &net.OpError{Op: "write", Net: "udp", Source: c.addr, Addr: to, Err: err}
}

// AllowFragments says whether what is written from now on may go on in fragments where it is longer than
// Path.MTU, as without IPv4's Don't Fragment bit: it arrives whole, and each fragment takes Path.Overhead.
// At first it may not.
func (c *Conn) AllowFragments(allow bool) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.fragments = allow
}

// Close unbinds c, discards what it has received and wakes its readers. A second Close returns a
// *net.OpError around net.ErrClosed.
func (c *Conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return &net.OpError{Op: "close", Net: "udp", Source: c.addr, Err: net.ErrClosed}
	}
	c.closeLocked()
	return nil
}

// closeLocked closes c, which is open. Network.mu is held.
func (c *Conn) closeLocked() {
	delete(c.net.conns, c.bound)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.buffer.len() > 0 {
		c.buffer.pop().free()
	}
	c.buffered = 0
	if c.timer != nil {
		c.timer.Stop()
	}
	c.arrived.Broadcast()
}

// SetDeadline sets the read and the write deadline. It returns an error after Close.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the time from which on reads fail, also reads that wait already. The zero
// time means never. It returns an error after Close.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.setError(net.ErrClosed)
	}
	c.readDeadline = c.net.until(t)
	wait := c.readDeadline - c.net.now()
	switch {
	case c.readDeadline == never || wait <= 0:
		if c.timer != nil {
			c.timer.Stop()
		}
		c.arrived.Broadcast()
	case c.timer == nil:
		c.timer = time.AfterFunc(wait, c.wake)
	default:
		c.timer.Reset(wait)
	}
	return nil
}

// wake makes the readers check the deadline. A spurious call is harmless.
func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrived.Broadcast()
}

// SetWriteDeadline sets the time from which on writes fail. Writes never block, so a deadline in
// the future interrupts none. The zero time means never. It returns an error after Close.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.setError(net.ErrClosed)
	}
	c.writeDeadline = c.net.until(t)
	return nil
}

// SetReadBuffer bounds the receive buffer to size bytes, at least 1. Each datagram counts as its
// payload and 256 bytes more; one that does not fit is dropped and counted, but an empty buffer
// takes any. Datagrams in the buffer stay there. It returns an error for a smaller size and after
// Close.
func (c *Conn) SetReadBuffer(size int) error {
	if size < 1 {
		return c.setError(fmt.Errorf("read buffer is %d bytes, want at least 1", size))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.setError(net.ErrClosed)
	}
	c.limit = size
	return nil
}

func (c *Conn) setError(err error) error {
	return &net.OpError{Op: "set", Net: "udp", Addr: c.addr, Err: err}
}
