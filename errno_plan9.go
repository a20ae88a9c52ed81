package kcp

import "syscall"

// Errors that sessions fail with elsewhere, by the same names and with the same texts. Plan 9's
// errors are texts, and package syscall has none of these: programs can compare the text only.
var (
	errAborted = syscall.NewError("software caused connection abort")
	errReset   = syscall.NewError("connection reset by peer")
	errPipe    = syscall.NewError("broken pipe")
	errRefused = syscall.NewError("connection refused")
	errTooLong = syscall.NewError("message too long")
)

// transientErrors are the system's errors that leave a socket usable: see transient. Plan 9 hangs
// up a conversation that the path reports a failure of, and nothing can be read from it any more.
var transientErrors = []error{syscall.EINTR}

// goneErrors are those of sending without a route, whose texts are not known.
var goneErrors []error
