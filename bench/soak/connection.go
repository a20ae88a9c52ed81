package soak

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// A connection is what a client wants to be one, whatever happens to it.
type connection struct {
	w            *world
	slot, number int
	id           uint64
	born         time.Time
	weather      *weather
	site         *server // the process that shares its socket, nil where the client has one of its own
	reverse      bool    // the listener is there
	client       *end

	mu     sync.Mutex
	server *end   // the last that has accepted it
	former []*end // of the listener, of addresses that the client had before
	over   bool   // it is not to be accepted any more
}

// other returns the other end, nil if there is none yet.
func (c *connection) other(e *end) *end {
	if e != c.client {
		return c.client
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// hostile says whether the path was so bad within the last time d that a session need not survive.
func (c *connection) hostile(d time.Duration) bool {
	return c.weather.wasBad(d) || c.rebound() || c.w.restarted(c.born) || c.site.isDown()
}

// rebound says whether the address of the weather's socket has changed so that the session need not follow:
// it does where it is sealed, and who has moved says something now and then, and has dialled.
func (c *connection) rebound() bool {
	at := c.weather.rebounds()
	if c.w.follows() && !c.reverse {
		return !at.Before(c.born) && at.Before(c.born.Add(sealTime))
	}
	return !at.IsZero() && !at.Before(c.born)
}

// adopt takes the listener's end. A listener that was restarted may take it again, as long as the client
// has not heard of another one.
func (c *connection) adopt(e *end) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	if c.server != nil {
		f, m := c.w.flow(c.id), c.w.messagesOf(c.id)
		if _, heard := c.server.out.counts(); heard > 0 {
			e.fail("a listener that was restarted has taken a session that another one had answered")
			return false
		}
		f.mu.Lock()
		f.read = 0
		f.mu.Unlock()
		m.again()
		if !c.w.restarted(c.born) { // it lives on, and is not told that its peer has another address
			c.former = append(c.former, c.server)
		}
	}
	c.server = e
	return true
}

// hears says whether id is that of what may be read here.
func (e *end) hears(id uint64) bool {
	if e.name == "server" {
		return id == e.c.id
	}
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	from := e.w.answers[id]
	return from != nil && from.c == e.c
}

// live connects a slot's clients, one after the other.
func (w *world) live(slot int) {
	v := w.newWeather(slot)
	var changes sync.WaitGroup
	changes.Go(v.run)
	defer changes.Wait()
	if w.shares() {
		w.liveShared(slot, v)
		return
	}
	r := w.rand("live", slot)
	var before *unfinished
	for number := 0; !w.isOver(); number++ {
		c := w.newConnection(slot, number, v)
		if err := c.dial(before); err != nil {
			w.fail("connection %d.%d: %v", slot, number, err)
			return
		}
		c.last(r)
		before = c.finish()
		v.stir(c)
		w.sleep(between(r, ms, time.Minute))
	}
}

func (w *world) newConnection(slot, number int, v *weather) *connection {
	id := mix(mix(w.Seed^uint64(w.Index)) ^ uint64(slot)<<48 ^ uint64(number)<<1 ^ 1)
	return &connection{w: w, slot: slot, number: number, id: id, born: time.Now(), weather: v}
}

// last lets the connection be, until its time is over, or its session has ended.
func (c *connection) last(r *rand.Rand) {
	end := time.Now().Add(between(r, time.Second, 3*time.Hour))
	for !c.w.isOver() && time.Now().Before(end) && !c.client.isBroken() && !c.site.isDown() {
		c.w.sleep(min(5*time.Second, time.Until(end)))
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.result.Hours += time.Since(c.born).Hours()
	c.w.result.Connections++
}

// unfinished is what a client that was killed leaves to the next one, which may take the same port and
// conversation.
type unfinished struct {
	at   string
	conv uint32
}

func (c *connection) dial(before *unfinished) error {
	w := c.w
	r := w.rand("dial", c.slot, c.number)
	at, conv := c.weather.host()+":0", r.Uint32()|1
	if before != nil && w.peer == "" {
		at = before.at
		if chance(r, 0.5) {
			conv = before.conv
		}
	}
	nc, err := w.net.Listen(at)
	if err != nil {
		return err
	}
	sock := w.socket(nc, "client", c.slot, c.number)
	c.weather.join(sock)
	e := w.newEnd(c, "client", sock)
	e.say()
	c.client = e
	if w.peer == "dialler" {
		e.old = unmarked.Dial(w.old, sock, w.serverAddr, conv)
	} else {
		d := w.dialling
		d.Conv, d.OwnConn = conv, true
		sock.offer(chance(r, 0.5))
		if e.s, err = d.DialConn(context.Background(), sock.conn, w.serverAddr); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.clients[c.id] = c
	if e.s != nil {
		w.ends[e.s] = e
	}
	w.mu.Unlock()
	e.start()
	return nil
}

// say tells a client what it writes.
func (e *end) say() {
	id := e.c.id
	e.out, e.said = e.w.flow(id), e.w.messagesOf(id)
	e.toSend, e.toOOB = e.w.countedOf(id), e.w.countedOf(^id)
}

// meet finds out from whom a client reads, by the first bytes, which it returns when there are enough.
func (e *end) meet(b []byte) ([]byte, error) {
	e.head = append(e.head, b...)
	if len(e.head) < idSize {
		return nil, nil
	}
	id := binary.BigEndian.Uint64(e.head)
	if !e.hears(id) {
		return nil, fmt.Errorf("the session began with what was not written to it: %x", clip(e.head))
	}
	e.in, e.heard = e.w.flow(id), e.w.messagesOf(id)
	return e.head, nil
}
