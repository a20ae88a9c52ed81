package kcp

import (
	"math"
	"net"
	"net/netip"
	"reflect"
	"sync/atomic"

	"github.com/pkg/errors"
)

// peerAddr identifies a peer's address. It is comparable whatever the PacketConn is.
type peerAddr struct {
	udp   netip.AddrPort // an IPv4 address is never IPv4-mapped
	other string         // for addresses of other networks
}

func peerAddrOf(addr net.Addr) peerAddr {
	if addr == nil {
		return peerAddr{} // the one peer of its PacketConn
	}
	if a, ok := addr.(*net.UDPAddr); ok && a != nil {
		return peerAddr{udp: unmap(a.AddrPort())}
	}
	return peerAddr{other: addr.Network() + " " + addr.String()}
}

// prefix returns what one machine may have of the addresses around a: an IPv4 address, or an IPv6 /64
// (RFC 4291, section 2.5.1: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.1). A shorter one would
// be many customers'. Of another network it is the address.
func (a peerAddr) prefix() peerAddr {
	if a.other != "" {
		return a
	}
	ip := a.udp.Addr()
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			ip = p.Addr()
		}
	}
	return peerAddr{udp: netip.AddrPortFrom(ip, 0)}
}

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// destination is a peer's address in every form that sending needs.
type destination struct {
	peerAddr
	addr net.Addr // the address as it came, nil where it can be made from peerAddr
	raw  rawAddr  // for batched system calls

	flags     uint32    // atomic: a sum of refusedOffload and refusedLength
	fragments fragments // of what is sent there
}

const (
	refusedOffload = 1 << iota // the path refuses segmentation offload
	refusedLength              // the kernel has refused what was too long for the path
)

// netAddr returns the address for people and for WriteTo, nil where there is none.
func (d *destination) netAddr() net.Addr {
	if d.addr != nil || !d.udp.IsValid() {
		return d.addr
	}
	return net.UDPAddrFromAddrPort(d.udp)
}

// offloadRefused says whether the path has refused segmentation offload.
func (d *destination) offloadRefused() bool { return atomic.LoadUint32(&d.flags)&refusedOffload != 0 }

func (d *destination) refuseOffload() { atomic.OrUint32(&d.flags, refusedOffload) }
func (d *destination) allowOffload()  { atomic.AndUint32(&d.flags, ^uint32(refusedOffload)) }

// refuseLength notes that the kernel has refused something for its length, and takeTooLong says whether it
// has since the last call.
func (d *destination) refuseLength() { atomic.OrUint32(&d.flags, refusedLength) }

func (d *destination) takeTooLong() bool {
	return atomic.LoadUint32(&d.flags)&refusedLength != 0 &&
		atomic.AndUint32(&d.flags, ^uint32(refusedLength))&refusedLength != 0
}

// completeAddr completes a remote address as package net does: no host means this one.
func completeAddr(addr net.Addr) (net.Addr, error) {
	udp, ok := addr.(*net.UDPAddr)
	switch {
	case !ok:
		return addr, nil
	case udp.Port == 0:
		return nil, errors.Errorf("kcp: remote address %v: has no port", udp)
	case udp.Port < 0 || udp.Port > math.MaxUint16:
		return nil, errors.Errorf("kcp: remote address %v: the port must be 1 to %d", udp, math.MaxUint16)
	case len(udp.IP) == 0 || udp.IP.Equal(net.IPv4zero):
		return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: udp.Port}, nil
	case udp.IP.IsUnspecified():
		return &net.UDPAddr{IP: net.IPv6loopback, Port: udp.Port}, nil
	}
	return addr, nil
}

// isNil catches the typed nil pointers that callers pass after an ignored error.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || r.Kind() == reflect.Pointer && r.IsNil()
}

// sessionKey tells the sessions of a listener apart. Many clients use the same conv, and one
// address may have several.
type sessionKey struct {
	from peerAddr
	conv uint32
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
