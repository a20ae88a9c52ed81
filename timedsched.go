package kcp

import (
	"container/heap"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// TimedSched runs functions at given times on a fixed set of goroutines. A
// goroutine is there only while something is scheduled on it.
type TimedSched struct {
	workers []timerWorker
	next    atomic.Uint32 // round robin
}

// SystemTimedSched drives all sessions. It must not be closed while there are any.
var SystemTimedSched = NewTimedSched(runtime.NumCPU())

// NewTimedSched returns a scheduler of at most parallel goroutines, at least one.
// None of them runs before it is needed.
func NewTimedSched(parallel int) *TimedSched {
	return &TimedSched{workers: make([]timerWorker, max(parallel, 1))}
}

// Put runs f at deadline, or at once if that has passed. f must not block, as
// others wait behind it. After Close nothing is run.
func (ts *TimedSched) Put(f func(), deadline time.Time) {
	at := clock()
	if !deadline.IsZero() { // which is no deadline elsewhere, but here has passed
		at = clockAt(deadline, at)
	}
	ts.task(func(int64) { f() }).arm(at)
}

// Close drops what is scheduled and ends the goroutines.
func (ts *TimedSched) Close() {
	for i := range ts.workers {
		ts.workers[i].close()
	}
}

// task returns a task that calls run with the time, on one of the goroutines, when
// armed.
func (ts *TimedSched) task(run func(now int64)) *timedTask {
	w := &ts.workers[int(ts.next.Add(1)-1)%len(ts.workers)]
	return &timedTask{run: run, worker: w, index: -1}
}

// timedTask is something that a worker runs at a time. There is at most one
// deadline for each task: arming it for a later time than it has changes nothing,
// and run finds out by itself that it was too early.
type timedTask struct {
	run    func(now int64)
	worker *timerWorker

	// Guarded by worker.mu:
	at    int64
	index int // in worker.tasks, -1 for none
}

// arm makes sure that the task runs at the time at or earlier.
func (t *timedTask) arm(at int64) {
	w := t.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
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

// disarm takes the task off its worker; a run that has begun is not waited for.
func (t *timedTask) disarm() {
	w := t.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.index < 0 {
		return
	}
	heap.Remove(&w.tasks, t.index)
	if len(w.tasks) == 0 && w.running {
		w.nudgeLocked() // so that the goroutine ends
	}
}

// timerWorker is one goroutine of a scheduler with the tasks it owns.
type timerWorker struct {
	mu         sync.Mutex
	tasks      taskHeap
	running    bool
	closed     bool
	sleepUntil int64         // what the goroutine sleeps for, 0 while it is awake
	wake       chan struct{} // of one element, made with the goroutine
}

// nudgeLocked wakes the goroutine if it sleeps. w.mu is held.
func (w *timerWorker) nudgeLocked() {
	if w.sleepUntil == 0 {
		return // it looks at tasks before it sleeps
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

// loop runs tasks when they are due, until there are none.
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

// taskHeap is a min-heap by time.
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
