package kcp

import "time"

// deliveryRate estimates the rate at which the path delivers, by the bytes acknowledged between
// the transmission of a segment and its acknowledgement
// (https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-4.1).
type deliveryRate struct {
	total      int64 // bytes acknowledged: the draft's C.delivered
	at         int64 // when total was updated last
	firstSent  int64 // when the newest segment acknowledged was sent
	appLimited int64 // total up to which samples are application-limited, 0 for none
	limitedAt  int64 // when that was set

	roomLimited bool       // the windows had no room for more since the last sample
	filter      rateFilter // for Stats

	// Of the datagram being processed:
	sample          RateSample
	prior           rateSnapshot // of the newest transmission acknowledged
	priorAppLimited bool
	priorSent       int64 // when that was sent, 0 for none
	acked           int   // segments acknowledged
}

// rateSnapshot is the state of the estimator at a transmission (the draft's P.delivered,
// P.delivered_time and P.first_sent_time), truncated to 32 bits: bytes modulo 4 GiB, microseconds
// modulo 71 minutes. A sample spans at least the minimum RTT, which bounds the rate, and less than
// an hour, so the differences are exact.
type rateSnapshot struct {
	delivered uint32 // deliveryRate.total
	at        uint32 // deliveryRate.at
	firstSent uint32 // deliveryRate.firstSent
}

// micros returns a time of the clock in microseconds, as the ts field of a segment has it.
func micros(at int64) uint32 { return uint32(at / int64(time.Microsecond)) }

// microsBetween returns the time from then, of micros, to now, with that precision.
func microsBetween(then uint32, now int64) int64 {
	return int64(micros(now)-then) * int64(time.Microsecond)
}

// snapshot returns the state for a transmission at now. idle says that nothing is in flight.
func (d *deliveryRate) snapshot(now int64, idle bool) (r rateSnapshot, appLimited bool) {
	if idle {
		d.firstSent, d.at = now, now
		if d.appLimited != 0 || d.total == 0 {
			d.filter.resume(now, d.total)
		}
	}
	return rateSnapshot{uint32(d.total), micros(d.at), micros(d.firstSent)}, d.appLimited != 0
}

// limit marks what is in flight as application-limited
// (https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-4.1.2.4).
func (d *deliveryRate) limit(now int64, inFlight int) {
	d.appLimited, d.limitedAt = max(1, d.total+int64(inFlight)), now
}

// begin starts the sample of one datagram.
func (d *deliveryRate) begin(inFlight int) {
	d.sample, d.priorSent, d.acked = RateSample{Prior: inFlight}, 0, 0
}

// onAcked takes the acknowledgement of size bytes.
func (d *deliveryRate) onAcked(now int64, size int) {
	d.total += int64(size)
	d.at = now
	d.sample.Acked += size
	d.acked++
}

// onTransmission takes the acknowledgement of a transmission made at sentAt, when the estimator's
// state was as in r.
func (d *deliveryRate) onTransmission(sentAt int64, r rateSnapshot, appLimited bool) {
	if sentAt >= d.priorSent {
		d.prior, d.priorAppLimited, d.priorSent = r, appLimited, sentAt
	}
}

// finish completes the sample. A rate over less than minRTT, the shortest round trip known, would
// be that of a batch of acknowledgements and not the path's.
func (d *deliveryRate) finish(now int64, inFlight int, minRTT int64) *RateSample {
	s := &d.sample
	s.InFlight, s.Delivered = inFlight, d.total
	s.PriorDelivered = -1
	s.RoomLimited, d.roomLimited = d.roomLimited, false
	// What was sent later is told of after all that was in flight, though much of that was lost.
	if d.appLimited != 0 && (d.total > d.appLimited || d.priorSent > d.limitedAt) {
		d.appLimited = 0
	}
	if d.priorSent == 0 {
		return s
	}
	delivered := int64(uint32(d.total) - d.prior.delivered)
	s.PriorDelivered, s.AppLimited = d.total-delivered, d.priorAppLimited
	s.RTT = time.Duration(now - d.priorSent)
	s.sendElapsed = time.Duration(microsBetween(d.prior.firstSent, d.priorSent))
	s.ackElapsed = time.Duration(microsBetween(d.prior.at, now))
	elapsed := int64(max(s.sendElapsed, s.ackElapsed))
	d.firstSent = d.priorSent
	if elapsed > 0 && elapsed > minRTT-int64(time.Microsecond) {
		s.Rate = int64(float64(delivered) * float64(time.Second) / float64(elapsed))
	}
	return s
}
