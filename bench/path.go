package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// The subcommand path measures transports over emulated paths. Each run is one scenario with one
// seed, in a process of its own, in virtual time. Virtual time passes only while every goroutine
// waits, so neither the speed nor the load of this machine matters, and a minute of a slow path
// takes a moment. A process has a single run, as the package's scheduler is global and cannot serve
// two testing/synctest bubbles.

// scenario is one transport on one path under one load.
type scenario struct {
	Path      string
	Transport string
	open      opener   // opens the transport
	tcp       []string // congestion controls of the kernel's TCP that are needed, in real time
	net       emulation
	load      load
	floor     target // has to be reached
	goal      target // is to be reached
	plot      string // file name of the path's plot, "" for none
	marks     []mark // of the plot
}

// target is what a result has to reach. Fields that are 0 are not checked.
type target struct {
	p99     float64 // ms, at most
	goodput float64 // MB/s, at least
	wire    float64 // payload bytes of all datagrams for each byte delivered, at most
	share   float64 // share of the smallest flow, 0 to 1, at least
}

func (s scenario) name() string {
	if s.Transport == "" { // a sharing scenario has several
		return s.Path
	}
	return s.Path + ", " + s.Transport
}

// pathResult is the result of one run, or the medians of several. Fields that do not apply are 0.
type pathResult struct {
	Path      string `json:"path"`
	Transport string `json:"transport"`

	// Of messages: ms from when a message was due to be written to when it was read.
	P50  float64 `json:"p50_ms,omitempty"`
	P95  float64 `json:"p95_ms,omitempty"`
	P99  float64 `json:"p99_ms,omitempty"`
	Max  float64 `json:"max_ms,omitempty"`
	Mean float64 `json:"mean_ms,omitempty"`

	// Of bulk: the goodput of all flows together, and ms until it was back after each event.
	Goodput float64   `json:"goodput_MBps,omitempty"`
	Back    []float64 `json:"back_ms,omitempty"`

	// Of several flows, while all are there: Jain's index, and the shares of the first and of the
	// smallest flow, 0 to 1.
	Jain     float64 `json:"jain,omitempty"`
	First    float64 `json:"first_share,omitempty"`
	Smallest float64 `json:"smallest_share,omitempty"`

	// Payload bytes of all datagrams sent in each direction, for each byte delivered.
	Wire    float64 `json:"wire_per_byte,omitempty"`
	Reverse float64 `json:"reverse_per_byte,omitempty"`

	// MB/s of each flow of bulk, one value for each binTime.
	Flows []series `json:"flows,omitempty"`
}

// series is a quantity over time.
type series struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
}

// figures returns the fields that a median is taken of.
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

// pathMedians returns the median of each figure over the runs, in the memory of the first run.
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

// pathOptions are the flags of the subcommand path.
type pathOptions struct {
	match    *regexp.Regexp
	seeds    int
	realTime bool
	asJSON   bool
	plots    string // directory for plots, "" for none
}

// paths runs the scenarios whose names match with every seed, and shows the medians.
func paths(o pathOptions) error {
	todo := chosen(scenarios(), o.match)
	medians, err := runMedians(todo, o)
	if err != nil {
		return err
	}
	if o.plots != "" {
		if err := plotPaths(o.plots, todo, medians); err != nil {
			return err
		}
	}
	show(medians, o.asJSON, func() { printPaths(todo, medians) })
	return nil
}

// runMedians runs the scenarios with every seed, and returns the medians of each.
func runMedians(todo []scenario, o pathOptions) ([]pathResult, error) {
	runs, err := runAll(todo, o)
	progress("")
	if err != nil {
		return nil, err
	}
	medians := make([]pathResult, len(todo))
	for i := range todo {
		medians[i] = pathMedians(runs[i])
	}
	return medians, nil
}

// chosen returns those of the scenarios whose names match, but for those that this kernel cannot run. In a
// quick run they have no targets.
func chosen(all []scenario, match *regexp.Regexp) (todo []scenario) {
	missing := make(map[string]error)
	for _, s := range all {
		if match.MatchString(s.name()) && !s.leftOut(missing) {
			if quick {
				s.floor, s.goal = target{}, target{}
			}
			todo = append(todo, s)
		}
	}
	for control, err := range missing {
		if err != nil {
			fmt.Fprintf(os.Stderr, "left out: what needs the kernel's TCP with %s: %v\n", control, err)
		}
	}
	return todo
}

// leftOut says whether s needs a congestion control that the kernel does not have. missing maps
// each control that was asked for to the reason, nil for none.
func (s scenario) leftOut(missing map[string]error) bool {
	for _, control := range s.tcp {
		if _, asked := missing[control]; !asked {
			missing[control] = tcpMissing(control)
		}
		if missing[control] != nil {
			return true
		}
	}
	return false
}

// runAll returns the results of every scenario, one for each seed. It first runs those in virtual
// time, in as many processes at a time as there are processors, as they compute; then those in real
// time, in four times as many, as they wait.
func runAll(todo []scenario, o pathOptions) ([][]pathResult, error) {
	results := make([][]pathResult, len(todo))
	p := tally{total: len(todo) * o.seeds}
	for _, realTime := range []bool{false, true} {
		slots := make(chan struct{}, runtime.NumCPU())
		if realTime {
			slots = make(chan struct{}, 4*runtime.NumCPU())
		}
		var wg sync.WaitGroup
		for i, s := range todo {
			if realTime != (o.realTime || s.tcp != nil) {
				continue
			}
			results[i] = make([]pathResult, o.seeds)
			for seed := 1; seed <= o.seeds && p.ok(); seed++ {
				slots <- struct{}{}
				wg.Go(func() {
					var err error
					results[i][seed-1], err = runInProcess(s, seed, realTime)
					p.done(s, seed, err)
					<-slots
				})
			}
		}
		wg.Wait()
	}
	return results, p.err
}

// tally counts the runs that are done, and shows the count.
type tally struct {
	total int

	mu  sync.Mutex // guards the rest
	n   int        // runs that are done
	err error      // the first
}

func (p *tally) ok() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err == nil
}

func (p *tally) done(s scenario, seed int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	progress("%d/%d %s", p.n, p.total, s.name())
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("%s, seed %d: %w", s.name(), seed, err)
	}
}

// runInProcess runs s with seed in a process of its own.
func runInProcess(s scenario, seed int, realTime bool) (r pathResult, err error) {
	err = runSelf(context.Background(), &r, "-real="+strconv.FormatBool(realTime),
		"-quick="+strconv.FormatBool(quick), "-seeds="+strconv.Itoa(seed), "one", s.name())
	return r, err
}

// runSelf runs this program with these arguments, until ctx ends, and parses the JSON that it prints
// into result. The error has what it printed otherwise.
func runSelf(ctx context.Context, result any, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"-json"}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // others run beside it
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w\n%s%s", err, out, complaint.Bytes())
	}
	return json.Unmarshal(out, result)
}

// one runs the scenario with that name in this process, with one seed, and prints the result. It
// returns only with an error.
func one(name string, seed int, o pathOptions) error {
	all := slices.Concat(scenarios(), latencyScenarios(), repairGridScenarios(), drawnNamed(name))
	i := slices.IndexFunc(all, func(s scenario) bool { return s.name() == name })
	if i < 0 {
		return fmt.Errorf("no scenario is called %q", name)
	}
	s := all[i]
	if quick {
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
	if !o.realTime && s.tcp == nil {
		virtually(run)
	}
	settle, patience = 100*time.Millisecond, time.Minute // real time costs something
	if err := run(); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

// run runs s once.
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
