package soak

import (
	"fmt"
	"maps"
	"slices"
)

// A summary adds up results.
type summary struct {
	Result
	cases int
}

func (s *summary) add(r Result) {
	s.cases++
	s.Hours += r.Hours
	s.Connections += r.Connections
	s.Calls += r.Calls
	s.Bytes += r.Bytes
	s.Datagrams += r.Datagrams
	s.Left = max(s.Left, r.Left)
	s.Faults, s.Endings = sum(s.Faults, r.Faults), sum(s.Endings, r.Endings)
}

func sum(a, b map[string]int) map[string]int {
	if a == nil {
		a = make(map[string]int)
	}
	for k, v := range b {
		a[k] += v
	}
	return a
}

func (s *summary) print() {
	fmt.Printf("%d cases, %.0f connection-hours, %d connections, %d calls, %d MB read, %d datagrams, at most %d KiB left\n",
		s.cases, s.Hours, s.Connections, s.Calls, s.Bytes>>20, s.Datagrams, s.Left)
	for _, list := range []struct {
		name string
		of   map[string]int
	}{{"faults injected", s.Faults}, {"calls that ended with", s.Endings}} {
		fmt.Println(list.name + ":")
		for _, k := range slices.Sorted(maps.Keys(list.of)) {
			fmt.Printf("%10d %s\n", list.of[k], k)
		}
	}
}
