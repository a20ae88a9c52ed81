package kcp

import (
	"crypto/cipher"
	"reflect"
	"slices"
)

// cipherGroup is the sessions of a transport whose datagrams open alike: that have a shared cipher, and
// the key of the headers of sealed datagrams, in common. It is the owner of those of them that were
// dialled. A received datagram is tried with each group that may have a session for it.
type cipherGroup struct {
	t     *Transport
	cfg   *config // of the first of them
	heads []cipher.Block
	key   groupKey
	apart bool // tried with datagrams from the addresses of its sessions only
	users int  // sessions that were dialled, and the listener; the transport's lock guards it
}

// groupKey tells groups apart.
type groupKey struct {
	block    any       // comparable
	server   PublicKey // of the listener that was dialled
	seals    bool      // there may be sealed datagrams
	listener *config   // a listener's, with its own keys of headers
}

// groupsMax is how many groups are tried with datagrams from any address. A program that has another key
// for each peer has more; those are tried with what comes from their peers only.
const groupsMax = 4

// blockOf returns what a config's cipher is known by.
func (c *config) blockOf() any {
	var block any = c.env.block
	if c.env.aead != nil {
		block = c.env.aead
	}
	if block != nil && !reflect.TypeOf(block).Comparable() {
		return c
	}
	return block
}

// sharesCipher says whether what opens under the shared cipher of g does under that of other.
func (g *cipherGroup) sharesCipher(other *cipherGroup) bool {
	return g == other || g.key.block == other.key.block
}

// join returns the group of sessions with that config, and counts one more user of it. heads are a
// listener's, else nil.
func (t *Transport) join(cfg *config, heads []cipher.Block, listener bool) (*cipherGroup, error) {
	key := groupKey{block: cfg.blockOf()}
	if listener {
		key.listener = cfg
	} else if cfg.seal.seals() {
		key.seals = true
		key.server, heads = cfg.seal.id.server, []cipher.Block{cfg.seal.head}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return nil, t.err
	}
	t.longest.Store(max(t.longest.Load(), int32(cfg.env.longest)))
	g := t.groups[key]
	if g == nil {
		g = &cipherGroup{t: t, cfg: cfg, heads: heads, key: key}
		t.makeRoomLocked()
		common := *t.common.Load()
		if g.apart = !listener && len(common) >= groupsMax; g.apart {
			t.hasApart.Store(true)
		} else {
			common = append(slices.Clip(common), g)
			t.common.Store(&common)
		}
		if t.groups == nil {
			t.groups = make(map[groupKey]*cipherGroup)
		}
		t.groups[key] = g
	}
	if g.users++; g.users == 1 {
		t.used++
	}
	return g, nil
}

// makeRoomLocked forgets a group that nobody uses, if its place is needed.
func (t *Transport) makeRoomLocked() {
	common := *t.common.Load()
	if len(common) < groupsMax {
		return
	}
	for i, g := range common {
		if g.users == 0 {
			delete(t.groups, g.key)
			common = slices.Delete(slices.Clone(common), i, i+1)
			t.common.Store(&common)
			return
		}
	}
}

// dials, cipherGroup, remove, succeed, moved, proven and answersStragglers make the group the owner of the sessions
// that were dialled.
func (g *cipherGroup) dials() bool                        { return true }
func (g *cipherGroup) cipherGroup() *cipherGroup          { return g }
func (g *cipherGroup) succeed(*UDPSession, *successor)    {} // only accepted sessions have successors
func (g *cipherGroup) moved(s *UDPSession, from peerAddr) { g.t.moved(s, from) }
func (g *cipherGroup) proven(*UDPSession)                 {} // whom a program dials needs no proof
func (g *cipherGroup) answersStragglers() bool            { return !g.t.shut.Load() }

func (g *cipherGroup) remove(s *UDPSession) {
	g.t.remove(s)
	if s.cfg.wakes() {
		s.cfg.sched.sleep.remove()
	}
	g.leave()
}

// leave ends the use of a group. One that is not apart stays until its place is needed, for what peers of its
// sessions still send: it has an answer.
func (g *cipherGroup) leave() {
	t := g.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if g.users--; g.users > 0 {
		return
	}
	if t.used--; g.apart {
		delete(t.groups, g.key)
	}
	t.idleLocked()
}

// newPeer draws the index of a session that is dialled.
func (g *cipherGroup) newPeer() *sealedPeer { return g.t.index.newPeer() }
