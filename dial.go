package kcp

import (
	"crypto/rand"
	"encoding/binary"
	"net"

	"github.com/pkg/errors"
)

// Dial makes a session, a *UDPSession, to the UDP address raddr ("host:port"), without
// encryption and FEC. It does not wait for the peer: there is no handshake, and the peer learns of the
// session with the first Write.
func Dial(raddr string) (net.Conn, error) {
	s, err := DialWithOptions(raddr, nil, 0, 0)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// DialWithOptions is Dial with a cipher, nil for none, and with FEC of so many data and
// parity shards a group, 0 in either for none and at most 256 together. The cipher and
// its key must be the peer's; the shard counts need not be.
func DialWithOptions(raddr string, block BlockCrypt, dataShards, parityShards int) (*UDPSession, error) {
	cfg, err := newConfig(block, dataShards, parityShards)
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp", raddr)
	if err != nil {
		return nil, err
	}
	if _, err := reachable(addr); err != nil {
		return nil, err
	}
	conn, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		return nil, err
	}
	growBuffers(conn)
	return cfg.dial(randomConv(), conn.RemoteAddr(), newSocket(conn, true)), nil
}

// NewConn makes a session to raddr over a PacketConn of the caller's, which stays the
// caller's: it is not closed, and nothing else may read from it until the session is
// closed and has delivered what was written. The other arguments are those of
// DialWithOptions.
func NewConn(raddr string, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	addr, err := net.ResolveUDPAddr("udp", raddr)
	if err != nil {
		return nil, err
	}
	return NewConn2(addr, block, dataShards, parityShards, conn)
}

// NewConn2 is NewConn with an address as the PacketConn's WriteTo takes it. Datagrams
// from other addresses are dropped.
func NewConn2(raddr net.Addr, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	return NewConn3(randomConv(), raddr, block, dataShards, parityShards, conn)
}

// NewConn3 is NewConn2 with a given conversation id.
func NewConn3(conv uint32, raddr net.Addr, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	return NewConn4(conv, raddr, block, dataShards, parityShards, false, conn)
}

// NewConn4 is NewConn3 that makes the PacketConn the session's own if ownConn is set: it
// is closed with the session. After an error it is the caller's still.
func NewConn4(conv uint32, raddr net.Addr, block BlockCrypt, dataShards, parityShards int, ownConn bool, conn net.PacketConn) (*UDPSession, error) {
	cfg, err := newConfig(block, dataShards, parityShards)
	switch {
	case err != nil:
		return nil, err
	case isNil(raddr):
		return nil, errNoRemote
	case isNil(conn):
		return nil, errNoConn
	}
	addr, err := reachable(raddr)
	if err != nil {
		return nil, err
	}
	sock := newSocket(conn, ownConn)
	if err := sock.reaches(addr); err != nil {
		return nil, err
	}
	return cfg.dial(conv, addr, sock), nil
}

// isNil catches the typed nil pointers that callers pass after an ignored error.
func isNil(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case *net.UDPAddr:
		return v == nil
	case *net.UDPConn:
		return v == nil
	}
	return false
}

// reachable completes a remote address as package net does: no host means this one.
func reachable(addr net.Addr) (net.Addr, error) {
	udp, ok := addr.(*net.UDPAddr)
	switch {
	case !ok:
		return addr, nil
	case udp.Port == 0:
		return nil, errors.Errorf("kcp: remote address %v: has no port", udp)
	case len(udp.IP) == 0 || udp.IP.Equal(net.IPv4zero):
		return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: udp.Port}, nil
	case udp.IP.IsUnspecified():
		return &net.UDPAddr{IP: net.IPv6loopback, Port: udp.Port}, nil
	}
	return addr, nil
}

// dial starts a session to addr over sock.
func (c *config) dial(conv uint32, addr net.Addr, sock *socket) *UDPSession {
	s := newSession(c, sock, nil, conv, sock.destination(peerAddrOf(addr), addr))
	c.snmp.opened(&c.snmp.ActiveOpens)
	sock.start(s)
	return s
}

// randomConv returns a conversation id that no other session is likely to have.
func randomConv() uint32 {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint32(b[:])
}

// Listen listens on the UDP address laddr ("host:port", the host empty for all of the
// machine's, IPv4 and IPv6, and port 0 for any), without encryption and FEC. What it accepts
// are *UDPSessions.
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
	return newListener(cfg, ownSockets("udp", conn, nil)...), nil
}

// ServeConn listens on a PacketConn of the caller's, which stays the caller's: it is not
// closed, and nothing else may read from it until the listener and its sessions are
// closed. The other arguments are those of ListenWithOptions.
func ServeConn(block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*Listener, error) {
	cfg, err := newConfig(block, dataShards, parityShards)
	switch {
	case err != nil:
		return nil, err
	case isNil(conn):
		return nil, errNoConn
	}
	return newListener(cfg, newSocket(conn, false)), nil
}
