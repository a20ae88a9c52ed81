package kcp

import (
	"crypto/cipher"
	"crypto/rand"
	"math"
	"time"
)

// sealListener is a listener's side of all handshakes. Its caller has the lock.
//
//	           HELLO                  sealed
//	(nothing) ──────▶ half open ─────────────▶ a session
//	           HELLO, early = 1             sealed
//	(nothing) ──────────────────▶ a session ───────▶ a proven session
//
// The states, and what each does with what comes, are in docs/protocol.md.
type sealListener struct {
	ids       []identity // one for each pattern that is served
	heads     []cipher.Block
	hasCipher bool // else HELLO comes in clear
	tickets   ticketKey
	tokens    ticketKey
	seen      seenKeys
	finished  keySet // of which a late HELLO is not to begin a new one
	spent     keySet // likewise, as their early data was taken, and then nothing more came
	clock     steadyClock
	table     halfOpenTable
	curve     curveLimit
	params    params // our own
	keyLog    keyLog
}

// newSealListener returns one for a shared cipher with that psk, nil for none, and a key pair, if any.
func newSealListener(shared *psk, private PrivateKey, own params) *sealListener {
	l := &sealListener{tickets: newTicketKey(), tokens: newTicketKey(), params: own, hasCipher: shared != nil, spent: keySet{life: spentLife}}
	l.curve.at = math.MinInt64 / 2
	if shared != nil {
		l.ids = append(l.ids, identity{psk: *shared, pattern: patternPSK})
	}
	if private != (PrivateKey{}) {
		id := identity{pattern: patternKey, private: private, server: private.Public()}
		if shared != nil {
			id.psk = *shared
		}
		l.ids = append(l.ids, id)
	}
	for i := range l.ids {
		l.heads = append(l.heads, headCipher(&l.ids[i]))
	}
	return l
}

// helloResult is what a listener makes of HELLO.
type helloResult uint8

const (
	helloDropped  helloResult = iota // nothing
	helloTaken                       // a handshake: WELCOME is the answer
	helloRetried                     // RETRY is the answer
	helloOther                       // it does not open: the answer says so
	helloAnswered                    // WELCOME is the answer, and nothing is kept
)

// helloIn is a HELLO as it has come.
type helloIn struct {
	from peerAddr
	conv uint32
	rec  *handshakeRecords
	now  int64     // monotonic, ns
	wall time.Time // the clock
}

// helloOut is the answer: the body of a WELCOME record, or of RETRY.
type helloOut struct {
	result helloResult
	body   []byte
	shake  *handshake // the one that it is of, with helloTaken
	isNew  bool       // which was not there before
}

// hello takes a HELLO. newIndex draws an index of ours, and known says whether there is a session with
// those indices, ours and the dialler's.
func (l *sealListener) hello(in *helloIn, newIndex func() uint32, known func(own, peer uint32) bool) helloOut {
	p, message, ok := parseHelloRecord(in.rec.hello)
	id := l.identityOf(p)
	if !ok || id == nil {
		return helloOut{result: helloOther}
	}
	if h := l.table.byKey[ephemeral(message)]; h != nil {
		if h.conv != in.conv {
			return helloOut{}
		}
		l.table.alsoFrom(h, in.from)
		return helloOut{helloTaken, h.welcome, h, false}
	}
	if l.finished.has(ephemeral(message), in.now) || l.spent.has(ephemeral(message), in.now) {
		return helloOut{}
	}
	token := in.rec.token != nil && l.tokens.tokenValid(in.rec.token, in.from, in.now)
	room, withToken := l.table.room(in.from, token)
	switch {
	case token && !withToken:
		return helloOut{}
	case !token && (!room || !l.hasCipher || p == patternKey && !l.curve.allow(in.now)):
		return helloOut{helloRetried, l.tokens.token(in.from, in.now), nil, false}
	}
	r, payload, ok := openHello(id, in.conv, message, rand.Reader)
	if !ok {
		return helloOut{result: helloOther}
	}
	h, ok := parseHello(payload)
	if !ok {
		return helloOut{}
	}
	if h.kind == helloKnown {
		return l.stillKnown(in, r, &h, known)
	}
	return l.take(in, id, r, &h, token, newIndex, ephemeral(message))
}

