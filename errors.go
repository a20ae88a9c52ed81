package kcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	pkgerrors "github.com/pkg/errors"
)

// The errors of this package. Others are made where a setting is checked, or are io.EOF,
// io.ErrUnexpectedEOF, syscall.ECONNRESET after the peer discarded data or has lost the session, and
// syscall.EPIPE after CloseWrite. The package comment says what callers can test for.
var (
	errClosed   error = closedError{}
	errDeadline error = os.ErrDeadlineExceeded

	errListening = pkgerrors.New("kcp: the transport has a listener")
	errNoRemote  = pkgerrors.New("kcp: the remote address is nil")
	errNoConn    = pkgerrors.New("kcp: the PacketConn is nil")
	errNoAEAD    = pkgerrors.New("kcp: the cipher.AEAD is nil")
)

// Errors of sessions that have to be sealed, of dialling with WaitForPeer, or of Read and Write without.
var (
	// ErrKeyDiffers is found by errors.Is where the peer has another key than Settings.ServerKey or Block. A
	// peer with another Block often says nothing at all, and the error is syscall.ETIMEDOUT.
	ErrKeyDiffers error = pkgerrors.New("the session cannot be sealed: the peer has another key than ServerKey or Block")
	// ErrNotSealed is found by errors.Is where the peer answers, and does not seal.
	ErrNotSealed error = pkgerrors.New("the session cannot be sealed: the peer answers, and does not seal")
)

// Errors of calls that this session, listener or PacketConn does not support.
const (
	errNotOwner     unsupportedError = "kcp: the session shares its listener's or transport's socket: set it there"
	errNoWrites     unsupportedError = "kcp: a listener writes nothing"
	errNotSupported unsupportedError = "kcp: the PacketConn does not support this setting"
	errNoMessages   unsupportedError = "kcp: a session in stream mode has no messages"
	errNoDatagrams  unsupportedError = "kcp: the peer takes no datagrams"
	errNoRebind     unsupportedError = "kcp: only a session that was dialled, on a socket of its own, and is sealed can have another"
	errOOBNeedsFEC  unsupportedError = "kcp: out-of-band datagrams need FEC"
)

// unsupportedError is errors.ErrUnsupported with a reason.
type unsupportedError string

func (e unsupportedError) Error() string { return string(e) }
func (e unsupportedError) Unwrap() error { return errors.ErrUnsupported }

// closedError is both net.ErrClosed and io.ErrClosedPipe to errors.Is.
type closedError struct{}

func (closedError) Error() string { return net.ErrClosed.Error() }

// Is makes errors.Is find both.
func (closedError) Is(target error) bool {
	return target == net.ErrClosed || target == io.ErrClosedPipe
}

// brokenError is the failure of a PacketConn: syscall.ECONNABORTED and the cause to errors.Is. Timeout
// is the cause's: a program may have set a read deadline on its PacketConn. There is no Temporary: a
// server that accepts again after such errors would do so for ever.
type brokenError struct{ cause error }

func (e brokenError) Error() string { return e.cause.Error() }

// Timeout says whether the cause is a timeout.
func (e brokenError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.cause, &t) && t.Timeout()
}

// Unwrap leaves out io.EOF: a stream that was cut off must not look like one that has ended.
func (e brokenError) Unwrap() []error {
	if errors.Is(e.cause, io.EOF) {
		return []error{errAborted}
	}
	return []error{errAborted, e.cause}
}

// PeerTimeoutError is the error of a session that failed because nothing was heard from the peer, or
// nothing of what was sent was acknowledged: see SetUserTimeout, SetIdleTimeout and
// SetKeepAlivePeriod. errors.Is finds syscall.ETIMEDOUT in it.
type PeerTimeoutError struct {
	// Silent is how long nothing had been heard from the peer when the session failed.
	Silent time.Duration
	// Unacknowledged is how long nothing that was sent had been acknowledged, where that, and not
	// silence, was the reason; else 0.
	Unacknowledged time.Duration
}

// Error tells how long the peer was silent or acknowledged nothing, to the millisecond.
func (e *PeerTimeoutError) Error() string {
	if e.Unacknowledged > e.Silent {
		return fmt.Sprintf("connection timed out: nothing acknowledged for %v", e.Unacknowledged.Round(time.Millisecond))
	}
	return fmt.Sprintf("connection timed out: nothing heard for %v", e.Silent.Round(time.Millisecond))
}

// Timeout returns true, as the net.Error of an operation that timed out does.
func (e *PeerTimeoutError) Timeout() bool { return true }

// Temporary returns true, as that of syscall.ETIMEDOUT does.
func (e *PeerTimeoutError) Temporary() bool { return true }

// Is makes errors.Is find syscall.ETIMEDOUT.
func (e *PeerTimeoutError) Is(target error) bool { return target == syscall.ETIMEDOUT }

// sealError is why a session that has to be sealed is not, when the dialling was given up for a cause.
type sealError struct{ reason, cause error }

func (e sealError) Error() string   { return e.reason.Error() }
func (e sealError) Unwrap() []error { return []error{e.reason, e.cause} }

// timedOutError is a context's deadline as net.Dialer reports it, with Timeout.
type timedOutError struct{ cause error }

func (timedOutError) Error() string { return "connection timed out: no answer" }

func (timedOutError) Timeout() bool { return true }

func (timedOutError) Temporary() bool { return true }

func (e timedOutError) Unwrap() error { return e.cause }

func (timedOutError) Is(target error) bool { return target == syscall.ETIMEDOUT }
