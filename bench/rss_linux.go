package main

import (
	"bytes"
	"os"
	"strconv"
)

// rss returns the process's resident memory in bytes, and peakRSS the most that it ever was.
func rss() float64     { return status("VmRSS:") }
func peakRSS() float64 { return status("VmHWM:") }

// status returns a field of /proc/self/status that is in kB, in bytes.
func status(field string) float64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(b, []byte("\n"+field))
	value, _, _ := bytes.Cut(rest, []byte(" kB"))
	kb, _ := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
	return kb * 1024
}
