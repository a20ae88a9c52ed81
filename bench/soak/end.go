package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// An end is one program's side of a connection: what it does with its session, and what it knows.
type end struct {
	w    *world
	c    *connection
	name string // "client" or "server"
	at   atomic.Pointer[socket]
	s    *kcp.UDPSession   // nil at a peer without extensions
	old  *unmarked.Session // nil elsewhere

	in, out       *flow     // what is read, and written; a client's in is nil until it has heard the listener
	heard, said   *messages // likewise
	toSend, toOOB *counted
	head          []byte // what a client has read before it knew from whom

	tasks    sync.WaitGroup
	quiet    chan struct{} // closed when nothing more is to be written
	quieting sync.Once
	written  chan struct{} // closed when nothing more is
	eof      chan struct{} // closed when the peer's stream has ended
	broken   chan struct{} // closed when the session has, or reading alone where nobody closes one half
	hurry    atomic.Bool   // readers do not pause any more
	full     bool          // all writes are long ones; of who writes
	poked    atomic.Int64  // times that somebody else has changed the deadlines

	moving sync.Mutex // held while the socket is changed

	mu     sync.Mutex
	cause  error // that reading has ended with
	deaf   bool  // CloseRead was called
	closed bool  // Close or Abort was called
	finish bool  // the peer may see the end of the stream
	gone   bool  // the peer may see a reset, or nothing
}

func (w *world) newEnd(c *connection, name string, sock *socket) *end {
	e := &end{w: w, c: c, name: name, quiet: make(chan struct{}), written: make(chan struct{}),
		eof: make(chan struct{}), broken: make(chan struct{})}
	e.at.Store(sock)
	return e
}

// sock is the socket that the session has now.
func (e *end) sock() *socket { return e.at.Load() }

// link tells e what it reads and writes.
func (e *end) link(in, out uint64) {
	e.in, e.out = e.w.flow(in), e.w.flow(out)
	e.heard, e.said = e.w.messagesOf(in), e.w.messagesOf(out)
	e.toSend, e.toOOB = e.w.countedOf(out), e.w.countedOf(^out)
}

func (e *end) rand(about string) *rand.Rand { return e.w.rand(e.c.slot, e.c.number, e.name, about) }

func (e *end) fail(format string, args ...any) {
	stats := ""
	if e.s != nil {
		stats = fmt.Sprintf("\n  %+v", e.s.Stats())
	}
	e.w.fail("connection %d.%d, %s: %s%s", e.c.slot, e.c.number, e.name, fmt.Sprintf(format, args...), stats)
}

// start begins everything that the program does at once.
func (e *end) start() {
	e.tasks.Go(e.write)
	e.tasks.Go(e.read)
	if e.s == nil {
		return
	}
	if e.w.has(featSetters) {
		e.tasks.Go(e.tune)
	}
	if e.w.has(featHalf) && e.w.peer == "" {
		e.tasks.Go(e.becomeDeaf)
	}
	if e.w.has(featRoam) && e.w.peer == "" && e.name == "client" && e.w.listening.Roam != kcp.RoamOff {
		e.tasks.Go(e.roam)
	}
	if e.w.has(featDatagrams) && e.w.peer == "" {
		e.tasks.Go(e.sendDatagrams)
		e.tasks.Go(e.receiveDatagrams)
	}
	if e.w.has(featOOB) && e.w.has(featFEC) && e.w.peer == "" {
		e.tasks.Go(e.sendOutOfBand)
	}
}

// rest waits, and says whether there is more to be written.
func (e *end) rest(d time.Duration) bool {
	if d <= 0 {
		select {
		case <-e.quiet:
			return false
		case <-e.broken:
			return false
		default:
			return true
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-e.quiet:
	case <-e.broken:
	case <-t.C:
		return true
	}
	return false
}

// hush ends the writing, once what goes on has been written.
func (e *end) hush() { e.quieting.Do(func() { close(e.quiet) }) }

func (e *end) tune() {
	r := e.rand("tune")
	for e.rest(between(r, 100*ms, 10*time.Minute)) {
		setters[r.IntN(len(setters))](r, e)
		e.w.ops.Add(1)
	}
}

// poke interrupts what waits, by deadlines that have passed, and takes them back.
func (e *end) poke() {
	e.poked.Add(1)
	e.s.SetDeadline(time.Now())
	time.Sleep(time.Nanosecond)
	e.s.SetDeadline(time.Time{})
	e.poked.Add(1)
}

func (e *end) sendDatagrams() {
	r := e.rand("datagrams")
	for e.rest(between(r, ms, time.Minute)) {
		most := e.s.MaxDatagramSize()
		if most < parcelHeader {
			continue
		}
		b := e.toSend.send(sized(r, parcelHeader, most))
		err := e.s.SendDatagram(b)
		e.w.ops.Add(1)
		if err != nil && e.s.MaxDatagramSize() >= len(b) && !e.over(err) {
			e.fail("SendDatagram of %d bytes: %v", len(b), err)
		}
	}
}

func (e *end) receiveDatagrams() {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		b, err := e.s.ReceiveDatagram(ctx)
		cancel()
		switch {
		case err == nil:
			e.checkDatagram(b)
		case errors.Is(err, context.DeadlineExceeded):
			if e.isBroken() {
				return
			}
		default:
			if !errors.Is(err, io.EOF) && !e.over(err) {
				e.fail("ReceiveDatagram: %v", err)
			}
			return
		}
	}
}

func (e *end) checkDatagram(b []byte) {
	err := fmt.Errorf("%d bytes of somebody else: %x", len(b), clip(b))
	if len(b) >= idSize {
		if id := binary.BigEndian.Uint64(b); e.hears(id) {
			err = e.w.countedOf(id).got(b, 1)
		}
	}
	if err != nil {
		e.fail("ReceiveDatagram: %v", err)
	}
}

func (e *end) sendOutOfBand() {
	r := e.rand("oob")
	for e.rest(between(r, ms, time.Minute)) {
		if most := e.s.GetOOBMaxSize(); most >= parcelHeader {
			err := e.s.SendOOB(e.toOOB.send(sized(r, parcelHeader, most)))
			e.w.ops.Add(1)
			if err != nil && e.s.GetOOBMaxSize() == most && !e.over(err) {
				e.fail("SendOOB: %v", err)
			}
		}
	}
}

func (e *end) isBroken() bool {
	select {
	case <-e.broken:
		return true
	default:
		return false
	}
}

// timedOut judges a call that began at start and has ended with an error, with the deadline by. It says
// whether it was the deadline that ended it.
func (e *end) timedOut(op string, err error, by time.Time, pokes int64) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unmarked.ErrTimeout) {
		return false
	}
	if e.s == nil || e.poked.Load() != pokes || pokes%2 == 1 {
		time.Sleep(time.Microsecond) // or time would not pass for who pokes
		return true
	}
	switch late := time.Since(by); {
	case by.IsZero():
		e.fail("%s: %v, without a deadline", op, err)
	case late < 0:
		e.fail("%s: %v, %v before the deadline", op, err, -late)
	case late > 20*ms && by.After(e.c.born):
		e.fail("%s: %v, %v after the deadline", op, err, late)
	}
	return true
}
