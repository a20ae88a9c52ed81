package kcp

import "time"

// bbrRound is what the current round trip has told.
type bbrRound struct {
	acked, lost int           // bytes
	rtt         time.Duration // sum of its samples
	rtts        int           // their number
	vary        time.Duration // sum of the differences of two in a row
	rated       rateSpan      // of its batches of acknowledgements together
	most        int64         // largest sample of the rate
	appLimited  bool          // the application limited a sample
	roomLimited bool          // the send window or the peer's did
}

// rateSpan is what was delivered in several samples of the rate, and the seconds in which that was sent
// and acknowledged. Where the delay jitters, now the one is longer and now the other: the mean of
// samples that are each over the longer one is below the rate, by an eighth and more.
type rateSpan struct{ delivered, send, ack float64 }

const (
	// bbrFilter is the number of rounds over which the highest rate is taken (section 5.5.3:
	// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.3; there two cycles of
	// ProbeBW).
	bbrFilter = 12
	// bbrChance is how many standard deviations, of what random loss lets arrive in a round, are taken
	// off its rate. The highest of bbrFilter rounds is 1.6 above the mean; with a whole one taken off,
	// paths that lose a tenth carry 6% less.
	bbrChance = 0.5
	// bbrRoundLeast is the least that is acknowledged in a round once Startup is over: rates of fewer
	// datagrams tell little.
	bbrRoundLeast = 8 * IKCP_MTU_DEF
	// bbrHostDelay is the delay that hosts add, as they send and acknowledge in batches. It is no
	// queue.
	bbrHostDelay = time.Millisecond
)

// observe takes a sample of the round trip and of the rate.
func (b *bbr) observe(now time.Duration, s *RateSample) {
	r := &b.round
	r.acked += s.Acked
	r.roomLimited = r.roomLimited || s.RoomLimited
	if s.RTT > 0 {
		r.vary += max(s.RTT-b.lastRTT, b.lastRTT-s.RTT)
		b.lastRTT = s.RTT
		r.rtt += s.RTT
		r.rtts++
		if b.minRTT == 0 || s.RTT < b.minRTT {
			b.minRTT = s.RTT
		}
		if b.baseRTT == 0 {
			b.baseRTT, b.baseRTTAt = s.RTT, now
		}
	}
	if s.Rate > 0 {
		b.batch.take(now, s, &r.rated)
		r.most = max(r.most, s.Rate)
		r.appLimited = r.appLimited || s.AppLimited
		if !b.filled { // Startup paces by what has arrived so far
			b.bw[b.bwAt] = max(b.bw[b.bwAt], s.Rate)
		}
	}
	b.observeExtra(now, s.Acked)
}

// ackBatch is the newest sample of the rate, with what the samples of the same moment have acknowledged together. A
// receiver that acknowledges on a timer fills several datagrams at once: each but the last tells of part of what has
// arrived in the whole interval.
type ackBatch struct {
	at        time.Duration
	acked     int
	delivered int64
	send, ack time.Duration
}

// take takes a sample into the batch. If that is over, it is added to p, and the sample begins the next one.
func (t *ackBatch) take(now time.Duration, s *RateSample, p *rateSpan) {
	if now-t.at > bbrHostDelay/8 {
		p.add(t)
		*t = ackBatch{at: now}
	}
	t.acked += s.Acked
	t.delivered = s.Delivered - s.PriorDelivered
	t.send, t.ack = s.sendElapsed, s.ackElapsed
	if t.send == 0 && t.ack == 0 { // not of a session
		t.ack = time.Duration(float64(t.delivered) / float64(s.Rate) * float64(time.Second))
	}
}

// add adds a batch, which counts by what it acknowledges.
func (p *rateSpan) add(t *ackBatch) {
	acked := float64(t.acked)
	p.delivered += acked * float64(t.delivered)
	p.send += acked * t.send.Seconds()
	p.ack += acked * t.ack.Seconds()
}

// rate returns the bytes a second of all samples together, 0 without one.
func (p *rateSpan) rate() float64 {
	if p.delivered == 0 {
		return 0
	}
	return p.delivered / max(p.send, p.ack)
}

