package kcp

import (
	"testing"
	"time"
)

// Acknowledgements of an interval that arrive at once, in several datagrams, tell the rate together: the first alone
// tells of part of what has arrived in the whole interval.
func TestAckBatchIsOneSample(t *testing.T) {
	const interval, first, all = 100 * time.Millisecond, 80_000, 200_000
	var (
		batch ackBatch
		p     rateSpan
	)
	for i := range int64(3) {
		for _, acked := range []int{first, all - first} {
			delivered := i * all
			if acked == first {
				delivered += first
			} else {
				delivered += all
			}
			batch.take(time.Duration(i+1)*interval, &RateSample{Acked: acked, Rate: 1, Delivered: delivered,
				PriorDelivered: i * all, sendElapsed: interval, ackElapsed: interval}, &p)
		}
	}
	if r := p.rate(); r < 1.99e6 || r > 2.01e6 {
		t.Errorf("%.2f MB/s, want 2", r/1e6)
	}
}
