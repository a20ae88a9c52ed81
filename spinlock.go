package kcp

import (
	"runtime"
	"sync"
)

// lockSpins is how often lockSpinning tries, for a few microseconds: as long as a session takes
// for a batch of acknowledgements.
const lockSpins = 3000

// lockSpinning is mu.Lock for those who send or receive much, where the lock will be free in a
// moment. A goroutine that parks instead is often woken on another processor, and what it works on
// has to follow it there.
func lockSpinning(mu *sync.Mutex) {
	if mu.TryLock() {
		return
	}
	if runtime.GOMAXPROCS(0) > 1 {
		for range lockSpins {
			if mu.TryLock() {
				return
			}
		}
	}
	mu.Lock()
}
