package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuWanted returns the CPU time that the process has used, and the time that its threads have waited for a
// CPU: the second field of schedstat.
// (https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat)
func cpuWanted() time.Duration {
	wanted := cpuTime()
	threads, _ := filepath.Glob("/proc/self/task/*/schedstat")
	for _, name := range threads {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		if f := strings.Fields(string(b)); len(f) >= 2 {
			ns, _ := strconv.ParseInt(f[1], 10, 64)
			wanted += time.Duration(ns)
		}
	}
	return wanted
}
