// Package format formats what commands print.
package format

import (
	"fmt"
	"strings"
	"time"
)

// Bytes formats a number of bytes with three digits: 95 B, 4.20 MB.
func Bytes(bytes float64) string {
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

// Bits formats a rate of bytes a second as bits a second: 33.6 Mbit/s.
func Bits(bytesPerSecond float64) string {
	s := strings.Replace(Bytes(8*bytesPerSecond), "B", "bit/s", 1)
	return s
}

// Short formats a time without parts that are zero: 10s, 1m, 1h30m.
func Short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Milliseconds formats a time in milliseconds with three digits or so: 0.412, 34.1, 1208.
func Milliseconds(d time.Duration) string {
	switch x := d.Seconds() * 1000; {
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.0f", x)
	}
}

// Count formats a number of things, one of which is called one.
func Count[N int | uint64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
