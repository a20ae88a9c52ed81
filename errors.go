package kcp

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/pkg/errors"
)

// The errors of this package, beside those that name a wrong setting where it is checked
// and syscall.ETIMEDOUT of a dead link. The package comment says what callers can test for.
var (
	errClosed   error = closedError{}
	errDeadline error = os.ErrDeadlineExceeded

	errNoRemote     = errors.New("kcp: the remote address is nil")
	errNoConn       = errors.New("kcp: the PacketConn is nil")
	errNoAEAD       = errors.New("kcp: the cipher.AEAD is nil")
	errNotOwner     = errors.New("kcp: an accepted session shares its listener's socket: set it there")
	errNoWrites     = errors.New("kcp: a listener writes nothing")
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
