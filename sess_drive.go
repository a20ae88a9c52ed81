package kcp

import (
	"math"
	"sync/atomic"
)

// Three things drive a session: a caller (Write, Read, Close, a setter), a socket's reader with
// datagrams, and a timer. Each takes the lock, passes what it has to the core, flushes once if
// that is worth it (driveLocked), and sends what came out when it releases the lock
// (unlockAndSend).
//
// Lock order: a shard of a transport's table, then the listener, then the transport and its index. None is
// locked while a session is, nor one session while another is.

// maxPostponed bounds how often in a row, readerSlack each time, the timer waits for a reader that
// has something to read.
const maxPostponed = 50

// driveLocked is the last thing that a driver does before unlockAndSend: it flushes if flush is
// set or there is reason to, wakes whoever can go on, ends a closed session that is done, and arms
// the timer for what is due next.
func (s *UDPSession) driveLocked(now int64, flush bool) {
	if s.closing.state >= stateDraining {
		return
	}
	if s.closing.readClosed && s.core.discard() && s.closing.state == stateClosing {
		s.closing.discarded = true
	}
	if s.unproved && s.provenLocked() {
		s.unproved = false
		s.owner.proven(s)
	}
	s.checkResetLocked()
	if s.err == nil {
		s.endStreamLocked(now)
		s.checkLivenessLocked(now)
	}
	if s.seal != nil && s.seal.dial != nil {
		s.driveSilenceLocked(now)
	}
	if s.roam != nil {
		s.driveRoamingLocked(now)
	}
	if s.err == nil {
		s.uncorkLocked()
		if s.writable.notify.armed { // the caller of TryWrite waits
			s.core.noteRoomAwaited(now)
		}
		if flush || now >= s.flushBy || s.core.flushDue(now) {
			s.flushLocked(now)
		}
		s.noteAwaitingLocked(now)
	}
	s.wakeCallersLocked(now)
	if s.closing.state == stateClosing {
		if s.lingerOnLocked(now); s.doneLocked(now) {
			s.endLocked(now)
		}
	}
	s.foldLocked()
	s.noteLimitLocked(now)
	s.scheduleLocked(now)
}

// wakeCallersLocked wakes the calls that wait and can go on, and calls the functions of
// SetReadNotify and SetWriteNotify.
func (s *UDPSession) wakeCallersLocked(now int64) {
	if s.readable.waiting > 0 && (s.capsProbe.dialling && s.peerReadyLocked() || s.core.directRead() > 0 ||
		s.core.readable() || s.core.finReceived() || now >= s.readable.deadline) {
		s.wakeLocked(&s.readable)
	} else if s.readable.notify.f != nil {
		s.readable.notify.signal(&s.mu)
	}
	if s.writable.waiting > 0 && (s.core.WaitSnd() <= s.lowWaterLocked() || now >= min(s.restAt, s.messageAt, s.writable.deadline)) {
		s.messageAt = never // each that goes on waiting sets it again
		s.wakeLocked(&s.writable)
	} else if s.writable.notify.f != nil {
		s.writable.notify.signal(&s.mu)
	}
	if q := s.dgramsIn; q != nil && q.waiting > 0 && (s.core.dgramArrived() || s.core.finReceived()) {
		s.wakeLocked(q)
	}
}

// noteLimitLocked notes what keeps the session from sending more.
func (s *UDPSession) noteLimitLocked(now int64) {
	limit := LimitNone
	if s.err == nil && s.closing.state < stateDraining {
		limit = s.core.limitedBy(now)
	}
	if was := s.limits.limit; was != limit && s.core.trace != nil {
		s.traceLocked(now, EventLimit, func(e *Event) { e.Old, e.New = was.String(), limit.String() })
	}
	s.limits.note(now, limit)
}

