package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Sizes of a histogram in pixels, and the names of its parts.
const (
	histogramBins  = 40
	histogramFile  = "matrix.svg"
	histogramRoom  = 250 // height of one
	histogramAfter = "now"
	histogramWas   = "before"
)

// quantity is what a histogram shows.
type quantity struct {
	name        string
	least, most float64 // what is beyond counts at the ends
	of          func(r *matrixResult) float64
	marks       []float64
}

var quantities = []quantity{
	{"goodput of what is attainable", 0, 1.2, func(r *matrixResult) float64 { return r.Share }, []float64{collapsed, halfUsed, wellUsed}},
	{"waste: bytes sent and not lost, for each that was needed", 0.95, 1.55, func(r *matrixResult) float64 { return r.Waste }, []float64{wasteSome, wasteMuch}},
}

// plotMatrix writes a picture with histograms of bulk, and of before, if there is one, as lines.
func plotMatrix(dir string, results, before []matrixResult) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#888">`+"\n",
		plotWidth, histogramRoom*len(quantities))
	for i, q := range quantities {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n%s</g>\n", i*histogramRoom, q.histogram(results, before))
	}
	b.WriteString("</svg>\n")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, histogramFile), []byte(b.String()), 0o644)
}

// shares returns the share of the bulk cases in each bin.
func (q *quantity) shares(results []matrixResult) (all []float64) {
	all = make([]float64, histogramBins)
	n := 0.0
	for i := range results {
		if r := &results[i]; r.isBulk() {
			bin := int((q.of(r) - q.least) / (q.most - q.least) * histogramBins)
			all[min(max(0, bin), histogramBins-1)]++
			n++
		}
	}
	for i := range all {
		all[i] /= max(n, 1)
	}
	return all
}

// histogram draws bars of results, and a line of before. Heights are roots, so that single cases show.
func (q *quantity) histogram(results, before []matrixResult) string {
	x := func(v float64) float64 {
		return plotLeft + (v-q.least)/(q.most-q.least)*(plotWidth-plotLeft-plotRight)
	}
	y := func(share float64) float64 {
		return plotHeight - plotBottom - math.Sqrt(share)*(plotHeight-plotTop-plotBottom)
	}
	bin := (q.most - q.least) / histogramBins
	var b strings.Builder
	fmt.Fprintf(&b, `<text x="%d" y="13" font-size="13">%s</text>`+"\n", plotLeft, html.EscapeString(q.name))
	for _, share := range []float64{0, 0.01, 0.05, 0.1, 0.25, 0.5, 1} {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#888" stroke-opacity=".3"/><text x="%d" y="%.1f" text-anchor="end">%.0f%%</text>`+"\n",
			plotLeft, y(share), plotWidth-plotRight, plotLeft-5, y(share)+4, 100*share)
	}
	for i := 0; i <= histogramBins; i += 5 {
		v := q.least + float64(i)*bin
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.3g</text>`+"\n", x(v), plotHeight-plotBottom+16, v)
	}
	for i, share := range q.shares(results) {
		v := q.least + float64(i)*bin
		fmt.Fprintf(&b, `<path fill="%s" fill-opacity=".6" d="M%.1f %dV%.1fH%.1fV%dz"/>`+"\n",
			plotColours[0], x(v)+0.5, plotHeight-plotBottom, y(share), x(v+bin)-0.5, plotHeight-plotBottom)
	}
	fmt.Fprintf(&b, `<text x="%d" y="31" fill="%s">%s</text>`+"\n", plotLeft, plotColours[0], histogramAfter)
	if before != nil {
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.5" d="M%d %d`, plotColours[1], plotLeft, plotHeight-plotBottom)
		for i, share := range q.shares(before) {
			fmt.Fprintf(&b, "V%.1fH%.1f", y(share), x(q.least+float64(i+1)*bin))
		}
		fmt.Fprintf(&b, `V%d"/><text x="%d" y="31" fill="%s">%s</text>`+"\n", plotHeight-plotBottom, plotLeft+60, plotColours[1], histogramWas)
	}
	for _, m := range q.marks {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#888" stroke-dasharray="3 3"/>`+"\n", x(m), plotTop, plotHeight-plotBottom)
	}
	return b.String()
}
