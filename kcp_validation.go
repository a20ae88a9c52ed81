package kcp

import "time"

// addressValidation finds out whether the peer receives what is sent to its address, which anybody may
// have forged (RFC 9000, section 8: https://www.rfc-editor.org/rfc/rfc9000#section-8). The proof is the
// echo of a value that is sent there and that nobody else can know: the ts of a segment, as a session's
// clock starts at a random value, or that of a PATH record. An una is none: serial numbers can be
// guessed.
//
// While there is no proof the sink bounds what is written. Once that is about to hold data back, the
// core asks for proof by a challenge: an empty PUSH with the number before the first, which any peer
// acknowledges, and throws away as it does with a repeated one. It is repeated each RTO, backing off to
// challengeMax, so that peers whose acknowledgements were lost are not left waiting.
type addressValidation struct {
	pending bool   // there is no proof yet
	wanted  bool   // it is to be asked for
	once    bool   // and not again
	ts      uint32 // of the challenge: always the same, so that a late echo counts
	asked   int    // challenges so far
	askAt   int64  // when the next is due, 0 for at once
}

// challengeMax is the longest time between two challenges: they are small, and a segment that is lost
// with others comes again as soon.
const challengeMax = int64(time.Second)

// questionSn is the serial number of a challenge, and of the question of addressCheck.
const questionSn = ^uint32(0)

// addressPending says whether there is no proof yet that the peer receives.
func (k *KCP) addressPending() bool { return k.address.pending }

// addressAsked says whether it has been asked for.
func (k *KCP) addressAsked() bool { return k.address.asked > 0 }

// addressValidated notes that there is.
func (k *KCP) addressValidated() { k.address.pending = false }

// addressUnproven notes that there is none, though there is a handshake: bytes and acknowledgements are bounded
// until a ts is echoed.
func (k *KCP) addressUnproven() {
	k.address.pending, k.proof = true, ackProof{required: true, edge: k.snd.una}
}

// challengeAddress makes the next flush ask for proof, and others until there is one.
func (k *KCP) challengeAddress() { k.address.wanted, k.address.once = true, false }

// challengeAddressOnce makes the next flush ask for proof.
func (k *KCP) challengeAddressOnce() { k.address.wanted, k.address.once = true, true }

// onChallengeEcho takes an acknowledgement of segment questionSn.
func (k *KCP) onChallengeEcho(ts uint32) {
	if a := &k.address; a.asked > 0 && ts == a.ts {
		k.addressValidated()
	}
}

// addressBlocks says whether the next segment of data has to wait for the proof.
func (k *KCP) addressBlocks() bool {
	if !k.address.pending {
		return false
	}
	next := k.nextPacket()
	if next == nil {
		return false
	}
	size := k.reserved + 2*IKCP_OVERHEAD + len(next.data) // with a WINS before it
	if k.out.buf != nil {
		size += k.out.n
	}
	return size > k.out.inPlace.dataRoom()
}

// nextPacket returns what writeData writes next, as far as the windows allow, nil for nothing.
func (k *KCP) nextPacket() *packet {
	if k.dgramNext() {
		return k.dgrams.out.first()
	}
	if sn, ok := k.nextLost(); ok {
		return k.snd.at(sn).p
	}
	if k.snd.queued() > 0 {
		return k.snd.at(k.snd.nxt).p
	}
	return nil
}

// challengeAt is when the next challenge is due, never for none.
func (k *KCP) challengeAt() int64 {
	if a := &k.address; a.pending && a.wanted && k.out.inPlace.challengeFits() {
		return a.askAt
	}
	return never
}

// writeChallenge writes a challenge if it is due.
func (k *KCP) writeChallenge(now int64) {
	if now < k.challengeAt() {
		return
	}
	a := &k.address
	h := k.controlHeader(IKCP_CMD_PUSH)
	h.frg, h.sn, h.ts = 0, questionSn, a.ts
	k.write(now, &h, nil)
	a.askAt = now + min(k.rtt.backoff(uint8(min(a.asked, backoffLevels-1))), challengeMax)
	a.asked++
	a.wanted = !a.once
}
