package kcp

import (
	"math"
	"time"
)

// never is the time of an event that is not scheduled.
const never = math.MaxInt64

// epoch is when the process started, and clockBase what the clock read then: so much that it is
// positive even in a testing/synctest bubble, where the year is 2000.
var epoch = time.Now()

const clockBase = 1 << 41 * int64(time.Millisecond) // 69 years; a whole number of CurrentMs's wraps

// clock reads the monotonic clock in nanoseconds.
func clock() int64 { return clockBase + int64(time.Since(epoch)) }

// clockAt returns the reading of the clock at t, given its reading now. The zero time is never.
func clockAt(t time.Time, now int64) int64 {
	if t.IsZero() {
		return never
	}
	d := int64(time.Until(t))
	return now + min(d, never-1-now)
}

// millis converts a reading of the clock to the milliseconds of CurrentMs.
func millis(now int64) uint32 { return uint32(now / int64(time.Millisecond)) }

// CurrentMs returns the clock of [KCP.Update] and [KCP.Check]: milliseconds since the process
// started, wrapping after 49 days. Compare two readings by their signed difference, int32(a-b).
func CurrentMs() uint32 { return millis(clock()) }

// later returns now + d, and never for what is further away than the clock reaches.
func later(now, d int64) int64 {
	if d > never-now {
		return never
	}
	return now + d
}

// The bounds of NoDelay's interval, in milliseconds.
const (
	intervalMin = 10
	intervalMax = 5000
)
