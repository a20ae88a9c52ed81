package soak

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// setters are what a live session may be called at any time; what they set leaves a path
// that a session has to survive.
var setters = []func(r *rand.Rand, e *end){
	func(r *rand.Rand, e *end) { e.s.SetNoDelay(r.IntN(2), 10+r.IntN(200), r.IntN(4), 0) },
	func(r *rand.Rand, e *end) { e.s.SetNoDelay(1, 10, 2, 1) },
	func(r *rand.Rand, e *end) { e.s.SetWindowSize(sized(r, 1, 2000), 0) },
	func(r *rand.Rand, e *end) { e.s.SetWindowSize(0, sized(r, 128, 2000)) },
	func(r *rand.Rand, e *end) { e.s.SetMtu(one(r, 1400, sized(r, 200, 1500))) },
	func(r *rand.Rand, e *end) { e.s.SetDUP(r.IntN(3)) },
	func(r *rand.Rand, e *end) { e.s.SetACKNoDelay(chance(r, 0.5)) },
	func(r *rand.Rand, e *end) { e.s.SetWriteDelay(chance(r, 0.5)) },
	func(r *rand.Rand, e *end) {
		if !e.w.has(featMessages) {
			e.s.SetStreamMode(chance(r, 0.5))
		}
	},
	func(r *rand.Rand, e *end) { e.s.SetRateLimit(one(r, 0, uint32(sized(r, 50_000, 1_000_000)))) },
	func(r *rand.Rand, e *end) { e.s.SetMinParity(r.IntN(4)) },
	func(r *rand.Rand, e *end) { e.s.SetRedundancy(r.IntN(101)) },
	func(r *rand.Rand, e *end) { e.s.SetMaxWindow(one(r, 0, sized(r, 128, 65535))) },
	func(r *rand.Rand, e *end) {
		e.s.SetCongestionControl(one(r, kcp.NewBBR, kcp.NewCubic, kcp.NewConservation)())
	},
	func(r *rand.Rand, e *end) { e.s.SetKeepAlivePeriod(between(r, time.Second, time.Minute)) },
	func(r *rand.Rand, e *end) { e.s.SetUserTimeout(between(r, 30*time.Second, 3*time.Minute)) },
	func(r *rand.Rand, e *end) { e.s.ResetRTO() },
	func(r *rand.Rand, e *end) { e.s.SetKeepAlive(true) },
	func(r *rand.Rand, e *end) { // who is asked now and then is heard
		e.s.SetKeepAlivePeriod(between(r, time.Second, time.Minute))
		e.s.SetIdleTimeout(between(r, 5*time.Minute, time.Hour))
	},
	func(r *rand.Rand, e *end) { e.s.SetBucket(one(r, nil, kcp.Bucket(e.w.bucket))) },
	func(r *rand.Rand, e *end) { e.s.SetReadBuffer(sized(r, 100_000, 8<<20)) }, // the session's own socket alone
	func(r *rand.Rand, e *end) {
		if e.w.has(featTrace) {
			e.s.SetLogger(kcp.IKCP_LOG_OUTPUT_ALL, one(r, nil, func(string, ...any) {}))
		}
	},
	func(r *rand.Rand, e *end) { e.look() },
	func(r *rand.Rand, e *end) { e.poke() },
}

// look asks the session for all that it tells, and checks what has to hold of that at any time.
func (e *end) look() {
	s := e.s.Stats()
	if s.MTU > 9000 || s.InFlight < 0 || s.BytesInFlight < 0 || s.Unacknowledged < 0 || s.BytesQueued < 0 || s.Unread < 0 {
		e.fail("impossible statistics")
	}
	if srtt, v := e.s.GetSRTT(), e.s.GetSRTTVar(); srtt < 0 || v < 0 || e.s.GetRTO() == 0 {
		e.fail("round trip %d, deviation %d, timeout %d", srtt, v, e.s.GetRTO())
	}
	if a := e.s.RemoteAddr(); a == nil || e.s.LocalAddr() == nil {
		e.fail("no address: %v", a)
	}
	e.s.Control(func(c net.PacketConn) error {
		if c == nil {
			e.fail("Control without a PacketConn")
		}
		return nil
	})
}

// A bucket is a token bucket that sessions share.
type bucket struct {
	mu   sync.Mutex
	rate float64 // bytes a second
	free time.Time
}

// Take implements kcp.Bucket.
func (b *bucket) Take(count int64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if least := now.Add(-100 * ms); b.free.Before(least) { // what it holds
		b.free = least
	}
	b.free = b.free.Add(time.Duration(float64(count) / b.rate * float64(time.Second)))
	return b.free.Sub(now)
}
