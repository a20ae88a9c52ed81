package kcp

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// socket is what sessions and listeners know of a net.PacketConn: it sends batches of datagrams,
// and has a reader goroutine that passes batches to a receiver. Where the platform has batched
// system calls and the PacketConn is a plain UDP socket they are used. Any other PacketConn is
// driven through its own methods.
type socket struct {
	conn      net.PacketConn
	udp       *net.UDPConn // conn, if it is one and no wrapper around one
	owned     bool         // closed with its user
	kept      atomic.Bool  // but not this one, see giveBack
	opened    bool         // by this package
	longest   int          // datagram that its reader takes whole
	connected bool         // to the one peer it has
	batch     *batchIO     // nil where there is none
	writes    writeLoop    // sends what nobody else can at once
	gone      atomic.Bool  // sending has failed as its address, or the route, is gone

	again     func() (*socket, error) // opens another one like it, nil where the package does not know how
	stopping  atomic.Bool             // close was called
	closeOnce sync.Once
	done      chan struct{} // closed when the reader has ended
	ended     atomic.Bool   // set when the reader has stopped reading
	push      *pushReader   // in place of a reader where conn is a PacketPusher

	overflow overflow
	snmp     *Snmp // counts it

	fragment    func(to *destination) (reset func(), err error) // nil where fragmentation cannot be set, see lockFragments
	fragmenting sync.Mutex                                      // held while it is set otherwise
	fragmented  atomic.Uint32                                   // how often it was set, to and fro: odd meanwhile

	unreadAt atomic.Int64 // when unread was determined, or the reader read
	unread   atomic.Bool  // something was waiting to be read

	longTurns int          // turns of other goroutines in a row that took long, see yield; the reader's alone
	yieldFrom atomic.Int64 // from when on something may wait for such a turn
}

// newSocket wraps conn. An owned one gets what makes it fast; of any other nothing is changed.
func newSocket(conn net.PacketConn, owned bool) *socket {
	s := &socket{conn: conn, owned: owned, snmp: DefaultSnmp, longest: mtuLimit}
	switch c := conn.(type) {
	case *net.UDPConn:
		s.udp = c
		s.connected = c.RemoteAddr() != nil
		s.batch = newBatchIO(c, owned)
		if owned {
			s.fragment = fragmentOf(c)
		}
	case Fragmenter:
		s.fragment = fragmentBy(c)
	}
	if s.readsJoined() {
		s.longest = jumboLimit
	}
	s.initWrites()
	return s
}

// initWrites prepares the write loop.
func (s *socket) initWrites() {
	s.writes.most, s.writes.awaitWritable = writersMax, s.awaitWritable
	if s.batch != nil {
		s.writes.most = 1
	}
}

// newOwnSocket wraps a socket that this package has opened.
func newOwnSocket(conn *net.UDPConn) *socket {
	growBuffers(conn)
	s := newSocket(conn, true)
	s.opened = true
	return s
}

// asUDP returns conn as a UDP socket, and closes it if it is none.
func asUDP(conn io.Closer) (*net.UDPConn, error) {
	if udp, ok := conn.(*net.UDPConn); ok {
		return udp, nil
	}
	conn.Close()
	return nil, errNotSupported
}

// discard gives up a socket that was never started. One that the package did not open stays open.
func (s *socket) discard() {
	if s.opened {
		s.conn.Close()
	}
}

// giveBack gives up a socket that is not to be used after all, whether it was started or not. One that the
// package did not open is its caller's again, as it was.
func (s *socket) giveBack() {
	if !s.opened {
		s.kept.Store(true)
		s.unjoin()
	}
	if s.done != nil {
		s.close()
		s.awaitReader()
	} else {
		s.discard()
	}
}

// controlFunc is the Control of a net.ListenConfig.
type controlFunc = func(network, address string, c syscall.RawConn) error

// What an owned socket asks of the kernel, which may grant less. Received datagrams wait for
// their reader as long as the Go scheduler lets other goroutines run, 10 ms and more: at 1 GB/s,
// or with 64 peers' windows of 256 segments at once, that is more than 20 MB. The memory is in use
// only while they wait. In the other direction datagrams wait for a network card, where a much
// longer queue would only be delay.
const (
	receiveBuffer = 32 << 20
	sendBuffer    = 7 << 20
)

// growBuffers asks for as much as the system grants. Some refuse what is above their limit instead
// of granting the limit.
func growBuffers(c *net.UDPConn) {
	const smallest = 64 << 10
	for size := receiveBuffer; c.SetReadBuffer(size) != nil && size > smallest; size /= 2 {
	}
	for size := sendBuffer; c.SetWriteBuffer(size) != nil && size > smallest; size /= 2 {
	}
	forceBuffers(c)
}

// closes says whether closing ends the reading.
func (s *socket) closes() bool { return s.owned && !s.kept.Load() }

// readerExit bounds the wait for a reader whose PacketConn ignores read deadlines.
const readerExit = 100 * time.Millisecond

// close ends the reading, and closes the socket if it is owned.
func (s *socket) close() error {
	if first := !s.stopping.Swap(true); first && s.push != nil {
		s.push.stop()
	}
	if s.closes() {
		err := net.ErrClosed
		s.closeOnce.Do(func() { err = optional(s.conn.Close) })
		return err
	}
	if s.push != nil || s.ended.Load() { // there is nobody to wake, and a deadline is not ours
		return nil
	}
	err := s.setReadDeadline(time.Unix(1, 0))
	if s.ended.Load() { // perhaps before, and then nobody else undoes that
		return s.setReadDeadline(time.Time{})
	}
	return err
}

