package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// progress shows the progress of a transfer. The receiver adds to moved, or the sender where it is
// alone; one goroutine calls the methods.
type progress struct {
	moved   atomic.Int64 // bytes that have arrived in order, or that the sender's session has taken
	total   int64        // bytes to be transferred
	segment int          // bytes of payload in a full segment
	srtt    func() int32 // in ms

	out   io.Writer
	width func() int // of the terminal in columns, 0 if out is none

	start  time.Time
	last   time.Time // when the last bytes had arrived
	recent []sample  // of the last second, the oldest first
}

type sample struct {
	at    time.Time
	bytes int64
}

func newProgress(out io.Writer, width func() int, total int64, mtu int, srtt func() int32) *progress {
	now := time.Now()
	return &progress{
		total:   total,
		segment: mtu - kcp.IKCP_OVERHEAD, // a little less with a cipher or FEC
		srtt:    srtt,
		out:     out,
		width:   width,
		start:   now,
		last:    now,
		recent:  []sample{{now, 0}},
	}
}

// interval returns how often to call show: more often where the line is redrawn in place.
func (p *progress) interval() time.Duration {
	if p.width() > 0 {
		return 100 * time.Millisecond
	}
	return time.Second
}

// show shows the progress. When everything has arrived it leaves that to end.
func (p *progress) show() {
	if now := p.sample(); now.bytes < p.total {
		p.print(now)
	}
}

func (p *progress) sample() sample { return sample{time.Now(), p.moved.Load()} }

// print adds a sample and prints a line for it, in place of the last line on a terminal.
func (p *progress) print(now sample) {
	if now.bytes > p.recent[len(p.recent)-1].bytes {
		p.last = now.at
	}
	p.recent = append(p.recent, now)
	for len(p.recent) > 2 && now.at.Sub(p.recent[1].at) >= time.Second {
		p.recent = p.recent[1:]
	}
	share, line := p.line()
	width := p.width()
	if width == 0 {
		fmt.Fprintln(p.out, bar(share, 20)+strings.TrimRight(line, " "))
		return
	}
	const widest = 50
	free := width - 1 // not the last column, where some terminals wrap
	line = line[:min(len(line), free)]
	fmt.Fprintf(p.out, "\r%s%s\x1b[K", bar(share, min(free-len(line), widest)), line)
}

// end shows the last sample, ends the line, and returns the time since the start.
func (p *progress) end() time.Duration {
	took := time.Since(p.start)
	p.print(p.sample())
	if p.width() > 0 {
		fmt.Fprintln(p.out)
	}
	return took
}

// bar returns a bar of columns, of which share is full.
func bar(share float64, columns int) string {
	full := int(share * float64(columns))
	return strings.Repeat("█", full) + strings.Repeat("░", columns-full)
}

// line describes the last sample. All lines are equally long, so that nothing moves, unless the
// round trip takes seconds or the rest of the transfer ten minutes.
func (p *progress) line() (share float64, line string) {
	first, last := p.recent[0], p.recent[len(p.recent)-1]
	share = 1
	if p.total > 0 {
		share = float64(last.bytes) / float64(p.total)
	}
	current := perSecond(last.bytes-first.bytes, last.at.Sub(first.at))
	left := "stalled"
	switch seconds := float64(p.total-last.bytes) / current; {
	case last.bytes == p.total:
		left = "done"
	case last.at.Sub(p.start) < time.Second:
		left = "" // too early to tell
	case current == 0:
	case seconds < 1:
		left = "<1s left"
	default:
		left = time.Duration(seconds*float64(time.Second)).Round(time.Second).String() + " left"
	}
	return share, fmt.Sprintf(" %3d%%  %7s/s, mean %7s/s  RTT %3d ms  resent %4.1f%%  %-10s",
		int(100*share), si(current), si(perSecond(last.bytes, last.at.Sub(p.start))), p.srtt(), 100*p.resent(), left)
}

// resent returns retransmissions as a share of all segments sent with payload.
func (p *progress) resent() float64 {
	needed := float64(p.moved.Load())/float64(p.segment) + 1
	again := float64(kcp.DefaultSnmp.Copy().RetransSegs)
	return again / (again + needed)
}

func perSecond(bytes int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(bytes) / d.Seconds()
}

// amount formats a number of bytes as the user is likely to have given it.
func amount(bytes int64) string {
	if bytes > 0 && bytes%(1<<20) == 0 {
		return fmt.Sprint(bytes>>20, " MiB")
	}
	return si(float64(bytes))
}

// count formats a number of things, one of which is called one.
func count(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// si formats a number of bytes, from 1 kB on with three digits: 95 B, 4.20 MB.
func si(bytes float64) string {
	if bytes < 999.5 {
		return fmt.Sprintf("%.0f B", bytes)
	}
	bytes /= 1000
	units := []string{"kB", "MB", "GB", "TB", "PB"}
	for len(units) > 1 && bytes >= 999.5 {
		bytes /= 1000
		units = units[1:]
	}
	return strings.TrimSuffix(fmt.Sprintf("%#.3g", bytes), ".") + " " + units[0]
}