// observeExtra counts what is acknowledged faster than the path delivers: acknowledgements that come
// in batches (section 5.5.9:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.9).
func (b *bbr) observeExtra(now time.Duration, acked int) {
	expected := int(float64(b.maxRate()) * (now - b.extraSince).Seconds())
	if b.extraAcked <= expected {
		b.extraSince, b.extraAcked, expected = now, 0, 0
	}
	b.extraAcked += acked
	at := &b.extra[b.rounds%bbrFilter]
	*at = max(*at, min(b.extraAcked-expected, b.window))
}

// mostExtra returns the most of the last bbrFilter rounds.
func (b *bbr) mostExtra() (most int) {
	for _, n := range b.extra {
		most = max(most, n)
	}
	return most
}

// noteRTT takes the mean round trip of a round (section 5.5.7:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.7).
func (b *bbr) noteRTT(now time.Duration, r *bbrRound) {
	if b.waited, b.queue = 0, 0; r.rtts == 0 {
		return
	}
	mean := r.rtt / time.Duration(r.rtts)
	b.meanRTT, b.vary = mean, r.vary/time.Duration(r.rtts)
	if mean < b.baseRTT {
		b.baseRTT = mean
	}
	if mean <= b.baseRTT+b.baseRTT/16+b.slack()/2 {
		b.baseRTTAt = now // as short, within the precision of hosts
	}
	if waited := mean - b.baseRTT - b.slack(); waited > 0 {
		b.waited, b.queue = waited, waited.Seconds()/mean.Seconds()
	}
	if mean > b.baseRTT+b.baseRTT/2+5*b.slack() {
		b.inflated++
	} else {
		b.inflated = 0
	}
}

// noteRate takes the delivery rate of a round, less what may have arrived by chance. An
// application-limited one counts only if it is higher than what is known (section 5.5.4:
// https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.5.4).
func (b *bbr) noteRate(r *bbrRound) {
	rate := int64(r.rated.rate())
	if !b.filled || r.roomLimited {
		rate = r.most
	} else {
		rate -= int64(bbrChance * float64(rate) * b.loss.chance(r.acked))
	}
	switch {
	case rate == 0:
	case !r.appLimited:
		b.bwAt = (b.bwAt + 1) % bbrFilter
		b.bw[b.bwAt] = rate
	case rate > b.maxRate():
		b.bw[b.bwAt] = rate
	}
}

// maxRate returns the highest delivery rate of the last bbrFilter rounds, in bytes a second.
func (b *bbr) maxRate() (most int64) {
	for _, r := range b.bw {
		most = max(most, r)
	}
	return most
}

// rate returns the rate at which the path delivers, in bytes a second, 0 while it is unknown:
// maxRate, at most bwLow.
func (b *bbr) rate() int64 {
	if r := b.maxRate(); b.bwLow == 0 || r < b.bwLow {
		return r
	}
	return b.bwLow
}

// bdp returns gain times the bandwidth-delay product in bytes, and on top of it what the path
// itself loses.
func (b *bbr) bdp(gain float64) int {
	return int(gain * float64(b.rate()) * b.baseRTT.Seconds() / (1 - b.loss.own))
}

// burst returns the bytes that hosts send or acknowledge at once: bbrHostDelay's worth.
func (b *bbr) burst() int { return int(b.rate() * int64(bbrHostDelay) / int64(time.Second)) }

// quantum is burst, at least a datagram.
func (b *bbr) quantum() int { return max(IKCP_MTU_DEF, b.burst()) }

// takes returns how long the path takes for so many bytes.
func (b *bbr) takes(bytes int) time.Duration {
	return time.Duration(float64(bytes) / float64(max(b.rate(), 1)) * float64(time.Second))
}

// slack returns the time that hosts, jitter, and datagrams of different lengths add: it is no queue.
func (b *bbr) slack() time.Duration { return bbrHostDelay + b.vary + b.takes(IKCP_MTU_DEF/8) }
