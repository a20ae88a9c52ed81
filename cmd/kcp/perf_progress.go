package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/format"
)

// A progressPoint is what was sent and received by a time since the start of the load.
type progressPoint struct {
	At       time.Duration `json:"at"`
	Sent     int64         `json:"sent"`
	Received int64         `json:"received"`
}

// redrawEvery is the time between two pictures of the live line.
const redrawEvery = 200 * time.Millisecond

// progress shows how the load goes until ctx is done: a line that is redrawn on a terminal, else one line
// for each interval. It returns a point for each interval.
func (c *perfClient) progress(ctx context.Context, name string, flows []*flow) (points []progressPoint) {
	live := c.std.width() > 0 && c.interval == 0
	every := c.interval
	if every == 0 {
		every = time.Second
	}
	tick := every
	if live {
		tick = redrawEvery
	}
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	start := time.Now()
	last, shown := progressPoint{}, progressPoint{} // of points, of the line
	for {
		select {
		case <-ctx.Done():
			if live {
				fmt.Fprint(c.std.out, "\r\x1b[K")
			}
			return points
		case <-ticks.C:
		}
		now := pointOf(flows, time.Since(start))
		line := c.line(name, flows, shown, now)
		shown = now
		if now.At-last.At >= every-tick/2 {
			points, last = append(points, now), now
		}
		if live {
			fmt.Fprintf(c.std.out, "\r%s\x1b[K", fit(c.bar(now), line, c.std.width()-1))
		} else {
			fmt.Fprintln(c.std.out, line)
		}
	}
}

func pointOf(flows []*flow, at time.Duration) (p progressPoint) {
	p.At = at
	for _, f := range flows {
		p.Sent += f.sent.Load()
		p.Received += f.received.Load()
	}
	return p
}

// bar returns the share of the test that is done.
func (c *perfClient) bar(now progressPoint) float64 {
	if c.spec.Time > 0 {
		return min(1, now.At.Seconds()/c.spec.Time.Seconds())
	}
	total := c.spec.Bytes * int64(c.spec.Sessions)
	return min(1, float64(max(now.Sent, now.Received))/float64(total))
}

// fit puts a bar before the line, as wide as there is room.
func fit(share float64, line string, width int) string {
	const widest = 30
	line = line[:min(len(line), max(0, width))]
	columns := min(widest, width-len(line)-1)
	if columns < 3 {
		return line
	}
	full := int(share * float64(columns))
	return strings.Repeat("█", full) + strings.Repeat("░", columns-full) + " " + line
}

// line describes what happened between two points.
func (c *perfClient) line(name string, flows []*flow, from, to progressPoint) string {
	s := fmt.Sprintf("%s %5.1f s", name, to.At.Seconds())
	seconds := (to.At - from.At).Seconds()
	if c.spec.up() {
		s += fmt.Sprintf("  sent %10s", format.Bits(float64(to.Sent-from.Sent)/seconds))
	}
	if c.spec.down() {
		s += fmt.Sprintf("  received %10s", format.Bits(float64(to.Received-from.Received)/seconds))
	}
	if session, ok := flows[0].conn.(*kcp.UDPSession); ok {
		stats := session.Stats()
		s += fmt.Sprintf("  RTT %s ms", format.Milliseconds(stats.RTT))
		if c.spec.up() {
			s += fmt.Sprintf("  lost %.1f%%", 100*lossOf(&stats))
		}
	}
	return s
}
