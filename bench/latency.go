package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// The subcommand latency measures how late messages are over loss: 500 bytes every 10 ms, 60 ms there and
// back, for each transport at each loss. What it plots is one picture of all of them.

// latencyLosses are the losses in percent, each way, and tcpLossMost the largest of them that the kernel's TCP is
// measured at: beyond that its messages come minutes late.
var latencyLosses = []float64{0, 1, 2, 5, 10, 15, 20, 30, 40}

const tcpLossMost = 20

// latencyFile is the name of the plot.
const latencyFile = "latency.svg"

// latencyTransports are those that are measured, in the order of the plot's legend.
func latencyTransports() []scenario {
	plain := tuning{nodelay: [4]int{1, 10, 2, 1}, window: 1024, ackNoDelay: true}
	repairs := plain
	repairs.data, repairs.parity = 10, 3
	groups := repairs
	groups.blocks = true
	return []scenario{
		{Transport: "kcp, FEC 10/3", open: kcpOpener(repairs)},
		{Transport: "kcp, FEC to other peers", open: kcpOpener(groups)},
		{Transport: "kcp, no FEC", open: kcpOpener(plain)},
		{Transport: "quic-go", open: quicOpen},
		{Transport: "TCP BBR", open: tcpOpener("bbr"), tcp: []string{"bbr"}},
		{Transport: "TCP CUBIC", open: tcpOpener("cubic"), tcp: []string{"cubic"}},
	}
}

// latencyScenarios returns a scenario for each transport and loss.
func latencyScenarios() (all []scenario) {
	for _, s := range latencyTransports() {
		l := messages{size: 500, every: 10 * time.Millisecond, count: 12_000}
		if s.tcp != nil {
			l.count = 3000
		}
		for _, loss := range latencyLosses {
			if s.tcp != nil && loss > tcpLossMost {
				continue
			}
			path := netem.Path{Delay: halfRTT, Loss: loss / 100}
			s.Path, s.net, s.load = latencyPath(loss), emulation{there: path, back: path}, l
			all = append(all, s)
		}
	}
	return all
}

func latencyPath(loss float64) string { return fmt.Sprintf("latency at %g%% lost", loss) }

// latencies runs the scenarios whose names match, and shows the medians.
func latencies(o pathOptions) error {
	todo := chosen(latencyScenarios(), o.match)
	medians, err := runMedians(todo, o)
	if err != nil {
		return err
	}
	curves := latencyCurves(medians)
	if o.plots != "" {
		if err := os.MkdirAll(o.plots, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(o.plots, latencyFile), []byte(plotLatency(curves)), 0o644); err != nil {
			return err
		}
	}
	show(medians, o.asJSON, func() { printLatency(curves) })
	return nil
}

// curve is one transport's results, by the index of latencyLosses; those that were not measured have no Path.
type curve struct {
	name    string
	results []pathResult
}

func latencyCurves(all []pathResult) (curves []curve) {
	for _, s := range latencyTransports() {
		c := curve{s.Transport, make([]pathResult, len(latencyLosses))}
		measured := false
		for i, loss := range latencyLosses {
			for _, r := range all {
				if r.Transport == s.Transport && r.Path == latencyPath(loss) {
					c.results[i], measured = r, true
				}
			}
		}
		if measured {
			curves = append(curves, c)
		}
	}
	return curves
}

func printLatency(curves []curve) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "p99 ms / mean ms (bytes a byte)\t")
	for _, loss := range latencyLosses {
		fmt.Fprintf(w, "%g%%\t", loss)
	}
	fmt.Fprintln(w)
	for _, c := range curves {
		fmt.Fprintf(w, "%s\t", c.name)
		for _, r := range c.results {
			if r.Path == "" {
				fmt.Fprint(w, "\t")
				continue
			}
			fmt.Fprintf(w, "%.0f / %.0f (%.2f)\t", r.P99, r.Mean, r.Wire)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}

// Sizes of the plot of latency in pixels, and the times in ms that it shows.
const (
	latencyHeight, latencyRight = 400, 250
	latencyLeast, latencyMost   = 25, 50_000
)

func latencyX(loss float64) float64 {
	return plotLeft + loss/latencyLosses[len(latencyLosses)-1]*(plotWidth-plotLeft-latencyRight)
}

func latencyY(ms float64) float64 {
	share := math.Log(min(max(ms, latencyLeast), latencyMost)/latencyLeast) / math.Log(latencyMost/latencyLeast)
	return latencyHeight - plotBottom - share*(latencyHeight-plotTop-plotBottom)
}

// plotLatency draws the p99 of each transport as a line and the mean as a dashed one, both on a logarithmic axis.
func plotLatency(curves []curve) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#888">`+"\n",
		plotWidth, latencyHeight)
	fmt.Fprintf(&b, `<text x="%d" y="13" font-size="13">%s</text>`+"\n", plotLeft, "How late messages are: 500 bytes every 10 ms, 60 ms there and back")
	fmt.Fprintf(&b, `<text x="%d" y="29">p99 of the time until a message can be read (dashed: the mean), over the share of datagrams lost</text>`+"\n", plotLeft)
	for _, ms := range []float64{30, 60, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000} {
		label := fmt.Sprintf("%g ms", ms)
		if ms >= 1000 {
			label = fmt.Sprintf("%g s", ms/1000)
		}
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#888" stroke-opacity=".3"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, latencyY(ms), plotWidth-latencyRight, plotLeft-5, latencyY(ms)+4, label)
	}
	for _, loss := range latencyLosses {
		if loss != 1 && loss != 2 {
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%g%%</text>`+"\n", latencyX(loss), latencyHeight-plotBottom+16, loss)
		}
	}
	x := plotWidth - latencyRight + 16
	fmt.Fprintf(&b, `<text x="%d" y="%d">p99, and bytes sent a byte, at 10%% lost</text>`+"\n", x, plotTop+14)
	for i, c := range curves {
		colour := plotColours[i%len(plotColours)]
		c.draw(&b, colour, `stroke-width="2"`, func(r *pathResult) float64 { return r.P99 })
		c.draw(&b, colour, `stroke-width="1" stroke-dasharray="3 3"`, func(r *pathResult) float64 { return r.Mean })
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s%s</text>`+"\n", x, plotTop+36+i*18, colour, html.EscapeString(c.name), c.at(10))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws a line through what of returns.
func (c *curve) draw(b *strings.Builder, colour, style string, of func(r *pathResult) float64) {
	fmt.Fprintf(b, `<path fill="none" stroke="%s" %s stroke-linejoin="round" d="`, colour, style)
	move := "M"
	for i := range c.results {
		if r := &c.results[i]; r.Path != "" {
			fmt.Fprintf(b, "%s%.1f %.1f", move, latencyX(latencyLosses[i]), latencyY(of(r)))
			move = "L"
		}
	}
	b.WriteString("\"/>\n")
}

// at says what c takes at that loss, nothing where it was not measured.
func (c *curve) at(loss float64) string {
	for i, r := range c.results {
		if latencyLosses[i] == loss && r.Path != "" {
			return fmt.Sprintf(": %.0f ms, %.2f", r.P99, r.Wire)
		}
	}
	return ""
}
