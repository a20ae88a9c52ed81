// Command bench measures the package on this machine's loopback beside other transports in the same
// run, as ratios are comparable where absolute figures vary:
//
//	go -C bench run . speed
//	go -C bench run . scale
//	go -C bench run . accepted
//
// and over emulated paths, in virtual time, where figures do not depend on the machine:
//
//	go -C bench run . path
//	go -C bench run . latency
//	go -C bench run . repairs
//	go -C bench run . drawn
//	go -C bench run . matrix
//	go -C bench run . soak
//
// path has scenarios with targets, latency and repairs show how late messages are on paths that lose, matrix
// draws paths at random to find those that nobody has tuned for, and soak checks what has to hold whatever
// happens. As root on Linux, path measures the kernel's TCP too, cubic and bbr, in network namespaces of its
// own and in real time.
//
// bench uses the published API only, so that a replace line measures any other implementation at
// the same import path.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/xtaci/kcp-go/v5/bench/soak"
)

const usage = `usage: bench [flags] speed|scale|accepted|path|latency|repairs|drawn
       bench [flags] one NAME            one scenario of path, latency, repairs or drawn
       bench matrix [flags]              paths drawn at random: a summary, and the worst of them
       bench matrix [flags] -only INDEX  one of them in detail, over time
       bench soak [flags]                whole connections over hostile paths: soak -h

Of matrix: -plain draws steady paths and bulk alone, which its targets are for. -filter takes those
whose description matches. A case repeats its path, but not the times at which controllers probe, which
are random: -runs 3 takes the run in the middle. To compare two versions:

       bench -json matrix -plain -n 240 > before.json
       bench matrix -plain -n 240 -compare before.json -plots .

`

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "soak" || os.Args[1] == "soakcase") {
		exit(soak.Main(os.Args[1:], progress))
	}
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flag.PrintDefaults()
	}
	secs := flag.Float64("secs", 2, "seconds for each measurement")
	count := flag.Int("count", 5, "repetitions of each; the medians are printed")
	filter := flag.String("filter", "", "run only what matches this regular expression")
	flag.BoolVar(&quick, "quick", false, "measure for an instant only, to see that everything works: the figures mean nothing")
	conns := flag.Int("conns", 2000, "connections of scale")
	sessions := flag.Int("sessions", 100_000, "sessions of accepted")
	seeds := flag.Int("seeds", 5, "runs of each scenario of path, latency, repairs and drawn, with seeds from 1 on; of one, the seed")
	realTime := flag.Bool("real", false, "path in real time: for an implementation whose goroutines start before main")
	plots := flag.String("plots", "", "directory that path writes its plots of goodput over time to, matrix its histograms, and latency its curves")
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	drawn := flag.Int("n", 500, "paths of matrix and drawn")
	seed := flag.Uint64("seed", 1, "seed that matrix and drawn draw their paths from")
	plain := flag.Bool("plain", false, "matrix with steady paths, bulk, and three profiles only")
	only := flag.String("only", "", "run the cases of matrix with these indices, such as 3,10-20; a single one is shown in detail")
	transport := flag.String("transport", "kcp", "transport of matrix: kcp, nc1 (the same with nc=1), quic (quic-go), or the kernel's TCP, cubic or bbr, in real time and as root")
	runs := flag.Int("runs", 1, "runs of each case of matrix; the one in the middle counts")
	compare := flag.String("compare", "", "file with the JSON of an earlier run of the same cases of matrix, to compare with")
	flag.Parse()
	command, args := flag.Arg(0), 1
	switch command {
	case "matrix": // its flags may follow it
		flag.CommandLine.Parse(flag.Args()[1:]) // ends the program for an error
		args = 0
	case "one":
		args = 2
	}
	match, err := regexp.Compile(*filter)
	if err != nil || flag.NArg() != args || *drawn < 1 || *runs < 1 || *secs <= 0 || *count < 1 || *conns < 1 || *sessions < 1 || *seeds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if quick {
		*secs, *count, *conns, *sessions, *drawn, warmup = 0.05, 1, 50, 500, 8, 10*time.Millisecond
	}
	if quick && command != "one" {
		*seeds = 1
	}
	path := pathOptions{match: match, seeds: *seeds, realTime: *realTime, asJSON: *asJSON, plots: *plots}
	duration := time.Duration(*secs * float64(time.Second))
	switch command {
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
		err = paths(path)
	case "latency":
		err = latencies(path)
	case "repairs":
		err = repairGrid(path)
	case "drawn":
		err = drawnRepairs(*drawn, *seed, path)
	case "matrix":
		err = matrix(matrixOptions{count: *drawn, seed: *seed, plain: *plain, only: *only, match: match,
			transport: *transport, runs: *runs, asJSON: *asJSON, plots: *plots, compare: *compare})
	case "one":
		err = one(flag.Arg(1), *seeds, path)
	default:
		flag.Usage()
		os.Exit(2)
	}
	exit(err)
}

// exit ends the process, and says why if that is an error.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// progress shows a line on a terminal until the next call, and nothing elsewhere.
func progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}

// quick is the flag of that name. A quick run shows that everything works, and nothing else: it
// compares its figures with nothing.
var quick bool

// quickNote stands above and below each table of a quick run.
const quickNote = "A quick run: these figures mean NOTHING. It shows that everything works. Measure without -quick."

// show prints results as JSON, or as a table by print.
func show(results any, asJSON bool, print func()) {
	if !asJSON {
		if quick {
			fmt.Println(quickNote)
			defer fmt.Println(quickNote)
		}
		print()
		return
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	e.Encode(results)
}
