package kcp

import (
	"sync"
	"time"
)

// A deferredSender is the owner of a sender, as the write loop sees it.
type deferredSender interface {
	// sendDeferred sends for a while. more says that something is left to be sent, and full that
	// the socket has no room for it.
	sendDeferred() (more, full bool)
}

// writeLoop sends what drivers have left: the rest of a batch that the socket did not take, or
// that would have taken them long, and everything on a PacketConn whose WriteTo may block. Its
// goroutine, or a few for such a PacketConn, is there only while there is something to send.
type writeLoop struct {
	most          int          // goroutines at a time
	awaitWritable func() error // waits until a full socket has room

	mu      sync.Mutex
	waiting []deferredSender // each once, in turn
	running int              // goroutines
}

// add leaves the sending of d to the loop. d must not be there already.
func (l *writeLoop) add(d deferredSender) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, d)
	if l.running < l.most {
		l.running++
		go l.run()
	}
}

// writersMax is how many goroutines may be in a PacketConn's WriteTo at a time: sessions that share
// one do not wait for each other where it takes long.
const writersMax = 16

// next takes the sender whose turn it is, nil if there is none; then the goroutine ends.
func (l *writeLoop) next() deferredSender {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.waiting = nil
		l.running--
		return nil
	}
	d := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	return d
}

// run sends until nothing waits.
func (l *writeLoop) run() {
	for d := l.next(); d != nil; d = l.next() {
		more, full := d.sendDeferred()
		if more {
			l.mu.Lock()
			l.waiting = append(l.waiting, d)
			l.mu.Unlock()
		}
		if full && l.awaitWritable() != nil {
			time.Sleep(writeRetry) // a write deadline, say, that the socket's owner has set
		}
	}
}

// writeRetry is how long the write loop pauses when it cannot wait for a full socket.
const writeRetry = time.Millisecond
