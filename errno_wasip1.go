package kcp

import "syscall"

// transientErrors are the system's errors that leave a socket usable: see transient. WASI knows no
// EHOSTDOWN.
var transientErrors = []error{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN,
	syscall.EINTR, syscall.EPERM, syscall.EACCES, syscall.EMSGSIZE,
}
