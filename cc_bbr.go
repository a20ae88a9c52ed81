package kcp

import (
	"math/rand/v2"
	"time"
)

// bbr is the default controller. It models the path by the rate at which it delivers, its round trip
// without a queue, and the share of the segments that it loses whatever is sent. It paces at that
// rate and keeps about one bandwidth-delay product in flight, after BBR
// (https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr), with these differences:
//
//   - Loss that remains when less is sent is the path's own (pathLoss). bbr makes up for it by
//     sending more, instead of answering it by sending less. Only loss beyond it, together with a
//     queue, is congestion.
//   - A round trip gives one sample of the rate, by all its acknowledgements' samples together. The
//     largest of hundreds of samples is far above the rate where the delay jitters. Part of what
//     random loss makes of it by chance is taken off, as the highest of several rounds counts. Datagrams
//     of acknowledgements that arrive at once are one sample (ackBatch).
//   - The round trip without a queue, baseRTT, is the least mean of a round, not the least sample:
//     what is in flight on a path with jitter fills the mean. When the mean has been well above it
//     for four rounds, it is measured anew, at most every 2.5 s, instead of after ten seconds.
//   - While there is a queue, bbr cruises below the rate, by a part of the share of the round trip
//     that is spent in the queue. The models of flows that share a link add up to more than the
//     link, so otherwise the queue would stay, and with it the shares of the flows. Where the queue stays
//     even so, it is that of flows which keep one, and for a while bbr does not ease (bbrRivals). Beside BBR's
//     first version at 1 MB/s and 20 ms it has 0.32 of the link then, and 0.19 otherwise.
//   - Where a round trip carries few datagrams, a round lasts for bbrRoundLeast bytes, cruising is a
//     little slower than the rate, and the round trip is measured with one full datagram in flight as
//     soon as Startup has ended: one more that waits there is a large part of the round trip.
//   - A probe becomes as short as the queue is: what overflows there has to be sent again, and a send
//     window waits for that. At 7 MB/s, 141 ms and a queue of a quarter of that, a window of 1024
//     segments carries 0.94 of what it allows, and 0.84 with whole probes.
//   - ProbeBW probes every six to twelve round trips and not every two or three seconds: a path
//     that has become faster is found to be so within as many.
type bbr struct {
	state  bbrState
	since  time.Duration // when the state began
	rounds int64         // round trips so far
	began  int64         // the round in which the state began
	next   int64         // RateSample.Delivered at which the current round trip ends

	bw              [bbrFilter]int64 // delivery rates of the last rounds that the application did not limit
	bwAt            int              // the newest of bw
	bwLow           int64            // bound of the rate from congestion to the next probe, 0 for none
	congestedRounds int              // rounds of cruising in a row with congestion
	undo            bbrUndo          // of what that has reduced

	minRTT    time.Duration // shortest sample of the round trip, 0 before the first
	baseRTT   time.Duration // round trip without a queue, 0 before the first sample
	baseRTTAt time.Duration // when baseRTT, or a round trip as short, was measured last
	meanRTT   time.Duration // mean round trip of the last round
	vary      time.Duration // mean difference of two samples in a row, in that round: jitter
	waited    time.Duration // queueing delay, in the last round's mean round trip
	queue     float64       // the share of that which it is
	inflated  int           // rounds in a row with a round trip well above baseRTT
	probedRTT time.Duration // when ProbeRTT ended last

	probeUntil time.Duration // when ProbeRTT may end, 0 while too much is in flight
	probeRound int64         // the round before which ProbeRTT does not end

	full      int64 // rate that Startup or a probe has to exceed to go on, in bytes a second
	fullCount int   // rounds in which Startup has not exceeded it by a quarter
	filled    bool  // Startup is over: the path is full

	cruiseRounds int64   // how long this cruise lasts
	probe        float64 // least that a probe lasts, in round trips: less than one where the queue is shorter
	random       uint32  // state of a linear congruential generator

	round  bbrRound
	batch  ackBatch
	loss   pathLoss
	rivals bbrRivals

	extra      [bbrFilter]int // most bytes acknowledged beyond the rate, in each of the last rounds
	extraSince time.Duration  // since when extraAcked counts
	extraAcked int            // bytes acknowledged since

	window  int           // congestion window in bytes
	saved   int           // window before a stall or ProbeRTT, in bytes
	stalled bool          // nothing is acknowledged any more
	ackedAt time.Duration // time of the last acknowledgement
	lastRTT time.Duration // newest sample of the round trip
	total   int64         // bytes acknowledged
}

