package kcp

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// listenerSeal is what a listener has for sealed sessions. Those are found by index only, the others by
// address and conversation: neither is in the other's way.
//
// Lock order: shakes, peers, then the listener; no session is locked while one of them is.
type listenerSeal struct {
	required bool
	shakes   sync.Mutex // guards hs
	hs       *sealListener

	mu      sync.RWMutex // guards all below
	byIndex map[uint32]*sealedPeer
	byKey   map[sessionKey]*sealedPeer // the last of an address and conversation, that a newer one ends
	young   []*sealedPeer              // ended, see timeWaitLife
	old     []*sealedPeer
	since   int64 // when young was started
}

// sealedEnd is what answers the stragglers of a sealed session that has ended.
type sealedEnd struct {
	timeWait
	conv   uint32
	sealer *datagramSealer
}

// sealedEndsMax bounds the ended sessions that are remembered.
const sealedEndsMax = 1 << 14

// newListenerSeal returns nil where nothing is sealed.
func newListenerSeal(cfg *config) *listenerSeal {
	if cfg.seal == nil || cfg.caps&capRecords == 0 {
		return nil
	}
	own := params{features: ownFeatures, datagram: mtuLimit, ackDelay: ackDelay(int64(cfg.noDelay[1]) * int64(time.Millisecond))}
	if cfg.ackNoDelay {
		own.ackDelay = thinDelayMin
	}
	return &listenerSeal{
		required: cfg.seal.required, hs: cfg.seal.listener(own),
		byIndex: make(map[uint32]*sealedPeer), byKey: make(map[sessionKey]*sealedPeer),
	}
}

// demux returns what a reader finds sealed datagrams with, nil for nothing.
func (z *listenerSeal) demux() *sealDemux {
	if z == nil {
		return nil
	}
	return &sealDemux{heads: z.hs.heads, find: z.find}
}

func (z *listenerSeal) find(index uint32) *sealedPeer {
	z.mu.RLock()
	defer z.mu.RUnlock()
	return z.byIndex[index]
}

// newPeer draws an index that is free.
func (z *listenerSeal) newPeer() *sealedPeer {
	z.mu.Lock()
	defer z.mu.Unlock()
	p := &sealedPeer{index: rand.Uint32()}
	for z.byIndex[p.index] != nil {
		p.index = rand.Uint32()
	}
	p.unproven.Store(true)
	z.byIndex[p.index] = p
	return p
}

// known says whether there is a session with these indices, or what becomes one with the first sealed
// datagram, or one that has ended and still answers.
func (z *listenerSeal) known(own, peer uint32) bool {
	p := z.find(own)
	return p != nil && p.opener.Load() != nil && p.peer.Load() == peer
}

// forget forgets handshakes that came to nothing, whose early data goes with them.
func (z *listenerSeal) forget(list []*handshake) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, h := range list {
		if p := z.byIndex[h.index]; p != nil && p.session.Load() == nil {
			delete(z.byIndex, h.index)
			h.dropEarly()
		}
	}
}

