//go:build darwin || freebsd

package kcp

import "golang.org/x/sys/unix"

const setsFragments = true

// setFragments sets Don't Fragment, which is not set otherwise.
func setFragments(fd uintptr, six bool, f fragments) (reset func(), err error) {
	level, option := unix.IPPROTO_IP, unix.IP_DONTFRAG
	if six {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG
	}
	switch {
	case f == fragmentsAllowed && six: // of IPv6's least MTU (RFC 3542, section 11.1: https://www.rfc-editor.org/rfc/rfc3542#section-11.1)
		option = unix.IPV6_USE_MIN_MTU
	case f != fragmentsNever:
		return func() {}, nil
	}
	err = unix.SetsockoptInt(int(fd), level, option, 1)
	return func() { unix.SetsockoptInt(int(fd), level, option, 0) }, err
}
