//go:build !kcpgeneric

package kcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// rawAddr is a socket address as system calls take it.
type rawAddr struct {
	b [unix.SizeofSockaddrInet6]byte // a sockaddr_in or sockaddr_in6
	n uint8                          // its length in bytes, 0 for none
}

// makeRawAddr returns ap for a socket of the IPv6 family if six is set, which takes IPv4 addresses
// as IPv4-mapped ones, otherwise for a socket of the IPv4 family. The result is empty if such a
// socket cannot send to ap.
func makeRawAddr(ap netip.AddrPort, six bool) (r rawAddr) {
	addr := ap.Addr()
	switch {
	case !addr.IsValid():
	case six:
		binary.NativeEndian.PutUint16(r.b[0:], unix.AF_INET6)
		binary.BigEndian.PutUint16(r.b[2:], ap.Port())
		ip := addr.As16()
		copy(r.b[8:], ip[:])
		binary.NativeEndian.PutUint32(r.b[24:], zoneIndex(addr.Zone()))
		r.n = unix.SizeofSockaddrInet6
	case addr.Is4():
		binary.NativeEndian.PutUint16(r.b[0:], unix.AF_INET)
		binary.BigEndian.PutUint16(r.b[2:], ap.Port())
		ip := addr.As4()
		copy(r.b[4:], ip[:])
		r.n = unix.SizeofSockaddrInet4
	}
	return r
}

// parseRawAddr returns the address in b as makeRawAddr takes it, IPv4-mapped ones as IPv4. The
// result is invalid if b holds none.
func parseRawAddr(b []byte) netip.AddrPort {
	if len(b) < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case family == unix.AF_INET6 && len(b) >= unix.SizeofSockaddrInet6:
		addr := netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		if zone := binary.NativeEndian.Uint32(b[24:]); zone != 0 && addr.Is6() {
			addr = addr.WithZone(strconv.Itoa(int(zone)))
		}
		return netip.AddrPortFrom(addr, port)
	}
	return netip.AddrPort{}
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

// kernelZone returns an address as batched reading has it: its zone is the index, which the kernel
// gives, and no name.
func kernelZone(ap netip.AddrPort) netip.AddrPort {
	zone := ap.Addr().Zone()
	if zone == "" {
		return ap
	}
	return netip.AddrPortFrom(ap.Addr().WithZone(strconv.Itoa(int(zoneIndex(zone)))), ap.Port())
}
