package soak

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

var errNetClosed = net.ErrClosed

// endings are what sessions end with.
var endings = []error{
	io.EOF, net.ErrClosed, io.ErrClosedPipe, syscall.ETIMEDOUT, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED,
}

// memory is how long a bad path may be the reason that a session fails: the longest user timeout, the
// longest pause between two repetitions, and that of a reader, who hears of it then.
const memory = 10 * time.Minute

// judge says what is wrong with an error that has ended a session's reads or writes, if anything is.
func (e *end) judge(op string, err error) {
	peer := e.c.other(e)
	e.mu.Lock()
	closed, finish := e.closed, e.finish
	e.mu.Unlock()
	legal := false
	var timeout *kcp.PeerTimeoutError
	switch {
	case e.s == nil:
		legal = true // a peer without extensions knows Close alone
	case errors.Is(err, io.EOF):
		legal = op == "Read" && peer.may(func() bool { return peer.finish })
	case isClosed(err):
		legal = closed
	case errors.As(err, &timeout):
		legal = e.c.hostile(memory) || peer.may(func() bool { return peer.gone || peer.closed })
	case errors.Is(err, syscall.ECONNRESET):
		// A listener whose session has failed for the path closes it, which resets the client.
		legal = e.c.hostile(memory) || e.c.excused(e) || peer.may(func() bool { return peer.gone || peer.closed })
	case errors.Is(err, syscall.EPIPE):
		legal = finish
	case errors.Is(err, syscall.ECONNABORTED):
		legal = e.sock().dead.Load()
	}
	e.w.outcome(err)
	if !legal {
		other := ""
		if peer != nil && peer.s != nil {
			other = fmt.Sprintf("\n  the other end: %+v", peer.s.Stats())
		}
		e.fail("%s: %v, for no reason; %v%s", op, err, e.c.weather, other)
	}
	if err != io.EOF && !isClosed(err) {
		e.mark(func() { e.gone = true }) // it will be closed, which may reset the peer
	}
}

// may says whether f is true of the end, which may be nil.
func (e *end) may(f func() bool) bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return f()
}

func (e *end) mark(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}
