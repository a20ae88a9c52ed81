package kcp

import (
	"sync/atomic"
	"time"
)

// sleepWatch notices that the machine has slept, and wakes the sealed sessions that it has dialled: timers
// run on a clock that stands still meanwhile, on most systems, so none of theirs is due. Once there has been
// such a session it looks as long as any that was dialled is there.
type sleepWatch struct {
	task    *timedTask
	running atomic.Bool
	steady  steadyClock
	due     int64            // when it looks next, the task's alone
	wall    func() time.Time // the time of day
}

const (
	// sleepLook is how often it looks, and sleepLate how late that is after sleep where the clock goes on.
	sleepLook = int64(500 * time.Millisecond)
	sleepLate = 4 * sleepLook
)

// watchSleep has the sessions of a scheduler woken.
func (ts *TimedSched) watchSleep() {
	w := &ts.sleep
	if w.running.Swap(true) {
		return
	}
	w.task.arm(clock() + sleepLook)
}

// look is what the watch does each sleepLook.
func (w *sleepWatch) look(ts *TimedSched, now int64) {
	_, slept := w.steady.read(w.wall(), now)
	slept = slept || w.due != 0 && now-w.due > sleepLate
	if !process.hasSessions() {
		w.steady, w.due = steadyClock{}, 0
		w.running.Store(false)
		if process.hasSessions() { // one has begun meanwhile
			ts.watchSleep()
		}
		return
	}
	if slept {
		for _, s := range ts.sleepers() {
			s.wake()
		}
	}
	w.due = now + sleepLook
	w.task.arm(w.due)
}

// sleepers are the sessions that are to be woken.
func (ts *TimedSched) sleepers() (list []*UDPSession) {
	dialled, _ := process.lists()
	for _, s := range dialled {
		if s.cfg.sched == ts && s.seal != nil && s.cfg.roam {
			list = append(list, s)
		}
	}
	return list
}
