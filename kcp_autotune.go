package kcp

import (
	"math"
	"time"
)

// Windows that the caller has not set follow need, so that a session that nobody tuned fills its
// path. They bound memory, which is taken as it is used. What they may hold in all sessions together
// is bounded, too: see windowMemory.

const (
	// loweredBy is the share by which a window that is larger than needed becomes smaller in a round
	// trip: much slower than it grows, as what it is needed for, a loss of a retransmission, is rare.
	loweredBy = 32
	// autoRTTMax is the longest round trip that the receive window is made for. Where the sender
	// is the slow end, the window holds at most twice what it sends in that time.
	autoRTTMax = int64(time.Second)
	// fastPathRate is the rate up to which Write uses the whole send window, in segments a
	// millisecond: 10 Gbit/s of full ones.
	fastPathRate = 900
	// batchSlack is how many segments more may be in flight, for hosts that send and acknowledge
	// in batches: 0.7 MB of full ones, which fit in a processor's cache.
	batchSlack = 512
	// restMax is how much of a Write that has begun is queued beyond sendLimit, in segments: 4 MB of
	// full ones.
	restMax = 3072
	// autoResend is the number of later acknowledgements that declare a segment lost until NoDelay
	// is called (RFC 5681, section 3.2: https://www.rfc-editor.org/rfc/rfc5681#section-3.2).
	autoResend = 3
)

// autotune makes the core choose windows and loss detection by itself, until WndSize and NoDelay
// are called.
func (k *KCP) autotune() {
	k.flow.autoSend, k.windowTuner.auto = true, true
	k.flow.sendWnd, k.rcv.wnd, k.windowTuner.rtt = autoWindow, autoWindow, autoRTTMax
	k.resend = autoResend
}

// tuneSendWindow allows two congestion windows in the send window: one in flight, and one to
// follow while the oldest segments are repaired. Where retransmissions are often lost, too, the
// repair takes several round trips. When the congestion window becomes smaller the send window follows
// slowly, as it is small for short whiles.
func (k *KCP) tuneSendWindow(now int64) {
	f := &k.flow
	if !f.autoSend || k.conserveOnly {
		return
	}
	windows := 2
	if k.loss.lossRate >= highLossRate {
		windows = 6
	}
	want := uint32(unsureWindow)
	if w := k.cc.Window(); w != math.MaxInt {
		want = uint32(min(max(w/k.mss, 0), autoWindowMax) * windows)
	}
	want = min(max(want, autoWindow), k.maxWindow)
	switch {
	case want >= f.sendWnd:
		f.sendWnd, f.loweredAt = want, now
	case now-f.loweredAt >= max(k.rtt.srtt, int64(time.Millisecond)):
		f.sendWnd = max(want, f.sendWnd-f.sendWnd/loweredBy)
		f.loweredAt = now
	}
}

// sendLimit is the number of unacknowledged segments at which Write waits: the send window, or
// less on a path faster than fastPathRate, such as loopback. There a large window would be
// nothing but a queue in memory, and each byte would have to be fetched from there again and
// again. The limit grows with srtt, and srtt with the queue; above fastPathRate the queue drains
// faster than the limit grows, so the loop converges. A slower path gets its whole window.
//
// A window that follows the path is cut short where memory is scarce, see windowMemory.
//
// A window that the caller has set is cut short only for what is in flight, with nc=1. What the
// peer's window, a rate limit or a congestion window holds back may wait here as always.
func (k *KCP) sendLimit() int {
	wnd := int(k.flow.sendWnd)
	if k.flow.autoSend {
		wnd = min(wnd, int(k.memory.most))
	}
	if k.rtt.srtt == 0 || k.loss.lossRate >= highLossRate { // repair takes more than a round trip
		return wnd
	}
	limit := int(batchSlack + fastPathRate*k.rtt.srtt/int64(time.Millisecond))
	switch {
	case k.flow.autoSend:
		return min(wnd, limit)
	case k.conserveOnly:
		return min(wnd, limit+k.snd.waiting()-k.snd.inFlight.n)
	}
	return wnd
}

// tuneReceiveWindow chooses the receive window when segment sn has arrived: four times what the reader
// takes in a round trip, as a sender that starts doubles what it sends in each, and knows of the window
// half of one later; and twice what lies beyond a gap, as more follows until that is filled.
func (k *KCP) tuneReceiveWindow(now int64, sn uint32) {
	r, t := &k.rcv, &k.windowTuner
	if !t.auto || k.slowReader(now) {
		return
	}
	k.measureWindow(now)
	if now-t.since >= t.rtt {
		k.measureNeed(now)
	}
	want := max(t.need, 4*uint32(max(0, int32(r.taken()-t.taken))))
	if beyond := sn - r.nxt; int32(beyond) > 0 {
		want += 2 * beyond
	}
	if want > t.wanted {
		t.wanted = want
		if want > r.wnd {
			k.setReceiveWindow(want)
		}
	}
}

// slowReader says whether the reader does not keep up, as more than half the window waits for it, and
// that is not just one batch.
func (k *KCP) slowReader(now int64) bool {
	r, t := &k.rcv, &k.windowTuner
	if r.nxt-r.head <= r.wnd/2 {
		t.slowReader = 0
		return false
	}
	if t.slowReader == 0 {
		t.slowReader = now
	}
	if now != t.slowReader {
		t.edgeAt, t.since, t.taken = 0, now, r.taken()
	}
	return true
}

// measureWindow takes the time in which a whole window arrives for the round trip, where that is shorter
// than this end's own samples.
func (k *KCP) measureWindow(now int64) {
	r, t := &k.rcv, &k.windowTuner
	if t.edgeAt != 0 && !before(r.nxt, t.edge) {
		if rtt := max(now-t.edgeAt, 1); rtt < t.rtt {
			t.rtt = rtt
		} else if r.wnd < unsureWindow { // the path became longer, or only the sender slower
			t.rtt += (min(rtt, autoRTTMax) - t.rtt) / 8
		}
		t.edgeAt = 0
	}
	if t.edgeAt == 0 {
		t.edge, t.edgeAt = r.nxt+r.wnd, now
	}
}

// measureNeed notes what was taken in the round trip that is over. A window that was not needed becomes
// smaller, by less than that: what was announced is taken back by a 32nd of the window at most, which was
// not in use, and soon announced again.
func (k *KCP) measureNeed(now int64) {
	r, t := &k.rcv, &k.windowTuner
	taken := uint32(max(0, int32(r.taken()-t.taken)))
	if r.wnd > t.wanted {
		k.setReceiveWindow(max(t.wanted, r.wnd-min(r.wnd/loweredBy, taken/2)))
	}
	t.need = uint32(min(4*int64(taken)*t.rtt/(now-t.since), wndLimit))
	t.wanted, t.since, t.taken = 0, now, r.taken()
}

// limitWindows bounds the windows that follow the path to most segments from now on.
func (k *KCP) limitWindows(most uint32) {
	k.maxWindow = most
	if k.flow.autoSend {
		k.flow.sendWnd = min(k.flow.sendWnd, most)
	}
	if k.windowTuner.auto {
		k.rcv.wnd = min(k.rcv.wnd, most)
	}
}
