//go:build race

package kcp

// raceEnabled says that the race detector is on. Recycled buffers are then
// poisoned, and tests of allocation counts stand aside.
const raceEnabled = true
