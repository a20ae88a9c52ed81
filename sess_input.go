package kcp

import (
	"runtime"
	"time"
)

// driveInputLocked is the drive of a socket's reader. Where a single acknowledgement, and nothing
// else, would be sent at once (SetACKNoDelay), the goroutine that reads the data has a turn first: if
// it answers at once, its answer carries the acknowledgement. Afterwards flushHeldAck is due: held
// says that the caller has to see to that.
func (s *UDPSession) driveInputLocked(now int64) (held bool) {
	if s.answerableLocked() && now >= s.path().sock.yieldFrom.Load() {
		s.core.holdAck()
	}
	s.driveLocked(now, false)
	if !s.core.ackHeld() {
		return false
	}
	if s.path().sock.udp != nil {
		return true
	}
	// Neither the reader of any other PacketConn nor the goroutine of a PacketPusher is kept.
	if s.ackTimer == nil {
		s.ackTimer = time.AfterFunc(ackTurn, func() {
			runtime.Gosched()
			s.flushHeldAck(clock())
		})
	} else {
		s.ackTimer.Reset(ackTurn)
	}
	return false
}

// ackTurn has a timer fire as soon as it is looked at; where time is virtual, when all that can run has
// run.
const ackTurn = time.Nanosecond

// answerableLocked says whether something can be read, and somebody is about to: a Read waits, a
// function is notified, or the goroutine that reads may still be in the Write before.
func (s *UDPSession) answerableLocked() bool {
	r := &s.readable
	return (r.waiting > 0 || r.notify.f != nil || s.tx.busy) && (s.core.directRead() > 0 || s.core.readable())
}

// flushHeldAck sends what driveInputLocked has held, if nothing has carried it meanwhile.
func (s *UDPSession) flushHeldAck(now int64) {
	lockSpinning(&s.mu)
	s.releaseAckLocked(now)
	s.unlockAndSend(false)
}

// releaseAckLocked drives a session whose acknowledgement is still held. Nothing is held afterwards.
func (s *UDPSession) releaseAckLocked(now int64) (held bool) {
	if s.core.ackHeld() {
		s.core.releaseAck()
		s.driveLocked(now, false)
	}
	return false
}

// datagramLocked takes an opened datagram b and what parseContents has made of it.
func (s *UDPSession) datagramLocked(now int64, b []byte, c *contents, ok bool) {
	number := c.number()
	others := !s.dialled && s.seal == nil && number != 0 && s.core.othersNumber(number)
	if others {
		s.keepBackLocked(b, number)
	}
	switch {
	case s.closing.state >= stateDraining:
		if ok {
			s.replyLocked(now, c)
		}
		return
	case s.err != nil:
		return
	}
	s.total.InPkts++
	s.total.InBytes += uint64(s.cfg.env.head + len(b) + s.behind())
	switch {
	case !ok:
		s.count.FECErrs++
		s.traceDropLocked(now, dropInvalid, 1)
		return
	case s.owner == nil && c.conv != s.conv && (c.kind() == 0 || c.kind() == fecTypeData):
		s.otherConvLocked(c)
		return
	case !c.isFEC, others: // which is no shard of this session's
		s.segmentsLocked(now, c.body, true)
		return
	}
	s.shardLocked(now, b[fecShardStart:], c)
}

// shardLocked takes a shard, and what becomes whole by it.
func (s *UDPSession) shardLocked(now int64, shard []byte, c *contents) {
	switch c.fec.kind {
	case fecTypeOOB:
		s.oobLocked(c)
		return
	case fecTypeData:
		s.segmentsLocked(now, c.body, true)
		shard = shard[:c.fec.size]
	}
	if s.dec == nil {
		s.dec = newFECDecoder(s.cfg.fec, s.cfg.env.authentic(), &s.pool, &s.count)
	}
	s.dec.add(c.fec, shard, func(segments []byte) {
		// What is rebuilt under shard counts that are not the peer's is not well formed.
		if wellFormed(s.conv, segments) {
			s.segmentsLocked(now, segments, false)
		} else {
			s.count.FECErrs++
		}
	})
}

// otherConvLocked answers the peer when it asks for a session that is not the one of this socket.
func (s *UDPSession) otherConvLocked(c *contents) {
	s.count.KCPInErrors++
	if p := s.cfg.probeReply(c.conv, c.body); p != nil && !s.tx.crowded() {
		s.enqueueLocked(outbound{p.data, p, &s.path().destination, s.tx.keys})
	} else if p != nil {
		packets.put(p)
	}
}

func (s *UDPSession) segmentsLocked(now int64, b []byte, regular bool) {
	if s.core.input(now, b, regular) < 0 {
		s.count.KCPInErrors++
		s.traceDropLocked(now, dropInvalid, 1)
	}
}

// abort breaks the session with err, and ends it if it was closed.
func (s *UDPSession) abort(err error) {
	s.mu.Lock()
	s.failLocked(err)
	s.driveLocked(clock(), false)
	s.unlockAndSend(false)
}
