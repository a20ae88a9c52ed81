package kcp

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The scheduler runs in bubbles of virtual time. A bubble ends only when every goroutine in it has,
// so each of these tests also shows that the scheduler leaves none behind.

// journal records what ran when, in order.
type journal struct {
	mu    sync.Mutex
	start time.Time
	ran   []int
	at    []time.Duration
}

func (j *journal) note(id int) func() {
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.ran = append(j.ran, id)
		j.at = append(j.at, time.Since(j.start))
	}
}

func (j *journal) want(t *testing.T, ids ...int) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.ran, ids) {
		t.Errorf("ran %v, want %v", j.ran, ids)
	}
}

// elapse lets time pass, and all that is due then happen.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// scheduled runs f in a bubble with a scheduler.
func scheduled(t *testing.T, parallel int, f func(ts *TimedSched, j *journal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ts := NewTimedSched(parallel)
		defer ts.Close()
		f(ts, &journal{start: time.Now()})
	})
}

func TestPutOrder(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		for _, ms := range []int{30, 10, 50, 20, 40} {
			ts.Put(j.note(ms), j.start.Add(time.Duration(ms)*time.Millisecond))
		}
		elapse(time.Second)
		j.want(t, 10, 20, 30, 40, 50)
		for i, id := range j.ran {
			if want := time.Duration(id) * time.Millisecond; j.at[i] != want {
				t.Errorf("%d ran at %v", id, j.at[i])
			}
		}
	})
}

// A sleeping worker is woken for what is due earlier.
func TestPutEarlier(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		ts.Put(j.note(2), j.start.Add(time.Hour))
		elapse(time.Minute)
		ts.Put(j.note(1), j.start.Add(2*time.Minute))
		elapse(time.Minute)
		j.want(t, 1)
		elapse(time.Hour)
		j.want(t, 1, 2)
	})
}

func TestPutPast(t *testing.T) {
	for _, at := range []func() time.Time{
		time.Now,
		func() time.Time { return time.Now().Add(-time.Hour) },
		func() time.Time { return time.Now().AddDate(-1900, 0, 0) },
		func() time.Time { return time.Unix(0, 0) },
		func() time.Time { return time.Time{} },
	} {
		scheduled(t, 2, func(ts *TimedSched, j *journal) {
			ts.Put(j.note(1), at())
			synctest.Wait()
			j.want(t, 1)
		})
	}
}

// A time that never comes is as good as none, and Close ends the waiting for it.
func TestPutFarFuture(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		ts.Put(j.note(1), time.Now().AddDate(5000, 0, 0))
		ts.Put(j.note(2), time.Now().Add(time.Hour))
		elapse(2 * time.Hour)
		j.want(t, 2)
	})
}

func TestPutFromTask(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		ts.Put(func() {
			j.note(1)()
			ts.Put(j.note(2), time.Now())
			ts.Put(j.note(3), time.Now().Add(time.Millisecond))
		}, time.Now())
		elapse(time.Millisecond)
		j.want(t, 1, 2, 3)
	})
}

func TestPutMany(t *testing.T) {
	const count = 10_000
	for _, parallel := range []int{0, 1, 3} {
		scheduled(t, parallel, func(ts *TimedSched, j *journal) {
			rnd := seeded(1, 1)
			due := make([]time.Duration, count)
			for i := range count {
				due[i] = time.Duration(rnd.IntN(1000)) * time.Millisecond
				ts.Put(j.note(i), j.start.Add(due[i]))
			}
			elapse(time.Second)
			if len(j.ran) != count {
				t.Fatalf("%d of %d ran", len(j.ran), count)
			}
			seen := make(map[int]bool)
			for i, id := range j.ran {
				if seen[id] || j.at[i] != due[id] {
					t.Fatalf("task %d, due at %v, ran at %v", id, due[id], j.at[i])
				}
				seen[id] = true
			}
		})
	}
}

// Tasks are put by many goroutines while others run.
func TestPutConcurrently(t *testing.T) {
	scheduled(t, 2, func(ts *TimedSched, j *journal) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 200 {
					ts.Put(j.note(g), time.Now().Add(time.Duration(i%7)*time.Millisecond))
					if i%20 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		wg.Wait()
		elapse(time.Second)
		if len(j.ran) != 1600 {
			t.Errorf("%d of 1600 ran", len(j.ran))
		}
	})
}

func TestCloseDrops(t *testing.T) {
	for _, sleeping := range []bool{true, false} {
		scheduled(t, 3, func(ts *TimedSched, j *journal) {
			for i := range 10 {
				ts.Put(j.note(i), j.start.Add(time.Second))
			}
			if sleeping {
				synctest.Wait()
			}
			ts.Close()
			synctest.Wait()
			for i := range ts.workers {
				if ts.workers[i].running {
					t.Error("a goroutine is left")
				}
			}
			ts.Put(j.note(99), time.Now())
			elapse(time.Minute)
			j.want(t)
			ts.Close()
		})
	}
}

// Close while a task runs: the rest is dropped.
func TestCloseFromTask(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		now := time.Now()
		ts.Put(func() { j.note(1)(); ts.Close() }, now)
		ts.Put(j.note(2), now.Add(time.Second))
		elapse(time.Minute)
		j.want(t, 1)
	})
}

