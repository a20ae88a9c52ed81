package unmarked

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// Counts are what a session has seen.
type Counts struct {
	// Rejected is datagrams of which at least the end was not taken: of another conversation, cut
	// off, or with a cmd that deployed peers do not know.
	Rejected int
	// Received is the datagrams that passed the cipher.
	Received int
	// Rebuilt is those that FEC has rebuilt.
	Rebuilt int
	// Asked and Told are the WASKs and WINSs that have arrived.
	Asked, Told int
}

// A Session is one end of a conversation.
type Session struct {
	cfg  *Config
	conn net.PacketConn
	peer net.Addr
	conv uint32

	mu      sync.Mutex // guards all below
	changed sync.Cond
	core    *core
	enc     *encoder // nil without FEC
	dec     *decoder // nil until the peer sends FEC
	rest    []byte   // of a message that did not fit into a Read
	until   time.Time
	closed  bool
	counts  Counts
	stop    chan struct{}
	onClose func()
}

// millis is the clock, which wraps.
func millis() uint32 { return uint32(time.Now().UnixMilli()) }

func newSession(cfg *Config, conn net.PacketConn, peer net.Addr, conv uint32) *Session {
	s := &Session{cfg: cfg, conn: conn, peer: peer, conv: conv, core: newCore(cfg, conv), stop: make(chan struct{})}
	s.changed.L = &s.mu
	if cfg.hasFEC() {
		s.enc = newEncoder(cfg.DataShards, cfg.ParityShards)
	}
	go s.tick()
	return s
}

// Dial makes a session with conv to peer, over conn, which is the session's from now on. It sends
// nothing until there is something to send, and takes datagrams from peer alone.
func Dial(cfg Config, conn net.PacketConn, peer net.Addr, conv uint32) *Session {
	s := newSession(cfg.complete(), conn, peer, conv)
	s.onClose = func() { conn.Close() }
	go func() {
		b := make([]byte, mtuMax)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				s.Close()
				return
			}
			if from.String() != peer.String() {
				continue
			}
			if payload, err := s.cfg.open(b[:n]); err == nil {
				s.receive(payload)
			}
		}
	}()
	return s
}

// tick sends what has collected, from time to time.
func (s *Session) tick() {
	t := time.NewTicker(s.cfg.Interval)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		s.mu.Lock()
		if !s.closed {
			s.flushLocked(false)
			s.changed.Broadcast() // for deadlines
		}
		s.mu.Unlock()
	}
}

// flushLocked sends.
func (s *Session) flushLocked(acksOnly bool) {
	s.core.flush(millis(), acksOnly, func(segments []byte) {
		if s.enc == nil {
			s.sendLocked(segments)
			return
		}
		for _, d := range s.enc.encode(segments) {
			s.sendLocked(d)
		}
	})
}

func (s *Session) sendLocked(payload []byte) {
	s.conn.WriteTo(s.cfg.seal(payload), s.peer)
}

// receive takes the payload of a datagram.
func (s *Session) receive(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.counts.Received++
	kind, seqid, body := peel(payload)
	switch kind {
	case 0:
		s.core.input(payload, millis(), false)
	case fecOOB:
		if len(body) >= 6 && binary.LittleEndian.Uint32(body[2:]) == s.conv && s.cfg.OOB != nil {
			s.cfg.OOB(body[6:])
		}
		return
	case fecData:
		if len(body) < 2 || int(binary.LittleEndian.Uint16(body)) > len(body) {
			s.core.rejected++
			return
		}
		s.core.input(body[2:], millis(), false)
	}
	if kind != 0 {
		if s.dec == nil {
			s.dec = newDecoder(s.cfg.DataShards, s.cfg.ParityShards, s.cfg.FixedFEC)
		}
		for _, segments := range s.dec.add(seqid, kind == fecData, body) {
			s.counts.Rebuilt++
			s.core.input(segments, millis(), true)
		}
	}
	if s.cfg.ACKNoDelay {
		s.flushLocked(true)
	}
	s.changed.Broadcast()
}

// peel returns the kind of a FEC datagram, its seqid, and what it has from the size field on; kind 0
// for any other.
func peel(b []byte) (kind uint16, seqid uint32, body []byte) {
	if len(b) < fecOverhead {
		return 0, 0, nil
	}
	kind = binary.LittleEndian.Uint16(b[4:])
	if kind < fecData || kind > fecOOB {
		return 0, 0, nil
	}
	return kind, binary.LittleEndian.Uint32(b), b[6:]
}

// Read takes a message, or as much as fits of one, in stream mode of all there is.
func (s *Session) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if len(s.rest) == 0 {
			s.rest, _ = s.core.read()
		}
		n := copy(b, s.rest)
		s.rest = s.rest[n:]
		for s.cfg.Stream && len(s.rest) == 0 && n < len(b) {
			message, ok := s.core.read()
			if !ok {
				break
			}
			m := copy(b[n:], message)
			s.rest, n = message[m:], n+m
		}
		if n > 0 {
			return n, nil
		}
		if err := s.waitLocked(); err != nil {
			return 0, err
		}
	}
}

// Write queues all of b as soon as fewer segments wait than the send window has, and sends what it
// may.
func (s *Session) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.closed || s.core.waiting() >= s.cfg.SendWindow {
		if err := s.waitLocked(); err != nil {
			return 0, err
		}
	}
	s.core.write(b)
	if !s.cfg.WriteDelay || s.core.waiting() >= s.cfg.SendWindow {
		s.flushLocked(false)
	}
	return len(b), nil
}

// waitLocked waits until something may have changed.
func (s *Session) waitLocked() error {
	switch {
	case s.closed:
		return ErrClosed
	case !s.until.IsZero() && !time.Now().Before(s.until):
		return ErrTimeout
	}
	s.changed.Wait()
	return nil
}

// SetDeadline sets the time from which on Read and Write do not wait, rounded up to the timer's next
// run. The error is nil.
func (s *Session) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = t
	s.changed.Broadcast()
	return nil
}

// SendOOB sends an out-of-band datagram, which needs FEC.
func (s *Session) SendOOB(payload []byte) {
	b := header(nil, 0xffffffff, fecOOB)
	b = binary.LittleEndian.AppendUint16(b, uint16(2+4+len(payload)))
	b = binary.LittleEndian.AppendUint32(b, s.conv)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendLocked(append(b, payload...))
}

// Conv returns the conversation id, and Peer the other end's address.
func (s *Session) Conv() uint32   { return s.conv }
func (s *Session) Peer() net.Addr { return s.peer }

// Counts returns what the session has seen so far.
func (s *Session) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Rejected, c.Asked, c.Told = s.core.rejected, s.core.asked, s.core.told
	return c
}

// Waiting returns how many segments are not acknowledged.
func (s *Session) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.waiting()
}

// Close sends what the windows allow once, and is silent from then on.
func (s *Session) Close() error { return s.end(true) }

// Kill is silent at once, as a process that was killed is.
func (s *Session) Kill() { s.end(false) }

func (s *Session) end(flush bool) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if flush {
		s.flushLocked(false)
	}
	s.closed = true
	close(s.stop)
	s.changed.Broadcast()
	s.mu.Unlock()
	s.onClose()
	return nil
}
