package kcp

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/pkg/errors"
)

// The errors of this package. Read, Write, Accept and their like return a
// *net.OpError around one of the first four or around a system call's error, as
// package net does; test with errors.Is:
//
//   - net.ErrClosed and io.ErrClosedPipe: the session or listener was closed here
//   - os.ErrDeadlineExceeded: a deadline passed; Timeout() is true
//   - syscall.ETIMEDOUT: the peer was not heard of any more; Timeout() is true
//   - syscall.ECONNABORTED: the PacketConn failed, or was closed by somebody else; its
//     own error is found as well
//
// Constructors and setters return plain errors that name the setting and its bound.
var (
	errClosed   error = closedError{}
	errDeadline error = os.ErrDeadlineExceeded

	errNoRemote     = errors.New("kcp: the remote address is nil")
	errNoConn       = errors.New("kcp: the PacketConn is nil")
	errNoAEAD       = errors.New("kcp: the cipher.AEAD is nil")
	errNotOwner     = errors.New("kcp: an accepted session shares its listener's socket: set it there")
	errNotSupported = errors.New("kcp: the PacketConn does not support this setting")
	errOOBNeedsFEC  = errors.New("kcp: out-of-band datagrams need FEC")
)

// closedError is what net.ErrClosed and io.ErrClosedPipe are at once.
type closedError struct{}

func (closedError) Error() string { return net.ErrClosed.Error() }

// Is makes errors.Is find both.
func (closedError) Is(target error) bool {
	return target == net.ErrClosed || target == io.ErrClosedPipe
}

// brokenError is the error that made a PacketConn useless.
type brokenError struct{ cause error }

func (e brokenError) Error() string { return e.cause.Error() }

func (e brokenError) Unwrap() []error { return []error{syscall.ECONNABORTED, e.cause} }
