package kcp

import (
	"container/heap"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// TimedSched runs functions at given times on a fixed number of goroutines. A goroutine exists only
// while something is scheduled on it. The methods may be called from any goroutine.
type TimedSched struct {
	workers []timerWorker
	next    atomic.Uint32 // tasks made: each goes to the next worker, in turn
	sleep   sleepWatch
}

// SystemTimedSched runs the timers of all sessions. It must not be closed while there are any.
var SystemTimedSched = NewTimedSched(runtime.NumCPU())

// NewTimedSched returns a scheduler of at most parallel goroutines, of one if parallel is below 1.
// No goroutine is started before it is needed.
func NewTimedSched(parallel int) *TimedSched {
	ts := &TimedSched{workers: make([]timerWorker, max(parallel, 1))}
	ts.sleep.wall = time.Now
	ts.sleep.task = ts.task(func(now int64) { ts.sleep.look(ts, now) })
	return ts
}

// Put runs f once, at deadline, or at once if that has passed; a zero deadline has passed. f must
// not block, as other functions wait behind it. After Close, Put does nothing.
func (ts *TimedSched) Put(f func(), deadline time.Time) {
	at := clock()
	if !deadline.IsZero() { // which is no deadline elsewhere, but here has passed
		at = clockAt(deadline, at)
	}
	ts.task(func(int64) { f() }).arm(at)
}

// Close drops everything that is scheduled and ends the goroutines. It does not wait for a function
// that is running.
func (ts *TimedSched) Close() {
	for i := range ts.workers {
		ts.workers[i].close()
	}
}

// task returns a task that, once armed, calls run on one of the goroutines with the time of the
// clock.
func (ts *TimedSched) task(run func(now int64)) *timedTask {
	w := &ts.workers[int(ts.next.Add(1)-1)%len(ts.workers)]
	return &timedTask{run: run, worker: w, index: -1}
}

// timedTask is a function that a worker runs at a time. A task has at most one deadline. Arming it
// for a later time than it has changes nothing, so run may be called too early, and has to check
// the time.
type timedTask struct {
	run    func(now int64)
	worker *timerWorker

	// Guarded by worker.mu:
	at      int64 // deadline
	index   int   // in worker.tasks, -1 for none
	retired bool  // it is not scheduled any more
}

// arm schedules the task for the time at, unless it is scheduled for an earlier time.
func (t *timedTask) arm(at int64) {
	w := t.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed, t.retired:
		return
	case t.index < 0:
		t.at = at
		heap.Push(&w.tasks, t)
	case at < t.at:
		t.at = at
		heap.Fix(&w.tasks, t.index)
	default:
		return
	}
	if !w.running {
		w.running, w.sleepUntil = true, 0
		w.wake = make(chan struct{}, 1)
		go w.loop(w.wake)
	} else if at < w.sleepUntil {
		w.nudgeLocked()
	}
}

// disarm takes the task off its worker. It does not wait for a run that has begun.
func (t *timedTask) disarm() {
	w := t.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	t.disarmLocked()
}

// retire is disarm for good: arm does nothing afterwards.
func (t *timedTask) retire() {
	w := t.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	t.retired = true
	t.disarmLocked()
}

func (t *timedTask) disarmLocked() {
	w := t.worker
	if t.index < 0 {
		return
	}
	heap.Remove(&w.tasks, t.index)
	if len(w.tasks) == 0 && w.running {
		w.nudgeLocked() // so that the goroutine ends
	}
}

// timerWorker is one goroutine of a scheduler, with the tasks that are scheduled on it.
type timerWorker struct {
	mu         sync.Mutex // guards the rest
	tasks      taskHeap
	running    bool          // the goroutine exists
	closed     bool          // nothing is scheduled any more
	sleepUntil int64         // when the goroutine wakes up by itself, 0 while it is awake
	wake       chan struct{} // of one element, made with the goroutine
}

// nudgeLocked wakes the goroutine if it sleeps.
func (w *timerWorker) nudgeLocked() {
	if w.sleepUntil == 0 {
		return // an awake goroutine looks at tasks before it sleeps
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *timerWorker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, t := range w.tasks {
		t.index = -1
	}
	w.tasks = nil
	w.nudgeLocked()
}

// loop runs tasks when they are due, until no task is left.
func (w *timerWorker) loop(wake chan struct{}) {
	var timer *time.Timer
	w.mu.Lock()
	for len(w.tasks) > 0 {
		now := clock()
		if t := w.tasks[0]; t.at <= now {
			heap.Pop(&w.tasks)
			w.mu.Unlock()
			t.run(now)
			w.mu.Lock()
			continue
		}
		w.sleepUntil = w.tasks[0].at
		wait := time.Duration(w.sleepUntil - now)
		w.mu.Unlock()
		if timer == nil {
			timer = time.NewTimer(wait)
		} else {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-wake:
		}
		w.mu.Lock()
		w.sleepUntil = 0
	}
	w.running = false
	w.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
}

// taskHeap is a min-heap of tasks by deadline, for container/heap.
type taskHeap []*timedTask

func (h taskHeap) Len() int           { return len(h) }
func (h taskHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *taskHeap) Push(x any) {
	t := x.(*timedTask)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *taskHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}
