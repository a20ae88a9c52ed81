package soak

import (
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"
)

// calmTime is how long everything that is under way may take to arrive once the weather is calm. Pauses
// between repetitions are a minute at most, and windows and rates are small.
const calmTime = 30 * time.Minute

// closeTime is how long a Close may wait for a WriteTo that goes on.
const closeTime = time.Second

// finish ends the connection in one of the ways there are.
func (c *connection) finish() *unfinished {
	r := c.w.rand("finish", c.slot, c.number)
	if c.w.has(featKills) && c.w.peer == "" && c.site == nil && chance(r, 0.2) {
		return c.die(r)
	}
	if (!c.w.has(featAbrupt) || chance(r, 0.6)) && c.settle(r) {
		c.checkMTU(r)
		c.part(r)
	}
	for _, e := range c.shuffled(r) {
		e.leave(r)
	}
	c.mu.Lock()
	c.over = true
	late := append(c.former, c.server) // if it has come meanwhile
	c.mu.Unlock()
	for _, e := range late {
		e.leave(r)
	}
	return nil
}

// shuffled returns the ends there are in any order.
func (c *connection) shuffled(r *rand.Rand) []*end {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return []*end{c.client}
	}
	if chance(r, 0.5) {
		return []*end{c.server, c.client}
	}
	return []*end{c.client, c.server}
}

// die kills the client's process. The listener's end is closed later.
func (c *connection) die(r *rand.Rand) *unfinished {
	e := c.client
	c.w.count("client killed")
	e.mark(func() { e.gone, e.closed = true, true })
	e.hush()
	e.hurry.Store(true)
	e.moving.Lock()
	left := &unfinished{at: e.sock().LocalAddr().String(), conv: e.s.GetConv()}
	e.sock().kill()
	e.s.Abort()
	e.moving.Unlock()
	e.await(time.Minute)
	c.w.mourners.Go(func() {
		time.Sleep(between(r, ms, 20*time.Minute))
		c.mu.Lock()
		c.over = true
		late := append(c.former, c.server)
		c.mu.Unlock()
		for _, e := range late {
			e.leave(r)
		}
	})
	return left
}

// settle lets everything arrive that was written, in calm weather, and says whether both ends live.
func (c *connection) settle(r *rand.Rand) bool {
	c.weather.becalm(c, c.calmPath(r))
	e := c.client
	for end := time.Now().Add(calmTime); time.Now().Before(end); time.Sleep(time.Second) {
		c.mu.Lock()
		s := c.server
		c.mu.Unlock()
		e.calm()
		s.calm()
		switch {
		case e.isBroken() || s != nil && s.isBroken() || c.rebound():
			return false
		case s == nil && e.silent():
			return false // there was no connection
		case s != nil && e.silent() && s.silent() && e.left() == 0 && s.left() == 0:
			return true
		}
	}
	if c.hostile(0) || e.s == nil && c.hostile(time.Since(c.born)) {
		return false // the end of a peer without extensions is not told when the listener's has given it up
	}
	e.fail("after %v of calm %d are on their way", calmTime, e.left())
	if s := c.other(e); s != nil {
		s.fail("after %v of calm %d are on their way", calmTime, s.left())
	}
	return false
}

// calm lets the program say nothing more, and read.
func (e *end) calm() {
	if e == nil {
		return
	}
	e.hush()
	e.hurry.Store(true)
}

// silent says whether everything is written.
func (e *end) silent() bool {
	select {
	case <-e.written:
		return true
	default:
		return false
	}
}

// left returns what was written and not read, in bytes or messages. What a client wrote while no listener
// has taken it is not counted, and nothing where nobody reads.
func (e *end) left() int64 {
	if peer := e.c.other(e); peer.may(func() bool { return peer.deaf }) {
		return 0
	}
	if e.w.inMessages() {
		return e.said.left()
	}
	return e.out.left()
}

// part ends the connection in calm weather, where nobody has anything to say any more.
func (c *connection) part(r *rand.Rand) {
	ends := c.shuffled(r)
	if c.w.peer != "" || len(ends) < 2 {
		return
	}
	a, b := ends[0], ends[1]
	if chance(r, 0.5) {
		c.weather.becalm(c, lossyPath(r))
		c.w.count("lossy end")
	}
	switch r.IntN(5) {
	case 0:
		a.lastWords(r)
		a.closeWrite()
		b.wantEOF()
		b.lastWords(r)
		b.closeWrite()
		a.wantEOF()
	case 1:
		a.lastWords(r)
		a.s.SetLinger(-1)
		start := time.Now()
		if err := a.close(); err != nil && !c.hostile(0) && !c.excused(a) {
			a.fail("Close, which waits for all to be acknowledged: %v", err)
		}
		a.wantDone(start)
		b.wantEOF()
	case 2:
		a.s.SetLinger(60)
		a.lastWords(r)
		a.close()
		b.wantEOF()
	case 3:
		a.mark(func() { a.gone, a.closed = true, true })
		a.s.Abort()
		time.Sleep(time.Second)
	}
}

