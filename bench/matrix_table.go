package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// criterion is what a share of the cases has to meet, or must not.
type criterion struct {
	name        string
	applies     func(r *matrixResult) bool // nil for all
	met         func(r *matrixResult) bool
	floor, goal string
}

// criteria are those of bulk, with the targets of the plain draw.
var criteria = []criterion{
	{"0.9 of attainable or more", nil, func(r *matrixResult) bool { return r.Share >= wellUsed }, "≥ 92%", "≥ 98%"},
	{"under half", nil, func(r *matrixResult) bool { return r.Share < halfUsed }, "0", "0"},
	{"under a third", nil, func(r *matrixResult) bool { return r.Share < collapsed }, "0", "0"},
	{"waste above 1.05", nil, func(r *matrixResult) bool { return r.Waste > wasteSome }, "≤ 5%", "≤ 1%"},
	{"waste above 1.15", nil, func(r *matrixResult) bool { return r.Waste > wasteMuch }, "0", "0"},
	{"queue ≤ max(RTT/4, 10 ms), if it holds a BDP", (*matrixResult).queueCounts,
		func(r *matrixResult) bool { return r.Standing <= ms(r.queueAllowed()) }, "≥ 85%", "≥ 95%"},
	{"  or 3 datagrams' time", (*matrixResult).queueCounts,
		func(r *matrixResult) bool { return r.Standing <= ms(r.queueTolerated()) }, "", ""},
	{"0.9 reached in max(1 s, 15 RTT)", nil, (*matrixResult).reachedInTime, "≥ 80%", "≥ 95%"},
}

func (r *matrixResult) queueCounts() bool { return r.holdsBDP() }

func (r *matrixResult) reachedInTime() bool {
	return r.Reached >= 0 && r.Reached <= ms(r.reachAllowed())
}

// print prints the summary, and the worst.
func (o *matrixOptions) print(results []matrixResult) {
	good := slices.DeleteFunc(slices.Clone(results), func(r matrixResult) bool { return r.Failed != "" })
	fmt.Printf("seed %d, %d paths, %s\n\n", o.seed, len(results), o.transport)
	printSummary(good)
	if len(good) < len(results) {
		fmt.Printf("\n%d FAILED:\n", len(results)-len(good))
		for _, r := range results {
			if r.Failed != "" {
				fmt.Printf("%s: %s\n%s\n", r.About, o.command(r.Index), r.Failed)
			}
		}
	}
	o.printWorst("worst by goodput over waste", 20, good, func(r *matrixResult) float64 {
		return min(r.Share, 1) / max(r.Waste, 1)
	})
	queued := slices.DeleteFunc(slices.Clone(good), func(r matrixResult) bool { return !r.queueCounts() })
	o.printWorst("longest standing queue for what is allowed", 10, queued, func(r *matrixResult) float64 {
		return -r.Standing / ms(r.queueTolerated())
	})
	late := slices.DeleteFunc(slices.Clone(good), func(r matrixResult) bool { return r.Reached < 0 })
	o.printWorst("latest to reach 0.9, of those that do", 10, late, func(r *matrixResult) float64 {
		return -r.Reached / ms(r.reachAllowed())
	})
}

// printSummary prints the share of the cases that meet each criterion, of all and of each profile.
func printSummary(results []matrixResult) {
	groups := []string{""}
	for _, r := range results {
		if !slices.Contains(groups, r.Profile) {
			groups = append(groups, r.Profile)
		}
	}
	slices.Sort(groups)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "\tall%s\tfloor\tgoal\n", strings.Join(groups, "\t"))
	for _, c := range criteria {
		fmt.Fprint(w, c.name)
		for _, g := range groups {
			n, of := 0, 0
			for i := range results {
				if r := &results[i]; (g == "" || r.Profile == g) && (c.applies == nil || c.applies(r)) {
					of++
					if c.met(r) {
						n++
					}
				}
			}
			fmt.Fprintf(w, "\t%.1f%% (%d/%d)", 100*float64(n)/float64(max(of, 1)), n, of)
		}
		fmt.Fprintf(w, "\t%s\t%s\n", c.floor, c.goal)
	}
}

