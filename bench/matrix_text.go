package main

import (
	"fmt"
	"strings"
	"time"
)

// String describes the case in a line.
func (c matrixCase) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s", c.settings(), rate(c.Bandwidth), short(c.RTT))
	if c.Jitter > 0 {
		fmt.Fprintf(&b, " + 0 to %s", short(c.Jitter))
	}
	if c.Loss > 0 {
		fmt.Fprintf(&b, ", %.2g%% lost", 100*c.Loss)
	}
	fmt.Fprintf(&b, ", queue %.2g BDP", float64(c.Queue)/c.bdp())
	switch c.Load {
	case "thin":
		fmt.Fprintf(&b, ", %d bytes every %s", c.Size, short(c.Every))
	case "answers":
		fmt.Fprintf(&b, ", answers of %d KB, %s apart", c.Size/1000, short(c.Every))
	}
	if p := c.Change; p != nil {
		fmt.Fprintf(&b, ", after %.0f%% of the run %s, %s", 100*p.At, rate(p.Bandwidth), short(p.RTT))
	}
	if p := c.Cross; p != nil {
		fmt.Fprintf(&b, ", cross traffic of %s for %s, off for %s", rate(p.Rate), short(p.On), short(p.Off))
	}
	if p := c.Back; p != nil {
		fmt.Fprintf(&b, ", %s back with a queue of %.1f KB", rate(p.Bandwidth), float64(p.Queue)/1e3)
	}
	if p := c.Policer; p != nil {
		fmt.Fprintf(&b, ", policed to %s with a burst of %.0f KB", rate(p.Rate), float64(p.Burst)/1e3)
	}
	if p := c.Burst; p != nil {
		fmt.Fprintf(&b, ", %.2g%% lost in bursts of %.2g", 100*p.Loss, p.Length)
	}
	if p := c.Stall; p != nil {
		fmt.Fprintf(&b, ", stalls of %s every %s", short(p.For), short(p.Every))
	}
	if c.Unmarked > 0 {
		fmt.Fprintf(&b, ", an unmarked peer's acknowledgements every %s", short(c.Unmarked))
	}
	return b.String()
}

// settings names the profile, with what was drawn of it.
func (c *matrixCase) settings() string {
	switch c.Profile {
	case "fixed window":
		return fmt.Sprintf("%s, window %d", c.timings(), c.tuning.window)
	case "FEC 10/3":
		return c.timings() + ", " + c.Profile
	}
	return c.Profile
}

func (c *matrixCase) timings() string {
	if c.tuning.nodelay == lowLatency.nodelay {
		return "LowLatency"
	}
	return "default"
}

// rate formats bytes a second.
func rate(v float64) string {
	if v < mb {
		return fmt.Sprintf("%.0f KB/s", v/1e3)
	}
	return fmt.Sprintf("%.3g MB/s", v/mb)
}

// short formats d with three digits.
func short(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
	return fmt.Sprintf("%.3g ms", d.Seconds()*1e3)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
