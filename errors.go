package kcp

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// The errors of this package, beside those that name a wrong setting where it is checked,
// io.EOF, syscall.ECONNRESET of a peer that threw data away and syscall.EPIPE of a stream that
// was ended here. The package comment says what callers can test for.
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

// PeerTimeoutError is why a session failed whose peer was not heard of any more. It is
// syscall.ETIMEDOUT to errors.Is, and its Timeout is true.
type PeerTimeoutError struct {
	Silent time.Duration // how long nothing had been heard
}

func (e *PeerTimeoutError) Error() string {
	return fmt.Sprintf("connection timed out: nothing heard for %v", e.Silent.Round(time.Millisecond))
}

func (e *PeerTimeoutError) Timeout() bool   { return true }
func (e *PeerTimeoutError) Temporary() bool { return true } // as syscall.ETIMEDOUT's

// Is makes errors.Is find syscall.ETIMEDOUT.
func (e *PeerTimeoutError) Is(target error) bool { return target == syscall.ETIMEDOUT }