// printWorst prints the count cases of which score is least, with the command that repeats each.
func (o *matrixOptions) printWorst(title string, count int, results []matrixResult, score func(*matrixResult) float64) {
	worst := slices.Clone(results)
	slices.SortStableFunc(worst, func(a, b matrixResult) int { return cmp.Compare(score(&a), score(&b)) })
	worst = worst[:min(count, len(worst))]
	fmt.Printf("\n%s:\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprint(w, "share\twaste\tqueue/allowed\t0.9 after/allowed\tpath\trepeat it\n")
	for _, r := range worst {
		fmt.Fprintf(w, "%.2f\t%.2f\t%s\t%s\t%s\t%s\n", r.Share, r.Waste, r.queueText(), r.reachText(), r.About, o.command(r.Index))
	}
}

func (r *matrixResult) queueText() string {
	return fmt.Sprintf("%.0f/%.0f ms", r.Standing, ms(r.queueAllowed()))
}

func (r *matrixResult) reachText() string {
	at := "never"
	if r.Reached >= 0 {
		at = fmt.Sprintf("%.1f", r.Reached/1e3)
	}
	return fmt.Sprintf("%s/%.1f s", at, r.reachAllowed().Seconds())
}

// command returns what repeats a case alone.
func (o *matrixOptions) command(index int) string {
	return "go -C bench run . " + strings.Join(o.arguments(index), " ")
}

// print prints one case in detail: how it went over time, and what it came to.
func (r matrixResult) print() {
	fmt.Printf("%s\nrun of %.3g s, measured from %.3g s on; counts are those of each line's time\n\n", r.About, r.Seconds, r.Seconds/warmupPart)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "t s\tKB/s\tof attain.\tsrtt ms\tmin\tinflight KB\tcwnd KB\tpacing KB/s\tsndwnd\tpeerwnd\t"+
		"sent\tresent\tfast\tearly\ttimeout\tspurious\tqueue full\tpath lost\twaste\t\n")
	for i := range r.Samples[1:] {
		a, b := &r.Samples[i], &r.Samples[i+1]
		s, t := &a.Stats, &b.Stats
		goodput := (b.Received - a.Received) / (b.At - a.At).Seconds()
		fmt.Fprintf(w, "%.3g\t%.4g\t%.2f\t%.1f\t%.1f\t%.4g\t%.4g\t%.4g\t%.0f\t%.0f\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t%d\t%.2f\t\n",
			b.At.Seconds(), goodput/1e3, goodput/r.Attainable, ms(t.RTT), ms(t.MinRTT),
			t.BytesInFlight/1e3, t.CongestionWindow/1e3, t.PacingRate/1e3, t.SendWindow, t.PeerWindow,
			b.Path.Sent-a.Path.Sent, t.Resent-s.Resent, t.LostFast-s.LostFast, t.LostEarly-s.LostEarly,
			t.LostTimeout-s.LostTimeout, t.Spurious-s.Spurious,
			b.Path.QueueDrops-a.Path.QueueDrops, b.Path.Lost-a.Path.Lost, wasted(a, b))
	}
	w.Flush()
	fmt.Printf("\ngoodput    %s of %s attainable: %.3f\nwaste      %.3f\n", rate(r.Goodput), rate(r.Attainable), r.Share, r.Waste)
	fmt.Printf("round trip %.1f ms without a queue, %.1f ms of standing queue, %.1f ms allowed\n",
		r.Base, r.Standing, ms(r.queueAllowed()))
	fmt.Printf("0.9        %s allowed (first reached, over a window of %v)\n", r.reachText(), r.reachOver().Round(time.Millisecond))
	fmt.Printf("bdp        %.4g KB, %.0f segments; queue %.4g KB, %.0f datagrams\n", r.bdp()/1e3, r.bdp()/mtu, float64(r.Queue)/1e3, float64(r.Queue)/mtu)
}
