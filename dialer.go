package kcp

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// A Dialer dials sessions with Settings of one's own, in the manner of net.Dialer, whose place
// its DialContext takes in http.Transport, gRPC's WithContextDialer and their like. The zero
// value dials as [Dial] does. It may be used by several goroutines at once.
type Dialer struct {
	Settings

	// Timeout bounds the name's resolution and what WaitForPeer waits, 0 for no bound but the
	// context's.
	Timeout time.Duration
	// LocalAddr is the *net.UDPAddr to dial from, nil for any.
	LocalAddr net.Addr
	// Conv is the conversation id, 0 for a random one. It is for peers that expect a certain
	// one; both ends' addresses tell sessions apart too.
	Conv uint32
	// Control, if not nil, is called with the socket before it is bound: see net.Dialer.
	Control func(network, address string, c syscall.RawConn) error
	// WaitForPeer makes dialling wait until the peer has answered a window probe, so that a
	// dead address fails: at the end of Timeout or of the context, else of the user timeout.
	// This costs a round trip. Listeners of this package answer without making a session;
	// those of deployed peers may take the probe for a new session's begin.
	WaitForPeer bool
}

// Dial is DialContext without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext makes a session, a *UDPSession, to address ("host:port") on the network "udp",
// "udp4" or "udp6"; "tcp", "tcp4" and "tcp6" mean the same, as it is all that http.Transport and
// others ask for. The context ends the name's resolution and waiting for the peer; it does not
// concern the session afterwards. Errors are *net.OpErrors, but for those that name a setting.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	cfg, err := d.Settings.resolve()
	if err != nil {
		return nil, err
	}
	network, err = udpNetwork("dial", network)
	if err != nil {
		return nil, err
	}
	if d.Timeout < 0 {
		return nil, errors.Errorf("kcp: Timeout %v: must be above 0, or 0 for none", d.Timeout)
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	nd := net.Dialer{LocalAddr: d.LocalAddr, Control: d.Control}
	conn, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		conn.Close()
		return nil, errNotSupported
	}
	if _, err := reachable(udp.RemoteAddr()); err != nil {
		udp.Close()
		return nil, err
	}
	growBuffers(udp)
	conv := d.Conv
	if conv == 0 {
		conv = randomConv()
	}
	s := cfg.dial(conv, udp.RemoteAddr(), newSocket(udp, true))
	if d.WaitForPeer {
		if err := s.await(ctx); err != nil {
			s.SetLinger(0)
			s.Close()
			return nil, s.opError("dial", err)
		}
	}
	return s, nil
}

// await probes the peer until it has answered, or ctx or the session is over.
func (s *UDPSession) await(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.readable.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	s.closing.knock = true
	s.driveLocked(clock(), false)
	s.unlockAndSend(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.core.met && s.err == nil && ctx.Err() == nil {
		s.waitLocked(&s.readable, &s.readers)
	}
	s.closing.knock = false
	switch {
	case s.core.met:
		return nil
	case s.err != nil:
		return s.err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return timedOutError{ctx.Err()}
	}
	return ctx.Err()
}

// A ListenConfig listens with Settings of one's own for the sessions it accepts, in the manner
// of net.ListenConfig. The zero value listens as [Listen] does.
type ListenConfig struct {
	Settings

	// Control, if not nil, is called with the socket before it is bound: see
	// net.ListenConfig. On Linux a listener may have several, at most eight.
	Control func(network, address string, c syscall.RawConn) error
}

// Listen makes a listener, a *Listener, at address ("host:port", as for [Listen]) on the network
// "udp", "udp4" or "udp6", or what DialContext takes for it. The context ends the name's
// resolution only.
func (lc *ListenConfig) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	cfg, err := lc.Settings.resolve()
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
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		conn.Close()
		return nil, errNotSupported
	}
	return newListener(cfg, ownSockets(network, udp, lc.Control)...), nil
}

// udpNetwork returns the UDP network that network means.
func udpNetwork(op, network string) (string, error) {
	switch network {
	case "udp", "udp4", "udp6":
		return network, nil
	case "tcp", "tcp4", "tcp6":
		return "udp" + network[len("tcp"):], nil
	}
	return "", &net.OpError{Op: op, Net: network, Err: net.UnknownNetworkError(network)}
}

// timedOutError is a context's deadline as net.Dialer reports it, with Timeout.
type timedOutError struct{ cause error }

func (timedOutError) Error() string        { return "connection timed out: no answer" }
func (timedOutError) Timeout() bool        { return true }
func (timedOutError) Temporary() bool      { return true }
func (e timedOutError) Unwrap() error      { return e.cause }
func (timedOutError) Is(target error) bool { return target == syscall.ETIMEDOUT }
