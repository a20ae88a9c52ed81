// Package soak runs whole connections in virtual time, over random hostile paths, with random calls of the
// API, and with faults of sockets, processes and addresses, and checks what has to hold whatever happens:
//
//   - The bytes that are read are a prefix of those that were written; messages come whole and in order,
//     and only those that have expired are skipped; datagrams come unchanged, and at most once.
//   - In calm weather everything arrives, and Close and CloseWrite deliver it, and then the end of the stream.
//     The end of the stream comes after everything else.
//   - A session fails for a reason only: the path was bad, or the other end has gone. One connection is never
//     two sessions, and two are never one.
//   - Deadlines hold to 20 ms. Close does not wait unless it was told to, and every call ends when the session
//     does. Done and a listener's Done come.
//   - What one half of a connection ends with CloseRead or CloseWrite, the other goes on. No session is lost by
//     Rebind. A Transport that is closed ends all that is on it.
//   - Datagrams do not stay longer than the path carries.
//   - Nothing is left: no goroutine, session, timer, counter or memory.
package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Options are what Run is told.
type Options struct {
	Hours    float64 // of connections, after which it ends
	Time     time.Duration
	Seed     uint64
	First    int  // index of the first case
	Case     Case // what bounds all cases, and with Only the one that is run
	Only     bool
	Procs    int // cases at a time. Default: a processor each
	Minimise bool
	Progress func(format string, args ...any)
}

// caseTime is how long a case may take in real time: where time does not pass, something runs for ever.
const caseTime = 10 * time.Minute

// Run runs cases until there are enough connection-hours, or the time is over, and prints what happened. It
// returns an error if something went wrong.
func Run(o Options) error {
	if o.Only {
		return o.runOnly()
	}
	if o.Procs == 0 {
		o.Procs = runtime.NumCPU()
	}
	r := runner{Options: o, start: time.Now(), next: o.First}
	var wg sync.WaitGroup
	for range o.Procs {
		wg.Go(r.run)
	}
	wg.Wait()
	o.progress("")
	fmt.Printf("seed %d, cases %d to %d, in %v\n", o.Seed, o.First, r.next-1, time.Since(r.start).Round(time.Second))
	r.sum.print()
	for _, c := range r.failed {
		if o.Minimise {
			c.minimise().report()
		}
	}
	if len(r.failed) > 0 {
		return fmt.Errorf("%d cases failed", len(r.failed))
	}
	return nil
}

func (o Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(format, args...)
	}
}

// failedMost is how many cases fail before no more are begun.
const failedMost = 5

// A runner runs cases, several at a time.
type runner struct {
	Options
	start time.Time

	mu     sync.Mutex // guards the rest
	next   int        // index of the next case
	sum    summary
	failed []Case
}

func (r *runner) run() {
	for c, more := r.begin(); more; c, more = r.begin() {
		r.done(c, c.inProcess())
	}
}

// begin returns the next case, if there is to be one more.
func (r *runner) begin() (c Case, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	enough := r.Hours > 0 && r.sum.Hours >= r.Hours || r.Time > 0 && time.Since(r.start) >= r.Time
	if enough || len(r.failed) >= failedMost {
		return c, false
	}
	c = r.Case
	c.Seed, c.Index = r.Seed, r.next
	r.next++
	return c, true
}

func (r *runner) done(c Case, result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.add(result)
	r.progress("case %d, %.0f connection-hours", c.Index, r.sum.Hours)
	if len(result.Failures) > 0 {
		r.failed = append(r.failed, c)
		fmt.Printf("FAILED: %s\n%s\n", c.flags(), strings.Join(result.Failures, "\n"))
	}
}

// runOnly runs one case, and tells all about it.
func (o Options) runOnly() error {
	c := o.Case
	fmt.Println(c.flags(), "has", c.all())
	r := c.inProcess()
	var sum summary
	sum.add(r)
	sum.print()
	if len(r.Failures) == 0 {
		return nil
	}
	fmt.Println(strings.Join(r.Failures, "\n"))
	if o.Minimise {
		c.minimise().report()
	}
	return fmt.Errorf("the case failed")
}

// inProcess runs the case in a process of its own. What ends that is a failure of the case.
func (c Case) inProcess() (r Result) {
	fail := func(err error, out string) Result {
		return Result{Failures: []string{fmt.Sprintf("%v\n%s", err, out)}}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fail(err, "")
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err, "")
	}
	ctx, cancel := context.WithTimeout(context.Background(), caseTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "soakcase", string(text))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(stackSignal) }
	cmd.WaitDelay = 10 * time.Second
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		return fail(err, string(out)+complaint.String())
	}
	return r
}

// flags returns what repeats the case.
func (c Case) flags() string {
	s := fmt.Sprintf("soak -seed %d -only %d", c.Seed, c.Index)
	if c.Slots > 0 {
		s += fmt.Sprintf(" -slots %d", c.Slots)
	}
	if c.Minutes > 0 {
		s += fmt.Sprintf(" -minutes %g", c.Minutes)
	}
	if len(c.Without) > 0 {
		s += " -without " + strings.Join(c.Without, ",")
	}
	return s
}
