package kcp

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/errors"
)

// Transport is one packet socket that many sessions share: those that are dialled over it, to as many peers
// as there are, and those that a listener accepts on it. What is not KCP can be read and written beside
// them, such as STUN. It has one goroutine that reads, however many sessions there are. Its methods may be
// called from any goroutine at any time.
type Transport struct {
	snmp     *Snmp
	socks    []*socket // at least one; each has a reader of its own
	task     *timedTask
	table    sessionTable
	index    sealIndex
	listener atomic.Pointer[Listener]       // nil while there is none
	common   atomic.Pointer[[]*cipherGroup] // those that are not apart
	hasApart atomic.Bool                    // there have been others
	others   otherQueue                     // what is not KCP
	dials    dialConfig
	counts   transportCounts
	shut     atomic.Bool  // stragglers are not answered any more
	longest  atomic.Int32 // datagram that is opened: of the configurations so far

	mu      sync.Mutex // guards all below; may be taken while a shard is locked
	groups  map[groupKey]*cipherGroup
	used    int           // groups that have users
	err     error         // why nothing can be made on it any more
	idle    chan struct{} // made by Close, closed when nothing uses the transport
	reading int           // readers that have not ended
	done    chan struct{} // closed when there are none
}

// OpenTransport makes a transport on a UDP socket at laddr ("host:port", as for [Listen]), which Close
// closes. Without a host it works in whatever network the machine is, one after the other.
func OpenTransport(network, laddr string) (*Transport, error) {
	network, err := udpNetwork("listen", network)
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr(network, laddr)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP(network, addr)
	if err != nil {
		return nil, err
	}
	return startTransport(newOwnSocket(conn)), nil
}

// NewTransport makes a transport on a PacketConn of the caller's, which is closed with it if ownConn is
// set, else is the caller's again when Close has returned. Nothing else may read from it meanwhile. An
// error of its ReadFrom ends the transport and all that is on it, as it does a session: see [NewConn].
func NewTransport(conn net.PacketConn, ownConn bool) (*Transport, error) {
	if isNil(conn) {
		return nil, errNoConn
	}
	return startTransport(newSocket(conn, ownConn)), nil
}

func startTransport(sock *socket) *Transport {
	t := newTransport(SystemTimedSched, DefaultSnmp, sock)
	t.start()
	return t
}

// Dial makes a session to raddr, an address as the PacketConn's ReadFrom names it, with the settings of d;
// nil means those of the zero Dialer. LocalAddr, Control and OwnConn have no meaning here. DSCP, ReadBuffer
// and WriteBuffer are set on the socket, for all.
//
// Conv, by default one that no other session with raddr has, tells the sessions with one peer apart. Peers
// that are not of this package know their sessions by the address alone, and have one with a transport at
// a time.
func (t *Transport) Dial(ctx context.Context, d *Dialer, raddr net.Addr) (*UDPSession, error) {
	if d == nil {
		d = new(Dialer)
	}
	cfg, err := t.dials.of(d)
	if err != nil {
		return nil, err
	}
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	addr, err := remoteOf(t.socks[0].conn, raddr)
	switch {
	case err != nil:
		return nil, err
	case isNil(addr):
		return nil, errNoRemote
	}
	if err := t.socks[0].checkReach(addr); err != nil {
		return nil, err
	}
	if err := t.socks[0].apply(cfg.socket); err != nil {
		return nil, err
	}
	s, err := t.dial(cfg, d.Conv, addr)
	if err != nil {
		return nil, err
	}
	if err := d.await(ctx, s); err != nil {
		return nil, err
	}
	return s, nil
}

