package kcp

import (
	"encoding/binary"
	"math/rand/v2"
)

// What a core does to find how long datagrams may be: see pathMTU. It searches where data waits that would
// fill longer ones, so an idle session is left alone.

// mtuAfter is how many segments have to be acknowledged before a search begins.
const mtuAfter = 8

// boundMTU says within which bounds the length of datagrams is searched. The search begins anew.
func (k *KCP) boundMTU(b mtuBounds) {
	k.mtuBounds = b
	k.fitSegments()
	if k.pmtu != nil {
		k.pmtu.restart(k.mtu)
	}
	k.limitToPeer()
}

// limitToPeer keeps datagrams to the length that the peer reads.
func (k *KCP) limitToPeer() {
	p := &k.params.peer
	if !p.known || p.datagram-int(k.mtuBounds.behind) >= k.mtu {
		return
	}
	k.setMtu(p.datagram - int(k.mtuBounds.behind))
	if k.pmtu != nil {
		k.pmtu.restart(k.mtu)
	}
}

// searchedMTU returns the state of the search, which there is none of before the first.
func (k *KCP) searchedMTU() *pathMTU {
	if k.pmtu == nil {
		k.pmtu = &pathMTU{size: k.mtu}
	}
	return k.pmtu
}

// mtuMost is the longest datagram that is tried.
func (k *KCP) mtuMost() int {
	p, most := &k.params.peer, int(k.mtuBounds.most)
	if !p.known || p.datagram <= mtuLimit {
		most = min(most, int(k.mtuBounds.ethernet))
	}
	if p.known {
		most = min(most, p.datagram-int(k.mtuBounds.behind))
	}
	return most
}

// mayProbe says whether a probe may be sent, and the peer is known to answer those of one kind.
func (k *KCP) mayProbe() bool {
	return k.caps.peerKnown && !k.unconfirmed() && !k.address.pending && k.seal.room == 0 && k.out.inPlace != nil &&
		(k.caps.bothTakeRecords() || !k.caps.peerMarked() && k.snd.una != 0)
}

// probeDue says whether the search is to go on, or a new one to begin.
func (k *KCP) probeDue(now int64) bool {
	p := k.pmtu
	switch {
	case k.mtuBounds.most == 0:
		return false
	case p != nil && p.searching:
		return now >= p.at && k.mayProbe()
	case p == nil && k.snd.una < mtuAfter, p != nil && now < p.nextAt:
		return false
	}
	return k.snd.bytesQueued >= k.dataRoom() && k.mayProbe()
}

// probeAt is when the search has to go on.
func (k *KCP) probeAt() int64 {
	if p := k.pmtu; p != nil && p.searching && k.mayProbe() {
		return p.at
	}
	return never
}

// probeMTU goes on with the search.
func (k *KCP) probeMTU(now int64) {
	p := k.searchedMTU()
	if !p.searching {
		p.begin(now, k.mtuMost(), false)
	}
	wasGood, was := p.good, k.mtu
	n := p.step(now, &k.mtuBounds)
	if p.size != k.mtu {
		k.endDatagram(now) // whose buffer may be too short
		k.setMtu(p.size)
	}
	if wasGood == 0 && p.good > 0 && p.suspect {
		k.resendLong(p.began, was, p.good)
	}
	if n > 0 {
		k.writeProbe(now, p, n)
	}
}

// resendLong has everything longer than size sent again that was sent before then: what was sent later has
// arrived. It was lost for its length, which is no congestion. was is the length that was in use: any segment
// may have gone in a jumbo datagram.
func (k *KCP) resendLong(before int64, was, size int) {
	w := &k.snd
	for sn := w.una; sn != w.nxt; sn++ {
		if s := w.at(sn); s.state == segInFlight && s.sentAt < before && (k.reserved+s.size() > size || was > mtuLimit) {
			w.markLost(sn, 0)
			s.forced = true
		}
	}
	k.loss.endBurst()
}

// probeSize is the length of the records that a probe begins with: PROBE, and the header of PAD.
const probeSize = 2*recordHeaderSize + 4

