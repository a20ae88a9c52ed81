package soak

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A weather is what the path between a slot's clients and the listener is like.
type weather struct {
	w    *world
	slot int
	r    *rand.Rand

	mu          sync.Mutex // guards the rest
	sock        *socket    // of the client that is there, nil for none
	there, back netem.Path
	changedAt   time.Time
	calms       map[*connection]netem.Path // who needs it calm, and what the path is then
	bad         bool                       // sessions need not survive it
	badUntil    time.Time                  // when it was bad last
	reboundAt   time.Time                  // when the client's address changed last
}

func (w *world) newWeather(slot int) *weather {
	v := &weather{w: w, slot: slot, r: w.rand("weather", slot), calms: make(map[*connection]netem.Path)}
	v.there = netem.Path{Delay: between(v.r, ms, 100*ms), Bandwidth: 10_000_000, Queue: 500_000}
	v.back = v.there
	return v
}

// run lets the weather change until the world is over.
func (v *weather) run() {
	for !v.w.isOver() {
		v.w.sleep(between(v.r, time.Second, 20*time.Minute))
		if v.w.has(featWeather) {
			there, fair := drawPath(v.r)
			back, fairBack := there, true
			if chance(v.r, 0.3) {
				back, fairBack = drawPath(v.r)
			}
			v.change(v.narrowed(there), v.narrowed(back), fair && fairBack, "weather")
		}
		if v.w.has(featPartitions) && chance(v.r, 0.3) {
			there, back, bad := v.now()
			cut := netem.Path{Loss: 1}
			switch v.r.IntN(3) {
			case 0:
				v.change(there, cut, false, "one-way partition")
			case 1:
				v.change(cut, back, false, "one-way partition")
			default:
				v.change(cut, cut, false, "partition")
			}
			v.w.sleep(between(v.r, time.Second, 5*time.Minute))
			v.change(there, back, !bad, "")
		}
		v.trouble()
	}
}

// trouble troubles the client's socket.
func (v *weather) trouble() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.calm() || v.sock == nil {
		return
	}
	v.sock.rough.Store(chance(v.r, 0.5) && v.w.peer != "dialler")
	if v.w.has(featStalls) && chance(v.r, 0.5) {
		v.sock.Stall(between(v.r, ms, 10*time.Second))
		v.w.count("stall")
	}
	if v.w.has(featRebinds) && v.w.peer == "" && chance(v.r, 0.1) && v.sock.Rebind(v.host()+":0") == nil {
		v.w.count("rebinding")
		v.reboundAt, v.badUntil = time.Now(), time.Now()
		v.applyLocked()
	}
}

// String describes the weather.
func (v *weather) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return fmt.Sprintf("there %+v, back %+v, since %v; calm %v, bad %v, bad until %v, rebound at %v",
		v.there, v.back, v.changedAt.Sub(v.w.start), v.calm(), v.bad, v.badUntil.Sub(v.w.start), v.reboundAt.Sub(v.w.start))
}

func (v *weather) host() string { return v.w.host(1, 1+v.slot) }

func (v *weather) now() (there, back netem.Path, bad bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.there, v.back, v.bad
}

// change changes the path.
func (v *weather) change(there, back netem.Path, fair bool, fault string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.there, v.back, v.changedAt = there, back, time.Now()
	if fault != "" {
		v.w.count(fault)
	}
	if v.bad && !v.calm() {
		v.badUntil = time.Now()
	}
	v.bad = !fair
	v.applyLocked()
}

// join makes s the socket that the weather concerns. The first of a slot are its own.
func (v *weather) join(s *socket) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sock = s
	s.rough.Store(!v.calm() && chance(v.r, 0.5) && v.w.peer != "dialler")
	v.applyLocked()
}

// becalm makes the path that good until stir.
func (v *weather) becalm(c *connection, p netem.Path) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.noteLocked()
	v.calms[c] = p
	v.sock.rough.Store(false)
	v.applyLocked()
}

// stir ends the calm that c needed.
func (v *weather) stir(c *connection) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.noteLocked()
	delete(v.calms, c)
	v.applyLocked()
}

// noteLocked notes that the path is bad until now, if it is.
func (v *weather) noteLocked() {
	if v.isBad() {
		v.badUntil = time.Now()
	}
}

// calm says whether somebody needs it calm, and worst is what the path is then.
func (v *weather) calm() bool { return len(v.calms) > 0 }

func (v *weather) worst() (worst netem.Path) {
	worst = calmPath
	for _, p := range v.calms {
		worst.Loss = max(worst.Loss, p.Loss)
		if p.MTU > 0 && (worst.MTU == 0 || p.MTU < worst.MTU) {
			worst.MTU = p.MTU
		}
	}
	return worst
}

// isBad says whether sessions need not survive what the path is now.
func (v *weather) isBad() bool {
	return v.bad && !v.calm() || v.calm() && v.worst().Loss > fairLoss
}

// rebounds is when the client's address changed last.
func (v *weather) rebounds() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reboundAt
}

// sealTime is how long a session may take to become sealed.
const sealTime = time.Minute

func (v *weather) applyLocked() {
	if v.sock == nil {
		return
	}
	there, back := v.there, v.back
	if v.calm() {
		there, back = v.worst(), v.worst()
	}
	at := v.sock.Bound()
	v.w.net.SetPath(at, v.w.serverAddr, there) // both within bounds
	v.w.net.SetPath(v.w.serverAddr, at, back)
}

// wasBad says whether sessions may have failed for the weather within the last time d.
func (v *weather) wasBad(d time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.isBad() || time.Since(v.badUntil) < d
}
