// Command bench measures the package on this machine's loopback beside other
// transports in the same run, so that their ratio means something where absolute
// figures vary:
//
//	go -C bench run . speed
//	go -C bench run . scale
//	go -C bench run . accepted
//
// and over emulated paths, in virtual time, where figures do not depend on the machine:
//
//	go -C bench run . path
//
// As root on Linux that measures the kernel's TCP too, cubic and bbr, in network namespaces
// of its own and in real time.
//
// It uses the published API only, so that a replace line measures any other
// implementation at the same import path.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"
)

// result is one measurement. Fields that do not apply are 0.
type result struct {
	Name        string  `json:"name"`
	MBps        float64 `json:"MBps,omitempty"`
	CPUPerGB    float64 `json:"cpu_s_per_GB,omitempty"`
	AllocsPerMB float64 `json:"allocs_per_MB,omitempty"`
	Resent      float64 `json:"resent,omitempty"` // share of all data segments
	P50us       float64 `json:"p50_us,omitempty"`
	P99us       float64 `json:"p99_us,omitempty"`
	AllocsPerOp float64 `json:"allocs_per_op,omitempty"`
}

// measurement is something to be measured for about the given time.
type measurement struct {
	name string
	run  func(d time.Duration) (result, error)
}

func main() {
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [flags] speed|scale|accepted|path, or one with the name of a scenario of path")
		flag.PrintDefaults()
	}
	secs := flag.Float64("secs", 2, "seconds for each measurement")
	count := flag.Int("count", 5, "repetitions of each; the medians are printed")
	filter := flag.String("filter", "", "run only what matches this regular expression")
	quick := flag.Bool("quick", false, "measure for an instant only, to see that everything works")
	conns := flag.Int("conns", 2000, "connections of scale")
	sessions := flag.Int("sessions", 100_000, "sessions of accepted")
	seeds := flag.Int("seeds", 5, "runs of each scenario of path, with seeds from 1 on; of one, the seed")
	realTime := flag.Bool("real", false, "path in real time: for an implementation whose goroutines start before main")
	plots := flag.String("plots", "", "directory that path writes its plots of goodput over time to")
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	flag.Parse()
	match, err := regexp.Compile(*filter)
	args := 1
	if flag.Arg(0) == "one" {
		args = 2
	}
	if err != nil || flag.NArg() != args || *secs <= 0 || *count < 1 || *conns < 1 || *sessions < 1 || *seeds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if *quick {
		*secs, *count, *conns, *sessions, warmup = 0.05, 1, 50, 500, 10*time.Millisecond
	}
	path := pathOptions{match: match, seeds: *seeds, realTime: *realTime, quick: *quick, asJSON: *asJSON, plots: *plots}
	duration := time.Duration(*secs * float64(time.Second))
	switch flag.Arg(0) {
	case "speed":
		err = speed(match, duration, *count, *asJSON)
	case "scale":
		var r scaleResult
		if r, err = scale(*conns, duration); err == nil {
			show([]scaleResult{r}, *asJSON, func() { r.print() })
		}
	case "accepted":
		var r acceptedResult
		if r, err = accepted(*sessions, duration); err == nil {
			show([]acceptedResult{r}, *asJSON, func() { r.print() })
		}
	case "path":
		if *quick {
			path.seeds = 1
		}
		err = paths(path)
	case "one":
		err = one(flag.Arg(1), *seeds, path)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// speed runs what matches of the speed table, count times, and shows the medians.
func speed(match *regexp.Regexp, d time.Duration, count int, asJSON bool) error {
	runs := make(map[string][]result)
	var order []string
	for round := range count {
		for _, m := range speedTable() {
			if !match.MatchString(m.name) {
				continue
			}
			progress("%d/%d %s", round+1, count, m.name)
			r, err := m.run(d)
			if err != nil {
				progress("")
				return fmt.Errorf("%s: %w", m.name, err)
			}
			if round == 0 {
				order = append(order, m.name)
			}
			runs[m.name] = append(runs[m.name], r)
		}
	}
	progress("")
	var results []result
	for _, name := range order {
		results = append(results, medians(name, runs[name]))
	}
	show(results, asJSON, func() { printTable(results) })
	return nil
}

// progress shows what is going on, on a terminal, until the next call.
func progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}

// show prints results as JSON or as a table for people.
func show(results any, asJSON bool, print func()) {
	if !asJSON {
		print()
		return
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	e.Encode(results)
}

// medians takes each field's median over the runs.
func medians(name string, rs []result) result {
	median := func(field func(result) float64) float64 {
		v := make([]float64, len(rs))
		for i, r := range rs {
			v[i] = field(r)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return result{
		Name:        name,
		MBps:        median(func(r result) float64 { return r.MBps }),
		CPUPerGB:    median(func(r result) float64 { return r.CPUPerGB }),
		AllocsPerMB: median(func(r result) float64 { return r.AllocsPerMB }),
		Resent:      median(func(r result) float64 { return r.Resent }),
		P50us:       median(func(r result) float64 { return r.P50us }),
		P99us:       median(func(r result) float64 { return r.P99us }),
		AllocsPerOp: median(func(r result) float64 { return r.AllocsPerOp }),
	}
}

// printTable prints the results with their ratios to the yardsticks among them.
func printTable(results []result) {
	yard := make(map[string]result)
	for _, r := range results {
		yard[r.Name] = r
	}
	ratio := func(v, of float64) string {
		if v == 0 || of == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", v/of)
	}
	number := func(format string, v float64) string {
		if v == 0 {
			return ""
		}
		return fmt.Sprintf(format, v)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tMB/s\t/ TCP\t/ QUIC\tCPU s/GB\tallocs/MB\tresent\tp50 µs\t/ UDP\tp99 µs\tallocs/op\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Name,
			number("%.0f", r.MBps), ratio(r.MBps, yard[yardTCP].MBps), ratio(r.MBps, yard[yardQUIC].MBps),
			number("%.2f", r.CPUPerGB), number("%.1f", r.AllocsPerMB), number("%.2f%%", 100*r.Resent),
			number("%.1f", r.P50us), ratio(r.P50us, yard[yardPing].P50us), number("%.1f", r.P99us),
			number("%.2f", r.AllocsPerOp))
	}
	w.Flush()
}
