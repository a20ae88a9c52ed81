package kcp

import "time"

// unsealedInputLocked takes a datagram that is not sealed. It says whether the datagram goes on to the
// core.
func (s *UDPSession) unsealedInputLocked(now int64, c *contents) bool {
	z := s.seal
	in := inUnsealed
	r := c.handshake(s.conv)
	if s.cfg.simultaneous && z.dropsUnsealed(c, &r) && r.hello == nil && r.welcome == nil && r.retry == nil {
		s.count.InUnsealed++
		return false
	}
	if r.any && z.dial != nil {
		switch {
		case r.hello != nil && z.dial.isOwn(r.hello):
			in = inOwnHello
		case r.hello != nil && s.cfg.simultaneous && z.phase != sealUnsealed:
			s.peerHelloLocked(now, &r, c)
			return false
		case r.welcome != nil:
			if s.welcomeLocked(now, r.welcome); len(r.welcome) == 0 && z.phase == sealOffered {
				s.refusedSealLocked(now)
			}
			return false
		case r.retry != nil && z.phase == sealOffered:
			s.retryLocked(r.retry)
			return false
		}
	}
	_, act := z.phase.onDatagram(in, s.cfg.seal.required)
	if act&doTake == 0 {
		s.count.InUnsealed++
		s.traceDropLocked(now, dropUnsealed, 1)
	}
	if z.phase == sealOffered && z.dial.shake != nil && in == inUnsealed && s.cfg.seal.required && c.hasConv && c.conv == s.conv && wellFormed(s.conv, c.body) {
		s.refusedSealLocked(now)
	}
	return act&doTake != 0
}

// retryLocked takes a token from RETRY, which HELLO is to come with.
func (s *UDPSession) retryLocked(token []byte) {
	d := s.seal.dial
	if d.shake == nil {
		return
	}
	if taken, atOnce := d.retry(token); taken {
		s.core.setLead(d.records(nil), atOnce)
	}
}

const (
	// sealRefusals is how many answers that are not sealed end a session that has to be, over
	// sealRefusedTime at least: one may be forged, or late.
	sealRefusals    = 3
	sealRefusedTime = int64(time.Second)
)

// refusedSealLocked notes that the peer answers and does not seal.
func (s *UDPSession) refusedSealLocked(now int64) {
	z := s.seal
	if z.refusals == 0 {
		z.refusedAt = now
	}
	if z.refusals++; z.refusals >= sealRefusals && now-z.refusedAt >= sealRefusedTime {
		s.failLocked(z.refusal())
	}
}

// refusal says why the session is not sealed, nil where nothing was heard.
func (z *sessionSeal) refusal() error {
	switch {
	case z.dial == nil:
		return nil
	case z.dial.differs:
		return ErrKeyDiffers
	case z.refusals > 0:
		return ErrNotSealed
	}
	return nil
}

// noteProofLocked decides that the session is not sealed once the peer has shown that it has it so.
func (s *UDPSession) noteProofLocked() {
	if s.offeredLocked() && !s.core.unconfirmed() {
		s.unsealLocked()
	}
}

// welcomeLocked takes the body of a WELCOME record.
func (s *UDPSession) welcomeLocked(now int64, body []byte) {
	z := s.seal
	switch {
	case z.phase >= sealWelcomed:
		s.stillKnownLocked(body)
		return
	case z.phase == sealUnsealed || z.dial.shake == nil:
		return
	}
	retried := len(z.dial.token) > 0
	w, sealer, opener, ok := z.dial.welcome(body)
	if !ok {
		return
	}
	s.cfg.seal.keyLog.note(&z.dial.id, s.conv, z.dial.index, sealer, opener)
	z.phase, z.sealer, z.cipher, z.early = sealWelcomed, sealer, w.cipher, w.early
	s.tx.keys = sealer
	tickets.put(s.ticketOf(), w.ticket)
	listed := uint32(z.dial.listed)
	if !w.early && s.core.sentTo() > 0 {
		s.count.EarlyRefused++
	}
	s.core.beginSealDialled(now, w.params, w.early, retried)
	s.count.Sealed++
	s.traceSealedLocked()
	s.restartFECLocked()
	s.remeasureMTULocked()
	var list []byte
	if sent := s.core.sentTo(); sent > listed {
		list = appendEarly(nil, listed, s.core.digests(listed, min(sent, listed+uint32(s.core.listMax()))))
	}
	s.core.askSealed(now, list)
	z.peer.opener.Store(opener)
	s.wakeLocked(&s.readable)
	held, numbers := z.held, z.heldNum
	z.held, z.heldNum = nil, nil
	for i, p := range held {
		if payload, result := opener.open(p.data, z.peer.index, numbers[i]); result == sealedOpened {
			s.sealedInputLocked(now, &inbound{data: payload, sealed: z.peer})
		} else if result == sealedRepeat {
			s.count.InReplays++
			s.traceDropLocked(now, dropReplay, 1)
		} else {
			s.count.InCsumErrors++
			s.traceDropLocked(now, dropDecryption, 1)
		}
		packets.put(p)
	}
}

