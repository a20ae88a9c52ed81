package kcp

import "golang.org/x/sys/windows"

const setsFragments = true

// setFragments sets Don't Fragment, which is not set otherwise: IP_DONTFRAGMENT and IPV6_DONTFRAG, which
// have the same value (https://learn.microsoft.com/windows/win32/winsock/ipproto-ip-socket-options).
func setFragments(fd uintptr, six bool, f fragments) (reset func(), err error) {
	const dontFragment = 14
	level := windows.IPPROTO_IP
	if six {
		level = windows.IPPROTO_IPV6
	}
	if f != fragmentsNever {
		return func() {}, nil
	}
	err = windows.SetsockoptInt(windows.Handle(fd), level, dontFragment, 1)
	return func() { windows.SetsockoptInt(windows.Handle(fd), level, dontFragment, 0) }, err
}