// foldLocked adds what was counted since the last time to the session's and the process's counters,
// with what the session holds now.
func (s *UDPSession) foldLocked() {
	s.core.noteMemory()
	s.core.ringBuffers(&s.count, &s.total)
	if s.dec != nil {
		open, oldest := s.dec.open()
		s.count.shardSets(&s.total, open)
		if open > 0 || s.total.FECShardSet > 0 {
			atomic.StoreUint64(&s.cfg.snmp.FECShardMin, uint64(oldest))
		}
	}
	s.cfg.snmp.foldBoth(&s.count, &s.total)
}

// flushLocked flushes, or notes that this has to be done once the socket takes what is queued.
func (s *UDPSession) flushLocked(now int64) {
	if s.flushHeld = s.tx.crowded(); s.flushHeld {
		return
	}
	if z := s.seal; z != nil {
		if z.leadDue = z.lead != nil; z.phase == sealOffered {
			s.offerLocked(now)
		}
	}
	if s.enc != nil && s.repairing != s.core.repairing() {
		s.switchRepairsLocked()
	}
	s.followMTULocked(now)
	s.core.flush(now)
	s.flushedMTULocked()
	s.flushHeld = s.tx.crowded() // it may have left something
	s.flushBy = never
	s.core.cork(false)
	s.checkResetLocked() // a question may have been answered
}

// switchRepairsLocked has repairs take the place of parity, for a peer that takes them, or ends that.
// Datagrams have no FEC header meanwhile.
func (s *UDPSession) switchRepairsLocked() {
	s.repairing = !s.repairing
	if !s.repairing {
		s.core.ReserveBytes(s.cfg.headroom())
		return
	}
	s.enc.skipParity()
	s.core.setParity(false)
	s.core.ReserveBytes(s.cfg.env.head)
}

// checkResetLocked fails a session whose peer has reset it, or does not have it any more.
func (s *UDPSession) checkResetLocked() {
	if s.core.wasReset() {
		s.failLocked(errReset)
	}
	s.checkSuccessorLocked()
}

// scheduleLocked arms the timer for what is due next. Whoever waits with a deadline of woken or
// earlier has been woken, and may not have run yet.
func (s *UDPSession) scheduleLocked(woken int64) {
	if s.closing.state >= stateDraining {
		return
	}
	at := int64(never)
	if s.err == nil {
		at = min(s.livenessAtLocked(), s.capsProbe.at)
		if s.seal != nil && s.seal.dial != nil {
			at = min(at, s.askKnownAtLocked(), s.readAskAtLocked(), s.takeSocketAtLocked())
		}
		if s.timersHeld = s.tx.crowded(); !s.timersHeld {
			at = min(at, s.core.deadline(), s.flushBy)
		}
		if s.roam != nil {
			at = min(at, s.roam.deadline())
		}
		if s.dec != nil && s.dec.holding() || s.enc != nil && len(s.enc.parity) > 0 ||
			s.tx.spare != nil || s.pool.free != nil {
			at = min(at, s.core.trimAt())
		}
	}
	for _, t := range [...]int64{s.restAt, s.messageAt} {
		if s.writable.waiting > 0 && t > woken {
			at = min(at, t)
		}
	}
	for _, q := range [...]*waitQueue{&s.readable, &s.writable} {
		if (q.waiting > 0 || q.notify.armed) && q.deadline > woken {
			at = min(at, q.deadline)
		}
	}
	if s.closing.state == stateClosing {
		at = min(at, s.closing.lingerUntil)
	}
	if at < s.armed {
		s.armed = at
		s.task.arm(at)
	}
}

// onTimer is the timer's drive.
func (s *UDPSession) onTimer(now int64) {
	unread := s.path().sock.pollUnread(now)
	s.mu.Lock()
	s.armed = never
	// What waits to be read may be the acknowledgement of what would be declared lost.
	if unread && s.closing.state < stateDraining && s.postponed < maxPostponed {
		s.postponed++
		s.armed = now + readerSlack
		s.task.arm(s.armed)
		s.mu.Unlock()
		return
	}
	s.postponed = 0
	if now >= s.core.trimAt() && s.closing.state < stateDraining {
		s.trimLocked(now)
	}
	s.driveLocked(now, false)
	s.unlockAndSend(false)
}

