package kcp

import (
	"bytes"
	"crypto/rand"
)

// Two diallers that dial each other, and nobody who listens (UDP hole punching, RFC 5128, section 3.3:
// https://www.rfc-editor.org/rfc/rfc5128#section-3.3): both offer to seal the session. The HELLO whose
// ephemeral key is smaller, byte by byte, is the one that is answered, so both ends know who answers whom.
// One that has not made its own yet answers the peer's.

// dropsUnsealed says whether a datagram that is not sealed is dropped, as its sender offers to seal, too:
// neither end takes or acknowledges anything of the other's before that is done.
func (z *sessionSeal) dropsUnsealed(c *contents, r *handshakeRecords) bool {
	return z.phase == sealOffered && (z.heardHello || r.early != nil || c.kind() == fecTypeParity)
}

// peerHelloLocked takes HELLO of a peer that was dialled.
func (s *UDPSession) peerHelloLocked(now int64, r *handshakeRecords, c *contents) {
	z, id := s.seal, &s.cfg.seal.id
	p, message, ok := parseHelloRecord(r.hello)
	if !ok || p != patternPSK || id.pattern != patternPSK || s.cfg.seal.shared == nil {
		return
	}
	if h := z.shake; h != nil && h.key == ephemeral(message) {
		h.keepEarly(c.body)
		s.welcomeAgainLocked()
		return
	}
	if !z.dial.curve.allow(now) {
		return
	}
	answer, payload, ok := openHello(id, s.conv, message, rand.Reader)
	if !ok {
		return
	}
	h, ok := parseHello(payload)
	switch {
	case !ok:
	case h.kind == helloKnown:
		s.answerKnownLocked(answer, &h)
	case z.phase != sealOffered: // late, or the peer was restarted: it answers that this session is unknown
	default:
		z.heardHello = true
		own := z.dial.shake
		if own == nil || smaller(ephemeral(message), own.ephemeral()) {
			s.answerHelloLocked(now, answer, &h, ephemeral(message), c)
		}
	}
}

func smaller(a, b ephemeral) bool { return bytes.Compare(a[:], b[:]) < 0 }

// answerHelloLocked answers HELLO, and seals everything from now on.
func (s *UDPSession) answerHelloLocked(now int64, answer responder, h *hello, key ephemeral, c *contents) {
	z := s.seal
	w := welcome{
		status: welcomeYes, index: z.peer.index, cipher: sealCipher(h.ciphers, ownCiphers()), seen: s.path().udp,
		params: s.core.announced(),
	}
	body, send, receive, ok := answer.answer(w.append(nil))
	if !ok {
		return
	}
	z.shake = &handshake{
		key: key, conv: s.conv, at: now, index: w.index, hello: *h, welcome: body, cipher: w.cipher,
		sealer: &datagramSealer{head: s.cfg.seal.head, index: h.index, cipher: w.cipher, secret: send},
		opener: newDatagramOpener(w.cipher, receive),
	}
	s.cfg.seal.keyLog.note(&s.cfg.seal.id, s.conv, w.index, z.shake.sealer, z.shake.opener)
	z.shake.keepEarly(c.body)
	z.phase, z.sealer, z.cipher = sealWelcomed, z.shake.sealer, w.cipher
	z.lead = appendRecord(nil, recordWelcome, body)
	z.dial.shake, z.dial.token, z.dial.peer, z.dial.params = nil, nil, h.index, w.params
	z.release()
	s.tx.keys = z.sealer
	s.core.beginSealAnswering(now, h.params)
	s.count.Sealed++
	s.restartFECLocked()
	s.remeasureMTULocked()
	z.peer.opener.Store(z.shake.opener)
	s.wakeLocked(&s.readable)
	s.welcomeAgainLocked()
}

// welcomeAgainLocked sends WELCOME by itself, until something shows that the peer has it.
func (s *UDPSession) welcomeAgainLocked() {
	z := s.seal
	z.leadDue = z.lead != nil && !s.tx.crowded()
	s.leadLocked()
}

// answerKnownLocked answers a peer that asks whether this is still its session.
func (s *UDPSession) answerKnownLocked(answer responder, h *hello) {
	z := s.seal
	w := welcome{
		status: welcomeNo, index: h.peer, cipher: sealChaCha, seen: s.path().udp, params: s.core.announced(),
	}
	if z.phase >= sealWelcomed && h.peer == z.peer.index && h.index == z.dial.peer {
		w.status = welcomeYes
	}
	if body, _, _, ok := answer.answer(w.append(nil)); ok && !s.tx.crowded() {
		p := s.cfg.recordsPacket(s.conv, appendRecord(nil, recordWelcome, body))
		s.tx.enqueue(outbound{p.data, p, &s.path().destination, nil}, 0)
	}
}
