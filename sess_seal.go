package kcp

import (
	"math/rand/v2"
	"time"
)

// sessionSeal is how far a session is on the way to being sealed; see sealPhase. Its lock
// guards it.
type sessionSeal struct {
	phase  sealPhase
	peer   *sealedPeer
	dial   *sealDialler // of a dialled session
	shake  *handshake   // that the peer has begun
	sealer *datagramSealer
	cipher uint8
	next   uint64 // above the highest number of what the peer has sent
	early  bool   // what was sent before there were keys was taken at once

	heardHello bool // of a peer that was dialled, and dials, too

	held    []*packet // sealed datagrams that came before WELCOME
	heldNum []uint64
	lead    []byte // WELCOME, which goes ahead of whatever an accepted session sends, until it is proven
	leadDue bool
	askAt   int64 // when to ask whether the session is still known
	asked   int

	readAskAt int64  // when a WASK was sent as a Read waits, 0 for never
	readAsks  uint8  // how many were sent since data arrived
	readMark  uint32 // KCP.arrivals then

	refusals  int   // answers that are not sealed, where the session has to be
	refusedAt int64 // when the first one came
}

const (
	// sealHeldMax is how many sealed datagrams are held until WELCOME comes.
	sealHeldMax = 16
)

// newDialledSeal prepares a session that is dialled to be sealed, and found as peer.
func newDialledSeal(cfg *config, conv uint32, peer *sealedPeer) *sessionSeal {
	z := &sessionSeal{phase: sealOffered, peer: peer}
	z.dial = &sealDialler{id: cfg.seal.id, head: cfg.seal.head, conv: conv, index: peer.index}
	return z
}

// dialSealedLocked prepares a session that is dialled to be sealed.
func (s *UDPSession) dialSealedLocked() {
	var p *sealedPeer
	if s.owner != nil {
		p = s.owner.cipherGroup().newPeer()
	} else {
		p = &sealedPeer{index: rand.Uint32()}
	}
	s.seal = newDialledSeal(s.cfg, s.conv, p)
	p.session.Store(s)
	s.startSealLocked()
}

// findPeer is how readers of a dialled session find its sealedPeer.
func (z *sessionSeal) findPeer(index uint32) *sealedPeer {
	if index == z.peer.index {
		return z.peer
	}
	return nil
}

// newAcceptedSeal is that of a session that a listener makes for a handshake.
func newAcceptedSeal(p *sealedPeer) *sessionSeal {
	h := p.shake
	return &sessionSeal{
		phase: sealWelcomed, peer: p, shake: h, sealer: h.sealer, cipher: h.cipher, early: h.taken,
		lead: appendRecord(nil, recordWelcome, h.welcome),
	}
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
	s.traceSealedLocked()
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
	var ticket [ticketSize]byte
	if user := s.keepalive.user; user > 0 && user <= spentLife {
		ticket = tickets.get(s.ticketOf())
	} // else the listener might have forgotten that the data was taken, and take it from a late copy
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
	return ticketOf{s.path().peerAddr, id.psk, id.server}
}

// unsealLocked decides that the session is not sealed.
func (s *UDPSession) unsealLocked() {
	s.seal.phase = sealUnsealed
	s.core.sealDecided()
	s.remeasureMTULocked()
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
// sealed. One that comes before all data makes a session at the listener, which is none that will be
// sealed: so this one is not, unless it has to be.
func (s *UDPSession) oobWaitsLocked() bool {
	if s.cfg.seal.required || s.seal.dial.shake != nil || s.core.WaitSnd() > 0 {
		return true
	}
	s.unsealLocked()
	return false
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
	s.tx.enqueue(outbound{p.data, p, &s.path().destination, nil}, 0)
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
