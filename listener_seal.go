package kcp

import (
	"crypto/cipher"
	"maps"
	"slices"
	"sync"
	"time"
)

// listenerSeal is what a listener has for sealed sessions. Those are found by index only, the others by
// address and conversation: neither is in the other's way.
//
// Lock order: shakes, then the index or the listener, of which neither is locked while the other is. mu is a leaf.
// No session is locked while one of them is.
type listenerSeal struct {
	required bool
	shakes   sync.Mutex // guards hs
	hs       *sealListener
	index    *sealIndex

	mu    sync.Mutex                 // guards byKey
	byKey map[sessionKey]*sealedPeer // the last of an address and conversation, that a newer one ends
}

// newListenerSeal returns nil where nothing is sealed.
func newListenerSeal(cfg *config, index *sealIndex) *listenerSeal {
	if cfg.seal == nil || cfg.caps&capRecords == 0 {
		return nil
	}
	own := params{features: ownFeatures, datagram: cfg.env.longest, ackDelay: ackDelay(int64(cfg.noDelay[1]) * int64(time.Millisecond))}
	if cfg.ackNoDelay {
		own.ackDelay = thinDelayMin
	}
	return &listenerSeal{
		required: cfg.seal.required, hs: cfg.seal.listener(own), index: index, byKey: make(map[sessionKey]*sealedPeer),
	}
}

// heads returns the ciphers of the headers of sealed datagrams, nil for none.
func (z *listenerSeal) heads() []cipher.Block {
	if z == nil {
		return nil
	}
	return z.hs.heads
}

// expire forgets what is old enough. It returns when to come again, never for not at all.
func (z *listenerSeal) expire(now int64) (at int64) {
	z.shakes.Lock()
	gone := z.hs.expire(now)
	if at = never; len(z.hs.table.order) > 0 {
		at = z.hs.table.order[0].at + halfOpenLife
	}
	z.hs.finished.age(now)
	z.hs.spent.age(now)
	z.hs.seen.recent.age(now)
	z.shakes.Unlock()
	if len(gone) > 0 {
		z.index.forget(gone)
	}
	return at
}

// ended forgets the key of a session that has ended.
func (z *listenerSeal) ended(p *sealedPeer) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.byKey[p.key] == p {
		delete(z.byKey, p.key)
	}
}

// newPeer makes the peer of a handshake.
func (z *listenerSeal) newPeer() *sealedPeer {
	p := z.index.newPeer()
	p.unproven.Store(true)
	return p
}

// moved notes that a session is at another address: a newer one of the former ends it no more.
func (l *Listener) moved(s *UDPSession, from peerAddr) {
	z, p := l.seal, s.seal.peer
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.byKey[p.key] == p {
		delete(z.byKey, p.key)
	}
	if key := (sessionKey{s.path().peerAddr, s.conv}); z.byKey[key] == nil && p.end.Load() == nil {
		z.byKey[key], p.key = p, key
	}
}

// helloFrom takes a datagram that has records of a handshake, or is early data. handled says that it is
// no other datagram's, and s which session has something to take from it.
func (l *Listener) helloFrom(r *transportReader, d *inbound, c *contents, now int64) (s *UDPSession, handled bool) {
	rec := c.handshake(c.conv)
	c.early = rec.hello == nil && rec.early != nil
	if rec.hello == nil && !c.early {
		return nil, false
	}
	z := l.seal
	key := sessionKey{d.from, c.conv}
	if l.t.dialled(key) {
		return nil, false
	}
	if rec.hello == nil {
		z.shakes.Lock()
		h := z.hs.table.byAddr[key]
		z.shakes.Unlock()
		if h == nil {
			return nil, false
		}
		z.keepEarly(h, c)
		return l.earlySession(h), true
	}
	var made *sealedPeer
	in := helloIn{d.from, c.conv, &rec, now, time.Now()}
	z.shakes.Lock()
	gone := z.hs.expire(now)
	out := z.hs.hello(&in, func() uint32 { made = z.newPeer(); return made.index }, z.index.known)
	if h := out.shake; h != nil && out.isNew {
		made.shake = h
		l.counts.handshakes.Add(1)
		made.peer.Store(h.hello.index)
		made.opener.Store(h.opener)
		l.task.arm(now + halfOpenLife)
		if h.taken {
			l.openSealed(r.sock, made, d, true)
		}
	} else if made != nil {
		z.index.remove(made)
	}
	z.shakes.Unlock()
	if len(gone) > 0 {
		z.index.forget(gone)
	}
	return l.helloTaken(r, d, c, &rec, &out, now)
}