// expire forgets what is old enough. It returns when to come again, never for not at all.
func (z *listenerSeal) expire(now int64) (at int64) {
	z.shakes.Lock()
	gone := z.hs.table.expire(now)
	if at = never; len(z.hs.table.order) > 0 {
		at = z.hs.table.order[0].at + halfOpenLife
	}
	z.hs.finished.age(now)
	z.hs.seen.recent.age(now)
	z.shakes.Unlock()
	if len(gone) > 0 {
		z.forget(gone)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.age(now)
	if len(z.young)+len(z.old) > 0 {
		at = min(at, z.since+timeWaitLife)
	}
	return at
}

// age forgets sessions that ended long ago.
func (z *listenerSeal) age(now int64) {
	for len(z.young)+len(z.old) > 0 && (now-z.since >= timeWaitLife || len(z.young) >= sealedEndsMax/2) {
		for _, p := range z.old {
			delete(z.byIndex, p.index)
		}
		z.old, z.young, z.since = z.young, nil, max(z.since+timeWaitLife, now-timeWaitLife)
	}
}

// ended remembers a session that has ended.
func (z *listenerSeal) ended(p *sealedPeer, end *sealedEnd, now int64) {
	p.end.Store(end)
	p.session.Store(nil)
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.byKey[p.key] == p {
		delete(z.byKey, p.key)
	}
	if z.age(now); len(z.young)+len(z.old) == 0 {
		z.since = now
	}
	z.young = append(z.young, p)
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
func (l *listenerReader) helloFrom(d *inbound, c *contents, now int64) (s *UDPSession, handled bool) {
	r := c.handshake(c.conv)
	c.early = r.hello == nil && r.early != nil
	if r.hello == nil && !c.early {
		return nil, false
	}
	z := l.seal
	key := sessionKey{d.from, c.conv}
	if r.hello == nil {
		z.shakes.Lock()
		h := z.hs.table.byAddr[key]
		z.shakes.Unlock()
		if h == nil {
			return nil, false
		}
		h.keepEarly(c.body)
		return l.earlySession(h), true
	}
	var made *sealedPeer
	in := helloIn{d.from, c.conv, &r, now, time.Now()}
	z.shakes.Lock()
	gone := z.hs.table.expire(now)
	out := z.hs.hello(&in, func() uint32 { made = z.newPeer(); return made.index }, z.known)
	if h := out.shake; h != nil && out.isNew {
		made.shake = h
		l.counts.handshakes.Add(1)
		made.peer.Store(h.hello.index)
		made.opener.Store(h.opener)
		l.task.arm(now + halfOpenLife)
	} else if made != nil {
		z.mu.Lock()
		delete(z.byIndex, made.index)
		z.mu.Unlock()
	}
	z.shakes.Unlock()
	if len(gone) > 0 {
		z.forget(gone)
	}
	return l.helloTaken(d, c, &r, &out, made, now)
}

// helloTaken answers a HELLO.
func (l *listenerReader) helloTaken(d *inbound, c *contents, r *handshakeRecords, out *helloOut, made *sealedPeer, now int64) (s *UDPSession, handled bool) {
	var answer []byte
	switch out.result {
	case helloTaken:
		answer = appendRecord(nil, recordWelcome, out.body)
		out.shake.keepEarly(c.body)
		if out.isNew && out.shake.taken {
			l.openSealed(made, d, now)
		}
		s = l.earlySession(out.shake)
	case helloRetried:
		l.counts.retried.Add(1)
		answer = appendRecord(nil, recordRetry, out.body)
	case helloAnswered:
		answer = appendRecord(nil, recordWelcome, out.body)
	case helloOther:
		if pattern(r.hello[0]) != patternKey && !l.seal.required || len(r.hello) == 0 {
			return nil, false // it counts as none
		}
		l.counts.failed.Add(1)
		answer = appendRecord(nil, recordWelcome)
	default:
		return nil, true
	}
	l.reply(l.cfg.recordsPacket(c.conv, answer), nil, d)
	return s, true
}

// earlySession returns the session of a handshake whose early data is taken at once, nil for none.
func (l *listenerReader) earlySession(h *handshake) *UDPSession {
	if !h.taken {
		return nil
	}
	if p := l.seal.find(h.index); p != nil {
		return p.session.Load()
	}
	return nil
}

// openSealed makes the session of a handshake, unless there is no room for it.
func (l *listenerReader) openSealed(p *sealedPeer, d *inbound, now int64) *UDPSession {
	return l.admit(d.from, true, func() *UDPSession {
		s := newSession(l.cfg, l.sock, l.Listener, p.shake.conv, l.sock.destination(d.from, d.addr))
		s.seal = newAcceptedSeal(p)
		s.startSealLocked()
		s.setMtuLocked(l.cfg.mtu)
		p.session.Store(s)
		return s
	})
}

// sealedSession returns the session of a sealed datagram, which it makes if that is the first one of a
// handshake, nil for none.
func (l *listenerReader) sealedSession(d *inbound, now int64) *UDPSession {
	p := d.sealed
	if end := p.end.Load(); end != nil {
		l.replySealedEnd(d, end)
		return nil
	}
	if p.unproven.Load() {
		l.sealProven(p, d, now)
	}
	return p.session.Load()
}

// sealProven takes the first sealed datagram of a handshake. It makes the session, if that was not made for
// early data, and ends the one of the same address and conversation that was there before.
func (l *listenerReader) sealProven(p *sealedPeer, d *inbound, now int64) {
	z := l.seal
	z.shakes.Lock()
	if !p.unproven.Load() || z.find(p.index) != p { // another reader's affair, or given up
		z.shakes.Unlock()
		return
	}
	if p.session.Load() == nil && l.openSealed(p, d, now) == nil {
		z.shakes.Unlock()
		return // it comes again
	}
	p.unproven.Store(false)
	h := p.shake
	p.shake = nil
	z.hs.finish(h, now)
	l.counts.finished.Add(1)
	z.shakes.Unlock()
	key := sessionKey{d.from, h.conv}
	var before []*UDPSession
	z.mu.Lock()
	if other := z.byKey[key]; other != nil {
		before = append(before, other.session.Load())
	}
	z.byKey[key], p.key = p, key
	z.mu.Unlock()
	sh := l.table.shard(key.from)
	sh.mu.Lock()
	before = append(before, sh.sessions[key])
	sh.mu.Unlock()
	for _, s := range before {
		if s != nil {
			s.abort(errReset)
		}
	}
	if s := p.session.Load(); s != nil {
		lockSpinning(&s.mu)
		s.takeEarlyLocked(now, 0, h.hello.digests)
		s.unlockAndSend(false)
	}
}

// replySealedEnd answers a straggler of a session that has ended.
func (l *listenerReader) replySealedEnd(d *inbound, end *sealedEnd) {
	c, ok := parseContents(d.data)
	if !ok || len(c.body) < IKCP_OVERHEAD || l.shut.Load() {
		return
	}
	l.seal.mu.Lock()
	p := end.reply(l.cfg, end.conv, &c)
	l.seal.mu.Unlock()
	if p != nil {
		l.reply(p, end.sealer, d)
	}
}

// reply sends a datagram to where another came from, sealed with those keys, or under the shared cipher.
func (l *listenerReader) reply(p *packet, keys *datagramSealer, d *inbound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replies.crowded() {
		packets.put(p)
		atomic.AddUint64(&l.cfg.snmp.OutErrs, 1)
		return
	}
	to := l.sock.destination(d.from, d.addr)
	l.replies.enqueue(outbound{p.data, p, &to, keys}, 0)
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

// sessions returns those that have not ended.
func (z *listenerSeal) sessions() (list []*UDPSession) {
	if z == nil {
		return nil
	}
	z.mu.RLock()
	defer z.mu.RUnlock()
	for _, p := range z.byIndex {
		if s := p.session.Load(); s != nil {
			list = append(list, s)
		}
	}
	return slices.Clip(list)
}