// dial starts a session to addr, with that conv, 0 for any.
func (t *Transport) dial(cfg *config, conv uint32, addr net.Addr) (*UDPSession, error) {
	g, err := t.join(cfg, nil, false)
	if err != nil {
		return nil, t.opError("dial", err)
	}
	sock := t.socks[0]
	to := sock.destination(peerAddrOf(addr), addr)
	key := sessionKey{to.peerAddr, conv}
	sh := t.table.shard(key.from)
	sh.mu.Lock()
	if conv == 0 {
		key.conv = sh.freeConv(key.from)
	} else if sh.sessions[key] != nil {
		sh.mu.Unlock()
		g.leave()
		return nil, errors.Errorf("kcp: Conv %d: another session with %v has it", conv, addr)
	}
	s := newSession(cfg, sock, g, key.conv, to)
	sh.add(key, s)
	sh.mu.Unlock()
	cfg.snmp.opened(&cfg.snmp.ActiveOpens)
	if cfg.wakes() {
		cfg.sched.sleep.add()
	}
	if err := t.failure(); err != nil { // since join
		s.abort(err)
	}
	return s, nil
}

// Listen makes the listener of the transport, with the settings of lc; nil means those of the zero
// ListenConfig. Control and OwnConn have no meaning here. There is one at a time: until it is closed, and
// the sessions that it accepted have ended.
func (t *Transport) Listen(lc *ListenConfig) (*Listener, error) {
	if lc == nil {
		lc = new(ListenConfig)
	}
	cfg, err := lc.resolve()
	if err != nil {
		return nil, err
	}
	if err := t.socks[0].apply(cfg.socket); err != nil {
		return nil, err
	}
	l, err := t.listen(cfg, true)
	if err != nil {
		return nil, err
	}
	if err := t.failure(); err != nil { // since join
		l.broken(err)
		l.Close()
	}
	return l, nil
}

// Close ends everything on the transport at once: its sessions as Abort does, so that their peers are told,
// its listener, and ReadNonKCP. All of them return net.ErrClosed from now on. Sessions that are to deliver
// what was written have to be closed, and done, before. The socket, if it belongs to the transport, is
// closed. A second Close returns net.ErrClosed.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.idle != nil {
		t.mu.Unlock()
		return t.opError("close", errClosed)
	}
	t.err, t.idle = errClosed, make(chan struct{})
	t.idleLocked()
	t.mu.Unlock()
	t.others.end(errClosed)
	if l := t.listener.Load(); l != nil {
		l.Close()
	}
	for s := range t.sessions() {
		s.endNow()
	}
	timer := time.NewTimer(2 * readerExit) // a socket may take nothing
	defer timer.Stop()
	select {
	case <-t.idle:
	case <-timer.C:
	}
	t.shut.Store(true)
	t.task.retire()
	err := t.closeSockets()
	t.awaitReaders()
	return err
}

// Done returns a channel that is closed when nothing is read from the socket any more: the transport was
// closed, or its socket has failed.
func (t *Transport) Done() <-chan struct{} { return t.done }

func (t *Transport) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: t.socks[0].localAddr(), Err: err}
}

// LocalAddr returns the socket's local address.
func (t *Transport) LocalAddr() net.Addr { return t.socks[0].conn.LocalAddr() }

// SetDSCP sets the differentiated services code point, 0 to 63, of all that is sent.
func (t *Transport) SetDSCP(dscp int) error {
	return t.eachSocket(func(sock *socket) error { return sock.setDSCP(dscp) })
}

// SetReadBuffer sets the socket's receive buffer in bytes.
func (t *Transport) SetReadBuffer(bytes int) error {
	return t.eachSocket(func(sock *socket) error { return sock.setReadBuffer(bytes) })
}

// SetWriteBuffer sets the socket's send buffer in bytes.
func (t *Transport) SetWriteBuffer(bytes int) error {
	return t.eachSocket(func(sock *socket) error { return sock.setWriteBuffer(bytes) })
}

// Control calls f with the transport's PacketConn, which is not to be read or closed.
func (t *Transport) Control(f func(conn net.PacketConn) error) error {
	return t.eachSocket(func(sock *socket) error { return f(sock.conn) })
}
