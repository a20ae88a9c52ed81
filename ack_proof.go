package kcp

// ackProof bounds what acknowledgements can draw that do not come from who receives the data
// (Savage et al., 1999, optimistic acknowledgements: https://dl.acm.org/doi/10.1145/505696.505704).
// Without a cipher anybody can make a session from an address that is not his, and acknowledge what
// is sent there: serial numbers can be guessed. The ts cannot, as a session's clock starts at a
// random value, and an acknowledgement echoes it. So every acknowledgement frees memory, but the
// send window starts at the newest segment whose ts was echoed, if una is beyond that.
//
// Where no acknowledgement is lost, una never is. After such a loss the window is smaller until the
// next echo. If nothing is in flight that could bring one, a single segment is sent at once, and
// one more each RTO, which backs off, while they are acknowledged without their ts.
type ackProof struct {
	required bool
	heard    bool   // a ts of ours was echoed
	edge     uint32 // serial number behind the newest segment whose ts was echoed
	probes   uint32 // segments allowed beyond the window since then
	level    uint8  // backoff level of the next one
	probeAt  int64  // when it may be sent, 0 for at once
}

// unprovenWindow is how many segments may be sent before a ts was echoed: what deployed senders have
// in flight by default.
const unprovenWindow = IKCP_WND_SND

// echoed takes the echo of a ts that segment sn was sent with.
func (p *ackProof) echoed(sn uint32) {
	p.heard = true
	if before(p.edge, sn+1) {
		p.edge, p.probes, p.level, p.probeAt = sn+1, 0, 0, 0
	}
}

// covers says whether segment sn is not beyond what was echoed, where that is required.
func (p *ackProof) covers(sn uint32) bool { return !p.required || before(sn, p.edge) }

// provenRoom says whether a window of wnd segments has room for the next new one, where una alone
// may not move it.
func (k *KCP) provenRoom(wnd uint32) bool {
	p := &k.proof
	if !p.heard {
		wnd = min(wnd, unprovenWindow)
	}
	start := k.snd.una
	if before(p.edge, start) {
		start = p.edge
		wnd += p.probes
	}
	return k.snd.nxt-start < wnd
}

// proofMissing says whether the missing echo alone keeps data back, and nothing is under way that
// could bring one. It is called where proof is required.
func (k *KCP) proofMissing() bool {
	wnd := min(k.flow.sendWnd, k.flow.peerWnd)
	return k.snd.queued() > 0 && k.snd.inFlight.n+k.snd.lost.n == 0 &&
		k.snd.nxt-k.snd.una < wnd && !k.provenRoom(wnd)
}

// probeProof allows a segment beyond the window when that is due.
func (k *KCP) probeProof(now int64) {
	p := &k.proof
	if now < p.probeAt || !k.proofMissing() {
		return
	}
	p.probes++
	p.level = min(p.level+1, backoffLevels-1)
	p.probeAt = now + k.rtt.backoff(p.level)
}

// noteLateEcho takes an acknowledgement of segment sn that changes nothing any more. If una has
// overtaken it, its slot in the send window may not be in use again.
func (k *KCP) noteLateEcho(sn, ts uint32) {
	w := &k.snd
	if !k.proof.required || !before(sn, w.nxt) || w.end-sn > uint32(len(w.ring)) {
		return
	}
	if s := w.at(sn); s.state == segAcked && s.ts == ts {
		k.proof.echoed(sn)
	}
}