// identityOf returns what a handshake of that pattern needs, nil where it is not served.
func (l *sealListener) identityOf(p pattern) *identity {
	for i := range l.ids {
		if l.ids[i].pattern == p {
			return &l.ids[i]
		}
	}
	return nil
}

// headOf returns the cipher of the headers of sessions with that identity.
func (l *sealListener) headOf(id *identity) cipher.Block {
	for i := range l.ids {
		if &l.ids[i] == id {
			return l.heads[i]
		}
	}
	return nil
}

// stillKnown answers whether a session is known, and keeps nothing of the question. It costs operations
// on the curve, which are limited.
func (l *sealListener) stillKnown(in *helloIn, r responder, h *hello, known func(own, peer uint32) bool) helloOut {
	if !l.curve.allow(in.now) {
		return helloOut{}
	}
	w := welcome{status: welcomeNo, index: h.peer, cipher: sealChaCha, seen: in.from.udp, params: l.params}
	if known(h.peer, h.index) {
		w.status = welcomeYes
	}
	body, _, _, ok := r.answer(w.append(nil))
	if !ok {
		return helloOut{}
	}
	return helloOut{result: helloAnswered, body: body}
}

// take begins a handshake.
func (l *sealListener) take(in *helloIn, id *identity, r responder, h *hello, token bool, newIndex func() uint32, key ephemeral) helloOut {
	s := &handshake{
		key: key, conv: in.conv, from: in.from, at: in.now, token: token, index: newIndex(), hello: *h,
		cipher: sealCipher(h.ciphers, ownCiphers()),
	}
	s.taken = l.takesEarly(in, h, key)
	w := welcome{
		status: welcomeYes, index: s.index, ticket: l.tickets.ticket(in.from), cipher: s.cipher, early: s.taken,
		seen: in.from.udp, params: l.params,
	}
	body, send, receive, ok := r.answer(w.append(nil))
	if !ok { // its ephemeral key is not one
		return helloOut{result: helloOther}
	}
	s.welcome = body
	s.sealer = &datagramSealer{head: l.headOf(id), index: h.index, cipher: s.cipher, secret: send}
	s.opener = newDatagramOpener(s.cipher, receive)
	l.keyLog.note(id, s.conv, s.index, s.sealer, s.opener)
	l.table.add(s)
	return helloOut{helloTaken, body, s, true}
}

// expire forgets handshakes that have been unfinished for too long. Early data that was taken is not to
// be taken again where a client that has heard nothing repeats its HELLO.
func (l *sealListener) expire(now int64) (gone []*handshake) {
	gone = l.table.expire(now)
	for _, h := range gone {
		if h.taken {
			l.spent.add(h.key, now)
		}
	}
	return gone
}

// finish ends a handshake: something sealed has come.
func (l *sealListener) finish(h *handshake, now int64) {
	l.table.remove(h)
	l.finished.add(h.key, now)
}

// takesEarly says whether what HELLO lists may be taken at once: its sender has been at this address
// before, and it is no copy of another.
func (l *sealListener) takesEarly(in *helloIn, h *hello, key ephemeral) bool {
	wall, set := l.clock.read(in.wall, in.now)
	if set {
		l.forgetTickets()
	}
	if !l.hasCipher || len(l.table.byKey) >= halfOpenMax || !l.tickets.valid(&h.ticket, in.from) || !l.roomToSpend(in.now) {
		return false
	}
	ms := h.time - wall.UnixMilli()
	skew := min(max(ms, -skewMax), skewMax) * int64(time.Millisecond)
	first, known := l.seen.first(key, skew, in.now)
	if !known && skew > earlySkew {
		l.forgetTickets()
	}
	return first && known && -earlySkew <= skew && skew <= earlySkew
}

// roomToSpend says whether the early data of one more handshake may be taken at once, and be remembered where its
// client never comes back: each of those that were taken and are not finished has its place.
func (l *sealListener) roomToSpend(now int64) bool {
	return l.spent.size(now)+l.table.taken() < seenMax
}

// skewMax bounds how far a HELLO is said to be ahead of the clock, in ms: some 30 years.
const skewMax = 1_000_000_000_000

// forgetTickets makes every HELLO that was made until now one without a ticket.
func (l *sealListener) forgetTickets() { l.tickets, l.seen = newTicketKey(), seenKeys{} }
