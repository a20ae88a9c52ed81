package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// criterion is what a share of the cases has to meet, or must not.
type criterion struct {
	name        string
	load        string                     // of the cases that it is for, "" for thin and answers
	applies     func(r *matrixResult) bool // nil for all of these
	met         func(r *matrixResult) bool
	floor, goal string // of the plain draw
}

var criteria = []criterion{
	{"0.9 of attainable or more", "bulk", nil, func(r *matrixResult) bool { return r.Share >= wellUsed }, "≥ 92%", "≥ 98%"},
	{"under half", "bulk", nil, func(r *matrixResult) bool { return r.Share < halfUsed }, "0", "0"},
	{"under a third", "bulk", nil, func(r *matrixResult) bool { return r.Share < collapsed }, "0", "0"},
	{"waste above 1.05", "bulk", nil, func(r *matrixResult) bool { return r.Waste > wasteSome }, "≤ 5%", "≤ 1%"},
	{"waste above 1.15", "bulk", nil, func(r *matrixResult) bool { return r.Waste > wasteMuch }, "0", "0"},
	{"queue ≤ max(RTT/4, 10 ms), if it holds a BDP", "bulk", (*matrixResult).hasQueue,
		func(r *matrixResult) bool { return r.Standing <= ms(r.queueAllowed()) }, "≥ 85%", "≥ 95%"},
	{"  or 3 datagrams' time", "bulk", (*matrixResult).hasQueue,
		func(r *matrixResult) bool { return r.Standing <= ms(r.queueTolerated()) }, "", ""},
	{"0.9 reached in max(1 s, 15 RTT)", "bulk", func(r *matrixResult) bool { return r.reachCounts() },
		func(r *matrixResult) bool { return r.Reached >= 0 && r.Reached <= ms(r.reachAllowed()) }, "≥ 80%", "≥ 95%"},
	{"thin, p99 above 1.25 of the ideal", "thin", nil, func(r *matrixResult) bool { return r.Ratio > ratioSome }, "", ""},
	{"thin, p99 above 2", "thin", nil, func(r *matrixResult) bool { return r.Ratio > ratioMuch }, "", ""},
	{"answers, median above 1.25 of the ideal", "answers", nil, func(r *matrixResult) bool { return r.Ratio > ratioSome }, "", ""},
	{"answers, median above 2", "answers", nil, func(r *matrixResult) bool { return r.Ratio > ratioMuch }, "", ""},
	{"first answers above 1.25", "answers", nil, func(r *matrixResult) bool { return r.First > ratioSome*r.Ideal }, "", ""},
}

// hasQueue says whether the standing queue of r counts, and was measured.
func (r *matrixResult) hasQueue() bool { return r.queueCounts() && r.Measured }

// count returns how many of results meet c, and how many it applies to.
func (c *criterion) count(results []matrixResult) (n, of int) {
	for i := range results {
		r := &results[i]
		if r.Load != c.load || r.Failed != "" || c.applies != nil && !c.applies(r) {
			continue
		}
		of++
		if c.met(r) {
			n++
		}
	}
	return n, of
}

// print prints the summary, and the worst. before is an earlier run of the same cases, nil for none.
func (o *matrixOptions) print(results, before []matrixResult) {
	fmt.Printf("seed %d, %d paths, %s\n\n", o.seed, len(results), o.transport)
	printSummary(results, before)
	for _, r := range results {
		if r.Failed != "" {
			fmt.Printf("\nFAILED: %s\n%s\n%s\n", r.About, o.command(r.Index), r.Failed)
		}
	}
	o.printWorst("worst by goodput over waste", 20, results, (*matrixResult).isBulk, (*matrixResult).score)
	o.printWorst("longest standing queue for what is tolerated", 10, results,
		func(r *matrixResult) bool { return r.isBulk() && r.hasQueue() },
		func(r *matrixResult) float64 { return -r.Standing / ms(r.queueTolerated()) })
	o.printWorst("latest to reach 0.9, of those that do", 10, results,
		func(r *matrixResult) bool { return r.isBulk() && r.reachCounts() && r.Reached >= 0 },
		func(r *matrixResult) float64 { return -r.Reached / ms(r.reachAllowed()) })
	for _, load := range []string{"thin", "answers"} {
		o.printWorst(load+", worst by the time for what is ideal", 10, results,
			func(r *matrixResult) bool { return r.Load == load && r.Failed == "" },
			func(r *matrixResult) float64 { return -r.Ratio })
	}
	o.printChanges(results, before)
}

