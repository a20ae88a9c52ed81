package kcp

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// sealIndex finds the sealed sessions of a transport by their index, which is unique at its sockets. No
// session is locked while it is.
type sealIndex struct {
	mu      sync.RWMutex // guards all below
	byIndex map[uint32]*sealedPeer
	young   []*sealedPeer // ended, see timeWaitLife
	old     []*sealedPeer
	since   int64 // when young was started
}

// sealedEnd is what answers the stragglers of a sealed session that has ended.
type sealedEnd struct {
	timeWait
	cfg    *config
	conv   uint32
	sealer *datagramSealer
}

// sealedEndsMax bounds the ended sessions that are remembered.
const sealedEndsMax = 1 << 14

func (x *sealIndex) find(index uint32) *sealedPeer {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.byIndex[index]
}

// newPeer draws an index that is free.
func (x *sealIndex) newPeer() *sealedPeer {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := &sealedPeer{index: rand.Uint32()}
	for x.byIndex[p.index] != nil {
		p.index = rand.Uint32()
	}
	if x.byIndex == nil {
		x.byIndex = make(map[uint32]*sealedPeer)
	}
	x.byIndex[p.index] = p
	return p
}

// remove forgets a peer that came to nothing.
func (x *sealIndex) remove(p *sealedPeer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.byIndex, p.index)
}

// known says whether there is a session with these indices, or what becomes one with the first sealed
// datagram, or one that has ended and still answers.
func (x *sealIndex) known(own, peer uint32) bool {
	p := x.find(own)
	return p != nil && p.opener.Load() != nil && p.peer.Load() == peer
}

// forget forgets handshakes that came to nothing, whose early data goes with them.
func (x *sealIndex) forget(list []*handshake) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, h := range list {
		if p := x.byIndex[h.index]; p != nil && p.session.Load() == nil {
			delete(x.byIndex, h.index)
			h.dropEarly()
		}
	}
}

// expire forgets what is old enough. It returns when to come again, never for not at all.
func (x *sealIndex) expire(now int64) (at int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ageLocked(now); len(x.young)+len(x.old) == 0 {
		return never
	}
	return x.since + timeWaitLife
}

// ageLocked forgets sessions that ended long ago.
func (x *sealIndex) ageLocked(now int64) {
	for len(x.young)+len(x.old) > 0 && (now-x.since >= timeWaitLife || len(x.young) >= sealedEndsMax/2) {
		for _, p := range x.old {
			delete(x.byIndex, p.index)
		}
		x.old, x.young, x.since = x.young, nil, max(x.since+timeWaitLife, now-timeWaitLife)
	}
}

// ended remembers a session that has ended.
func (x *sealIndex) ended(p *sealedPeer, end *sealedEnd, now int64) {
	p.end.Store(end)
	p.session.Store(nil)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ageLocked(now); len(x.young)+len(x.old) == 0 {
		x.since = now
	}
	x.young = append(x.young, p)
}

// reply returns the answer to a straggler of a session that has ended, nil for none.
func (x *sealIndex) reply(end *sealedEnd, c *contents) *packet {
	x.mu.Lock()
	defer x.mu.Unlock()
	return end.timeWait.reply(end.cfg, end.conv, c)
}

// sessions returns those that have not ended.
func (x *sealIndex) sessions() (list []*UDPSession) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, p := range x.byIndex {
		if s := p.session.Load(); s != nil {
			list = append(list, s)
		}
	}
	return slices.Clip(list)
}
