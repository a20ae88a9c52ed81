//go:build !linux

package main

import "runtime"

// rss is what the runtime has of the system, in bytes: a bound of the resident memory.
func rss() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys - m.HeapReleased)
}

func peakRSS() float64 { return rss() }
