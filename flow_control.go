package kcp

import "time"

// flowControl is the state of the windows that the two ends advertise to each other (RFC 9293,
// section 3.8.6: https://www.rfc-editor.org/rfc/rfc9293#section-3.8.6).
type flowControl struct {
	sendWnd   uint32 // our own bound of segments in flight
	autoSend  bool   // sendWnd follows the congestion window
	loweredAt int64  // when sendWnd was lowered last, or the controller wanted no less

	peerWnd   uint32 // the receive window that the peer advertised last
	peerUna   uint32 // una of the segment that advertised it
	peerRoom  uint32 // the segments that the whole of its window holds, as far as is known
	peerKnown bool   // the peer has advertised one

	edgeKnown bool   // edge is set
	edge      uint32 // first serial number beyond the window that we advertised last
	updateDue bool   // a WINS, our window update, is to be sent

	probeDue      bool  // a WASK, a window probe, is to be sent
	awaitingReply bool  // a WASK was sent and nothing was heard since
	askedAt       int64 // when the first of those was
	probeAt       int64 // when to probe the zero window next, 0 while it is open
	probeWait     int64
}

// onWindow takes the window wnd that the peer advertised when it had received everything below
// una. An older advertisement that was overtaken is ignored. Of two with equal una the larger
// counts, as the peer's window has opened between them; but one that takes nothing of what is repeated
// has shrunk (RFC 9293, section 3.8.6: https://www.rfc-editor.org/rfc/rfc9293#section-3.8.6).
func (f *flowControl) onWindow(una uint32, wnd uint16, repeated bool) {
	newer := int32(una - f.peerUna)
	if !f.peerKnown || newer > 0 || newer == 0 && (uint32(wnd) > f.peerWnd || wnd == 0 && repeated) {
		if f.peerRoom = max(f.peerRoom, uint32(wnd)); !f.peerKnown { // and what has arrived may not have been read
			f.peerRoom += una
		}
		f.peerKnown, f.peerUna, f.peerWnd = true, una, uint32(wnd)
	}
}

// onHeard takes a segment of the peer's as the reply to a window probe.
func (f *flowControl) onHeard(now int64) {
	if !f.awaitingReply {
		return
	}
	f.awaitingReply = false
	if f.probeAt != 0 {
		f.probeAt = now + f.probeWait
	}
}

// zeroWindowProbe makes a probe due when the peer's zero window has kept data waiting for rto, as the
// window update may have been lost, and then ever more rarely (RFC 9293, section 3.8.6.1:
// https://www.rfc-editor.org/rfc/rfc9293#section-3.8.6.1). The wait doubles with each probe up to
// IKCP_PROBE_INIT, and grows by half from there. It starts anew with each reply, and without one with
// IKCP_PROBE_INIT at most. held leaves this probe out.
func (f *flowControl) zeroWindowProbe(now, rto int64, held bool) {
	const usual, most = IKCP_PROBE_INIT * int64(time.Millisecond), IKCP_PROBE_LIMIT * int64(time.Millisecond)
	switch {
	case f.probeAt == 0:
		f.probeWait = min(rto, usual)
		f.probeAt = now + f.probeWait
	case now >= f.probeAt:
		if f.probeWait < usual {
			f.probeWait = min(2*f.probeWait, usual)
		} else {
			f.probeWait = min(f.probeWait+f.probeWait/2, most)
		}
		f.probeAt = now + min(f.probeWait, usual) // probeWait, once it is answered
		f.probeDue = f.probeDue || !held
	}
}