// A goroutine is there only while something is scheduled, and comes back for more.
func TestNoGoroutineWithoutTasks(t *testing.T) {
	scheduled(t, 2, func(ts *TimedSched, j *journal) {
		running := func() (n int) {
			synctest.Wait()
			for i := range ts.workers {
				w := &ts.workers[i]
				w.mu.Lock()
				if w.running {
					n++
				}
				w.mu.Unlock()
			}
			return n
		}
		want := func(n int) {
			t.Helper()
			if got := running(); got != n {
				t.Errorf("%d goroutines, want %d", got, n)
			}
		}
		for range 3 {
			want(0)
			ts.Put(j.note(1), time.Now().Add(time.Second))
			want(1)
			ts.Put(j.note(2), time.Now().Add(2*time.Second))
			want(2)
			elapse(1500 * time.Millisecond)
			want(1)
			elapse(time.Second)
			want(0)
		}
		task := ts.task(func(int64) {})
		task.arm(clock() + int64(time.Hour))
		want(1)
		task.disarm()
		want(0)
	})
}

func TestArm(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		var ran []time.Duration
		task := ts.task(func(now int64) {
			if now != clock() {
				t.Errorf("told %d at %d", now, clock())
			}
			ran = append(ran, time.Since(j.start))
		})
		in := func(d time.Duration) { task.arm(clock() + int64(d)) }
		want := func(all ...time.Duration) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(ran, all) {
				t.Errorf("ran at %v, want %v", ran, all)
			}
		}
		in(10 * time.Second)
		in(20 * time.Second) // changes nothing
		elapse(5 * time.Second)
		want()
		in(time.Second) // earlier does
		elapse(time.Second)
		want(6 * time.Second)
		elapse(time.Minute)
		want(6 * time.Second) // and it was one deadline
		in(time.Second)
		task.disarm()
		task.disarm()
		elapse(time.Minute)
		want(6 * time.Second)
		in(-time.Second)
		want(6*time.Second, 126*time.Second)
	})
}

// The last of several tasks becomes the first.
func TestArmEarlierAmongOthers(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		var last *timedTask
		for i := 1; i <= 9; i++ {
			last = ts.task(func(int64) { j.note(i)() })
			last.arm(clock() + int64(i)*int64(time.Second))
		}
		last.arm(clock() + int64(time.Millisecond))
		elapse(2 * time.Millisecond)
		j.want(t, 9)
		elapse(time.Minute)
		j.want(t, 9, 1, 2, 3, 4, 5, 6, 7, 8)
	})
}

// Disarming one task leaves the others.
func TestDisarmAmongOthers(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		var tasks []*timedTask
		for i := range 20 {
			task := ts.task(func(int64) { j.note(i)() })
			task.arm(clock() + int64((i*7)%20+1)*int64(time.Millisecond))
			tasks = append(tasks, task)
		}
		var want []int
		for at := 1; at <= 20; at++ {
			for i := range tasks {
				if (i*7)%20+1 == at && i%3 != 0 {
					want = append(want, i)
				}
			}
		}
		for i := 0; i < 20; i += 3 {
			tasks[i].disarm()
		}
		elapse(time.Second)
		j.want(t, want...)
	})
}

// A task may arm and disarm itself while it runs.
func TestArmFromTask(t *testing.T) {
	scheduled(t, 1, func(ts *TimedSched, j *journal) {
		n := 0
		var task *timedTask
		task = ts.task(func(now int64) {
			if n++; n < 5 {
				task.arm(now + int64(time.Millisecond))
			} else {
				task.arm(now)
				task.disarm()
			}
		})
		task.arm(clock())
		elapse(time.Second)
		if n != 5 {
			t.Errorf("ran %d times, want 5", n)
		}
	})
}

func TestClockAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := clock()
		for _, c := range []struct {
			t    time.Time
			want int64
		}{
			{time.Time{}, never},
			{time.Now(), now},
			{time.Now().Add(time.Second), now + int64(time.Second)},
			{time.Now().Add(-time.Second), now - int64(time.Second)},
			{time.Now().AddDate(10_000, 0, 0), never - 1},
		} {
			if got := clockAt(c.t, now); got != c.want {
				t.Errorf("%v: %d, want %d", c.t, got, c.want)
			}
		}
		if got := clockAt(time.Now().AddDate(-1900, 0, 0), now); got >= now {
			t.Errorf("the past is at %d, now at %d", got, now)
		}
		a := CurrentMs()
		elapse(1234 * time.Millisecond)
		if d := CurrentMs() - a; d != 1234 {
			t.Errorf("CurrentMs went on by %d in 1234 ms", d)
		}
	})
}

// A task that was retired is not scheduled any more, by whoever had not noticed.
func TestTimedTaskRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sched := NewTimedSched(1)
		ran := 0
		task := sched.task(func(int64) { ran++ })
		task.arm(clock() + int64(time.Minute))
		task.retire()
		task.arm(clock())
		if n := len(sched.workers[0].tasks); n > 0 {
			t.Errorf("%d tasks are scheduled", n)
		}
		time.Sleep(2 * time.Minute)
		if ran > 0 {
			t.Error("it has run")
		}
		sched.Close()
	})
}
