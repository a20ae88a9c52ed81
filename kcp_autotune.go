package kcp

import "time"

// Windows that the caller has not set follow need, so that a session that nobody tuned fills its
// path. They bound memory, which is taken as it is used.

const (
	// autoWindow is the initial size of both windows, in segments.
	autoWindow = 128
	// autoWindowMax is the size that they grow to: 5.6 MB of full segments, what TCPs allow.
	autoWindowMax = 4096
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
	k.flow.sendWnd, k.rcv.wnd = autoWindow, autoWindow
	k.resend = autoResend
}

// tuneSendWindow allows two congestion windows in the send window: one in flight, and one to
// follow while the oldest segments are repaired. Where retransmissions are often lost, too, the
// repair takes several round trips.
func (k *KCP) tuneSendWindow() {
	if !k.flow.autoSend || k.conserveOnly {
		return
	}
	windows := 2
	if k.loss.lossRate >= highLossRate {
		windows = 6
	}
	want := min(windows*(k.cc.Window()/k.mss), autoWindowMax)
	k.flow.sendWnd = max(k.flow.sendWnd, uint32(max(want, 0)))
}

// sendLimit is the number of unacknowledged segments at which Write waits: the send window, or
// less on a path faster than fastPathRate, such as loopback. There a large window would be
// nothing but a queue in memory, and each byte would have to be fetched from there again and
// again. The limit grows with srtt, and srtt with the queue; above fastPathRate the queue drains
// faster than the limit grows, so the loop converges. A slower path gets its whole window.
//
// A window that the caller has set is cut short only for what is in flight, with nc=1. What the
// peer's window, a rate limit or a congestion window holds back may wait here as always.
func (k *KCP) sendLimit() int {
	wnd := int(k.flow.sendWnd)
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

// tuneReceiveWindow chooses the receive window when segment sn has arrived. It grows where it
// keeps the sender back, unless the reader does not keep up.
func (k *KCP) tuneReceiveWindow(now int64, sn uint32) {
	r, t := &k.rcv, &k.windowTuner
	if !t.auto || r.wnd >= autoWindowMax {
		return
	}
	if r.nxt-r.head > r.wnd/2 { // the reader does not keep up
		if t.slowReader == 0 {
			t.slowReader = now
		}
		if now != t.slowReader { // and it is not just one batch
			t.edgeAt, t.head, t.headAt = 0, r.head, now
		}
		return
	}
	t.slowReader = 0
	want := uint32(0)
	if int32(sn-r.head) >= int32(r.wnd/4*3) {
		want = 2 * r.wnd // beyond a gap
	}
	if t.edgeAt != 0 && !before(r.nxt, t.edge) {
		if rtt := max(now-t.edgeAt, 1); t.rtt == 0 || rtt < t.rtt {
			t.rtt = rtt
		} else { // the path became longer, or only the sender slower
			t.rtt += (min(rtt, autoRTTMax) - t.rtt) / 8
		}
		t.edgeAt = 0
	}
	if t.edgeAt == 0 {
		t.edge, t.edgeAt = r.nxt+r.wnd, now
	}
	if t.rtt != 0 && now-t.headAt >= t.rtt {
		if now-t.headAt < 2*t.rtt {
			want = max(want, 2*(r.head-t.head))
		}
		t.head, t.headAt = r.head, now
	}
	r.wnd = min(max(r.wnd, want), autoWindowMax)
}
