package kcp

import "time"

// epoch is the origin of the package's clock.
var epoch = time.Now()

// clock reads the monotonic clock: nanoseconds since epoch.
func clock() int64 { return int64(time.Since(epoch)) }

// clockAt returns the reading of the clock at t, given its reading now. The zero
// time is never.
func clockAt(t time.Time, now int64) int64 {
	if t.IsZero() {
		return never
	}
	d := int64(time.Until(t))
	if d > never-now { // now is not negative outside tests; either way nobody waits that long
		return never - 1
	}
	return now + d
}

// millis converts a reading of the clock to the milliseconds of CurrentMs.
func millis(now int64) uint32 { return uint32(now / int64(time.Millisecond)) }

// CurrentMs returns the clock of (*KCP).Update and Check: milliseconds since the
// process started, wrapping after 49 days. Compare two readings by their signed
// difference, int32(a-b).
func CurrentMs() uint32 { return millis(clock()) }
