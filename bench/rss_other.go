//go:build !linux

package main

import "runtime"

// rss returns the memory that the runtime has from the system, in bytes: an upper bound of the
// resident memory.
func rss() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys - m.HeapReleased)
}

func peakRSS() float64 { return rss() }