// Of a PacketConn of the caller's, ReadFrom is called on the reader's goroutine and WriteTo on the
// write loop's; these it must have. Close and SetReadDeadline are called when a session or a listener
// leaves it, on whatever goroutine that happens, and LocalAddr for the text of errors: where a panic
// would surprise, or cannot be recovered. These three may be missing. Everything else is called by
// whoever asks for it: the constructors, setters, LocalAddr and Addr.

// setReadDeadline sets the PacketConn's read deadline, if it has any.
func (s *socket) setReadDeadline(t time.Time) error {
	return optional(func() error { return s.conn.SetReadDeadline(t) })
}

// localAddr returns the PacketConn's local address, nil if it has none.
func (s *socket) localAddr() (addr net.Addr) {
	optional(func() error { addr = s.conn.LocalAddr(); return nil })
	return addr
}

// optional calls a method that a PacketConn may not have: it panics, say because it is that of an
// embedded net.PacketConn that is nil.
func optional(method func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errNotSupported
		}
	}()
	return method()
}

// awaitReader waits until the reader of a socket that is not owned has ended, so that the socket
// is its owner's again. It must not be called on the reader's goroutine.
func (s *socket) awaitReader() {
	if s.closes() {
		return
	}
	timer := time.NewTimer(readerExit)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
}

// setDSCP sets the code point, 0 to 63, of what the socket sends (RFC 2474:
// https://www.rfc-editor.org/rfc/rfc2474), in IPv4 and IPv6.
func (s *socket) setDSCP(dscp int) error {
	if err := checkDSCP(dscp); err != nil {
		return err
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

// socketOptions are the settings of a socket, 0 for what it has.
type socketOptions struct{ dscp, readBuffer, writeBuffer int }

// configure applies the settings that are the socket's. After an error the socket is discarded.
func (s *socket) configure(cfg *config) error {
	s.snmp, s.longest = cfg.snmp, max(s.longest, cfg.env.longest)
	err := s.apply(cfg.socket)
	if err != nil {
		s.discard()
	}
	return err
}

// apply applies c.
func (s *socket) apply(c socketOptions) error {
	if c.dscp != 0 {
		if err := s.setDSCP(c.dscp); err != nil {
			return err
		}
	}
	if c.readBuffer != 0 {
		if err := s.setReadBuffer(c.readBuffer); err != nil {
			return err
		}
	}
	if c.writeBuffer != 0 {
		return s.setWriteBuffer(c.writeBuffer)
	}
	return nil
}

// dscpMax is the largest differentiated services code point: it has 6 bits.
const dscpMax = 63

func checkDSCP(dscp int) error {
	if dscp < 0 || dscp > dscpMax {
		return errors.Errorf("kcp: DSCP %d: must be 0 to %d", dscp, dscpMax)
	}
	return nil
}

// destination prepares the peer at addr, known as from, for sending.
func (s *socket) destination(from peerAddr, addr net.Addr) destination {
	if s.batch != nil {
		from.udp = kernelZone(from.udp)
	}
	d := destination{peerAddr: from, addr: addr}
	if s.batch != nil && !s.connected {
		d.raw = makeRawAddr(from.udp, s.batch.six)
	}
	return d
}

// checkReach says why nothing can be sent to addr, nil if it can.
func (s *socket) checkReach(addr net.Addr) error {
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

// A receiver takes what the reader of a socket reads. Its methods are called on the reader's
// goroutine.
type receiver interface {
	// receive takes a batch that was read at now, which is the receiver's until it returns.
	receive(batch []inbound, now int64)
	// refused takes a report that the peer's port is closed (ICMP port unreachable).
	refused()
	// readFailed ends the reading with an error that is not transient.
	readFailed(err error)
	// readEnded is the last call.
	readEnded()
}

const (
	// readFailures in a row are more than a batch of sends explains.
	readFailures = 256
	// readPause is the pause before each further read.
	readPause = 10 * time.Millisecond
	// readFailuresMost in a row, 10 seconds of them, are the end of what is no UDP socket.
	readFailuresMost = readFailures + int(10*time.Second/readPause)
)

// retryRead says whether reading into r can go on after err, the failures-th in a row: a UDP socket
// reports failures of earlier sends this way, one of the caller's as one of our own, and so does a
// PacketConn around one. One that goes on failing is asked again more slowly; if it is no UDP socket,
// whose errors are the kernel's, that has an end.
func (s *socket) retryRead(r receiver, err error, failures int) bool {
	if s.stopping.Load() || !transient(err) || s.udp == nil && failures > readFailuresMost {
		return false
	}
	if s.connected && errors.Is(err, errRefused) {
		r.refused()
	}
	if failures > readFailures {
		time.Sleep(readPause)
	}
	return true
}

// noteSendError notes whether a send has failed as the socket's address, or the route, is gone.
func (s *socket) noteSendError(err error) {
	for _, t := range goneErrors {
		if errors.Is(err, t) {
			s.gone.Store(true)
		}
	}
}

// transient says whether err, of a send or read, leaves the socket usable: a report from the path
// (ICMP), full buffers, a firewall, a network that is down for the moment.
func transient(err error) bool {
	for _, t := range transientErrors {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