// NewBBR returns the default controller: a model of the path's rate and round trip that fills a
// link without filling its queue, and takes random loss, up to about a half, for what it is.
// The times of its bandwidth probes are random.
func NewBBR() CongestionControl { return newBBR(rand.Uint32()) }

// newBBR returns a bbr with the given seed for the random times of its bandwidth probes: flows that
// share a link must not probe in step.
func newBBR(seed uint32) *bbr {
	b := &bbr{window: initialWindow, random: seed, probe: 1}
	b.enter(0, bbrStartup)
	return b
}

func (b *bbr) Sent(_ time.Duration, bytes, _ int) { b.loss.sent(bytes) }

func (b *bbr) Acked(now time.Duration, s *RateSample) {
	if b.stalled {
		b.stalled = false
		b.window = max(b.window, b.saved)
	}
	b.ackedAt, b.total = now, s.Delivered
	b.observe(now, s)
	if s.PriorDelivered >= b.next {
		b.next = s.Delivered
		if b.filled {
			b.next += int64(max(0, bbrRoundLeast-s.InFlight))
		}
		b.endRound(now)
	}
	b.step(now, s)
	b.setWindow(s)
}

// endRound ends a round trip: it updates the model by what the round has told.
func (b *bbr) endRound(now time.Duration) {
	r := b.round
	b.round = bbrRound{}
	if r.rated.delivered == 0 {
		r.rated.add(&b.batch)
		b.batch.acked = 0
	}
	b.rounds++
	b.extra[b.rounds%bbrFilter] = 0
	b.loss.begin(now, b.sending(r.appLimited))
	eased, waited := 0.0, b.waited
	if b.state == bbrCruise && b.rounds > b.began && !r.appLimited {
		eased = min(b.queueEase(), bbrEaseMax)
	}
	b.noteRTT(now, &r)
	b.rivals.note(now, eased, waited, b.waited, b.meanRTT)
	b.noteRate(&r)
	congested := b.queue > 0.2 && b.loss.beyond(r.lost, r.lost+r.acked)
	switch {
	case !congested:
		b.congestedRounds = 0
	case b.state == bbrCruise:
		b.noteReduction(&r)
		b.bwLow = max(int64(r.rated.rate()), b.rate()*7/10, 1)
		if b.congestedRounds++; b.congestedRounds >= 2 { // the path has become slower
			for i := range b.bw {
				b.bw[i] = min(b.bw[i], b.bwLow)
			}
		}
	}
	if !b.filled && !r.appLimited {
		b.checkFull(congested)
	}
}

// Lost also notices a stall: a timeout when nothing was acknowledged for two round trips and 50 ms.
// The window is minWindow then, until the next acknowledgement.
func (b *bbr) Lost(now time.Duration, bytes, inFlight int, timeout bool) {
	b.round.lost += bytes
	if timeout && !b.stalled && now-b.ackedAt > 2*b.lastRTT+50*bbrHostDelay {
		b.stalled, b.saved, b.window = true, b.window, minWindow
	}
}

// lostAfter takes bytes that were sent at sentAt and are lost, negative ones if they were not after all.
func (b *bbr) lostAfter(sentAt time.Duration, bytes int) { b.loss.lost(sentAt, bytes) }
