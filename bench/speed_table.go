package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
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
	RSSMB       float64 `json:"rss_MB,omitempty"`
	Resent      float64 `json:"resent,omitempty"` // retransmissions per data segment
	P50us       float64 `json:"p50_us,omitempty"`
	P99us       float64 `json:"p99_us,omitempty"`
	AllocsPerOp float64 `json:"allocs_per_op,omitempty"`

	// Ratio is MBps, or P50us, divided by that of the measurement with the name Of.
	Of    string  `json:"of,omitempty"`
	Ratio float64 `json:"ratio,omitempty"`
	Floor float64 `json:"floor,omitempty"` // what Ratio has to reach
	Goal  float64 `json:"goal,omitempty"`  // what Ratio is to reach
}

// measurement is something that can be measured for about the time d.
type measurement struct {
	name string
	run  func(d time.Duration) (result, error)
	yardstick
}

// yardstick is what a measurement is compared with.
type yardstick struct {
	of          string // name of a measurement, "" for none
	floor, goal float64
}

// speedNotes says what the columns are to reach.
const speedNotes = `
floor and goal are of ratio: at least that for MB/s, at most that for the echo. Of the others:
CPU s/GB without cipher 1.3 and 0.7 where the kernel's TCP takes 0.64, allocs/MB 50 and 0,
allocs/op 2 and 0, resent under 1%. RSS is of this process, which has both ends.`

// speed runs the measurements whose names match, count times, and shows the medians.
func speed(match *regexp.Regexp, d time.Duration, count int, asJSON bool) error {
	var table []measurement
	for _, m := range speedTable() {
		if match.MatchString(m.name) {
			if quick {
				m.yardstick = yardstick{}
			}
			table = append(table, m)
		}
	}
	runs := make([][]result, len(table))
	for round := range count {
		for i, m := range table {
			progress("%d/%d %s", round+1, count, m.name)
			debug.FreeOSMemory() // so that earlier measurements do not count
			r, err := m.run(d)
			if err != nil {
				progress("")
				return fmt.Errorf("%s: %w", m.name, err)
			}
			runs[i] = append(runs[i], r)
		}
	}
	progress("")
	var results []result
	for i, m := range table {
		results = append(results, medians(m, runs[i]))
	}
	compare(results)
	show(results, asJSON, func() { printTable(results) })
	return nil
}

// medians returns the median of each field over the runs of m.
func medians(m measurement, rs []result) result {
	median := func(field func(result) float64) float64 {
		v := make([]float64, len(rs))
		for i, r := range rs {
			v[i] = field(r)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return result{
		Name:        m.name,
		MBps:        median(func(r result) float64 { return r.MBps }),
		CPUPerGB:    median(func(r result) float64 { return r.CPUPerGB }),
		AllocsPerMB: median(func(r result) float64 { return r.AllocsPerMB }),
		RSSMB:       median(func(r result) float64 { return r.RSSMB }),
		Resent:      median(func(r result) float64 { return r.Resent }),
		P50us:       median(func(r result) float64 { return r.P50us }),
		P99us:       median(func(r result) float64 { return r.P99us }),
		AllocsPerOp: median(func(r result) float64 { return r.AllocsPerOp }),
		Of:          m.yardstick.of, Floor: m.yardstick.floor, Goal: m.yardstick.goal,
	}
}

// compare sets the ratios to other results, where those were measured.
func compare(results []result) {
	for i := range results {
		r := &results[i]
		for _, of := range results {
			switch {
			case of.Name != r.Of:
			case of.MBps > 0:
				r.Ratio = r.MBps / of.MBps
			case of.P50us > 0:
				r.Ratio = r.P50us / of.P50us
			}
		}
	}
}

// printTable prints the results as a table.
func printTable(results []result) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tMB/s\tp50 µs\tp99 µs\tratio\tfloor\tgoal\tto\tCPU s/GB\tallocs/MB\tallocs/op\tRSS MB\tresent\t")
	for _, r := range results {
		number := func(applies bool, format string, v float64) string {
			if !applies {
				return ""
			}
			return fmt.Sprintf(format, v)
		}
		bulk, echo := r.MBps > 0, r.P50us > 0
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Name,
			number(bulk, "%.0f", r.MBps), number(echo, "%.1f", r.P50us), number(echo, "%.1f", r.P99us),
			number(r.Ratio > 0, "%.2f", r.Ratio), number(r.Floor > 0, "%.2f", r.Floor), number(r.Goal > 0, "%.2f", r.Goal), r.Of,
			number(bulk, "%.2f", r.CPUPerGB), number(bulk, "%.1f", r.AllocsPerMB), number(echo, "%.2f", r.AllocsPerOp),
			number(r.RSSMB > 0, "%.0f", r.RSSMB), number(bulk && r.Floor > 0, "%.2f%%", 100*r.Resent))
	}
	w.Flush()
	if !quick {
		fmt.Println(speedNotes)
	}
}
