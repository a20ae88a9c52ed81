package kcp

import (
	"encoding/binary"

	"github.com/pkg/errors"
)

// oobQueueMax bounds the out-of-band payloads that wait for their handler. Later ones are dropped
// and counted in InErrs.
const oobQueueMax = 256

// oobSendMax bounds the out-of-band datagrams that wait for the socket, copies included.
const oobSendMax = 64

// oobLocked queues an out-of-band payload for the handler.
func (s *UDPSession) oobLocked(c *contents) {
	if !c.hasConv || c.conv != s.conv {
		s.count.InErrs++
		return
	}
	s.count.OOBPackets++
	q := &s.oob
	if q.handler == nil || s.closing.state != stateOpen {
		return
	}
	if len(q.waiting) >= oobQueueMax || len(c.body) > mtuLimit {
		s.count.InErrs++
		return
	}
	p := packets.get()
	p.data = p.mem[:copy(p.mem[:], c.body[convSize:])]
	q.waiting = append(q.waiting, p)
	if !q.running {
		q.running = true
		go s.handleOOB()
	}
}

// discard drops the payloads that wait.
func (q *oobQueue) discard() {
	for _, p := range q.waiting {
		packets.put(p)
	}
	q.waiting = nil
}

// handleOOB calls the handler until nothing waits. After Close it is not called any more.
func (s *UDPSession) handleOOB() {
	q := &s.oob
	s.mu.Lock()
	for len(q.waiting) > 0 {
		p, handler := q.waiting[0], q.handler
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		if handler != nil && s.closing.state == stateOpen {
			s.mu.Unlock()
			handler(p.data)
			s.mu.Lock()
		}
		packets.put(p)
	}
	q.waiting, q.running = nil, false
	s.mu.Unlock()
}

// GetOOBMaxSize returns the longest payload of SendOOB in bytes, 0 without FEC.
func (s *UDPSession) GetOOBMaxSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oobMaxLocked()
}

func (s *UDPSession) oobMaxLocked() int {
	if s.enc == nil {
		return 0
	}
	return max(0, s.core.payloadMax(s.cfg.headroom())-convSize)
}

// SendOOB sends b, at most GetOOBMaxSize bytes, as a datagram beside the stream: at once,
// unordered, and without repair if it is lost. The stream's datagrams go first. It is dropped, as
// the path might drop it, where 64 wait for the socket already, the socket does not take even the
// stream's, or these have timed out twice in a row, as the path carries less than is sent, or more
// may not go to a peer that has not shown that it receives (see ListenConfig); then the result is nil,
// and Stats.OOBDropped and OutErrs count it. The session needs FEC, whose framing it uses; the peer
// needs a handler. A first datagram that is out-of-band makes the session at a
// listener with FEC, and one that is not sealed; while a session that begins with a Write waits to be
// sealed, a round trip, they are dropped as well.
func (s *UDPSession) SendOOB(b []byte) error {
	s.mu.Lock()
	if err := s.sendOOBLocked(b); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.core.addressPending() {
		s.driveLocked(clock(), false) // it may have to be challenged
	}
	s.unlockAndSend(true)
	return nil
}

func (s *UDPSession) sendOOBLocked(b []byte) error {
	switch most := s.oobMaxLocked(); {
	case s.closing.state != stateOpen:
		return s.opError("write", errClosed)
	case s.err != nil:
		return s.opError("write", s.err)
	case s.enc == nil:
		return errOOBNeedsFEC
	case len(b) > most:
		return errors.Errorf("kcp: out-of-band payload of %d bytes: at most %d", len(b), most)
	case s.offeredLocked() && s.oobWaitsLocked(), s.tx.crowded(), len(s.tx.oob) >= oobSendMax, s.core.timedOutTwice():
		s.dropOOBLocked()
		return nil
	case !s.addressTakesLocked(s.cfg.env.head+fecHeaderSize+convSize+len(b), challengeReserve):
		s.core.challengeAddress()
		s.dropOOBLocked()
		return nil
	}
	at := s.cfg.env.head
	p := s.pool.get()
	p.data = p.mem[:at+fecHeaderSize+convSize+len(b)]
	putFECHeader(p.data[at:], oobSeqid, fecTypeOOB)
	binary.LittleEndian.PutUint16(p.data[at+fecShardStart:], uint16(fecSizeField+convSize+len(b)))
	binary.LittleEndian.PutUint32(p.data[at+fecHeaderSize:], s.conv)
	copy(p.data[at+fecHeaderSize+convSize:], b)
	s.chargeLocked(len(p.data))
	s.tx.enqueueOOB(outbound{p.data, p, &s.path().destination, s.tx.keys}, s.copies)
	return nil
}

func (s *UDPSession) dropOOBLocked() {
	s.oobDropped++
	s.countRefusedLocked(1)
}

// SetOOBHandler sets the function that is called with the payload of each out-of-band datagram
// that arrives, one at a time, nil to drop them. It is called from a goroutine of its own, and may
// block: up to 256 payloads wait for it, further ones are dropped and counted in InErrs. It may
// call any method of the session. A session without FEC, which cannot answer, returns an error, an
// errors.ErrUnsupported.
func (s *UDPSession) SetOOBHandler(callback OOBCallBackType) error {
	return s.configure(func() error {
		if s.enc == nil {
			return errOOBNeedsFEC
		}
		s.oob.handler = callback
		return nil
	})
}
