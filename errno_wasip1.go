package kcp

import "syscall"

// transientErrors are the system's errors that leave a socket usable: see transient. WASI knows no
// EHOSTDOWN.
var transientErrors = []error{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN,
	syscall.EINTR, syscall.EPERM, syscall.EACCES, syscall.EMSGSIZE,
}

// goneErrors are those of sending from an address that the machine does not have any more, or without a
// route.
var goneErrors = []error{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL}
