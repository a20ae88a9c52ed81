package kcp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// Dial makes a session, a *UDPSession, to the UDP address raddr ("host:port"), without encryption
// and FEC. It does not wait for the peer: there is no handshake, and the peer learns of the session
// with the first Write.
func Dial(raddr string) (net.Conn, error) {
	s, err := DialWithOptions(raddr, nil, 0, 0)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// DialWithOptions is Dial with a cipher, nil for none, and with FEC of so many data and parity
// shards a group, 0 in either for none and at most 256 together. The cipher and its key must be the
// peer's; the shard counts need not be.
func DialWithOptions(raddr string, block BlockCrypt, dataShards, parityShards int) (*UDPSession, error) {
	cfg, err := newConfig(block, dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp", raddr)
	if err != nil {
		return nil, err
	}
	if _, err := completeAddr(addr); err != nil {
		return nil, err
	}
	sock, err := cfg.openSocket(func() (*net.UDPConn, error) { return net.DialUDP("udp", nil, addr) })
	if err != nil {
		return nil, err
	}
	return cfg.dial(randomConv(), sock.udp.RemoteAddr(), sock), nil
}

// NewConn makes a session to raddr over a PacketConn of the caller's, which stays the caller's: it
// is not closed, and nothing else may read from it until the session is closed and has delivered
// what was written; Done tells when. An error of its ReadFrom ends the session, the passing of a read
// deadline included, unless it is one that a UDP socket survives, as reports of the path are (ICMP).
// Leaving a PacketConn removes its read deadline, but for one that has ended the session. The other
// arguments are those of DialWithOptions.
func NewConn(raddr string, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	addr, err := net.ResolveUDPAddr("udp", raddr)
	if err != nil {
		return nil, err
	}
	return NewConn2(addr, block, dataShards, parityShards, conn)
}

// NewConn2 is NewConn with an address as the PacketConn's WriteTo takes it. Datagrams from other
// addresses are dropped.
//
// A PacketConn that is no *net.UDPConn may do without: raddr can be nil or anything else, is what
// WriteTo is called with, and the first datagram of the conversation tells what ReadFrom calls the
// peer. With nil, datagrams count whatever their address.
func NewConn2(raddr net.Addr, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	return NewConn3(randomConv(), raddr, block, dataShards, parityShards, conn)
}

// NewConn3 is NewConn2 with a given conversation id.
func NewConn3(conv uint32, raddr net.Addr, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	return NewConn4(conv, raddr, block, dataShards, parityShards, false, conn)
}

// NewConn4 is NewConn3 that makes the PacketConn the session's own if ownConn is set: it is closed
// with the session. After an error it is still the caller's.
func NewConn4(conv uint32, raddr net.Addr, block BlockCrypt, dataShards, parityShards int, ownConn bool, conn net.PacketConn) (*UDPSession, error) {
	cfg, err := newConfig(block, dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	return cfg.dialConn(conv, raddr, ownConn, conn)
}

// A Dialer dials sessions with Settings, in the manner of net.Dialer, whose place its DialContext
// takes in http.Transport, gRPC's WithContextDialer and the like. The zero value dials as [Dial]
// does. It may be used by several goroutines at once.
type Dialer struct {
	Settings

	// Timeout bounds the name's resolution and the wait of WaitForPeer. Default: no bound but the
	// context's.
	Timeout time.Duration
	// LocalAddr is the *net.UDPAddr to dial from. Default: any.
	LocalAddr net.Addr
	// Conv is the conversation id, for peers that expect a certain one; both ends' addresses tell
	// sessions apart, too. Default: a random one.
	Conv uint32
	// Control, if not nil, is called with the socket before it is bound: see net.Dialer.
	Control func(network, address string, c syscall.RawConn) error
	// WaitForPeer makes dialling wait until the peer has answered a window probe, so that a dead
	// address fails: at the end of Timeout or of the context, else of the user timeout; and at once
	// with syscall.ECONNREFUSED where the peer's machine says that nobody listens (ICMP), which the
	// kernel tells of sockets that are connected, as those that Dial makes are. This costs a round
	// trip. Listeners of this package answer without making a session, unless it is to be sealed (see
	// Settings.Seal): then the session is there when dialling ends. Those of deployed peers may take the
	// probe for the beginning of a session.
	WaitForPeer bool
	// Simultaneous is for two ends that dial each other and neither listens, as peers behind NATs do (hole
	// punching): one of them answers the other's offer to seal the session, which without this is not
	// sealed. Both ends set it, and Conv, which they agree on, and which has to be new each time: an old
	// offer, recorded and sent again, would be answered, too. It has no meaning without a cipher, and
	// cannot be combined with ServerKey. Toward a listener it changes nothing.
	Simultaneous bool
	// OwnConn makes DialConn's PacketConn the session's, which closes it.
	OwnConn bool
	// Transport is what Dial and DialContext dial over, as Transport.Dial does: sessions have no sockets of
	// their own then. Default: none.
	Transport *Transport
}

// Dial is DialContext without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext makes a session, a *UDPSession, to address ("host:port") on the network "udp", "udp4"
// or "udp6"; "tcp", "tcp4" and "tcp6" mean the same, as they are all that http.Transport and others
// ask for. The context ends the name's resolution and the wait for the peer; it does not concern
// the session afterwards. Errors are *net.OpErrors, but for those that name a setting.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	cfg, err := d.resolve()
	if err != nil {
		return nil, err
	}
	network, err = udpNetwork("dial", network)
	if err != nil {
		return nil, err
	}
	if d.Transport != nil {
		return d.Transport.dialName(ctx, d, network, address)
	}
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	nd := net.Dialer{LocalAddr: d.LocalAddr, Control: d.Control}
	conn, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	udp, err := asUDP(conn)
	if err != nil {
		return nil, err
	}
	if _, err := completeAddr(udp.RemoteAddr()); err != nil {
		udp.Close()
		return nil, err
	}
	sock, err := cfg.useSocket(udp, func() (*net.UDPConn, error) { return d.openAgain(network, udp.RemoteAddr()) })
	if err != nil {
		return nil, err
	}
	s := cfg.dial(d.conv(), udp.RemoteAddr(), sock)
	if err := d.await(ctx, s); err != nil {
		return nil, err
	}
	return s, nil
}

// openAgain opens another socket to a peer, for a session that DialContext has made: from any port, as the one
// before has its own.
func (d *Dialer) openAgain(network string, raddr net.Addr) (*net.UDPConn, error) {
	nd := net.Dialer{LocalAddr: d.LocalAddr, Control: d.Control}
	if local, ok := d.LocalAddr.(*net.UDPAddr); ok && local != nil {
		nd.LocalAddr = &net.UDPAddr{IP: local.IP, Zone: local.Zone}
	}
	conn, err := nd.Dial(network, raddr.String())
	if err != nil {
		return nil, err
	}
	return asUDP(conn)
}

// DialConn makes a session to raddr over a PacketConn of the caller's: see [NewConn2] and OwnConn.
// LocalAddr and Control have no meaning here. After an error the PacketConn is still the caller's; if
// it is the wait for the peer that failed, and OwnConn is set, it has been closed.
func (d *Dialer) DialConn(ctx context.Context, conn net.PacketConn, raddr net.Addr) (*UDPSession, error) {
	cfg, err := d.resolve()
	if err != nil {
		return nil, err
	}
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	s, err := cfg.dialConn(d.conv(), raddr, d.OwnConn, conn)
	if err != nil {
		return nil, err
	}
	if err := d.await(ctx, s); err != nil {
		return nil, err
	}
	return s, nil
}

func (d *Dialer) resolve() (*config, error) {
	if d.Timeout < 0 {
		return nil, errors.Errorf("kcp: Timeout %v: must be above 0, or 0 for none", d.Timeout)
	}
	if d.Simultaneous && d.ServerKey != (PublicKey{}) {
		return nil, errors.New("kcp: Simultaneous with a ServerKey, which is a listener's")
	}
	cfg, err := d.Settings.resolve()
	if err == nil {
		cfg.simultaneous = d.Simultaneous
	}
	return cfg, err
}

func (d *Dialer) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.Timeout > 0 {
		return context.WithTimeout(ctx, d.Timeout)
	}
	return ctx, func() {}
}

func (d *Dialer) conv() uint32 {
	if d.Conv != 0 {
		return d.Conv
	}
	return randomConv()
}

// await waits for the peer, if that is asked for. After an error s is closed.
func (d *Dialer) await(ctx context.Context, s *UDPSession) error {
	if !d.WaitForPeer {
		return nil
	}
	if err := s.awaitPeer(ctx); err != nil {
		s.Abort()
		return s.opError("dial", err)
	}
	return nil
}

// remoteOf returns the address to send to over conn, as raddr says.
func remoteOf(conn net.PacketConn, raddr net.Addr) (net.Addr, error) {
	_, udp := conn.(*net.UDPConn)
	if isNil(raddr) {
		if udp {
			return nil, errNoRemote
		}
		return raddr, nil
	}
	addr, err := completeAddr(raddr)
	if err != nil && !udp {
		return raddr, nil // it is the PacketConn's affair
	}
	return addr, err
}

// openSocket opens a socket by f, as the session may do again; see Settings.Roam.
func (c *config) openSocket(f func() (*net.UDPConn, error)) (*socket, error) {
	conn, err := f()
	if err != nil {
		return nil, err
	}
	return c.useSocket(conn, f)
}

// useSocket wraps a socket that was just opened. f opens another one like it.
func (c *config) useSocket(conn *net.UDPConn, f func() (*net.UDPConn, error)) (*socket, error) {
	sock := newOwnSocket(conn)
	if err := sock.configure(c); err != nil {
		return nil, err
	}
	if !c.simultaneous { // whose peer, and the NATs, know this socket
		sock.again = func() (*socket, error) { return c.openSocket(f) }
	}
	return sock, nil
}

// dialConn starts a session to raddr over conn.
func (c *config) dialConn(conv uint32, raddr net.Addr, ownConn bool, conn net.PacketConn) (*UDPSession, error) {
	if isNil(conn) {
		return nil, errNoConn
	}
	addr, err := remoteOf(conn, raddr)
	if err != nil {
		return nil, err
	}
	sock := newSocket(conn, ownConn)
	if err := sock.checkReach(addr); err != nil {
		return nil, err
	}
	if err := sock.configure(c); err != nil {
		return nil, err
	}
	return c.dial(conv, addr, sock), nil
}

// dial starts a session to addr over sock.
func (c *config) dial(conv uint32, addr net.Addr, sock *socket) *UDPSession {
	var from peerAddr
	if !isNil(addr) {
		from = peerAddrOf(addr)
	}
	s := newSession(c, sock, nil, conv, sock.destination(from, addr))
	c.snmp.opened(&c.snmp.ActiveOpens)
	sleeps := c.wakes()
	if process.addSession(s, sleeps); sleeps {
		c.sched.sleep.add()
	}
	s.readers = 1
	sock.start(s.newReader(&s.first))
	return s
}

// randomConv returns a conversation id that no other session is likely to have.
func randomConv() uint32 {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint32(b[:])
}

// awaitPeer probes the peer until it has answered, or ctx or the session is over.
func (s *UDPSession) awaitPeer(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wakeLocked(&s.readable)
	})
	defer stop()
	s.mu.Lock()
	s.capsProbe.dialling = true
	s.driveLocked(clock(), false)
	s.unlockAndSend(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.peerReadyLocked() && s.err == nil && ctx.Err() == nil {
		s.waitLocked(&s.readable)
	}
	s.capsProbe.dialling = false
	if s.peerReadyLocked() {
		return nil
	}
	err := s.noPeerLocked(ctx.Err())
	s.failLocked(err) // so that a tracer is told why
	return err
}

// noPeerLocked says why a dialled session has no peer, where the wait for it has ended with canceled.
func (s *UDPSession) noPeerLocked(canceled error) error {
	switch {
	case s.err != nil:
		return s.err
	case s.seal != nil && s.cfg.seal.required && s.seal.refusal() != nil:
		return sealError{s.seal.refusal(), canceled}
	case errors.Is(canceled, context.DeadlineExceeded):
		return timedOutError{canceled}
	}
	return canceled
}
