//go:build !plan9

package kcp

import "syscall"

// The system's errors that sessions fail with.
var (
	errAborted error = syscall.ECONNABORTED // the socket failed
	errReset   error = syscall.ECONNRESET   // the peer discarded data
	errPipe    error = syscall.EPIPE        // CloseWrite was called
	errRefused error = syscall.ECONNREFUSED // there is nobody at the peer's port
	errTooLong error = syscall.EMSGSIZE     // a datagram is too long for a link; no session fails with it
)
