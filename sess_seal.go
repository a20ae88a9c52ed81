package kcp

import (
	"crypto/cipher"
	"math/rand/v2"
	"time"
)

// sessionSeal is how far a session is on the way to being sealed; see sealPhase. The session's lock
// guards it, but for demux, which is its reader's.
type sessionSeal struct {
	phase  sealPhase
	demux  *sealDemux // of a dialled session
	peer   *sealedPeer
	dial   *sealDialler // likewise
	shake  *handshake   // of an accepted one
	sealer *datagramSealer
	cipher uint8
	early  bool // what was sent before there were keys was taken at once

	held    []*packet // sealed datagrams that came before WELCOME
	heldNum []uint64
	lead    []byte // WELCOME, which goes ahead of whatever an accepted session sends, until it is proven
	leadDue bool
	askAt   int64 // when to ask whether the session is still known
	asked   int

	refusals  int   // answers that are not sealed, where the session has to be
	refusedAt int64 // when the first one came
}

const (
	// sealHeldMax is how many sealed datagrams are held until WELCOME comes.
	sealHeldMax = 16
	// sealAskAfter is how many timeouts a peer may leave unanswered before it is asked whether it knows the
	// session.
	sealAskAfter = 3
)

// newDialledSeal prepares a session that is dialled to be sealed.
func newDialledSeal(cfg *config, conv uint32) *sessionSeal {
	z := &sessionSeal{phase: sealOffered, peer: &sealedPeer{index: rand.Uint32()}}
	z.dial = &sealDialler{id: cfg.seal.id, head: cfg.seal.head, conv: conv, index: z.peer.index}
	z.demux = &sealDemux{heads: []cipher.Block{cfg.seal.head}, find: func(index uint32) *sealedPeer {
		if index == z.peer.index {
			return z.peer
		}
		return nil
	}}
	return z
}

// newAcceptedSeal is that of a session that a listener makes for a handshake.
func newAcceptedSeal(p *sealedPeer) *sessionSeal {
	h := p.shake
	return &sessionSeal{
		phase: sealWelcomed, peer: p, shake: h, sealer: h.sealer, cipher: h.cipher, early: h.taken,
		lead: appendRecord(nil, recordWelcome, h.welcome),
	}
}

// sealedDemux is what the reader of a dialled session finds sealed datagrams with.
func (s *UDPSession) sealedDemux() *sealDemux {
	if s.seal == nil {
		return nil
	}
	return s.seal.demux
}

// offeredLocked says whether it is not decided yet whether the session is sealed.
func (s *UDPSession) offeredLocked() bool { return s.seal != nil && s.seal.phase == sealOffered }

// behind is how many bytes longer than reserved bytes and payload a datagram is, and behindMax how many
// it may become.
func (s *UDPSession) behind() int { return s.cfg.env.behind(s.tx.keys != nil) }

func (s *UDPSession) behindMax() int {
	if s.offeredLocked() {
		return s.cfg.behind()
	}
	return s.behind()
}

// startSealLocked makes the core ready for the handshake.
func (s *UDPSession) startSealLocked() {
	z := s.seal
	if z == nil {
		return
	}
	if z.phase != sealOffered {
		s.sealNowLocked(z.shake.hello.params)
		return
	}
	s.core.offerSeal(helloMax, appendEarly(nil, 0, nil), s.cfg.seal.holdsData())
}

// sealNowLocked seals all that is written from now on.
func (s *UDPSession) sealNowLocked(peer params) {
	s.tx.keys = s.seal.sealer
	s.core.beginSeal(peer)
	s.restartFECLocked()
	s.count.Sealed++
}

// restartFECLocked begins a new group, and forgets what was received: what is sealed and what is not are
// never combined.
func (s *UDPSession) restartFECLocked() {
	if s.enc != nil {
		s.enc.skipGroup()
	}
	if s.dec != nil {
		s.dec.release()
		s.dec = nil
	}
	s.core.forgetSymbols()
}

