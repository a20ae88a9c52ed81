package soak

import (
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// read reads until the session has ended.
func (e *end) read() {
	defer close(e.broken)
	r := e.rand("read")
	buf := make([]byte, 64<<10)
	for {
		e.pause(r)
		b := buf[:sized(r, 1, len(buf))]
		by := e.readBy(r)
		start := time.Now()
		if by.Before(start) && !by.IsZero() {
			by = start
		}
		pokes := e.poked.Load()
		n, err := e.readOnce(r, b)
		e.w.ops.Add(1)
		if n > 0 && !e.check(b[:n]) {
			return
		}
		if err == nil || e.timedOut("Read", err, by, pokes) {
			continue
		}
		e.mu.Lock()
		e.cause = err
		e.mu.Unlock()
		e.judge("Read", err)
		return
	}
}

// check checks what was read, and says whether that goes on.
func (e *end) check(b []byte) bool {
	err := error(nil)
	if e.in == nil {
		b, err = e.meet(b)
	}
	switch {
	case err != nil || e.in == nil:
	case e.w.inMessages():
		err = e.heard.got(b)
	default:
		err = e.in.got(b)
	}
	if err != nil {
		e.fail("%v", err)
	}
	return err == nil
}

// pause lets what arrives wait, sometimes for long.
func (e *end) pause(r *rand.Rand) {
	if !e.w.has(featSlow) || e.hurry.Load() || !chance(r, 0.02) {
		return
	}
	for end := time.Now().Add(between(r, ms, 5*time.Minute)); time.Now().Before(end) && !e.hurry.Load(); {
		time.Sleep(min(time.Second, time.Until(end)))
	}
}

// readBy draws a read deadline, and sets it.
func (e *end) readBy(r *rand.Rand) (by time.Time) {
	if !e.w.has(featDeadlines) || e.s == nil {
		return by
	}
	switch {
	case chance(r, 0.1):
		by = time.Now().Add(between(r, ms, 10*time.Second))
	case chance(r, 0.02):
		by = time.Now().Add(-time.Second)
	}
	if err := e.s.SetReadDeadline(by); err != nil {
		e.judge("SetReadDeadline", err)
	}
	return by
}

// readOnce reads in one of the ways there are.
func (e *end) readOnce(r *rand.Rand, b []byte) (int, error) {
	if e.s == nil {
		return e.old.Read(b)
	}
	if !e.w.has(featTry) || !chance(r, 0.3) {
		return e.s.Read(b)
	}
	for { // TryRead, when it is notified
		ready := make(chan struct{}, 1)
		e.s.SetReadNotify(func() {
			select {
			case ready <- struct{}{}:
			default:
			}
		})
		for {
			n, err := e.s.TryRead(b)
			if n > 0 || err != nil {
				e.s.SetReadNotify(nil)
				return n, err
			}
			<-ready
		}
	}
}

// over says whether err is what a session returns that has ended, here or there. What ended it is judged
// where it was read.
func (e *end) over(err error) bool {
	for _, ending := range endings {
		if errors.Is(err, ending) {
			return true
		}
	}
	return false
}

// isClosed says whether err is that of something that was closed here.
func isClosed(err error) bool {
	return errors.Is(err, io.ErrClosedPipe) || errors.Is(err, unmarked.ErrClosed) || errors.Is(err, errNetClosed)
}
