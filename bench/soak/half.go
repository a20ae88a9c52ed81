package soak

import (
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"time"
)

// becomeDeaf closes reading at some time. The peer's writes have to go on, and so has this end's.
func (e *end) becomeDeaf() {
	r := e.rand("deaf")
	if !chance(r, 0.3) || !e.rest(between(r, ms, time.Hour)) {
		return
	}
	e.mark(func() { e.deaf = true })
	e.w.ops.Add(1)
	if err := e.s.CloseRead(); err != nil && !e.over(err) {
		e.fail("CloseRead: %v", err)
	}
}

// endOfStream takes the end of what is read, and goes on while the session does.
func (e *end) endOfStream(r *rand.Rand) {
	if !e.may(func() bool { return e.deaf }) {
		e.judge("Read", io.EOF)
	}
	e.mark(func() { e.cause = io.EOF })
	close(e.eof)
	if !e.w.has(featHalf) {
		return
	}
	b := make([]byte, 100)
	for e.s.Cause() == nil {
		n, err := e.s.TryRead(b)
		e.w.ops.Add(1)
		if n > 0 || !errors.Is(err, io.EOF) && e.s.Cause() == nil && !isTimeout(err) {
			e.fail("behind the end of the stream: %d bytes, %v", n, err)
			return
		}
		time.Sleep(between(r, 100*ms, 10*time.Second))
	}
	e.judge("Cause", e.s.Cause())
}

// endWriting closes writing in mid-connection, and says whether it has: what was written has to arrive, and
// the end of the stream behind it.
func (e *end) endWriting(r *rand.Rand) bool {
	if !e.w.has(featHalf) || e.s == nil || e.w.peer != "" || !chance(r, 0.003) {
		return false
	}
	e.mark(func() { e.finish = true })
	if err := e.s.CloseWrite(); err != nil {
		if !e.over(err) {
			e.fail("CloseWrite: %v", err)
		}
		return true
	}
	if n, err := e.s.Write([]byte{1}); n > 0 || !errors.Is(err, syscall.EPIPE) && e.s.Cause() == nil && !isTimeout(err) {
		e.fail("Write after CloseWrite: %d, %v", n, err)
	}
	return true
}