// writeProbe writes a datagram of n bytes. To a peer that takes records it is a WINS with PROBE and PAD. To
// one without extensions it is a PUSH that has been acknowledged before, with a ts of its own: such a peer
// throws it away, and echoes that. It is charged to the pacers. If it is lost that is no congestion, so it
// does not count as in flight.
func (k *KCP) writeProbe(now int64, p *pathMTU, n int) {
	k.endDatagram(now)
	for p.value == 0 {
		p.value = rand.Uint32()
	}
	b := k.out.inPlace.probe(n)
	var h header
	body := b[IKCP_OVERHEAD:]
	clear(body)
	if k.caps.bothTakeRecords() {
		h = k.windowUpdate()
		appendProbe(body[:0], recordProbe, p.value)
		body[probeSize-recordHeaderSize] = recordPad
		binary.LittleEndian.PutUint16(body[probeSize-2:], uint16(len(body)-probeSize))
	} else {
		p.sn = k.snd.una - 1
		h = k.controlHeader(IKCP_CMD_PUSH)
		h.frg, h.sn, h.ts = 0, p.sn, p.value
	}
	h.len = uint32(len(body))
	h.put(b)
	k.limitPacer.spend(n)
	k.ccPacer.spend(n)
	k.count.OutSegs++
	if k.log.mask != 0 {
		k.log.segments(&logOutput, k.conv, b, true)
	}
	p.sent(now, &k.rtt)
	k.out.inPlace.emitProbe(n)
}

// onProbe takes the PROBE of a peer, and onProbeOK the answer to one of ours.
func (k *KCP) onProbe(value uint32) {
	p := k.searchedMTU()
	p.echo, p.echoDue = value, true
	k.flow.updateDue = true
}

func (k *KCP) onProbeOK(value uint32) {
	if k.pmtu != nil && k.caps.bothTakeRecords() {
		k.pmtu.answer(value)
	}
}

// probeAcknowledged takes the acknowledgement of a PUSH with a number that is not in flight, and says
// whether that was a probe.
func (k *KCP) probeAcknowledged(sn, ts uint32) bool {
	p := k.pmtu
	return p != nil && sn == p.sn && !k.caps.peerMarked() && p.answer(ts)
}

// probeRefused notes that the socket has refused the probe under way for its length.
func (k *KCP) probeRefused() {
	if k.pmtu != nil {
		k.pmtu.refuse()
	}
}

// noteJumbo notes that segment sn, with time stamp ts, has gone in a jumbo datagram.
func (k *KCP) noteJumbo(sn, ts uint32) {
	if p := k.searchedMTU(); !p.sampled {
		p.sample, p.sampleTS, p.sampled = sn, ts, true
	}
}

// lengthOf is the length of the datagram that segment sn went in, as far as that is known: of jumbo datagrams
// one in a round trip is followed.
func (k *KCP) lengthOf(sn uint32, s *sendSegment) int {
	if p := k.pmtu; p != nil && p.sampled && sn == p.sample {
		if p.sampled = false; s.ts == p.sampleTS {
			return k.mtu
		}
	}
	return k.reserved + s.size()
}

// noteLongLost notes that segment sn was lost, if it is long.
func (k *KCP) noteLongLost(now int64, sn uint32, s *sendSegment) {
	size, base, rounds := k.lengthOf(sn, s), int(k.mtuBounds.base), mtuSuspectRounds
	if size <= int(k.mtuBounds.floor) {
		return
	}
	if size <= base && base < k.mtu {
		rounds = mtuSuspectMedium
	}
	if p := k.searchedMTU(); p.lost(now, size, max(k.rtt.srtt, k.rtt.rto/2), rounds) {
		p.begin(now, k.mtu, true)
	}
}

// noteLongArrived notes that segment sn has arrived.
func (k *KCP) noteLongArrived(sn uint32, s *sendSegment) {
	if p := k.pmtu; p != nil && (p.sampled || p.suspicious()) {
		if size := k.lengthOf(sn, s); !p.suspect {
			p.arrived(size)
		}
	}
}

// suspectMTU has the length in use be confirmed.
func (k *KCP) suspectMTU(now int64) {
	if p := k.searchedMTU(); k.mtuBounds.most != 0 && !p.suspect && now >= p.suspectAt {
		p.begin(now, k.mtu, true)
	}
}

// needsFragments says whether a datagram of n bytes may be longer than the path carries.
func (k *KCP) needsFragments(n int) bool {
	return k.pmtu != nil && n > int(k.mtuBounds.floor) && n > k.pmtu.sure(&k.mtuBounds)
}

// fillDatagram makes the datagram being written at least n bytes long, by WINS that say what others do.
func (k *KCP) fillDatagram(n int) {
	w := &k.out
	for h := k.windowUpdate(); w.n < n && w.n+IKCP_OVERHEAD <= len(w.buf); w.n += IKCP_OVERHEAD {
		h.put(w.buf[w.n:])
		k.count.OutSegs++
	}
}

// datagramSize is the length of the longest datagram.
func (k *KCP) datagramSize() int { return k.mtu }
