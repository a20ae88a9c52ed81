//go:build !race

package kcp

// raceEnabled says whether the race detector is on.
const raceEnabled = false
