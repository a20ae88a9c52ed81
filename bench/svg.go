package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Sizes of a plot in pixels.
const (
	plotWidth, plotHeight = 720, 240
	plotLeft, plotTop     = 44, 40
	plotRight, plotBottom = 20, 30
)

// plotPoints bounds the points of a line, and so the size of the file.
const plotPoints = 350

// plotMost is the top of a plot in MB/s. A repair can make all data behind it arrive at once, at a
// rate that means nothing.
const plotMost = 7

// plotColours are the colours of lines, distinct on light and on dark ground.
var plotColours = []string{"#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#17becf"}

// plotMean is the number of values that a point is the mean of, centred. Data that waited for a
// repair arrives at once, and single values would hide the line.
const plotMean = 5

// svg draws lines with one value every step seconds, up to most, and marks with a word at some
// times.
func svg(title, unit string, step, most float64, lines []series, marks []mark) string {
	grid := niceStep(most / 6)
	seconds := float64(len(lines[0].Values)) * step
	x := func(t float64) float64 { return plotLeft + t/seconds*(plotWidth-plotLeft-plotRight) }
	y := func(v float64) float64 { return plotHeight - plotBottom - v/most*(plotHeight-plotTop-plotBottom) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#888">`+"\n",
		plotWidth, plotHeight)
	fmt.Fprintf(&b, `<text x="%d" y="13" font-size="13">%s</text>`+"\n", plotLeft, html.EscapeString(title))
	for v := 0.0; v <= most; v += grid {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#888" stroke-opacity=".3"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n",
			plotLeft, y(v), plotWidth-plotRight, plotLeft-5, y(v)+4, v)
	}
	for t, every := 0.0, niceStep(seconds/8); t <= seconds; t += every {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.4g s</text>`+"\n", x(t), plotHeight-plotBottom+16, t)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-5, plotTop-10, html.EscapeString(unit))
	for _, m := range marks {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#888" stroke-dasharray="3 3"/><text x="%.1f" y="%d">%s</text>`+"\n",
			x(m.at), plotTop, plotHeight-plotBottom, x(m.at)+4, plotHeight-plotBottom-4, html.EscapeString(m.text))
	}
	at := plotLeft
	for i, l := range lines {
		colour := plotColours[i%len(plotColours)]
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.3" d="M`, colour)
		for j, n := 0, len(l.Values); j < n; j += 1 + n/plotPoints {
			mean := mean(l.Values[max(0, j-plotMean/2):min(j+plotMean/2+1, n)])
			fmt.Fprintf(&b, "%.1f %.1f ", x((float64(j)+0.5)*step), y(min(mean, most)))
		}
		fmt.Fprintf(&b, `"/><text x="%d" y="31" fill="%s">%s</text>`+"\n",
			at, colour, html.EscapeString(l.Name))
		at += 7*len(l.Name) + 20
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}

// mark is a word at a time, in seconds.
type mark struct {
	at   float64
	text string
}

// niceStep returns the smallest of 1, 2 and 5 times a power of ten that is at least v.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p {
			return m * p
		}
	}
	return 10 * p
}

// plotPaths writes a plot for each path that has a file name for one: the goodput over time of all
// transports, or of all flows.
func plotPaths(dir string, all []scenario, medians []pathResult) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].Path == all[i].Path {
			j++
		}
		if all[i].plot != "" {
			var lines []series
			for k := i; k < j; k++ {
				for _, l := range medians[k].Flows {
					if l.Name == "" {
						l.Name = all[k].Transport
					}
					lines = append(lines, l)
				}
			}
			picture := svg(all[i].Path, "MB/s", binTime.Seconds(), plotMost, lines, all[i].marks)
			if err := os.WriteFile(filepath.Join(dir, all[i].plot+".svg"), []byte(picture), 0o644); err != nil {
				return err
			}
		}
		i = j
	}
	return nil
}
