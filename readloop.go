package kcp

import (
	"time"
)

// start begins to read into r.
func (s *socket) start(r receiver) {
	s.done = make(chan struct{})
	go s.readLoop(r)
}

// readLoop reads until the socket is closed, stopped or broken.
func (s *socket) readLoop(r receiver) {
	defer r.readEnded()
	defer close(s.done)
	var err error
	if s.batch != nil {
		err = s.readBatches(r)
	} else {
		err = s.readEach(r)
	}
	s.ended.Store(true)
	if s.stopping.Load() {
		if !s.owned {
			s.conn.SetReadDeadline(time.Time{}) // undo what close did to wake us
		}
		return
	}
	r.readFailed(err)
}

const (
	// readerSlack is how long the reader may be busy elsewhere before somebody looks whether the
	// socket has something to read.
	readerSlack = int64(time.Millisecond)
	// readerTurn is how long a writer sleeps so that the scheduler polls the network.
	readerTurn = 20 * time.Microsecond
)

// pollUnread says whether something has been waiting to be read for a while; it looks at most once
// in readerSlack. The Go scheduler polls the network when it has nothing else to run, or every
// 10 ms. Goroutines that do not block can keep a reader waiting for longer than the minimum RTO.
func (s *socket) pollUnread(now int64) bool {
	if s.batch == nil {
		return false
	}
	if now-s.unreadAt.Load() >= readerSlack {
		s.unreadAt.Store(now)
		s.unread.Store(s.batch.unread())
	}
	return s.unread.Load()
}
