package kcp

import (
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// socket is what sessions and listeners know of a net.PacketConn: it sends batches
// of datagrams and has a reader goroutine that hands batches to an inbox. Where
// the platform has batched system calls and the PacketConn is a plain UDP socket
// they are used; any other PacketConn is driven through its own methods.
type socket struct {
	conn      net.PacketConn
	udp       *net.UDPConn  // conn, if it is one and no wrapper around one
	owned     bool          // closed with its user
	connected bool          // to the one peer it has
	batch     *batchIO      // nil where there is none
	stopping  atomic.Bool   // close was called
	done      chan struct{} // closed when the reader has ended
	ended     atomic.Bool   // set when the reader has stopped reading
	looked    atomic.Int64  // when readerLate looked, or the reader read
	late      atomic.Bool   // what it saw
}

// readerSlack is how long the reader may be busy elsewhere before somebody looks whether it
// has something to read.
const readerSlack = int64(time.Millisecond)

// readerTurn is how long a writer sleeps so that the scheduler looks at the network.
const readerTurn = 20 * time.Microsecond

// readerLate says whether something has waited to be read for a while. The Go scheduler looks
// at the network when it has nothing else to run, or each 10 ms: goroutines that do not block
// can keep a reader waiting for longer than the least timeout of a retransmission.
func (s *socket) readerOverdue(now int64) bool {
	if s.batch == nil {
		return false
	}
	if now-s.looked.Load() >= readerSlack {
		s.looked.Store(now)
		s.late.Store(s.batch.unread())
	}
	return s.late.Load()
}

// inbox takes what the reader of a socket reads. Both methods are called on the
// reader's goroutine; receive's batch is the inbox's until it returns.
type receiver interface {
	receive(batch []inbound)
	// readFailed ends the reading with an error that will not pass.
	readFailed(err error)
}

// inbound is a received datagram.
type inbound struct {
	data []byte
	from peerAddr
	addr net.Addr // only where from is not a UDP address
}

// outbound is a datagram to be sent.
type outbound struct {
	data []byte  // in p, or in a segment
	p    *packet // to be put back; nil where data is in a segment, unless it is to be sealed, into p
	to   *destination
}

// own copies a datagram that is in a segment, and to be sealed, to p.
func (o *outbound) copyOut() {
	if !o.inPacket() {
		o.data = o.p.mem[:copy(o.p.mem[:], o.data)]
	}
}

// owns says whether the datagram, which has a p, is in p.
func (o *outbound) inPacket() bool { return &o.data[0] == &o.p.mem[0] }

// remote identifies a peer's address, comparable whatever the PacketConn is.
type peerAddr struct {
	udp   netip.AddrPort // IPv4 never as IPv4-mapped
	other string         // for addresses of other networks
}

func peerAddrOf(addr net.Addr) peerAddr {
	if addr == nil {
		return peerAddr{} // of an unnamed peer, to whom nothing can be sent
	}
	if a, ok := addr.(*net.UDPAddr); ok && a != nil {
		return peerAddr{udp: unmap(a.AddrPort())}
	}
	return peerAddr{other: addr.Network() + " " + addr.String()}
}

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// zoneIndex returns the interface index of an IPv6 zone, 0 for none.
func zoneIndex(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	return 0
}

// destination is a peer's address in every form that sending needs.
type destination struct {
	peerAddr
	addr net.Addr // the address as it came, nil where it can be made from remote
	raw  rawAddr  // for batched system calls

	plain uint32 // atomic: set when the way there refuses segmentation offload
}

// netAddr returns the address for people and for WriteTo.
func (d *destination) netAddr() net.Addr {
	if d.addr != nil {
		return d.addr
	}
	return net.UDPAddrFromAddrPort(d.udp)
}

// What an owned socket asks of the kernel, which may grant less. Received datagrams may
// have to wait for their reader as long as the Go scheduler lets other goroutines run, 10 ms
// and more: at 1 GB/s, or with 64 peers' windows of 256 segments at once, more than 20 MB.
// That is memory only while they do. On their way out they wait for a network card, where
// much more would only be delay.
const (
	receiveBuffer = 32 << 20
	sendBuffer    = 7 << 20
)

// growBuffers asks for as much as the system grants: some refuse what is above their limit,
// instead of granting that.
func growBuffers(c *net.UDPConn) {
	const least = 64 << 10
	for size := receiveBuffer; c.SetReadBuffer(size) != nil && size > least; size /= 2 {
	}
	for size := sendBuffer; c.SetWriteBuffer(size) != nil && size > least; size /= 2 {
	}
	forceBuffers(c)
}

// ownSockets wraps a listener's first socket, and as many more as the platform spreads its
// address over.
func ownSockets(network string, first *net.UDPConn, control controlFunc) (socks []*socket) {
	for _, conn := range append([]*net.UDPConn{first}, openReusePort(network, first, control)...) {
		growBuffers(conn)
		socks = append(socks, newSocket(conn, true))
	}
	return socks
}

// controlFunc is the Control of a net.ListenConfig.
type controlFunc = func(network, address string, c syscall.RawConn) error

// newSocket wraps conn. An owned one gets what makes it fast; of any other nothing is
// changed.
func newSocket(conn net.PacketConn, owned bool) *socket {
	s := &socket{conn: conn, owned: owned}
	if udp, ok := conn.(*net.UDPConn); ok {
		s.udp = udp
		s.connected = udp.RemoteAddr() != nil
		s.batch = newBatchIO(udp, owned)
	}
	return s
}

// reaches says why nothing can be sent to addr, nil if it can.
func (s *socket) reaches(addr net.Addr) error {
	if s.udp == nil {
		return nil
	}
	from := peerAddrOf(addr)
	if s.connected && peerAddrOf(s.udp.RemoteAddr()) != from {
		return errors.Errorf("kcp: remote address %v: the UDP socket is connected to %v", addr, s.udp.RemoteAddr())
	}
	local, ok := s.udp.LocalAddr().(*net.UDPAddr)
	if !from.udp.IsValid() || ok && local.IP.To4() != nil && !from.udp.Addr().Is4() {
		return errors.Errorf("kcp: remote address %v: the UDP socket at %v cannot send there", addr, local)
	}
	return nil
}

// destination prepares the peer at addr, known as from, for sending.
func (s *socket) destination(from peerAddr, addr net.Addr) destination {
	if zone := from.udp.Addr().Zone(); zone != "" && s.batch != nil {
		// As batched reading has it: the index, which the kernel gives, and no name.
		from.udp = netip.AddrPortFrom(from.udp.Addr().WithZone(strconv.Itoa(int(zoneIndex(zone)))), from.udp.Port())
	}
	d := destination{peerAddr: from, addr: addr}
	if s.batch != nil && !s.connected {
		d.raw = makeRawAddr(from.udp, s.batch.six)
	}
	return d
}

// start begins to read into in.
func (s *socket) start(in receiver) {
	s.done = make(chan struct{})
	go s.readLoop(in)
}

// readLoop reads until the socket is closed, stopped or broken.
func (s *socket) readLoop(in receiver) {
	defer close(s.done)
	var err error
	if s.batch != nil {
		err = s.readBatches(in)
	} else {
		err = s.readEach(in)
	}
	s.ended.Store(true)
	if s.stopping.Load() {
		if !s.owned {
			s.conn.SetReadDeadline(time.Time{}) // undo what close did to wake us
		}
		return
	}
	in.readFailed(err)
}

// readerExit bounds the wait for a reader whose PacketConn ignores read deadlines.
const readerExit = 100 * time.Millisecond

// close ends the reading, and the socket if it is ours. If it is not, the owner may read
// from it when close returns; wait must be false on the reader's own goroutine.
func (s *socket) close(wait bool) error {
	s.stopping.Store(true)
	if s.owned {
		return s.conn.Close()
	}
	err := s.conn.SetReadDeadline(time.Unix(1, 0))
	if s.ended.Load() { // before, perhaps, and then nobody else undoes that
		return s.conn.SetReadDeadline(time.Time{})
	}
	if wait && err == nil {
		timer := time.NewTimer(readerExit)
		defer timer.Stop()
		select {
		case <-s.done:
		case <-timer.C:
		}
	}
	return err
}

// retryRead says whether reading can go on after err, the failures-th in a row: a UDP
// socket reports earlier sends' failures this way. One that goes on and on is asked again
// more slowly.
func (s *socket) retryRead(err error, failures int) bool {
	if s.stopping.Load() || !transient(err) {
		return false
	}
	if failures > readFailures {
		time.Sleep(readPause)
	}
	return true
}

const (
	// readFailures in a row are more than a batch of sends explains.
	readFailures = 256
	readPause    = 10 * time.Millisecond
)

// transient says whether err, of a send or read, leaves the socket usable: a report
// from the path (ICMP), full buffers, a firewall, a network that is down just now.
func transient(err error) bool {
	for _, t := range transientErrors {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// setDSCP sets the code point, 0 to 63, of what the socket sends (RFC 2474), in
// IPv4 and IPv6.
func (s *socket) setDSCP(dscp int) error {
	if dscp < 0 || dscp > 63 {
		return errors.Errorf("kcp: DSCP %d: must be 0 to 63", dscp)
	}
	if s.udp == nil {
		return errNotSupported
	}
	err4 := ipv4.NewPacketConn(s.conn).SetTOS(dscp << 2)
	err6 := ipv6.NewPacketConn(s.conn).SetTrafficClass(dscp << 2)
	if err4 != nil && err6 != nil {
		return errors.Wrap(err4, "kcp: DSCP")
	}
	return nil
}

func (s *socket) setReadBuffer(bytes int) error {
	if c, ok := s.conn.(interface{ SetReadBuffer(int) error }); ok {
		return c.SetReadBuffer(bytes)
	}
	return errNotSupported
}

func (s *socket) setWriteBuffer(bytes int) error {
	if c, ok := s.conn.(interface{ SetWriteBuffer(int) error }); ok {
		return c.SetWriteBuffer(bytes)
	}
	return errNotSupported
}