// trimLocked gives back the memory that a pause leaves unused.
func (s *UDPSession) trimLocked(now int64) {
	s.core.trim(now)
	if s.enc != nil {
		s.enc.trim(now)
	}
	if s.dec != nil {
		s.dec.release()
	}
	s.pool.trim()
	s.tx.trim()
	if s.seal != nil {
		s.seal.trim()
	}
}

// buffer, sendInPlace, batches, full and emit, with dataRoom and challengeFits, make the session its core's sink.
func (s *UDPSession) buffer(n int) []byte {
	return s.tx.buffer(&s.path().destination, n+s.behindMax())
}
func (s *UDPSession) sendInPlace(p *packet)    { s.tx.sendInPlace(p, &s.path().destination) }
func (s *UDPSession) batches() *inPlaceBatches { return &s.tx.inPlace }
func (s *UDPSession) full() bool               { return s.tx.crowded() }
func (s *UDPSession) emit(now int64, n int, hasData bool) {
	o := s.tx.finish(n)
	if s.seal != nil {
		s.leadLocked()
	}
	var parity []*packet
	if s.enc != nil && !s.repairing {
		if s.enc.count == 0 {
			s.enc.use(s.enc.adapter.adapt(now, s.enc.code, s.core.path()))
			s.core.setParity(s.enc.send > 0)
		}
		parity = s.enc.encode(o.data, now)
	}
	if hasData {
		s.core.limitSpend(s.behind() + s.copies*(n+s.behind()))
		s.limitCharged++
	}
	s.enqueueLocked(o)
	for _, p := range parity {
		// The rate limit counts the same share of the parity as of the group's datagrams.
		s.core.limitSpend((1 + s.copies) * (len(p.data) + s.behind()) * s.limitCharged / s.enc.code.data)
		if s.addressTakesLocked(len(p.data), challengeReserve) {
			s.enqueueLocked(outbound{p.data, p, &s.path().destination, s.tx.keys})
		} else {
			s.pool.put(p)
		}
	}
	if s.enc != nil && s.enc.count == 0 {
		s.limitCharged = 0
	}
}

// unlockAndSend releases the lock and sends what is queued, in order, unless another driver is
// sending: then that one does. own says that the caller has written what is queued, and may be
// kept for as long as that takes. Nothing of the session may be used afterwards.
func (s *UDPSession) unlockAndSend(own bool) {
	if s.tx.pending() || s.heldLocked() {
		until := int64(never)
		if !own {
			until = clock() + sendBudget
		}
		for s.sendLocked(until) {
			if own { // from here on it is for others
				own, until = false, clock()+sendBudget
			} else if clock() >= until {
				break
			}
		}
		s.tx.deferRest()
	}
	s.unlockSent()
}

// sendLocked sends what is queued, without the lock meanwhile, until the time until. It returns
// false, and has done nothing, if nothing is or another driver is sending.
func (s *UDPSession) sendLocked(until int64) bool {
	sent, refused, err := s.tx.send(until)
	s.sentLocked(refused, err)
	s.goOnLocked()
	return sent
}

// heldLocked says whether something was held back because the sender was crowded.
func (s *UDPSession) heldLocked() bool { return s.flushHeld || s.timersHeld }

// goOnLocked does what was held back, once the sender is crowded no more.
func (s *UDPSession) goOnLocked() {
	if s.heldLocked() && !s.tx.crowded() {
		flush := s.flushHeld
		s.flushHeld, s.timersHeld = false, false
		s.driveLocked(clock(), flush)
		s.wakeLocked(&s.writable)
	}
}

// sentLocked notes the result of sending.
func (s *UDPSession) sentLocked(refused int, err error) {
	s.countRefusedLocked(refused)
	if refused > 0 && s.path().sock.gone.Load() {
		s.socketGoneLocked()
	}
	if err != nil && s.closing.state == stateOpen {
		s.failLocked(brokenError{err})
	}
}

