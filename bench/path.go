package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// The subcommand path measures transports over emulated paths. Each run is one scenario
// with one seed, in a process of its own, in virtual time: there time passes only
// while every goroutine waits, so that neither this machine's speed nor its load
// matters, and a minute of a slow path takes a moment. A process of its own has a
// single run, as the package's scheduler is global and may not serve two
// testing/synctest bubbles.

// scenario is one transport on one path under one load.
type scenario struct {
	Path      string
	Transport string
	open      opener
	net       emulation
	load      load
	floor     target
	goal      target
	plot      string // file name of the path's plot, "" for none
	marks     []mark // in it
}

// target is what a scenario has to reach; fields that are 0 are not judged.
type target struct {
	p99     float64 // ms, at most
	goodput float64 // MB/s, at least
	wire    float64 // bytes on the wire a byte delivered, at most
	share   float64 // of the smallest flow, at least
}

func (s scenario) name() string { return s.Path + ", " + s.Transport }

// pathResult is what one run gave, or the medians of several. Fields that do not apply
// are 0.
type pathResult struct {
	Path      string `json:"path"`
	Transport string `json:"transport"`

	// Of messages: ms from when it was due to be written to when it was read.
	P50  float64 `json:"p50_ms,omitempty"`
	P95  float64 `json:"p95_ms,omitempty"`
	P99  float64 `json:"p99_ms,omitempty"`
	Max  float64 `json:"max_ms,omitempty"`
	Mean float64 `json:"mean_ms,omitempty"`

	// Of bulk, of all flows together. Ms until it was back after each event.
	Goodput float64   `json:"goodput_MBps,omitempty"`
	Back    []float64 `json:"back_ms,omitempty"`

	// Of several flows, while all were there: Jain's index, and the first one's and the
	// smallest share.
	Jain     float64 `json:"jain,omitempty"`
	First    float64 `json:"first_share,omitempty"`
	Smallest float64 `json:"smallest_share,omitempty"`

	// Payload of all datagrams sent, for each byte delivered.
	Wire    float64 `json:"wire_per_byte,omitempty"`
	Reverse float64 `json:"reverse_per_byte,omitempty"`

	// MB/s of each flow of bulk, in bins of binTime.
	Flows []series `json:"flows,omitempty"`
}

// series is a quantity over time.
type series struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
}

// figures are the fields that have a median.
func (r *pathResult) figures() []*float64 {
	all := []*float64{&r.P50, &r.P95, &r.P99, &r.Max, &r.Mean, &r.Goodput,
		&r.Jain, &r.First, &r.Smallest, &r.Wire, &r.Reverse}
	for i := range r.Back {
		all = append(all, &r.Back[i])
	}
	for _, f := range r.Flows {
		for i := range f.Values {
			all = append(all, &f.Values[i])
		}
	}
	return all
}

// pathMedians takes each figure's median over the runs. It reuses the first's memory.
func pathMedians(runs []pathResult) pathResult {
	m := runs[0]
	for i, to := range m.figures() {
		v := make([]float64, len(runs))
		for j := range runs {
			v[j] = *runs[j].figures()[i]
		}
		slices.Sort(v)
		*to = v[len(v)/2]
	}
	return m
}

// pathOptions are the flags of path.
type pathOptions struct {
	match    *regexp.Regexp
	seeds    int
	realTime bool
	quick    bool
	asJSON   bool
	plots    string // directory for plots, "" for none
}

// paths runs what matches of the path scenarios with every seed and shows the medians.
func paths(o pathOptions) error {
	var todo []scenario
	for _, s := range scenarios() {
		if o.match.MatchString(s.name()) {
			todo = append(todo, s)
		}
	}
	runs, err := runAll(todo, o)
	fmt.Fprint(os.Stderr, "\r\033[K")
	if err != nil {
		return err
	}
	medians := make([]pathResult, len(todo))
	for i := range todo {
		medians[i] = pathMedians(runs[i])
	}
	if o.plots != "" {
		if err := plotPaths(o.plots, todo, medians); err != nil {
			return err
		}
	}
	show(medians, o.asJSON, func() { printPaths(todo, medians) })
	return nil
}

// runAll returns the results of every scenario, a seed each. It has as many processes at
// once as there are processors in virtual time, where they compute, and more in real
// time, where they wait.
func runAll(todo []scenario, o pathOptions) ([][]pathResult, error) {
	var (
		results = make([][]pathResult, len(todo))
		slots   = make(chan struct{}, runtime.NumCPU())
		mu      sync.Mutex // guards what follows
		done    int
		failed  error
		wg      sync.WaitGroup
	)
	if o.realTime {
		slots = make(chan struct{}, 4*runtime.NumCPU())
	}
	for i, s := range todo {
		results[i] = make([]pathResult, o.seeds)
		for seed := range o.seeds {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				r, err := runInProcess(s, seed+1, o)
				mu.Lock()
				defer mu.Unlock()
				results[i][seed] = r
				if err != nil && failed == nil {
					failed = fmt.Errorf("%s, seed %d: %w", s.name(), seed+1, err)
				}
				done++
				fmt.Fprintf(os.Stderr, "\r\033[K%d/%d %s", done, len(todo)*o.seeds, s.name())
			})
			mu.Lock()
			stop := failed != nil
			mu.Unlock()
			if stop {
				wg.Wait()
				return nil, failed
			}
		}
	}
	wg.Wait()
	return results, failed
}

// runInProcess has a process of its own run s.
func runInProcess(s scenario, seed int, o pathOptions) (r pathResult, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.Command(self, "-json", "-real="+strconv.FormatBool(o.realTime),
		"-quick="+strconv.FormatBool(o.quick), "-seeds="+strconv.Itoa(seed), "one", s.name())
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // others run beside it
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("%w\n%s%s", err, out, complaint.Bytes())
	}
	return r, json.Unmarshal(out, &r)
}

// one runs the scenario of that name in this process, with the one seed, and prints
// what it gave. It does not return unless the name is unknown.
func one(name string, seed int, o pathOptions) error {
	i := slices.IndexFunc(scenarios(), func(s scenario) bool { return s.name() == name })
	if i < 0 {
		return fmt.Errorf("no scenario is called %q", name)
	}
	s := scenarios()[i]
	if o.quick {
		s.load = s.load.shortened()
	}
	run := func() error {
		r, err := s.run(uint64(seed))
		if err == nil {
			r.Path, r.Transport = s.Path, s.Transport
			show(r, true, nil)
		}
		return err
	}
	if !o.realTime {
		virtually(run)
	}
	if err := run(); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

// run is one run of s.
func (s scenario) run(seed uint64) (r pathResult, err error) {
	w := &world{Network: netem.New(seed), emulation: s.net}
	defer w.close()
	if s.net.shared != (netem.Path{}) {
		if w.bottleneck, err = w.NewBottleneck(s.net.shared); err != nil {
			return r, err
		}
	}
	return s.load.run(w, s.open)
}