// helloTaken answers a HELLO.
func (l *Listener) helloTaken(r *transportReader, d *inbound, c *contents, rec *handshakeRecords, out *helloOut, now int64) (s *UDPSession, handled bool) {
	var answer []byte
	switch out.result {
	case helloTaken:
		answer = appendRecord(nil, recordWelcome, out.body)
		l.seal.keepEarly(out.shake, c)
		s = l.earlySession(out.shake)
	case helloRetried:
		l.counts.retried.Add(1)
		answer = appendRecord(nil, recordRetry, out.body)
	case helloAnswered:
		answer = appendRecord(nil, recordWelcome, out.body)
	case helloOther:
		if len(rec.hello) == 0 || pattern(rec.hello[0]) != patternKey && !l.seal.required {
			return nil, false // it counts as none
		}
		l.counts.failed.Add(1)
		answer = appendRecord(nil, recordWelcome)
	default:
		return nil, true
	}
	r.reply(l.cfg.recordsPacket(c.conv, answer), l.cfg, nil, d)
	return s, true
}

// keepEarly keeps the early data of a handshake's datagram. Without a cipher there is none.
func (z *listenerSeal) keepEarly(h *handshake, c *contents) {
	if z.hs.hasCipher {
		h.keepEarly(c.body)
	}
}

// earlySession returns the session of a handshake whose early data is taken at once, nil for none.
func (l *Listener) earlySession(h *handshake) *UDPSession {
	if !h.taken {
		return nil
	}
	if p := l.t.index.find(h.index); p != nil {
		return p.session.Load()
	}
	return nil
}

// openSealed makes the session of a handshake at the address that d has come from, unless there is no room for
// it. receives says whether the peer is known to be there.
func (l *Listener) openSealed(sock *socket, p *sealedPeer, d *inbound, receives bool) *UDPSession {
	return l.admit(d.from, receives, func(bool) *UDPSession {
		s := newSession(l.cfg, sock, l, p.shake.conv, sock.destination(d.from, d.addr))
		s.seal = newAcceptedSeal(p)
		s.startSealLocked()
		if s.unproved = !receives; s.unproved {
			s.core.addressUnproven()
		}
		s.setMtuLocked(l.cfg.mtu)
		p.session.Store(s)
		return s
	})
}

// sealProven takes the first sealed datagram of a handshake. It makes the session, if that was not made for
// early data, and ends the one of the same address and conversation that was there before.
func (l *Listener) sealProven(r *transportReader, p *sealedPeer, d *inbound, now int64) {
	z := l.seal
	z.shakes.Lock()
	if !p.unproven.Load() || z.index.find(p.index) != p { // another reader's affair, or given up
		z.shakes.Unlock()
		return
	}
	h, early := p.shake, p.session.Load() != nil
	// Who has WELCOME was where it went; the source of a sealed datagram may be forged by its sender.
	receives := early || h.from == d.from && len(h.others) == 0
	if !early && l.openSealed(r.sock, p, d, receives) == nil {
		z.shakes.Unlock()
		return // it comes again
	}
	p.unproven.Store(false)
	p.shake = nil
	z.hs.finish(h, now)
	l.counts.finished.Add(1)
	z.shakes.Unlock()
	if receives {
		l.endFormer(p, sessionKey{d.from, h.conv})
	}
	if s := p.session.Load(); s != nil {
		lockSpinning(&s.mu)
		s.takeEarlyLocked(now, 0, h.hello.digests)
		s.unlockAndSend(false)
	}
}

// endFormer ends the sessions of an address and conversation that p's is to take the place of.
func (l *Listener) endFormer(p *sealedPeer, key sessionKey) {
	z := l.seal
	var before []*UDPSession
	z.mu.Lock()
	if other := z.byKey[key]; other != nil {
		before = append(before, other.session.Load())
	}
	z.byKey[key], p.key = p, key
	z.mu.Unlock()
	sh := l.t.table.shard(key.from)
	sh.mu.Lock()
	if s := sh.sessions[key]; s != nil && !s.dialled {
		before = append(before, s)
	}
	sh.mu.Unlock()
	for _, s := range before {
		if s != nil {
			s.abort(errReset)
		}
	}
}

// end forgets the handshakes of a listener that is closed.
func (z *listenerSeal) end() {
	z.shakes.Lock()
	gone := slices.Collect(maps.Values(z.hs.table.byKey))
	z.hs.table = halfOpenTable{}
	z.shakes.Unlock()
	z.index.forget(gone)
}

// halfOpen is the number of handshakes that have no session yet.
func (z *listenerSeal) halfOpen() int {
	if z == nil {
		return 0
	}
	z.shakes.Lock()
	defer z.shakes.Unlock()
	return z.hs.table.waiting
}
