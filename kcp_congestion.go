package kcp

import "time"

// startControl makes the congestion controller, before the first segment is sent.
func (k *KCP) startControl() {
	if k.cc == nil {
		k.cc = k.newControl()
		k.ccLossTimes, _ = k.cc.(lossTimes)
	}
}

// setControl makes c control congestion from now on, nil for the default.
func (k *KCP) setControl(c CongestionControl) {
	_, k.conserveOnly = c.(*conservation)
	if k.userCC = c; k.conserveOnly {
		k.userCC = nil
	}
	k.resetControl()
}

// cwndLimited says whether the congestion window is used up.
func (k *KCP) cwndLimited() bool {
	inFlight := k.bytesInFlight()
	return inFlight > 0 && inFlight >= k.cc.Window()
}

// setPacingRate follows the rate that the controller wants. No datagram leaves before its time, whatever
// acknowledgement wakes the sender: of two in a row the second would wait in the queue.
func (k *KCP) setPacingRate(now int64) {
	rate := k.cc.PacingRate()
	quantum := min(max(k.rtt.min/pacingShare, pacingQuantumMin), pacingQuantum)
	full := int64(k.mss + IKCP_OVERHEAD)
	least := 2 * full
	if rate < slowPacing {
		least = full
	}
	k.ccPacer.adjust(rate, max(rate*quantum/int64(time.Second), least), full, now)
}

// refillPacers credits the pacers with the time up to now.
func (k *KCP) refillPacers(now int64) {
	k.limitPacer.refill(now)
	k.ccPacer.refill(now)
	k.bucket.refill(now)
}

// pacerBlocks says whether a rate keeps data back, as of the last refill.
func (k *KCP) pacerBlocks() bool {
	return k.limitPacer.blocks() || k.ccPacer.blocks() || k.bucket.blocked
}

func (k *KCP) newControl() CongestionControl {
	switch {
	case k.conserveOnly:
		return new(conservation)
	case k.userCC != nil:
		return k.userCC
	}
	return newBBR(k.conv ^ uint32(k.lastActive)) // not conv alone: many clients have the same
}

// resetControl replaces the congestion controller by the one that the settings ask for.
func (k *KCP) resetControl() {
	k.ccPacer = pacer{}
	if k.cc != nil {
		k.cc = nil
		k.startControl()
	}
}
