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
