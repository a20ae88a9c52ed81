//go:build !linux

package main

import "time"

// cpuWanted returns the CPU time that the process has used. How long it waited for one is not known here.
func cpuWanted() time.Duration { return cpuTime() }
