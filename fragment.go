package kcp

import "net"

// fragments says what may become of a datagram that is longer than a link of the path carries.
type fragments uint8

const (
	fragmentsDefault fragments = iota // as the socket is set
	fragmentsNever                    // it is dropped: IPv4's Don't Fragment is set, and this host makes none
	fragmentsAllowed                  // it goes on in fragments
)

// fragmentFrom6 is the least length of a datagram that an IPv6 host makes fragments of where its link is
// Ethernet: Linux does so with what its own link does not carry, and then for the least MTU, as it is told to.
// Routers make none, and what is on the way is not known to it without ICMP.
const fragmentFrom6 = mtuEthernet6 + 1

// lockFragments has the socket send to to as that says. What it returns undoes that; others wait for it, and
// what is sent otherwise meanwhile goes the same way.
func (s *socket) lockFragments(to *destination) (undo func(), err error) {
	if s.fragment == nil {
		return nil, errNotSupported
	}
	s.fragmenting.Lock()
	s.fragmented.Add(1)
	reset, err := s.fragment(to)
	if err != nil {
		s.fragmented.Add(1)
		s.fragmenting.Unlock()
		return nil, err
	}
	return func() { reset(); s.fragmented.Add(1); s.fragmenting.Unlock() }, nil
}

// sendSized is send for the datagrams at the start of the list that are not to be sent as others are.
func (s *socket) sendSized(list []outbound, until int64) (done, refused int, full bool, err error) {
	to := list[0].to
	undo, err := s.lockFragments(to)
	switch {
	case err == nil:
		defer undo()
	case to.fragments == fragmentsNever: // else it would prove nothing
		return 1, 1, false, nil
	}
	return s.sendAlike(list, until)
}

// fragmentOf returns what sets the fragmentation of a UDP socket of the package's own, nil where that cannot
// be set.
func fragmentOf(c *net.UDPConn) func(to *destination) (reset func(), err error) {
	if !setsFragments {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return func(to *destination) (reset func(), err error) {
		six := to.udp.Addr().Is6()
		cerr := raw.Control(func(fd uintptr) { reset, err = setFragments(fd, six, to.fragments) })
		if cerr != nil {
			return nil, cerr
		}
		old := reset
		return func() { raw.Control(func(uintptr) { old() }) }, err
	}
}

// A Fragmenter is a net.PacketConn, not a *net.UDPConn, that sends with IPv4's Don't Fragment flag set, makes
// no fragments itself, and can be told otherwise. Over one the path's MTU is found as on sockets of the
// package's own: see Settings.MTU.
type Fragmenter interface {
	// AllowFragments is called with true before a WriteTo that may go on in fragments, and with false after
	// it, with no other such pair between. What else is written meanwhile may do either. After an error the
	// datagram goes as others do.
	AllowFragments(allow bool) error
}

// fragmentBy is fragmentOf for a PacketConn that is a Fragmenter.
func fragmentBy(f Fragmenter) func(to *destination) (reset func(), err error) {
	return func(to *destination) (reset func(), err error) {
		if to.fragments != fragmentsAllowed {
			return func() {}, nil
		}
		return func() { f.AllowFragments(false) }, f.AllowFragments(true)
	}
}
