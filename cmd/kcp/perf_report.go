package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/explain"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/format"
)

// print prints the results as a table, with TCP in a column of its own.
func (r *perfResult) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	defer w.Flush()
	loads := []*loadResult{r.KCP}
	head := "\tKCP"
	if r.TCP != nil {
		loads = append(loads, r.TCP)
		head += "\tTCP"
	}
	fmt.Fprintln(w, head)
	row := func(name string, cell func(*loadResult) string) {
		fmt.Fprint(w, name)
		for _, l := range loads {
			fmt.Fprint(w, "\t", cell(l))
		}
		fmt.Fprintln(w)
	}
	if r.Spec.up() {
		row("goodput up", func(l *loadResult) string { return l.Up.String() })
	}
	if r.Spec.down() {
		row("goodput down", func(l *loadResult) string { return l.Down.String() })
	}
	row("latency idle", func(l *loadResult) string { return l.Idle.String() })
	row("latency loaded", func(l *loadResult) string { return l.Loaded.String() })
	row("cpu", func(l *loadResult) string {
		return fmt.Sprintf("client %.0f%%, server %.0f%% of a core", 100*l.CPU.Client, 100*l.CPU.Server)
	})
	if r.Spec.up() {
		r.KCP.Client.print(w, "up")
	}
	if r.Spec.down() {
		r.KCP.Server.print(w, "down")
	}
	if b := r.KCP.Bound; b != nil {
		fmt.Fprintf(w, "bound by\t%s (%s)\n", b.Bound, meaning(b.Bound))
	}
}

// String tells the rate, and what it is the rate of.
func (t transfer) String() string {
	return fmt.Sprintf("%s (%s in %.2f s)", format.Bits(t.Goodput), format.Bytes(float64(t.Bytes)), t.Took.Seconds())
}

func (l latency) String() string {
	if l.Count == 0 {
		return "none came back"
	}
	return fmt.Sprintf("median %s ms, p99 %s, max %s", format.Milliseconds(l.Median), format.Milliseconds(l.P99), format.Milliseconds(l.Max))
}

// print prints what the sending sessions have found out.
func (f flowResults) print(w io.Writer, direction string) {
	var total kcp.Stats
	var rtt time.Duration
	n := 0
	for _, r := range f {
		if r.Stats == nil {
			continue
		}
		n++
		addStats(&total, r.Stats)
		rtt += r.Stats.RTT
	}
	if n == 0 {
		return
	}
	fmt.Fprintf(w, "loss %s\t%.2f%% (%d of %s lost, %d sent again)\n", direction,
		100*lossOf(&total), explain.Lost(&total), format.Count(total.SegmentsSent, "segment"), total.Resent)
	fmt.Fprintf(w, "round trip\t%s ms at the end, smallest %s\n", format.Milliseconds(rtt/time.Duration(n)), format.Milliseconds(total.MinRTT))
	fmt.Fprintf(w, "limit %s\t%s\n", direction, limits(total.TimeLimited))
}

// addStats adds what is told of several sessions together.
func addStats(t, s *kcp.Stats) {
	t.SegmentsSent += s.SegmentsSent
	t.Resent += s.Resent
	t.LostFast += s.LostFast
	t.LostEarly += s.LostEarly
	t.LostTimeout += s.LostTimeout
	t.Spurious += s.Spurious
	if t.MinRTT == 0 || s.MinRTT < t.MinRTT {
		t.MinRTT = s.MinRTT
	}
	for i, d := range s.TimeLimited {
		t.TimeLimited[i] += d
	}
}

// lossOf returns lost segments as a share of the segments sent.
func lossOf(s *kcp.Stats) float64 { return float64(explain.Lost(s)) / float64(max(1, s.SegmentsSent)) }

// limits tells what the limit was, and for how much of the time, the longest first.
func limits(t kcp.LimitTimes) string {
	var total time.Duration
	order := make([]kcp.SendLimit, len(t))
	for i, d := range t {
		total += d
		order[i] = kcp.SendLimit(i)
	}
	slices.SortStableFunc(order, func(a, b kcp.SendLimit) int { return int(t[b]/1000 - t[a]/1000) })
	var parts []string
	for _, l := range order {
		if share := t[l].Seconds() / max(1e-9, total.Seconds()); share >= 0.01 {
			parts = append(parts, fmt.Sprintf("%v %.0f%%", l, 100*share))
		}
	}
	return strings.Join(parts, ", ") + " of the time"
}

// describeSeal tells how the session is protected.
func describeSeal(s *kcp.Stats) string {
	if s.Sealed {
		return "sealed with " + s.Cipher
	}
	return "not sealed"
}
