package kcp

import "time"

// Windows that the user has not set follow need: a session that nobody tuned fills the path
// it is on. They bound memory, which is taken as it is used.

const (
	// autoWindow is what both windows start with, in segments.
	autoWindow = 128
	// autoWindowMost is the most they grow to: 5.6 MB of full segments, what TCPs allow.
	autoWindowMax = 4096
	// autoTripMost is the longest round trip that the receive window is made for: where the
	// sender is the slow one, it holds at most twice that time's worth.
	autoRTTMax = int64(time.Second)
	// swiftRate is the rate up to which a window is never cut short, in segments a millisecond:
	// 10 Gbit/s of full ones.
	fastPathRate = 900
	// hostSlack is how many more segments are in flight for hosts that send and acknowledge in
	// batches: 0.7 MB of full ones, which the cache of a processor can hold.
	batchSlack = 512
	// autoResend is how many later acknowledgements make a segment lost while SetNoDelay was
	// not called (RFC 5681, RFC 9002).
	autoResend = 3
)

// autotune makes the core choose windows and loss detection by itself, until WndSize and
// NoDelay are called.
func (k *KCP) autotune() {
	k.autoSnd, k.autoRcv = true, true
	k.sndWnd, k.rcv.wnd = autoWindow, autoWindow
	k.resend = autoResend
}

// tuneSend lets twice the congestion window wait: as much as is in flight, and as much to
// follow while the oldest segments are repaired. Where retransmissions are often lost, too,
// that takes several round trips.
func (k *KCP) tuneSend() {
	if !k.autoSnd || k.conserveOnly {
		return
	}
	windows := 2
	if k.loss.lossRate >= highLossRate {
		windows = 6
	}
	want := min(windows*(k.cc.Window()/k.mss), autoWindowMax)
	k.sndWnd = max(k.sndWnd, uint32(max(want, 0)))
}

// sendLimit is how many segments Write queues before it waits: the send window, or less on a path
// faster than swiftRate, loopback for one. There a large window would only be a queue in
// memory, and every byte be fetched from there again and again. That queue is part of the round
// trip; but a path that is faster drains more meanwhile than it adds to the limit, so both
// settle. A slower one gets its whole window.
//
// A window that is the user's is cut short for what is in flight only, with nc=1: what something
// else keeps back, or the peer, waits here as it always did.
func (k *KCP) sendLimit() int {
	wnd := int(k.sndWnd)
	if k.rtt.srtt == 0 || k.loss.lossRate >= highLossRate { // repair takes more than a round trip
		return wnd
	}
	limit := int(batchSlack + fastPathRate*k.rtt.srtt/int64(time.Millisecond))
	switch {
	case k.autoSnd:
		return min(wnd, limit)
	case k.conserveOnly:
		return min(wnd, limit+k.snd.waiting()-k.snd.inFlight.n)
	}
	return wnd
}

// receiveTuner finds the window that the sender and the path can use, as dynamic right-sizing
// does (Fisk and Feng 2001): twice what is read in a round trip. How long that is, it takes
// from the time in which a whole window arrives: the shortest, but a path may become longer.
type windowTuner struct {
	edge   uint32 // first serial number beyond the window, when it was
	edgeAt int64  // this time; 0 for not yet
	rtt    int64  // time until edge has arrived, 0 for not known
	head   uint32 // first not read, when it was
	headAt int64  // this time
	behind int64  // since when the reader seems not to keep up, 0 if it does
}

// tuneReceive chooses the receive window when segment sn has arrived: larger where the
// sender is kept back by it, unless it is the reader that does not keep up.
func (k *KCP) tuneReceive(now int64, sn uint32) {
	r, t := &k.rcv, &k.tuner
	if !k.autoRcv || r.wnd >= autoWindowMax {
		return
	}
	if r.nxt-r.head > r.wnd/2 { // the reader does not keep up
		if t.behind == 0 {
			t.behind = now
		}
		if now != t.behind { // and it is not just one batch
			t.edgeAt, t.head, t.headAt = 0, r.head, now
		}
		return
	}
	t.behind = 0
	want := uint32(0)
	if int32(sn-r.head) >= int32(r.wnd/4*3) {
		want = 2 * r.wnd // beyond a gap
	}
	if t.edgeAt != 0 && !before(r.nxt, t.edge) {
		if trip := max(now-t.edgeAt, 1); t.rtt == 0 || trip < t.rtt {
			t.rtt = trip
		} else { // or only the sender has become slower
			t.rtt += (min(trip, autoRTTMax) - t.rtt) / 8
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
