package kcp

import "golang.org/x/sys/windows"

// transientErrors are the system's names of what transient describes. A datagram
// longer than the buffer is an error to Windows.
var transientErrors = []error{
	windows.WSAECONNREFUSED, windows.WSAECONNRESET, windows.WSAENETRESET,
	windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAENETDOWN,
	windows.WSAEHOSTDOWN, windows.WSAEADDRNOTAVAIL, windows.WSAENOBUFS,
	windows.WSAEWOULDBLOCK, windows.WSAEINTR, windows.WSAEACCES, windows.WSAEMSGSIZE,
}