// offerLocked makes HELLO when there is something to be sent that it stands before.
func (s *UDPSession) offerLocked(now int64) {
	z := s.seal
	if z.dial.shake != nil {
		return
	}
	if s.core.WaitSnd() == 0 && !s.capsProbe.dialling {
		return
	}
	z.dial.params = s.core.announced()
	ticket := tickets.get(s.ticketOf())
	if err := z.dial.makeHello(time.Now(), ticket, s.core.firstDigests(helloDigestsMax)); err != nil {
		if s.unsealLocked(); s.cfg.seal.required {
			s.failLocked(err) // where Go's FIPS 140-3 mode forbids X25519
		}
		return
	}
	s.core.setLead(z.dial.records(nil), false)
}

// ticketOf is what the listener's tickets are kept under.
func (s *UDPSession) ticketOf() ticketOf {
	id := &s.cfg.seal.id
	return ticketOf{s.to.peerAddr, id.psk, id.server}
}

// unsealLocked decides that the session is not sealed.
func (s *UDPSession) unsealLocked() {
	s.seal.phase = sealUnsealed
	s.core.sealDecided()
	s.setMtuLocked(s.mtu)
	s.seal.dial = nil
	s.seal.release()
}

// sealCipherNames are the ciphers of sealed datagrams.
var sealCipherNames = map[uint8]string{sealGCM: "AES-256-GCM", sealChaCha: "ChaCha20-Poly1305"}

// fill sets what is known of a session's statistics.
func (z *sessionSeal) fill(st *Stats) {
	if z.phase < sealWelcomed {
		return
	}
	st.Sealed, st.Cipher, st.EarlyData = true, sealCipherNames[z.cipher], z.early
	if o := z.peer.opener.Load(); o != nil {
		st.SealEpoch, st.Replays = o.seen()
	}
}

// trim gives memory back after a pause.
func (z *sessionSeal) trim() {
	if z.sealer != nil {
		z.sealer.trim()
		z.peer.opener.Load().trim()
	}
	if z.shake != nil && z.phase == sealProven {
		z.shake.dropEarly()
		z.shake = nil
	}
}

// end is for a session that has ended.
func (z *sessionSeal) end() {
	z.release()
	if z.shake != nil {
		z.shake.dropEarly()
		z.shake = nil
	}
}

// release gives back what the handshake held.
func (z *sessionSeal) release() {
	for _, p := range z.held {
		packets.put(p)
	}
	z.held, z.heldNum = nil, nil
}

// unsealedInputLocked takes a datagram that is not sealed. It says whether the datagram goes on to the
// core.
func (s *UDPSession) unsealedInputLocked(now int64, c *contents) bool {
	z := s.seal
	in := inUnsealed
	if r := c.handshake(s.conv); r.any && z.dial != nil {
		switch {
		case r.hello != nil && z.dial.isOwn(r.hello):
			in = inOwnHello
		case r.welcome != nil:
			if s.welcomeLocked(now, r.welcome); len(r.welcome) == 0 && z.phase == sealOffered {
				s.refusedSealLocked(now)
			}
			return false
		case r.retry != nil && z.phase == sealOffered:
			if z.dial.shake != nil && z.dial.retry(r.retry) {
				s.core.setLead(z.dial.records(nil), true)
			}
			return false
		}
	}
	_, act := z.phase.onDatagram(in, s.cfg.seal.required)
	if act&doTake == 0 {
		s.count.InUnsealed++
	}
	if z.phase == sealOffered && in == inUnsealed && s.cfg.seal.required {
		s.refusedSealLocked(now)
	}
	return act&doTake != 0
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
		return errKeyDiffers
	case z.refusals > 0:
		return errCannotSeal
	}
	return nil
}