// excused says whether what goes wrong has a reason.
func (c *connection) excused(e *end) bool {
	return c.w.restarted(c.born) || e.sock().dead.Load() || c.rebound() || c.site.isDown()
}

// lastWords writes something more.
func (e *end) lastWords(r *rand.Rand) {
	if e.may(func() bool { return e.finish }) {
		return
	}
	e.s.SetWriteDeadline(time.Time{})
	for range r.IntN(4) {
		if err := e.writeOnce(r, e.unheard()); err != nil && !e.c.excused(e) {
			e.judge("Write", err)
		}
	}
}

// unheard says whether what was written does not yet tell whose it is.
func (e *end) unheard() bool {
	if e.w.inMessages() {
		e.said.mu.Lock()
		defer e.said.mu.Unlock()
		return len(e.said.sent) == 0
	}
	written, _ := e.out.counts()
	return written < idSize
}

func (e *end) closeWrite() {
	e.mark(func() { e.finish = true })
	if err := e.s.CloseWrite(); err != nil && !e.c.excused(e) {
		e.fail("CloseWrite: %v", err)
	}
}

// close closes the session, which must not wait unless it was told to.
func (e *end) close() error {
	e.mark(func() { e.finish, e.closed = true, true })
	if e.s == nil {
		return e.old.Close()
	}
	return e.s.Close()
}

// wantEOF waits for the end of the stream, before which everything was read.
func (e *end) wantEOF() {
	if e.may(func() bool { return e.deaf }) {
		return
	}
	select {
	case <-e.eof:
	case <-e.broken:
	case <-time.After(10 * time.Minute):
		if !e.c.excused(e) {
			e.fail("no end of the stream for ten minutes; the other end: %+v", e.c.other(e).s.Stats())
		}
		return
	}
	e.mu.Lock()
	cause := e.cause
	e.mu.Unlock()
	left := e.c.other(e).left()
	if (!errors.Is(cause, io.EOF) || left > 0) && !e.c.hostile(0) && !e.c.excused(e) {
		e.fail("the stream ended with %v, and %d were not read", cause, left)
	}
}

// waitTime is how long a Close may take that waits for delivery, and then the session until it is over: as
// long as something gets through, or until the user timeout ends it.
const waitTime = 10 * time.Minute

// wantDone checks how long a Close that waits has taken, which began at start, and waits for the end of the
// session.
func (e *end) wantDone(start time.Time) {
	took := time.Since(start)
	select {
	case <-e.s.Done():
	case <-time.After(waitTime):
		took = time.Since(start)
	}
	if took > waitTime && !e.c.excused(e) {
		e.fail("Close, which waits, took %v", took)
	}
}

// leave closes what is not closed, and waits until nothing of it is left.
func (e *end) leave(r *rand.Rand) {
	if e == nil {
		return
	}
	e.hush()
	e.hurry.Store(true)
	if e.s != nil && !e.may(func() bool { return e.closed }) {
		linger := one(r, -1, 0, 1, 5, 60)
		e.s.SetLinger(linger)
		e.mark(func() { e.gone = true })
		start := time.Now()
		e.close()
		if took := time.Since(start); linger >= 0 && took > closeTime || took > calmTime {
			e.fail("Close took %v with a linger time of %d s", took, linger)
		}
	}
	if e.old != nil {
		e.close()
	}
	e.await(10 * time.Minute)
	if e.s == nil {
		return
	}
	select {
	case <-e.s.Done():
	case <-time.After(time.Hour):
		e.fail("not over an hour after Close")
		e.s.Abort()
	}
}

// await waits for the program's goroutines.
func (e *end) await(d time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.tasks.Wait()
	}()
	select {
	case <-done:
	case <-time.After(d):
		e.fail("calls go on %v after the session was closed:\n%s", d, stacks())
	}
}

// stacks returns the goroutines of this bubble.
func stacks() string {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	var own []string
	for s := range strings.SplitSeq(string(b), "\n\n") {
		if strings.Contains(s[:min(len(s), 200)], "synctest bubble") {
			own = append(own, s)
		}
	}
	return strings.Join(own, "\n\n")
}

func countStacks(s string) int { return strings.Count(s, "\n\n") + 1 }
