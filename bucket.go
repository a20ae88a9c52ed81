package kcp

import "time"

// A Bucket is a token bucket that bounds what sessions send: see [UDPSession.SetBucket].
type Bucket interface {
	// Take takes count tokens, bytes here, out of the bucket, and returns how long they have to be
	// waited for, 0 or less for not at all. It does not wait itself. Sessions call it under their
	// locks, one bucket's for several sessions at the same time: it must neither block, panic nor call
	// them.
	Take(count int64) time.Duration
}

// bucketPacer holds data back for as long as a Bucket says.
type bucketPacer struct {
	set     bool  // there is a Bucket
	until   int64 // when data may be sent again
	blocked bool  // whether that is later, as of the last refill
}

func (p *bucketPacer) refill(now int64) { p.blocked = now < p.until }

// delay makes the data that follows wait from now on.
func (p *bucketPacer) delay(now int64, d time.Duration) {
	if p.set && d > 0 {
		p.until = max(p.until, later(now, int64(d)))
	}
}