func (r *matrixResult) isBulk() bool { return r.Load == "bulk" && r.Failed == "" }

// score says how good r is: of bulk the share of the attainable over the waste, else the ideal time over
// the time; 1 at most.
func (r *matrixResult) score() float64 {
	if r.Load == "bulk" {
		return min(r.Share, 1) / max(r.Waste, 1)
	}
	return min(1, 1/r.Ratio)
}

// printSummary prints the share of the cases that meet each criterion, of all and of each profile.
func printSummary(results, before []matrixResult) {
	var profiles []string
	for i := range results {
		profiles = append(profiles, results[i].Profile)
	}
	slices.Sort(profiles)
	profiles = slices.Compact(profiles)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprint(w, "\tall")
	if before != nil {
		fmt.Fprint(w, "\tbefore")
	}
	fmt.Fprintf(w, "\tfloor\tgoal\t%s\n", strings.Join(profiles, "\t"))
	for _, c := range criteria {
		if _, of := c.count(results); of == 0 {
			continue
		}
		fmt.Fprint(w, c.name)
		show := func(results []matrixResult) {
			n, of := c.count(results)
			fmt.Fprintf(w, "\t%.1f%% (%d/%d)", 100*float64(n)/float64(max(of, 1)), n, of)
		}
		show(results)
		if before != nil {
			show(before)
		}
		fmt.Fprintf(w, "\t%s\t%s", c.floor, c.goal)
		for _, p := range profiles {
			show(slices.DeleteFunc(slices.Clone(results), func(r matrixResult) bool { return r.Profile != p }))
		}
		fmt.Fprintln(w)
	}
}

// printWorst prints the count cases of which by is least, with the command that repeats each.
func (o *matrixOptions) printWorst(title string, count int, results []matrixResult, which func(*matrixResult) bool, by func(*matrixResult) float64) {
	var worst []*matrixResult
	for i := range results {
		if which(&results[i]) {
			worst = append(worst, &results[i])
		}
	}
	if len(worst) == 0 {
		return
	}
	slices.SortStableFunc(worst, func(a, b *matrixResult) int { return cmp.Compare(by(a), by(b)) })
	fmt.Printf("\n%s:\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	if worst[0].Load == "bulk" {
		fmt.Fprint(w, "share\twaste\tqueue/allowed\t0.9 after/allowed\tpath\trepeat it\n")
	} else {
		fmt.Fprint(w, "ratio\ttime/ideal\tfirst\tpath\trepeat it\n")
	}
	for _, r := range worst[:min(count, len(worst))] {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.figures(), r.About, o.command(r.Index))
	}
}

// figures returns r's columns of a table.
func (r *matrixResult) figures() string {
	if r.Load != "bulk" {
		return fmt.Sprintf("%.2f\t%.1f/%.1f ms\t%.1f ms", r.Ratio, r.Time, r.Ideal, r.First)
	}
	return fmt.Sprintf("%.2f\t%.2f\t%s\t%s", r.Share, r.Waste, r.queueText(), r.reachText())
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

// changedMuch is by how much a score has to differ from the one before to be shown.
const changedMuch = 0.03

// printChanges prints what has become worse most, and better most.
func (o *matrixOptions) printChanges(results, before []matrixResult) {
	was := make(map[int]*matrixResult)
	for i := range before {
		was[before[i].Index] = &before[i]
	}
	more := func(r *matrixResult) float64 {
		if b := was[r.Index]; b != nil && b.Failed == "" && r.Failed == "" {
			return r.score() - b.score()
		}
		return 0
	}
	for _, load := range []string{"bulk", "thin", "answers"} {
		o.printWorst(load+", worse than before", 10, results,
			func(r *matrixResult) bool { return r.Load == load && more(r) < -changedMuch }, more)
		o.printWorst(load+", better than before", 5, results,
			func(r *matrixResult) bool { return r.Load == load && more(r) > changedMuch },
			func(r *matrixResult) float64 { return -more(r) })
	}
}

// command returns what repeats a case alone.
func (o *matrixOptions) command(index int) string {
	return "go -C bench run . " + strings.Join(o.arguments(index), " ")
}
