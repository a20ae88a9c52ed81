package soak

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// Child runs a case in this process, prints its Result as JSON, and ends the process. All sessions of a
// process share their timers and counters, so a process has one case.
func Child(text string) error {
	var c Case
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	os.Args = os.Args[:1] // testing has flags of its own
	testing.Init()
	testing.Main( // which alone gives a program the *testing.T that a bubble needs
		func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "soak", F: func(t *testing.T) {
			var r Result
			var err error
			synctest.Test(t, func(*testing.T) { r, err = c.run() })
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			json.NewEncoder(os.Stdout).Encode(r)
			os.Exit(0) // before testing prints something
		}}}, nil, nil)
	return nil
}

// run runs the case in a bubble.
func (c Case) run() (Result, error) {
	before, goroutines := heap(), countStacks(stacks())
	w, err := newWorld(c)
	if err != nil {
		return Result{}, err
	}
	var last *server
	var serving, slots sync.WaitGroup
	serving.Go(func() {
		if last, err = w.serve(); err != nil {
			w.fail("the listener: %v", err)
		}
	})
	synctest.Wait() // until it listens
	for slot := range c.slots() {
		slots.Go(func() { w.live(slot) })
	}
	time.Sleep(c.length())
	close(w.over)
	slots.Wait()
	w.mourners.Wait()
	serving.Wait()
	if last != nil {
		last.close()
	}
	total := w.net.Total()
	w.net.Close()
	time.Sleep(time.Minute)
	synctest.Wait()
	w.checkLeft(goroutines)
	w.tally()
	r := w.result
	r.Calls, r.Datagrams = w.ops.Load(), total.Sent
	*w = world{}
	r.Left = (heap() - before) >> 10
	if r.Left > leftMost {
		r.Failures = append(r.Failures, fmt.Sprintf("%d KiB of heap are left", r.Left))
	}
	return r, nil
}

// leftMost is how many KiB may be left of a case: what is made once in a process.
const leftMost = 4 << 10

// tally adds up what was read.
func (w *world) tally() {
	for _, f := range w.flows {
		_, read := f.counts()
		w.result.Bytes += read
	}
	for _, m := range w.streams {
		for _, s := range m.sent[:m.first] {
			w.result.Bytes += int64(s.size)
		}
	}
}

// close ends a listener whose sessions are all over.
func (s *server) close() {
	if s.old != nil {
		s.old.Kill()
		s.tasks.Wait()
		return
	}
	for range 60 { // sessions that were never heard of, and what lingers
		if s.l.Stats().Sessions == 0 {
			break
		}
		time.Sleep(time.Minute)
	}
	if n := s.l.Stats(); n.Sessions > 0 || n.HalfOpen > 0 {
		s.w.fail("an hour after all were closed the listener has %+v", n)
	}
	for range s.l.Sessions() {
		s.w.fail("an hour after all were closed the listener has sessions")
	}
	s.l.Close()
	select {
	case <-s.l.Done():
	case <-time.After(time.Hour):
		s.w.fail("a listener is not over an hour after Close")
	}
	if s.transport != nil {
		s.relisten()
		s.shut()
	}
	s.tasks.Wait()
}

// relisten checks that a transport can have another listener once it has none.
func (s *server) relisten() {
	l, err := s.transport.Listen(&s.w.listening)
	if err != nil {
		s.w.fail("Listen once the listener before is over: %v", err)
		return
	}
	l.Close()
}

// checkLeft checks that nothing is left but so many goroutines.
func (w *world) checkLeft(goroutines int) {
	n := kcp.DefaultSnmp.Copy()
	for name, value := range map[string]uint64{
		"CurrEstab": n.CurrEstab, "RingBufferSndQueue": n.RingBufferSndQueue, "RingBufferRcvQueue": n.RingBufferRcvQueue,
		"RingBufferSndBuffer": n.RingBufferSndBuffer, "WindowMemory": n.WindowMemory, "FECShardSet": n.FECShardSet,
	} {
		if value != 0 {
			w.fail("%s is %d when all is over", name, value)
		}
	}
	for s := range kcp.Sessions() {
		w.fail("a session is left: %+v", s.Stats())
	}
	for l := range kcp.Listeners() {
		w.fail("a listener is left: %+v", l.Stats())
	}
	if left := stacks(); countStacks(left) > goroutines {
		w.fail("goroutines are left:\n%s", left)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
