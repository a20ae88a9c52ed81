package kcp

import (
	"crypto/aes"
	"crypto/cipher"
	"sync/atomic"
)

// sealedPeer is the receiving side of a sealed session, or of a handshake that may become one, as
// readers of sockets find it by the index of a datagram.
type sealedPeer struct {
	index  uint32                         // ours
	opener atomic.Pointer[datagramOpener] // nil as long as there are no keys

	// Of a transport's; see sealIndex.
	session atomic.Pointer[UDPSession] // nil before it is made
	end     atomic.Pointer[sealedEnd]  // set when the session has ended

	// Of a listener's; see listenerSeal.
	shake    *handshake    // until it is finished; listenerSeal.shakes guards it
	key      sessionKey    // that a newer one of ends it; listenerSeal.mu guards it
	peer     atomic.Uint32 // the dialler's index
	unproven atomic.Bool   // nothing sealed has come
}

// sealDemux finds the sealedPeer of each datagram. It belongs to one reader.
type sealDemux struct {
	heads []cipher.Block // one for each identity that datagrams are for
	find  func(index uint32) *sealedPeer
	last  *sealedPeer // the one that was found last
	mask  [aes.BlockSize]byte
}

// peerOf returns whom a datagram is for, if it is sealed, and what its first bytes say. By chance alone
// another's has an index that is known, and a number that has a key, once in 2^64 datagrams.
func (x *sealDemux) peerOf(b []byte) (p *sealedPeer, number uint64) {
	for _, head := range x.heads {
		index, number, ok := unmask(head, b, &x.mask)
		if !ok {
			break
		}
		if p := x.last; p != nil && p.index == index && p.end.Load() == nil {
			return p, number
		}
		if p := x.find(index); p != nil {
			x.last = p
			return p, number
		}
	}
	return nil, 0
}

// open opens a datagram of p's in place.
func (p *sealedPeer) open(b []byte, number uint64) (payload []byte, result openResult) {
	o := p.opener.Load()
	if o == nil {
		return b, sealedEarly
	}
	return o.open(b, p.index, number)
}
