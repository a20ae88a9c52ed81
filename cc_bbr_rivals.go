package kcp

import "time"

// bbrRivals finds out whether a queue is that of flows which keep one whatever bbr does: those of CUBIC, and of
// BBR's first version, which has two bandwidth-delay products in flight. A queue of bbr's own becomes shorter while
// it cruises below the rate, and so does one that it shares with flows that do so, too.
type bbrRivals struct {
	rounds int           // of cruising in a row in which bbr has eased by bbrRivalEase or more
	waited time.Duration // queueing delay before them
	eased  time.Duration // what they take off that where the queue is bbr's own
	until  time.Duration // until when bbr does not ease for the queue
	after  time.Duration // until when it does so again, whatever comes of it
}

const (
	// bbrRivalEase is more than what flows of bbr ease by at the queue that they settle at: 0.1 for two,
	// 0.17 for five.
	bbrRivalEase   = 0.18
	bbrRivalRounds = 4
	// bbrRivalTime is how long bbr does not ease after a find, and then eases at least, so that flows of bbr
	// that take one another for rivals see each other ease. Both are bbrFilter round trips at least.
	bbrRivalTime = 2500 * time.Millisecond
)

// note takes a round: by how much bbr has eased in it, the queueing delay before and after, and the mean round trip.
func (v *bbrRivals) note(now time.Duration, ease float64, before, after, mean time.Duration) {
	if ease < bbrRivalEase || now < v.after {
		v.rounds, v.eased = 0, 0
		return
	}
	if v.rounds == 0 {
		v.waited = before
	}
	v.rounds++
	v.eased += time.Duration(ease * float64(mean))
	if v.rounds >= bbrRivalRounds && v.waited-after < v.eased/2 {
		lasts := max(bbrRivalTime, bbrFilter*mean)
		v.until, v.after = now+lasts, now+2*lasts
	}
}
