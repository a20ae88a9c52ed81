package kcp

import "golang.org/x/sys/unix"

const setsFragments = true

// setFragments sets path MTU discovery (ip(7): https://man7.org/linux/man-pages/man7/ip.7.html), which is
// by default: Don't Fragment is set on what the kernel takes to fit, and the rest is sent in fragments.
// IPv6 has no routers that make fragments, so this host does, for IPv6's least MTU.
func setFragments(fd uintptr, six bool, f fragments) (reset func(), err error) {
	level, option, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
	if f == fragmentsAllowed {
		value = unix.IP_PMTUDISC_DONT
	}
	if six { // the values are the same
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	was, err := unix.GetsockoptInt(int(fd), level, option)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(int(fd), level, option, value); err != nil {
		return nil, err
	}
	split := six && f == fragmentsAllowed
	if split {
		unix.SetsockoptInt(int(fd), level, unix.IPV6_MTU, ipv6LeastMTU)
	}
	return func() {
		unix.SetsockoptInt(int(fd), level, option, was)
		if split {
			unix.SetsockoptInt(int(fd), level, unix.IPV6_MTU, 0)
		}
	}, nil
}

// ipv6LeastMTU is what every link carries (RFC 8200, section 5:
// https://www.rfc-editor.org/rfc/rfc8200#section-5).
const ipv6LeastMTU = 1280
