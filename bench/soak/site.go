package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// liveShared connects a slot's clients where they share a socket, by a Transport, on which connections of
// the listener's process arrive as well. From time to time all of it ends at once.
func (w *world) liveShared(slot int, v *weather) {
	r, strange := w.rand("sites", slot), w.countedOf(w.newID())
	for number := 0; !w.isOver(); number++ {
		s, err := w.newServer(v.host()+":4000", "site", slot, number)
		if err != nil {
			w.fail("a transport: %v", err)
			return
		}
		v.join(s.sock)
		var lanes, strangers sync.WaitGroup
		strangers.Go(func() { s.strangers(strange) })
		for lane := range 1 + r.IntN(4) {
			lanes.Go(func() { s.lane(v, slot, (number*10+lane)*100_000) })
		}
		w.sleep(between(r, time.Minute, 4*time.Hour))
		if w.isOver() {
			lanes.Wait()
			w.mourners.Wait()
			s.close()
		} else if chance(r, 0.5) {
			w.count("transport killed")
			s.kill()
		} else {
			w.count("transport closed")
			s.shut()
		}
		lanes.Wait()
		strangers.Wait()
		w.sleep(between(r, ms, time.Minute))
	}
}

// lane connects clients of a site, or to it, one after the other.
func (s *server) lane(v *weather, slot, number int) {
	w := s.w
	r := w.rand("lane", slot, number)
	for ; !w.isOver() && !s.isDown(); number++ {
		c := w.newConnection(slot, number, v)
		c.site, c.reverse = s, chance(r, 0.3)
		if c.dialShared(r) {
			c.last(r)
			c.finish()
			v.stir(c)
		}
		w.sleep(between(r, ms, time.Minute))
	}
}

// dialShared dials over a Transport, and says whether there is a session.
func (c *connection) dialShared(r *rand.Rand) bool {
	w := c.w
	from, to, address := c.site, w.current(), w.serverAddr
	if c.reverse {
		from, to, address = to, from, c.site.sock.Bound()
	}
	if from == nil || to == nil {
		return false
	}
	d := w.dialling
	if chance(r, 0.3) {
		d.Conv = r.Uint32() | 1
	}
	if chance(r, 0.3) {
		d.WaitForPeer, d.Timeout = true, calmTime
	}
	e := w.newEnd(c, "client", from.sock)
	e.say()
	c.client = e
	w.mu.Lock()
	w.clients[c.id] = c
	w.mu.Unlock()
	var err error
	if e.s, err = from.dial(r, d, address); err != nil {
		var timeout *kcp.PeerTimeoutError
		late := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) || isTimeout(err)
		if !from.isDown() && !(late && c.hostile(memory)) {
			w.fail("connection %d.%d: %v", c.slot, c.number, err)
		}
		return false
	}
	from.hold(e)
	w.mu.Lock()
	w.ends[e.s] = e
	w.mu.Unlock()
	e.start()
	return true
}

// dial dials over the transport, in one of the ways there are.
func (s *server) dial(r *rand.Rand, d kcp.Dialer, to net.Addr) (*kcp.UDPSession, error) {
	if chance(r, 0.5) {
		return s.transport.Dial(context.Background(), &d, to)
	}
	d.Transport = s.transport
	conn, err := d.DialContext(context.Background(), "udp", to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*kcp.UDPSession), nil
}

// hold makes e one of the sessions that end with the process.
func (s *server) hold(e *end) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, e)
	if s.down {
		e.mark(func() { e.gone, e.closed = true, true })
	}
}

// isDown says whether the process has ended; none has not.
func (s *server) isDown() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// current is the listener's process, nil while there is none.
func (w *world) current() *server {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.server == nil || w.server.isDown() {
		return nil
	}
	return w.server
}

// shut closes the transport, which ends all that is on it at once.
func (s *server) shut() {
	s.fall()
	if err := s.transport.Close(); err != nil {
		s.w.fail("Transport.Close: %v", err)
	}
	s.checkClosed()
}

// shutTime is how long it takes at most until everything on a transport that was closed is over: sockets may
// take nothing for a while.
const shutTime = time.Minute

// checkClosed checks that nothing is left on the transport.
func (s *server) checkClosed() {
	s.mu.Lock()
	ends, sessions := s.ends, s.sessions
	s.mu.Unlock()
	over := []<-chan struct{}{s.transport.Done(), s.l.Done()}
	for _, session := range sessions {
		over = append(over, session.Done())
	}
	for _, e := range ends {
		over = append(over, e.s.Done())
	}
	limit := time.After(shutTime)
	for _, done := range over {
		select {
		case <-done:
		case <-limit:
			s.w.fail("%v after its Transport was closed something is not over: %+v", shutTime, s.transport.Stats())
			return
		}
	}
	if n := s.transport.Stats(); n.Sessions > 0 {
		s.w.fail("a Transport that was closed has %+v", n)
	}
	for what, err := range map[string]error{
		"Close":  s.transport.Close(),
		"Dial":   second(s.transport.Dial(context.Background(), &s.w.dialling, s.w.serverAddr)),
		"Listen": second(s.transport.Listen(&s.w.listening)),
	} {
		if !errors.Is(err, net.ErrClosed) {
			s.w.fail("%s of a Transport that was closed: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// strange is what a datagram begins with that is no KCP: a STUN request's type, and its magic cookie (RFC
// 8489, section 5: https://www.rfc-editor.org/rfc/rfc8489#section-5).
var strange = []byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}

// copiesMost is how often a datagram that is no KCP may arrive: paths double it, there and back, and who
// replays does not know what it is.
const copiesMost = 100

// strangers sends what is not KCP to the listener's process, which reads it and sends it back, and reads that,
// beside the sessions, until the transport is closed.
func (s *server) strangers(toSend *counted) {
	r := s.w.rand("strangers", s.at)
	s.tasks.Go(func() { s.readStrangers(false) })
	for !s.isDown() {
		b := append(append([]byte(nil), strange...), toSend.send(sized(r, parcelHeader, 400))...)
		if _, err := s.transport.WriteTo(b, s.w.serverAddr); isClosed(err) {
			return
		}
		s.w.ops.Add(1)
		s.w.sleep(between(r, time.Second, 10*time.Minute))
		if s.w.isOver() {
			return
		}
	}
}

// checkStranger checks what has come back. It may be another site's, as who replays does not care.
func (s *server) checkStranger(b []byte) {
	err := errors.New("too short")
	if len(b) >= idSize {
		err = s.w.countedOf(binary.BigEndian.Uint64(b)).got(b, copiesMost)
	}
	if err != nil {
		s.w.fail("ReadNonKCP: %v", err)
	}
}

// readStrangers reads what is not KCP, and returns it to its sender, or checks it.
func (s *server) readStrangers(returns bool) {
	b := make([]byte, 2000)
	for {
		n, from, err := s.transport.ReadNonKCP(context.Background(), b)
		s.w.ops.Add(1)
		switch {
		case err != nil:
			if !isClosed(err) && !s.sock.dead.Load() {
				s.w.fail("ReadNonKCP: %v", err)
			}
			return
		case n < len(strange) || string(b[:len(strange)]) != string(strange): // a forged or damaged datagram
		case returns:
			s.transport.WriteTo(b[:n], from)
		case !s.w.has(featCorrupt): // else it may be damaged itself
			s.checkStranger(b[len(strange):n])
		}
	}
}
