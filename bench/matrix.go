package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The subcommand matrix measures a transport over paths that are drawn at random, to find those that
// nobody has tuned for. Each path runs in virtual time, in a process of its own, as those of the
// subcommand path do.

// matrixOptions are the flags of the subcommand matrix.
type matrixOptions struct {
	count     int // of cases
	seed      uint64
	plain     bool   // steady paths, bulk and three profiles only
	only      string // indices, "" for all
	match     *regexp.Regexp
	transport string
	runs      int // of each case
	asJSON    bool
	plots     string // directory for plots, "" for none
	compare   string // file with the JSON of an earlier run, "" for none
}

// matrix runs the cases, and shows what they came to.
func matrix(o matrixOptions) error {
	indices, err := o.indices()
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"kcp", "nc1", "quic", "cubic", "bbr"}, o.transport) {
		return fmt.Errorf("-transport is %q, want kcp, nc1, quic, cubic or bbr", o.transport)
	}
	if o.realTime() {
		if err := tcpMissing(o.transport); err != nil {
			return fmt.Errorf("-transport %s: %w", o.transport, err)
		}
	}
	if o.only != "" && len(indices) == 1 {
		return o.alone(indices[0])
	}
	before, err := o.earlier(indices)
	if err != nil {
		return err
	}
	results := o.runAll(indices)
	progress("")
	if o.plots != "" {
		if err := plotMatrix(o.plots, results, before); err != nil {
			return err
		}
	}
	show(results, o.asJSON, func() { o.print(results, before) })
	return nil
}

// earlier returns what the cases with these indices came to in the run whose JSON compare names, nil
// if it names none.
func (o *matrixOptions) earlier(indices []int) ([]matrixResult, error) {
	if o.compare == "" {
		return nil, nil
	}
	b, err := os.ReadFile(o.compare)
	if err != nil {
		return nil, err
	}
	var results []matrixResult
	if err := json.Unmarshal(b, &results); err != nil {
		return nil, fmt.Errorf("%s: %w", o.compare, err)
	}
	results = slices.DeleteFunc(results, func(r matrixResult) bool { return !slices.Contains(indices, r.Index) })
	for i := range results {
		r := &results[i]
		c := drawCase(o.seed, r.Index, o.plain)
		if r.Seed != o.seed || r.Plain != o.plain || r.About != c.String() {
			return nil, fmt.Errorf("%s is of other cases: %q is now %q", o.compare, r.About, c)
		}
		r.matrixCase = o.draw(r.Index)
	}
	return results, nil
}

// indices returns those of the cases to run.
func (o *matrixOptions) indices() (all []int, err error) {
	if o.only == "" {
		for i := range o.count {
			if o.match.MatchString(o.draw(i).String()) {
				all = append(all, i)
			}
		}
		return all, nil
	}
	for part := range strings.SplitSeq(o.only, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		i, err1 := strconv.Atoi(first)
		j, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || i < 0 || j < i {
			return nil, fmt.Errorf("-only is %q, want indices such as 3,10-20", o.only)
		}
		for ; i <= j; i++ {
			all = append(all, i)
		}
	}
	return all, nil
}

// realTime says whether the transport is the kernel's TCP, which virtual time means nothing to.
func (o *matrixOptions) realTime() bool { return o.transport == "cubic" || o.transport == "bbr" }

// draw draws the case with that index, for the transport.
func (o *matrixOptions) draw(index int) matrixCase {
	c := drawCase(o.seed, index, o.plain)
	switch o.transport {
	case "nc1":
		if c.tuning.untuned {
			c.tuning = asIs
		}
		c.tuning.nodelay[3] = 1
	case "quic":
		c.tuning, c.Unmarked, c.quic = tuning{}, 0, true
	case "cubic", "bbr":
		c.tuning, c.Unmarked, c.tcp = tuning{}, 0, o.transport
	}
	return c
}

// alone runs one case in this process, and shows it in detail. It returns only with an error.
func (o *matrixOptions) alone(index int) error {
	c := o.draw(index)
	run := func() error {
		r, err := c.run()
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		show(r, o.asJSON, r.print)
		os.Exit(0) // without waiting for what goes on for ever
		return nil
	}
	if o.realTime() {
		return run()
	}
	virtually(run)
	return nil
}

// runAll runs the cases, as many at a time as there are processors.
func (o *matrixOptions) runAll(indices []int) []matrixResult {
	results := make([]matrixResult, len(indices))
	slots := make(chan struct{}, runtime.NumCPU())
	if o.realTime() {
		slots = make(chan struct{}, 1)
	}
	var wg sync.WaitGroup
	for n, index := range indices {
		slots <- struct{}{}
		progress("%d/%d", n, len(indices))
		wg.Go(func() {
			results[n] = o.median(index)
			<-slots
		})
	}
	wg.Wait()
	return results
}

// median runs a case several times, and returns the run whose score is the median. Runs differ, as the
// times at which controllers probe are random.
func (o *matrixOptions) median(index int) matrixResult {
	var runs []matrixResult
	for range max(1, o.runs) {
		r := o.inProcess(index)
		if r.Failed != "" {
			return r
		}
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b matrixResult) int { return cmp.Compare(a.score(), b.score()) })
	return runs[len(runs)/2]
}

// casePatience is how long a case may take in real time.
const casePatience = 5 * time.Minute

// inProcess runs a case in a process of its own.
func (o *matrixOptions) inProcess(index int) (r matrixResult) {
	ctx, cancel := context.WithTimeout(context.Background(), casePatience)
	defer cancel()
	c := o.draw(index)
	if err := runSelf(ctx, &r, o.arguments(index)...); err != nil {
		return matrixResult{matrixCase: c, About: c.String(), Reached: -1, Failed: err.Error()}
	}
	r.matrixCase, r.Samples, r.All = c, nil, nil // JSON does not have all of the case
	return r
}

// arguments are those that repeat a case alone.
func (o *matrixOptions) arguments(index int) []string {
	args := []string{"matrix"}
	if o.plain {
		args = append(args, "-plain")
	}
	if o.transport != "kcp" {
		args = append(args, "-transport="+o.transport)
	}
	return append(args, fmt.Sprintf("-seed=%d", o.seed), fmt.Sprintf("-only=%d", index))
}
