package kcp

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// Listen listens on the UDP address laddr ("host:port", the host empty for all of the machine's,
// IPv4 and IPv6, and port 0 for any), without encryption and FEC. What it accepts are
// *UDPSessions.
func Listen(laddr string) (net.Listener, error) {
	l, err := ListenWithOptions(laddr, nil, 0, 0)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ListenWithOptions is Listen with the cipher and FEC of DialWithOptions.
func ListenWithOptions(laddr string, block BlockCrypt, dataShards, parityShards int) (*Listener, error) {
	cfg, err := newConfig(block, dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp", laddr)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, err
	}
	return cfg.listen(ownSockets("udp", conn, nil)...)
}

// ServeConn listens on a PacketConn of the caller's, which stays the caller's: it is not closed,
// and nothing else may read from it until the listener and its sessions are closed; Done tells
// when. An error of its ReadFrom ends the listener and its sessions, as it does a session: see
// [NewConn]. The other arguments are those of ListenWithOptions.
func ServeConn(block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*Listener, error) {
	lc := ListenConfig{Settings: Settings{Block: block, DataShards: dataShards, ParityShards: parityShards}}
	return lc.ListenConn(conn)
}

// A ListenConfig listens with Settings for the sessions that it accepts, in the manner of
// net.ListenConfig. The zero value listens as [Listen] does.
type ListenConfig struct {
	Settings

	// Control, if not nil, is called with the socket before it is bound: see net.ListenConfig. On
	// Linux a listener may have several, at most eight.
	Control func(network, address string, c syscall.RawConn) error
	// OwnConn makes ListenConn's PacketConn the listener's, which closes it.
	OwnConn bool

	// PrivateKey proves the listener to diallers whose Settings.ServerKey is its public key: see
	// NewPrivateKey. It works with a cipher and without one. Default: none.
	PrivateKey PrivateKey

	// UnprovenTimeout is how long a session is kept whose peer has not shown that it receives, since
	// anything came from there, as that may be forged. The peer is probed meanwhile, as far as three
	// times the bytes that came allow, and any peer that is there answers. Then Read and Write fail with
	// a *PeerTimeoutError. Default: 30 seconds. Negative means for ever.
	UnprovenTimeout time.Duration
	// LimitAmplification bounds what is sent to a peer that has not shown that it receives, by
	// acknowledging what only who gets it can, to three times the bytes that came from there (RFC
	// 9000, section 8.1: https://www.rfc-editor.org/rfc/rfc9000#section-8.1). First answers above that
	// take a round trip more. By default a first flight of 14 KB and two repeats may go there beyond
	// these, 42 KB in all, however much is written.
	LimitAmplification bool
	// MaxUnproven is the most sessions at a time whose peers have not shown that they receive, as these
	// may be forged. Who would make one more is asked first, which keeps nothing of him and costs a peer
	// that is there a repetition of its first datagram. Default: 4096. Negative means no limit.
	MaxUnproven int
	// MaxUnprovenPerPrefix is the same for one IPv4 address, or the addresses of one IPv6 /64. Default:
	// 256. Negative means no limit.
	MaxUnprovenPerPrefix int
	// MaxSessions is the most sessions at a time, those that wait for Accept, or are closed and
	// still delivering, included. Who would make one more is asked whether he is there. If he is,
	// sessions make way for his whose peers have not shown that, after two seconds to do so: they fail
	// with a *PeerTimeoutError, and count no more. Where there are none, what would make one more is
	// dropped, and its sender tries again. Default: no limit.
	MaxSessions int
	// MaxSessionsPerPrefix is the most sessions at a time with one IPv4 address, or with the
	// addresses of one IPv6 /64, which a single machine may have. Default: no limit, as thousands of
	// clients may be behind one address (NAT). It bounds what one machine can take, not what one that
	// forges addresses can.
	MaxSessionsPerPrefix int
}

// resolve checks the settings and fills in the defaults.
func (lc *ListenConfig) resolve() (*config, error) {
	c, err := lc.Settings.resolveFor(lc.PrivateKey)
	switch {
	case err != nil:
		return nil, err
	case lc.MaxSessions < 0:
		return nil, errors.Errorf("kcp: MaxSessions %d: must be above 0, or 0 for no limit", lc.MaxSessions)
	case lc.MaxSessionsPerPrefix < 0:
		return nil, errors.Errorf("kcp: MaxSessionsPerPrefix %d: must be above 0, or 0 for no limit", lc.MaxSessionsPerPrefix)
	}
	c.limitAmplification = lc.LimitAmplification
	c.maxUnproven = limitOf(lc.MaxUnproven, unprovenMax)
	c.maxUnprovenPerPrefix = limitOf(lc.MaxUnprovenPerPrefix, unprovenPerPrefix)
	c.maxSessions, c.maxPerPrefix = lc.MaxSessions, lc.MaxSessionsPerPrefix
	if lc.UnprovenTimeout != 0 {
		c.unproven = max(0, int64(lc.UnprovenTimeout))
	}
	return c, nil
}

// limitOf returns what a setting means that has a default and is negative for no limit: 0 for none.
func limitOf(n, by int) int {
	if n == 0 {
		return by
	}
	return max(n, 0)
}

// Listen makes a listener, a *Listener, at address ("host:port", as for [Listen]) on the network
// "udp", "udp4" or "udp6"; "tcp", "tcp4" and "tcp6" mean the same. The context ends the name's
// resolution only.
func (lc *ListenConfig) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	cfg, err := lc.resolve()
	if err != nil {
		return nil, err
	}
	network, err = udpNetwork("listen", network)
	if err != nil {
		return nil, err
	}
	nl := net.ListenConfig{Control: lc.Control}
	conn, err := nl.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	udp, err := asUDP(conn)
	if err != nil {
		return nil, err
	}
	l, err := cfg.listen(ownSockets(network, udp, lc.Control)...)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ListenConn makes a listener over a PacketConn of the caller's: see [ServeConn].
func (lc *ListenConfig) ListenConn(conn net.PacketConn) (*Listener, error) {
	cfg, err := lc.resolve()
	switch {
	case err != nil:
		return nil, err
	case isNil(conn):
		return nil, errNoConn
	}
	return cfg.listen(newSocket(conn, lc.OwnConn))
}

// listen makes a listener on socks. After an error it has closed those that the package opened.
func (c *config) listen(socks ...*socket) (*Listener, error) {
	for i, sock := range socks {
		if err := sock.configure(c); err != nil {
			for _, sock := range append(socks[:i:i], socks[i+1:]...) {
				sock.discard()
			}
			return nil, err
		}
	}
	return newListener(c, socks...), nil
}

// ownSockets wraps a listener's first socket, and as many more as the platform distributes the
// peers of its address to.
func ownSockets(network string, first *net.UDPConn, control controlFunc) (socks []*socket) {
	for _, conn := range append([]*net.UDPConn{first}, openReusePort(network, first, control)...) {
		socks = append(socks, newOwnSocket(conn))
	}
	return socks
}

// newListener listens on socks with the settings of cfg.
func newListener(cfg *config, socks ...*socket) *Listener {
	t := newTransport(cfg.sched, cfg.snmp, socks...)
	l, _ := t.listen(cfg, false) // nobody else does
	t.start()
	return l
}

// listen makes the listener of t. shares says that t is the program's.
func (t *Transport) listen(cfg *config, shares bool) (*Listener, error) {
	l := &Listener{cfg: cfg, t: t, shares: shares, acceptBy: never, done: make(chan struct{})}
	l.arrived.L = &l.mu
	l.seal = newListenerSeal(cfg, &t.index)
	l.check.init()
	l.task = cfg.sched.task(l.onTimer)
	var err error
	if l.group, err = t.join(cfg, l.seal.heads(), true); err != nil {
		return nil, t.opError("listen", err)
	}
	if !t.listener.CompareAndSwap(nil, l) {
		l.group.leave()
		return nil, t.opError("listen", errListening)
	}
	return l, nil
}
