package kcp

import "sync"

// notifier calls a function of the program's when a session is ready for something. Calls are made
// on a goroutine that is there only while there are any, one at a time, and without the session's
// lock, which guards the fields. While a call has not begun, it stands for those that follow.
type notifier struct {
	f     func() // nil for none
	state func() (ready bool, now notice)
	armed bool   // nothing was found, or tried yet: f is called when there is something
	last  notice // what f was called for last

	due     bool // f is to be called
	running bool // the goroutine is there
}

// notice is what f is called for once more when it changes.
type notice struct {
	arrived uint32 // the first serial number that has not arrived
	over    bool   // the stream or the session has ended, or a deadline has passed
}

// set makes f the function, nil for none. A call of the one before is not made any more, unless it
// has begun.
func (n *notifier) set(f func(), state func() (bool, notice)) {
	n.f, n.state, n.armed, n.due = f, state, f != nil, false
}

// arm makes f be called as soon as it is ready.
func (n *notifier) arm() { n.armed = n.f != nil }

// signal has f called if there is a reason to.
func (n *notifier) signal(mu *sync.Mutex) {
	ready, now := n.state()
	if ready && (n.armed || now != n.last) {
		n.call(mu, now)
	}
}

// call has f called.
func (n *notifier) call(mu *sync.Mutex, now notice) {
	n.armed, n.last, n.due = false, now, true
	if !n.running {
		n.running = true
		go n.run(mu)
	}
}

func (n *notifier) run(mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
	for n.due {
		n.due = false
		f := n.f
		mu.Unlock()
		f()
		mu.Lock()
	}
	n.running = false
}
