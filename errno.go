//go:build !windows && !plan9 && !wasip1

package kcp

import "syscall"

// transientErrors are the system's errors that leave a socket usable: see transient.
var transientErrors = []error{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL, syscall.ENOBUFS,
	syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR, syscall.EPERM, syscall.EACCES,
	syscall.EMSGSIZE, syscall.EPROTO, syscall.ENOPROTOOPT,
}

// goneErrors are those of sending from an address that the machine does not have any more, or without a
// route.
var goneErrors = []error{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL}