// sealedInputLocked takes a sealed datagram, opened, or to be held until there are keys.
func (s *UDPSession) sealedInputLocked(now int64, d *inbound) {
	z := s.seal
	if z.phase == sealOffered {
		if len(z.held) < sealHeldMax && len(d.data) <= mtuLimit {
			p := packets.get()
			p.data = p.mem[:copy(p.mem[:], d.data)]
			z.held, z.heldNum = append(z.held, p), append(z.heldNum, d.number)
		}
		return
	}
	if d.unopened { // WELCOME was in the same batch
		payload, result := z.peer.open(d.data, d.number)
		if result != sealedOpened {
			s.count.InCsumErrors++
			return
		}
		d.data, d.unopened = payload, false
	}
	c, ok := parseContents(d.data)
	if z.phase == sealWelcomed {
		z.phase, z.lead = sealProven, nil
		s.core.endAskSealed()
		if s.dialled && z.shake != nil { // the peer's HELLO was answered
			s.takeEarlyLocked(now, 0, z.shake.hello.digests)
		}
	}
	z.asked = 0
	if h := z.shake; h != nil && ok {
		if r := c.handshake(s.conv); r.early != nil {
			if first, digests, ok := parseEarly(r.early); ok {
				s.takeEarlyLocked(now, first, digests)
			}
			h.dropEarly()
			z.shake = nil
		}
	}
	s.datagramLocked(now, d.data, &c, ok)
	if s.roam != nil {
		s.pathEchoesLocked(now, d.from)
	}
}

// takeEarlyLocked takes what came before there were keys, as far as a list names it.
func (s *UDPSession) takeEarlyLocked(now int64, first uint32, digests []digest) {
	h := s.seal.shake
	if h == nil || s.err != nil || s.closing.state >= stateDraining {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.early.take(first, digests, &packets, func(seg *header, body []byte) {
		s.total.InPkts++
		s.core.takeEarlySegment(now, seg, body)
	})
}

// takeHelloLocked takes what HELLO lists at once.
func (s *UDPSession) takeHelloLocked(now int64) {
	if h := s.seal.shake; h != nil && s.seal.phase == sealWelcomed {
		s.takeEarlyLocked(now, 0, h.hello.digests)
	}
}

// handshake returns the records of a handshake that a datagram's segments have.
func (c *contents) handshake(conv uint32) (r handshakeRecords) {
	if k := c.kind(); k != 0 && k != fecTypeData || len(c.body) < IKCP_OVERHEAD {
		return r
	}
	if cmd := c.body[4]; cmd != IKCP_CMD_WINS && cmd != IKCP_CMD_WASK {
		return r
	}
	return findHandshake(conv, c.body)
}

// askKnownLocked asks a peer that leaves several timeouts unanswered whether it still knows the session:
// it may have been restarted, and has no keys to say so.
func (s *UDPSession) askKnownLocked(now int64) {
	z := s.seal
	if now < s.askKnownAtLocked() {
		return
	}
	records, err := z.dial.ask(time.Now())
	if err != nil {
		return
	}
	p := s.cfg.recordsPacket(s.conv, records)
	s.tx.enqueue(outbound{p.data, p, &s.path().destination, nil}, 0)
	z.asked++
	z.askAt = now + s.core.retransmitAfter(z.asked)
}

// askKnownAtLocked is when askKnownLocked has something to do.
func (s *UDPSession) askKnownAtLocked() int64 {
	z := s.seal
	if z.phase < sealWelcomed || s.err != nil {
		return never
	}
	return max(later(s.owedSinceLocked(), s.silenceLocked()), z.askAt)
}

// stillKnownLocked takes a WELCOME that may be the answer to that question.
func (s *UDPSession) stillKnownLocked(body []byte) {
	answer, gone := s.seal.dial.unknown(body)
	if answer && gone {
		s.failLocked(errReset)
	}
}
