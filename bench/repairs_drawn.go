package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// The subcommand drawn measures what repairs bring where nobody has tuned them: loads and paths that are drawn
// at random, without FEC and with it.

// drawnPair returns both scenarios of draw i of seed. Their names begin with those, see drawnNamed.
func drawnPair(seed uint64, i int) (pair [2]scenario) {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	rtt := time.Duration(logUniform(r, 5, 300)) * time.Millisecond
	p := netem.Path{Delay: rtt / 2, Loss: math.Round(400*math.Pow(r.Float64(), 2)) / 1000}
	text := fmt.Sprintf("%v, %.1f%% lost", rtt, 100*p.Loss)
	if r.IntN(4) == 0 {
		n := 2 + r.IntN(7)
		share := min(p.Loss, 0.2)
		p.Loss, p.Burst = 0, netem.Burst{Enter: share / (1 - share) / float64(n), Leave: 1 / float64(n)}
		text = fmt.Sprintf("%v, %.1f%% lost %d at a time", rtt, 100*share, n)
	}
	if r.IntN(4) == 0 {
		p.Jitter = time.Duration(r.Int64N(int64(rtt/3))).Truncate(time.Millisecond) + time.Millisecond
		text += fmt.Sprintf(", jitter %v", p.Jitter)
	}
	there := p
	there.Bandwidth = int64(logUniform(r, 50_000, 5_000_000)) / 1000 * 1000
	there.Queue = int(there.Bandwidth * int64(max(rtt, 60*time.Millisecond)) / int64(time.Second))
	what, l, t := drawnLoad(r, there.Bandwidth, rtt)
	text = fmt.Sprintf("drawn %d/%d: %s, %s, %.2f MB/s", seed, i, what, text, float64(there.Bandwidth)/mb)
	for k, name := range repairTransports {
		if k == 1 {
			t.data, t.parity = 10, 3
		}
		pair[k] = scenario{Path: text, Transport: name, open: kcpOpener(t), net: emulation{there: there, back: p}, load: l}
	}
	return pair
}

func logUniform(r *rand.Rand, from, to float64) float64 { return from * math.Pow(to/from, r.Float64()) }

// drawnLoad draws a load that leaves room on a path of that rate, and settings that suit it.
func drawnLoad(r *rand.Rand, rate int64, rtt time.Duration) (string, load, tuning) {
	const total = 15 * time.Second
	t := tuning{nodelay: [4]int{1, 10, 2, r.IntN(2)}, window: 1024, ackNoDelay: r.IntN(2) == 0}
	fits := func(bytes int) time.Duration { // at 0.4 of the rate
		return time.Duration(float64(bytes+60) / float64(rate) / 0.4 * float64(time.Second))
	}
	switch r.IntN(4) {
	case 0:
		size := 50 + r.IntN(1250)
		every := max(time.Duration(logUniform(r, 3, 100))*time.Millisecond, fits(size).Round(time.Millisecond))
		return fmt.Sprintf("%d B every %v", size, every), messages{size: size, every: every, count: int(total / every)}, t
	case 1:
		n := 2 + r.IntN(9)
		every := max(time.Duration(8+r.IntN(60))*time.Millisecond, fits(1260*n).Round(time.Millisecond))
		return fmt.Sprintf("frames of %d every %v", n, every), messages{size: 1200, every: every, count: n * int(total/every), frame: n}, t
	case 2:
		n := int(logUniform(r, 8, 800))
		every := max(time.Second, 20*rtt, 2*fits(1300*n)).Round(100 * time.Millisecond)
		t.nodelay[3], t.stream = 0, true
		return fmt.Sprintf("%d KB at once", n*5/4), messages{size: 1250, every: every, count: n * 30, frame: n}, t
	}
	t.nodelay[3], t.stream, t.window = 0, true, 32<<r.IntN(6)
	return fmt.Sprintf("a stream beside bulk, window %d", t.window), streamsLoad{size: 200, every: 20 * time.Millisecond, time: total}, t
}

// drawnNamed returns the pair that a scenario of that name is of.
func drawnNamed(name string) []scenario {
	var seed uint64
	var i int
	if n, _ := fmt.Sscanf(name, "drawn %d/%d:", &seed, &i); n < 2 {
		return nil
	}
	pair := drawnPair(seed, i)
	return pair[:]
}

// drawnRepairs measures n draws of seed, and shows what repairs change, and where they help least.
func drawnRepairs(n int, seed uint64, o pathOptions) error {
	var all []scenario
	for i := range n {
		pair := drawnPair(seed, i)
		all = append(all, pair[:]...)
	}
	medians, err := runMedians(chosen(all, o.match), o)
	if err != nil {
		return err
	}
	show(medians, o.asJSON, func() { printDrawn(medians) })
	return nil
}

// drawnRatios are what repairs make of each figure.
type drawnRatios struct {
	before, after             *pathResult
	mean, p99, bytes, goodput float64
}

func printDrawn(medians []pathResult) {
	var all []drawnRatios
	for i := 0; i+1 < len(medians); i += 2 {
		a, b := &medians[i], &medians[i+1]
		d := drawnRatios{a, b, b.Mean / a.Mean, b.P99 / a.P99, b.Wire / a.Wire, 0}
		if a.Goodput > 0 {
			d.goodput = b.Goodput / a.Goodput
		}
		all = append(all, d)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', tabwriter.Debug)
	defer w.Flush()
	fmt.Fprintln(w, "with repairs, of what is without\t least\t 10%\t median\t 90%\t most\t above 1.05")
	for _, f := range []struct {
		name string
		of   func(d drawnRatios) float64
	}{
		{"mean latency", func(d drawnRatios) float64 { return d.mean }},
		{"p99", func(d drawnRatios) float64 { return d.p99 }},
		{"bytes a byte", func(d drawnRatios) float64 { return d.bytes }},
		{"goodput of bulk", func(d drawnRatios) float64 { return d.goodput }},
	} {
		printSpread(w, f.name, all, f.of)
	}
	slices.SortStableFunc(all, func(a, b drawnRatios) int { return cmp.Compare(b.mean, a.mean) })
	fmt.Fprintln(w, "\nwhere they help least: mean / p99 in ms (bytes a byte) bulk MB/s\t "+strings.Join(repairTransports, "\t "))
	for _, d := range all[:min(10, len(all))] {
		fmt.Fprintf(w, "%s\t %s\t %s\n", d.before.Path, d.before.cell(), d.after.cell())
	}
}

// printSpread prints the distribution of a ratio over those that have it.
func printSpread(w *tabwriter.Writer, name string, all []drawnRatios, of func(drawnRatios) float64) {
	var v []float64
	above := 0
	for _, d := range all {
		if x := of(d); x > 0 {
			v = append(v, x)
			if x > 1.05 {
				above++
			}
		}
	}
	if slices.Sort(v); len(v) > 0 {
		n := len(v) - 1
		fmt.Fprintf(w, "%s\t %.2f\t %.2f\t %.2f\t %.2f\t %.2f\t %d of %d\n", name, v[0], v[n/10], v[n/2], v[n*9/10], v[n], above, len(v))
	}
}