// peerReadyLocked says whether dialling has found the peer: as it has to be sealed, if that is asked for.
func (s *UDPSession) peerReadyLocked() bool {
	if s.seal != nil && s.cfg.seal.required {
		return s.seal.phase >= sealWelcomed
	}
	return s.core.peerKnown()
}

// awaitsSealLocked says whether data waits until the session is sealed.
func (s *UDPSession) awaitsSealLocked() bool {
	return s.offeredLocked() && s.cfg.seal.holdsData() && s.core.WaitSnd() > 0
}

// oobWaitsLocked says whether an out-of-band datagram is dropped, as it is not decided whether the session is
// sealed. One that is the first datagram of all makes a session at the listener, which is none that will be
// sealed: so this one is not, unless it has to be.
func (s *UDPSession) oobWaitsLocked() bool {
	if s.cfg.seal.required || s.seal.dial.shake != nil {
		return true
	}
	s.unsealLocked()
	return false
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
	z.phase, z.sealer, z.cipher, z.early = sealWelcomed, sealer, w.cipher, w.early
	s.tx.keys = sealer
	tickets.put(s.ticketOf(), w.ticket)
	listed := uint32(z.dial.listed)
	if !w.early && s.core.sentTo() > 0 {
		s.count.EarlyRefused++
	}
	s.core.beginSealDialled(now, w.params, w.early, retried)
	s.count.Sealed++
	s.restartFECLocked()
	s.setMtuLocked(s.mtu)
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
		} else {
			s.count.InCsumErrors++
		}
		packets.put(p)
	}
}

// sealedInputLocked takes a sealed datagram, opened, or to be held until there are keys.
func (s *UDPSession) sealedInputLocked(now int64, d *inbound) {
	z := s.seal
	if z.phase == sealOffered {
		if len(z.held) < sealHeldMax {
			p := packets.get()
			p.data = p.mem[:copy(p.mem[:], d.data)]
			z.held, z.heldNum = append(z.held, p), append(z.heldNum, d.number)
		}
		return
	}
	c, ok := parseContents(d.data)
	if z.phase == sealWelcomed {
		z.phase, z.lead = sealProven, nil
		s.core.endAskSealed()
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

// leadLocked sends WELCOME ahead of what an accepted session sends, once in each flush, as long as nothing
// shows that the dialler has it.
func (s *UDPSession) leadLocked() {
	z := s.seal
	if !z.leadDue || z.lead == nil {
		return
	}
	z.leadDue = false
	p := s.cfg.recordsPacket(s.conv, z.lead)
	s.tx.enqueue(outbound{p.data, p, &s.to, nil}, 0)
}

// recordsPacket returns a datagram, not to be sealed with keys, of a WINS with records.
func (c *config) recordsPacket(conv uint32, records []byte) *packet {
	p := packets.get()
	p.data = p.mem[:c.env.head]
	p.appendHeader(&header{
		conv: conv, cmd: IKCP_CMD_WINS, frg: c.caps, wnd: uint16(min(c.receiveWindow(), wndLimit)), len: uint32(len(records)),
	})
	p.data = append(p.data, records...)
	return p
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
	s.tx.enqueue(outbound{p.data, p, &s.to, nil}, 0)
	z.asked++
	z.askAt = now + s.core.retransmitAfter(z.asked)
}

// askKnownAtLocked is when askKnownLocked has something to do.
func (s *UDPSession) askKnownAtLocked() int64 {
	z := s.seal
	if z == nil || z.dial == nil || z.phase < sealWelcomed || s.err != nil || !s.core.awaitsReply() {
		return never
	}
	since := max(s.core.heardAt(), s.keepalive.awaitingSince)
	at := later(since, max(sealAskAfter*s.core.rtts().rto, int64(time.Second)))
	return max(at, z.askAt)
}

// stillKnownLocked takes a WELCOME that may be the answer to that question.
func (s *UDPSession) stillKnownLocked(body []byte) {
	answer, gone := s.seal.dial.unknown(body)
	if answer && gone {
		s.failLocked(errReset)
	}
}
