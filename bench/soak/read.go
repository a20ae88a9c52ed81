package soak

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
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
		if n > 0 && !e.check(b[:n]) || errors.Is(err, errWrong) {
			return
		}
		if err == nil || e.timedOut("Read", err, by, pokes) {
			continue
		}
		if errors.Is(err, io.EOF) && e.s != nil {
			e.endOfStream(r)
			return
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

// readOnce reads in one of the ways there are, to b or, checked already, nowhere.
func (e *end) readOnce(r *rand.Rand, b []byte) (int, error) {
	if e.s == nil {
		return e.old.Read(b)
	}
	way := 0
	if e.w.has(featTry) {
		way = r.IntN(6)
	}
	switch way {
	case 1:
		return e.tryRead(b)
	case 2:
		return 0, e.readAsWriter(r.IntN(4))
	}
	return e.s.Read(b)
}

// signal returns a channel that has something after one call of notify or more.
func signal() (c chan struct{}, notify func()) {
	c = make(chan struct{}, 1)
	return c, func() {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// tryRead reads by TryRead, when it is notified.
func (e *end) tryRead(b []byte) (int, error) {
	ready, notify := signal()
	e.s.SetReadNotify(notify)
	defer e.s.SetReadNotify(nil)
	for {
		n, err := e.s.TryRead(b)
		if n > 0 || err != nil {
			return n, err
		}
		<-ready
	}
}

// What ends a WriteTo: that it was enough, and that something was wrong.
var errEnough, errWrong = errors.New("enough"), errors.New("wrong")

// A checker checks what is written to it, and has enough after so many writes more than one.
type checker struct {
	*end
	more int
	n    int64
}

func (w *checker) Write(b []byte) (int, error) {
	w.n += int64(len(b))
	if !w.check(b) {
		return len(b), errWrong
	}
	if w.more--; w.more < 0 {
		return len(b), errEnough
	}
	return len(b), nil
}

// readAsWriter reads by WriteTo, and checks what comes.
func (e *end) readAsWriter(more int) error {
	w := &checker{end: e, more: more}
	n, err := e.s.WriteTo(w)
	if n != w.n {
		e.fail("WriteTo wrote %d bytes, and says %d", w.n, n)
	}
	switch {
	case err == nil:
		return io.EOF
	case errors.Is(err, errEnough):
		return nil
	}
	return err
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

// isTimeout says whether err is that of a deadline.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// isClosed says whether err is that of something that was closed here.
func isClosed(err error) bool {
	return errors.Is(err, io.ErrClosedPipe) || errors.Is(err, unmarked.ErrClosed) || errors.Is(err, errNetClosed)
}
