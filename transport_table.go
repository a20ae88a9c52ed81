package kcp

import (
	"hash/maphash"
	"slices"
	"sync"
)

// demuxShards is the number of parts of a transport's table, so that its readers, at most
// reusePortMax, rarely wait for one another.
const demuxShards = 16

// demuxShard is the part of a transport's table for the addresses that hash to it.
type demuxShard struct {
	mu        sync.Mutex // guards all below; no session is locked while it is taken
	sessions  map[sessionKey]*UDPSession
	lastFEC   map[peerAddr]*UDPSession // that received a FEC data shard last: parity has no conv
	timeWaits timeWaitTable
	groups    map[peerAddr][]*cipherGroup // those that are apart, once for each of their sessions there
}

// sessionTable is a transport's table of sessions.
type sessionTable [demuxShards]demuxShard

var demuxSeed = maphash.MakeSeed()

// shard returns the part of the table for an address.
func (t *sessionTable) shard(from peerAddr) *demuxShard {
	return &t[maphash.Comparable(demuxSeed, from)%demuxShards]
}

// list returns the shard's sessions.
func (sh *demuxShard) list() []*UDPSession {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	list := make([]*UDPSession, 0, len(sh.sessions))
	for _, s := range sh.sessions {
		list = append(list, s)
	}
	return list
}

// add adds a session.
func (sh *demuxShard) add(key sessionKey, s *UDPSession) {
	if sh.sessions == nil {
		sh.sessions = make(map[sessionKey]*UDPSession)
	}
	sh.sessions[key] = s
	if g := s.owner.cipherGroup(); g.apart {
		sh.addGroup(key.from, g)
	}
}

// remove takes a session that has ended out of the shard, and remembers it, unless a newer one has
// taken its place.
func (sh *demuxShard) remove(key sessionKey, s *UDPSession, end timeWait) {
	if sh.forget(key, s) {
		sh.timeWaits.add(key, end, clock())
	}
}

// forget takes a session out of the shard, and says whether it was there.
func (sh *demuxShard) forget(key sessionKey, s *UDPSession) bool {
	if sh.lastFEC[key.from] == s {
		delete(sh.lastFEC, key.from)
	}
	if sh.sessions[key] != s {
		return false
	}
	delete(sh.sessions, key)
	if g := s.owner.cipherGroup(); g.apart {
		sh.removeGroup(key.from, g)
	}
	return true
}

// freeConv returns a conversation id that no session with that address has, or has had lately.
func (sh *demuxShard) freeConv(from peerAddr) uint32 {
	now := clock()
	for {
		key := sessionKey{from, randomConv()}
		if _, in := sh.timeWaits.find(key, now); key.conv != 0 && in == nil && sh.sessions[key] == nil {
			return key.conv
		}
	}
}

// addGroup notes that a session at an address is of a group that is apart.
func (sh *demuxShard) addGroup(from peerAddr, g *cipherGroup) {
	if sh.groups == nil {
		sh.groups = make(map[peerAddr][]*cipherGroup)
	}
	sh.groups[from] = append(sh.groups[from], g)
}

// removeGroup undoes addGroup.
func (sh *demuxShard) removeGroup(from peerAddr, g *cipherGroup) {
	list := sh.groups[from]
	if i := slices.Index(list, g); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if sh.groups[from] = list; len(list) == 0 {
		delete(sh.groups, from)
	}
}

// concerns says whether a datagram that opened under the cipher of g is of a session here, or of one that
// has ended.
func (sh *demuxShard) concerns(g *cipherGroup, from peerAddr, c *contents) bool {
	if c.kind() == fecTypeParity {
		s := sh.lastFEC[from]
		return s != nil && s.owner.cipherGroup().sharesCipher(g)
	}
	if !c.hasConv {
		return false
	}
	key := sessionKey{from, c.conv}
	if s := sh.sessions[key]; s != nil {
		return s.owner.cipherGroup().sharesCipher(g)
	}
	_, in := sh.timeWaits.find(key, clock())
	return in != nil
}
