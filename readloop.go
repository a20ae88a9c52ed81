package kcp

import (
	"runtime"
	"time"
)

// start begins to read into r, or to take what a PacketPusher hands over.
func (s *socket) start(r receiver) {
	s.done = make(chan struct{})
	if p, ok := s.conn.(PacketPusher); ok {
		s.startPush(p, r)
		return
	}
	go s.readLoop(r)
}

// readLoop reads until the socket is closed, stopped or broken.
func (s *socket) readLoop(r receiver) {
	if s.batch != nil {
		s.endReading(r, s.readBatches(r))
	} else {
		s.endReading(r, s.readEach(r))
	}
}

// endReading ends what start began, once: reading has failed with err, or it was stopped. A failure
// breaks what lives on the socket, be it the program's own, as a read deadline that it has set is.
// Only the deadline by which close wakes the reader is told apart, by stopping, and taken back.
func (s *socket) endReading(r receiver, err error) {
	s.ended.Store(true)
	switch {
	case !s.stopping.Load():
		r.readFailed(err)
	case !s.closes():
		s.setReadDeadline(time.Time{})
	}
	close(s.done)
	r.readEnded()
}

// yield is the reader's way to give other goroutines a turn after what it has read at then, and
// returns the time. Where that takes long again and again, as they do not block, nothing is to wait
// for a turn for ten times as long.
func (s *socket) yield(then int64) (now int64) {
	runtime.Gosched()
	now = clock()
	if took := now - then; took < readerSlack {
		s.longTurns = 0
	} else if s.longTurns++; s.longTurns >= longTurnsMax {
		s.yieldFrom.Store(now + 10*took)
	}
	return now
}

const (
	// readerSlack is how long the reader may be busy elsewhere before somebody looks whether the
	// socket has something to read.
	readerSlack = int64(time.Millisecond)
	// longTurnsMax is how many turns of other goroutines in a row, longer than readerSlack, are no chance.
	longTurnsMax = 3
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
