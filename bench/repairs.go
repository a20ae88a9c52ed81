package main

import (
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// The subcommand repairs measures what repairs bring to loads of all kinds, and what they cost: each load
// over near and far paths that lose, without FEC and with it.

// repairLoad is a load, and the settings that suit it.
type repairLoad struct {
	name      string
	tuning    tuning
	bandwidth int64 // of the path there, bytes a second, 0 for no bottleneck
	load      load
}

// repairLoads are those that are measured. A transfer is many messages at once, the last of which counts.
func repairLoads() []repairLoad {
	const ms, size = time.Millisecond, 1250
	swift := tuning{nodelay: [4]int{1, 10, 2, 1}, window: 1024, ackNoDelay: true}
	paced := tuning{stream: true, nodelay: [4]int{1, 10, 2, 0}}
	all := []repairLoad{
		{"messages", swift, 0, messages{size: 500, every: 10 * ms, count: 12_000}},
		{"frames", swift, 0, messages{size: 1200, every: 16 * ms, count: 12_000, frame: 3}},
		{"sparse messages", swift, 0, messages{size: 500, every: 50 * ms, count: 6000}},
	}
	for _, kb := range []int{10, 100, 1000} {
		n, times := kb*1000/size, 300
		if kb == 1000 {
			times = 60
		}
		l := messages{size: size, every: 3 * time.Second, count: n * times, frame: n}
		all = append(all,
			repairLoad{fmt.Sprintf("%d KB", kb), swift, 0, l},
			repairLoad{fmt.Sprintf("%d KB at 5 MB/s", kb), paced, 5 * mb, l})
	}
	beside := paced
	beside.window = 256 // more is a queue, in which the stream's messages wait
	return append(all, repairLoad{"a stream beside bulk at 5 MB/s", beside, 5 * mb, streamsLoad{size: 500, every: 20 * ms, time: 20 * time.Second}})
}

// repairPath is how a path fails, each way.
type repairPath struct {
	name string
	netem.Path
}

func repairPaths(rtt time.Duration) (all []repairPath) {
	for _, percent := range []float64{1, 5, 10, 20, 30} {
		all = append(all, repairPath{fmt.Sprintf("%g%%", percent), netem.Path{Loss: percent / 100}})
	}
	all = append(all,
		repairPath{"5% in bursts", netem.Path{Burst: burst}},
		repairPath{"5%, jitter", netem.Path{Loss: 0.05, Jitter: rtt / 6}})
	for i := range all {
		all[i].Delay = rtt / 2
	}
	return all
}

// repairRTTs are the round trips that are measured.
var repairRTTs = []time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond}

// repairTransports are the names of the columns: without FEC, and with it.
var repairTransports = []string{"kcp", "kcp FEC 10/3"}

// repairGridScenarios returns a scenario for each load, path and transport.
func repairGridScenarios() (all []scenario) {
	for _, l := range repairLoads() {
		for _, rtt := range repairRTTs {
			for _, p := range repairPaths(rtt) {
				there := p.Path
				there.Bandwidth, there.Queue = l.bandwidth, int(l.bandwidth*60/1000)
				for i, name := range repairTransports {
					t := l.tuning
					if i == 1 {
						t.data, t.parity = 10, 3
					}
					all = append(all, scenario{
						Path: fmt.Sprintf("repairs, %s, %v, %s", l.name, rtt, p.name), Transport: name,
						open: kcpOpener(t), net: emulation{there: there, back: p.Path}, load: l.load,
					})
				}
			}
		}
	}
	return all
}

// repairGrid runs the scenarios whose names match, and shows the medians.
func repairGrid(o pathOptions) error {
	todo := chosen(repairGridScenarios(), o.match)
	medians, err := runMedians(todo, o)
	if err != nil {
		return err
	}
	show(medians, o.asJSON, func() { printRepairGrid(medians) })
	return nil
}

// printRepairGrid prints a row for each path, with the transports side by side.
func printRepairGrid(all []pathResult) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', tabwriter.Debug)
	defer w.Flush()
	fmt.Fprint(w, "mean / p99 in ms (bytes a byte) bulk MB/s")
	for _, t := range repairTransports {
		fmt.Fprintf(w, "\t %s", t)
	}
	fmt.Fprintln(w)
	for i, r := range all {
		if slices.ContainsFunc(all[:i], func(o pathResult) bool { return o.Path == r.Path }) {
			continue
		}
		fmt.Fprint(w, r.Path)
		for _, t := range repairTransports {
			fmt.Fprint(w, "\t ")
			for _, o := range all {
				if o.Path == r.Path && o.Transport == t {
					fmt.Fprint(w, o.cell())
				}
			}
		}
		fmt.Fprintln(w)
	}
}

// cell is what a table of latencies says of r.
func (r *pathResult) cell() string {
	s := fmt.Sprintf("%.0f / %.0f (%.2f)", r.Mean, r.P99, r.Wire)
	if r.Goodput != 0 {
		s += fmt.Sprintf(" %.2f", r.Goodput)
	}
	return s
}
