package kcp

import (
	"slices"
	"sort"
	"time"
)

// messageMax is the most segments of a message that is written as one: the least window that follows the
// path, which has to hold all of it until it can be read.
const messageMax = autoWindow

// messageSize is the most bytes of such a message, which the peer's receive window holds, too.
func (k *KCP) messageSize() int {
	most := messageMax
	if f := &k.flow; f.peerRoom > 0 {
		most = min(most, int(f.peerRoom))
	}
	return k.dataRoom() + (most-1)*k.roomOf(k.snd.end+1) // the first of a sealed session holds less
}

// expiry is when a message is not worth being sent any more.
type expiry struct {
	begin, end uint32 // serial numbers of its first segment, and behind its last
	at         int64
}

// peerSkips says whether the peer takes SKIP.
func (k *KCP) peerSkips() bool { return k.peerHas(featureSkip) }

// sendMessage queues a copy of b as one message, which is not worth being sent any more at at, never for as
// long as it takes.
func (k *KCP) sendMessage(b []byte, at int64) {
	begin := k.snd.end
	if k.send(b) != 0 || at == never {
		return
	}
	k.expiries = append(k.expiries, expiry{begin, k.snd.end, at})
}

// tailExpires says whether the newest segment is of a message that expires, and so takes no other data.
func (k *KCP) tailExpires() bool {
	n := len(k.expiries)
	return n > 0 && k.expiries[n-1].end == k.snd.end
}

// forgetExpiries forgets messages that are acknowledged, as serial numbers come again: many at a time.
func (k *KCP) forgetExpiries() {
	n := sort.Search(len(k.expiries), func(i int) bool { return before(k.snd.una, k.expiries[i].end) })
	if 2*n >= len(k.expiries) {
		k.expiries = slices.Delete(k.expiries, 0, n)
	}
}

// dropExpired drops the data of segment sn, which is to be sent, if its message has expired. first says that
// it was never sent.
func (k *KCP) dropExpired(now int64, sn uint32, first bool) {
	i := sort.Search(len(k.expiries), func(i int) bool { return before(sn, k.expiries[i].end) })
	if i == len(k.expiries) || before(sn, k.expiries[i].begin) || k.snd.at(sn).p.cmd == cmdSKIP {
		return
	}
	e := &k.expiries[i]
	if first && sn == e.begin {
		k.dropLate(now, e)
	}
	if now >= e.at {
		k.snd.empty(sn)
		k.expired++
	}
}

// dropLate lets a message that is to be begun expire now if it would expire before all of it is sent, at the
// rate at which that is done: half a message is of no use, and takes the place of one that would be in time.
func (k *KCP) dropLate(now int64, e *expiry) {
	rate := k.cc.PacingRate()
	if rate <= 0 {
		return
	}
	bytes := int64(0)
	for sn := e.begin; sn != e.end-1; sn++ {
		bytes += int64(IKCP_OVERHEAD + len(k.snd.at(sn).p.data))
	}
	if now+bytes*int64(time.Second)/rate > e.at {
		e.at = now
	}
}
