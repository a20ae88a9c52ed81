//go:build race

package kcp

// raceEnabled says whether the race detector is on. If it is, packets that are put back are
// overwritten, and tests do not check numbers of allocations.
const raceEnabled = true
