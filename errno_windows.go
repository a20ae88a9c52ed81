package kcp

import "golang.org/x/sys/windows"

// transientErrors are the system's errors that leave a socket usable: see transient. Windows
// reports a datagram longer than the buffer as an error.
var transientErrors = []error{
	windows.WSAECONNREFUSED, windows.WSAECONNRESET, windows.WSAENETRESET,
	windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAENETDOWN,
	windows.WSAEHOSTDOWN, windows.WSAEADDRNOTAVAIL, windows.WSAENOBUFS,
	windows.WSAEWOULDBLOCK, windows.WSAEINTR, windows.WSAEACCES, windows.WSAEMSGSIZE,
}

// Windows' own number of what package syscall has another for.
func init() { errTooLong = windows.WSAEMSGSIZE }

// goneErrors are those of sending from an address that the machine does not have any more, or without a
// route.
var goneErrors = []error{
	windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAENETDOWN, windows.WSAEADDRNOTAVAIL,
}
