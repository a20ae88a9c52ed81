package kcp

import (
	"sync"
	"time"
)

// sleepWatch notices that the machine has slept, and wakes the sealed sessions that it has dialled: timers
// run on a clock that stands still meanwhile, on most systems, so none of theirs is due. It looks while
// there are such sessions.
type sleepWatch struct {
	task *timedTask
	wall func() time.Time // the time of day

	mu       sync.Mutex // guards the rest
	sessions int        // that are to be woken
	steady   steadyClock
	due      int64 // when it looks next, 0 for not yet
}

const (
	// sleepLook is how often it looks, and sleepLate how late that is after sleep where the clock goes on.
	sleepLook = int64(500 * time.Millisecond)
	sleepLate = 4 * sleepLook
)

// add has one more session woken, and remove one less.
func (w *sleepWatch) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sessions++; w.sessions == 1 {
		w.steady, w.due = steadyClock{}, 0
		w.task.arm(clock() + sleepLook)
	}
}

func (w *sleepWatch) remove() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sessions--; w.sessions == 0 {
		w.task.disarm()
	}
}

// look is what the watch does each sleepLook.
func (w *sleepWatch) look(ts *TimedSched, now int64) {
	if w.slept(now) {
		for _, s := range ts.sleepers() {
			s.wake()
		}
	}
}

// slept says whether the machine has slept since the last look, and schedules the next one.
func (w *sleepWatch) slept(now int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sessions == 0 {
		return false
	}
	_, slept := w.steady.read(w.wall(), now)
	slept = slept || w.due != 0 && now-w.due > sleepLate
	w.due = now + sleepLook
	w.task.arm(w.due)
	return slept
}

// wakes says whether sessions that are dialled are woken: those that may be sealed.
func (c *config) wakes() bool { return c.roam && c.seal.seals() && c.caps&capRecords != 0 }

// sleepers are the sessions that are to be woken.
func (ts *TimedSched) sleepers() (list []*UDPSession) {
	for s := range Sessions() {
		if s.dialled && s.cfg.sched == ts && s.cfg.wakes() {
			list = append(list, s)
		}
	}
	return list
}
