package kcp

import (
	"runtime"
	"sync"
)

// lockTries is how often lockSoon tries, for some 3 µs: what a session takes for a batch of
// acknowledgements.
const lockTries = 3000

var multiprocessor = runtime.NumCPU() > 1

// lockSoon is mu.Lock for who sends or receives much. A goroutine that parks because of
// a moment goes on on another processor, and all that it works on has to follow it there.
func lockSoon(mu *sync.Mutex) {
	if multiprocessor {
		for range lockTries {
			if mu.TryLock() {
				return
			}
		}
	}
	mu.Lock()
}