// sendDeferred is the write loop's drive.
func (s *UDPSession) sendDeferred() (more, full bool) {
	s.mu.Lock()
	if s.closing.state == stateClosed {
		s.tx.deferred = false
		s.unlockSent()
		return false, false
	}
	refused, full, err := s.tx.resume(clock() + sendBudget)
	s.sentLocked(refused, err)
	s.goOnLocked()
	more = s.tx.pending() && s.closing.state != stateClosed
	s.tx.deferred = more
	s.unlockSent()
	return more, full
}

// unlockSent releases the lock after sending, and leaves the socket if the session is over.
func (s *UDPSession) unlockSent() {
	leave := false
	if s.closing.state >= stateDraining {
		leave = s.leavesLocked(clock())
		if s.closing.state == stateClosed && !s.tx.busy {
			s.tx.discard() // it was given up, and the socket is no longer the session's
			s.signalDoneLocked()
		}
		s.pool.trim()
	}
	next := s.takeSuccessorLocked()
	from, moved := s.takeMovedLocked()
	s.mu.Unlock()
	if next != nil {
		s.owner.succeed(s, next)
	}
	if moved {
		s.owner.moved(s, from)
	}
	switch {
	case !leave:
	case s.path().sock.opened:
		s.leave()
	default: // a PacketConn of the caller's may take its time to close
		go s.leave()
	}
}

// newSession makes a session that nothing drives yet. owner is nil for one with a socket of its own.
func newSession(cfg *config, sock *socket, owner sessionOwner, conv uint32, to destination) *UDPSession {
	s := &UDPSession{
		cfg: cfg, conv: conv, owner: owner, first: path{sock, to},
		dialled:    owner == nil || owner.dials(),
		writeDelay: cfg.writeDelay, mtuGrows: cfg.mtuGrows,
		restAt: never, messageAt: never, flushBy: never, armed: never, created: clock(),
		closing:   closing{linger: cfg.linger},
		capsProbe: capsProbe{at: never},
		keepalive: keepalive{idle: cfg.idle, user: cfg.user},
		limits:    limitClock{limit: LimitApplication},
	}
	s.way.Store(&s.first)
	s.limits.since = s.created
	for _, q := range []*waitQueue{&s.readable, &s.writable} {
		q.cond.L, q.deadline = &s.mu, never
	}
	s.keepalive.setPeriod(cfg.keepAlive)
	s.pool.parent = &packets
	s.tx = sender{mu: &s.mu, owner: s, env: &cfg.env, snmp: cfg.snmp, sock: sock, pool: &s.pool}
	s.core = newCore(conv, s, &s.pool, &s.count, s.created)
	s.core.configure(cfg, s.dialled)
	if cfg.fec != nil {
		s.enc = newFECEncoder(cfg.fec, cfg.env.head, &s.pool)
		s.enc.adapter.setMinParity(cfg.fecMin)
	}
	if handler := cfg.oobHandler; handler != nil {
		s.oob.handler = func(b []byte) { handler(s, b) }
	}
	if s.dialled && cfg.seal.seals() && cfg.caps&capRecords != 0 {
		s.dialSealedLocked()
	}
	s.setMtuLocked(cfg.mtu)
	s.startTracing()
	s.task = cfg.sched.task(s.onTimer)
	return s
}

// waitLocked waits in q, at most until its deadline.
func (s *UDPSession) waitLocked(q *waitQueue) {
	q.waiting++
	s.scheduleLocked(math.MinInt64)
	q.cond.Wait()
	q.waiting--
}

// configure changes a setting under the lock, and lets it take effect. After Close it returns
// net.ErrClosed and changes nothing.
func (s *UDPSession) configure(set func() error) error {
	s.mu.Lock()
	if s.closing.state != stateOpen {
		s.mu.Unlock()
		return s.opError("set", errClosed)
	}
	err := set()
	s.driveLocked(clock(), false)
	s.unlockAndSend(false)
	return err
}
