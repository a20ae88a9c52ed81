package kcp

import "time"

// messageMax is the most segments of a message that is written as one: the least window that follows the
// path, which has to hold all of it until it can be read.
const messageMax = autoWindow

// messageSize is the most bytes of such a message.
func (k *KCP) messageSize() int { return messageMax * k.dataRoom() }

// peerSkips says whether the peer takes SKIP.
func (k *KCP) peerSkips() bool {
	return k.params.peer.features&featureSkip != 0 && k.caps.bothTakeRecords()
}

// sendMessage queues a copy of b as one message, which is not worth being sent any more at expires, 0 for
// never.
func (k *KCP) sendMessage(b []byte, expires int64) {
	first := k.snd.end
	k.send(b)
	if expires == 0 {
		return
	}
	k.expiring = true
	for sn := first; sn != k.snd.end; sn++ {
		k.snd.at(sn).p.expires = expires
	}
}

// dropExpired drops the data of segment sn, which is to be sent, if its message has expired. first says that
// it was never sent.
func (k *KCP) dropExpired(now int64, sn uint32, first bool) {
	p := k.snd.at(sn).p
	if first {
		if !k.midMessage {
			k.dropLate(now, sn)
		}
		k.midMessage = p.frg > 0
	}
	if now >= p.expires {
		k.snd.empty(sn)
		k.expired++
	}
}

// dropLate lets a message, of which sn is the first segment, expire now if it would expire before all of it
// is sent, at the rate at which that is done: half a message is of no use, and takes the place of one that
// would be in time.
func (k *KCP) dropLate(now int64, sn uint32) {
	rate := k.cc.PacingRate()
	if rate <= 0 {
		return
	}
	last, bytes := sn, int64(0)
	for ; k.snd.at(last).p.frg > 0 && last+1 != k.snd.end; last++ {
		bytes += int64(IKCP_OVERHEAD + len(k.snd.at(last).p.data))
	}
	if now+bytes*int64(time.Second)/rate <= k.snd.at(sn).p.expires {
		return
	}
	for ; sn != last+1; sn++ {
		k.snd.at(sn).p.expires = now
	}
}
