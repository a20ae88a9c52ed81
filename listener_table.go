package kcp

import (
	"hash/maphash"
	"sync"
)

// demuxShards is the number of parts of a listener's table, so that its readers, at most
// reusePortMax, rarely wait for one another.
const demuxShards = 16

// demuxShard is the part of a listener's table for the addresses that hash to it.
type demuxShard struct {
	mu        sync.Mutex // guards all below; no session is locked while it is taken
	sessions  map[sessionKey]*UDPSession
	lastFEC   map[peerAddr]*UDPSession // that received a FEC data shard last: parity has no conv
	timeWaits timeWaitTable
}

// sessionTable is a listener's table of sessions.
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

// remove takes a session that has ended out of the shard, and remembers it, unless a newer one has
// taken its place.
func (sh *demuxShard) remove(key sessionKey, s *UDPSession, end timeWait) {
	if sh.lastFEC[key.from] == s {
		delete(sh.lastFEC, key.from)
	}
	if sh.sessions[key] != s {
		return
	}
	delete(sh.sessions, key)
	sh.timeWaits.add(key, end, clock())
}
