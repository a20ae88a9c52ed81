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
	if f != fragmentsNever {
		return func() {}, nil
	}
	err = unix.SetsockoptInt(int(fd), level, option, 1)
	return func() { unix.SetsockoptInt(int(fd), level, option, 0) }, err
}
