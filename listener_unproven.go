package kcp

import (
	"sync"
	"sync/atomic"
	"time"
)

// unprovenTable holds a listener's sessions whose peers are not proven, in the order in which they came.
// Anybody can make such sessions, from addresses that are not his. So there are at most so many of them;
// who would make one more is asked first whether he is there (addressCheck), and nothing is kept of him.
//
// Where a limit of all sessions is reached they make way for peers that have answered: first they are
// challenged, as their peers may be there and only have nothing to acknowledge, and those that have not
// answered within unprovenGrace fail, the oldest first.
type unprovenTable struct {
	mu         sync.Mutex   // nothing else is locked while it is held
	fresh      unprovenList // not challenged to this end
	challenged unprovenList // in that order
	from       map[peerAddr]int
}

const (
	// unprovenGrace is how long a session that is to make way has for an answer: that of the slowest path,
	// and of a challenge that was lost.
	unprovenGrace = int64(2 * time.Second)
	// unprovenBatch is how many sessions are challenged for one that waits.
	unprovenBatch = 4
)

// unprovenList is a doubly linked list of sessions.
type unprovenList struct {
	head, tail *UDPSession
	n          int
}

func (l *unprovenList) push(s *UDPSession) {
	s.unproven.prev, s.unproven.next, s.unproven.in = l.tail, nil, l
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.unproven.next = s
	}
	l.tail = s
	l.n++
}

func (l *unprovenList) remove(s *UDPSession) {
	link := &s.unproven
	if link.prev == nil {
		l.head = link.next
	} else {
		link.prev.unproven.next = link.next
	}
	if link.next == nil {
		l.tail = link.prev
	} else {
		link.next.unproven.prev = link.prev
	}
	link.prev, link.next, link.in = nil, nil, nil
	l.n--
}

// full says whether there is no room for another session of the prefix.
func (t *unprovenTable) full(cfg *config, prefix peerAddr) bool {
	return t.reaches(cfg.maxUnproven, cfg.maxUnprovenPerPrefix, prefix)
}

// crowded says whether half of the room for sessions of the prefix is taken. Peers that only send have
// nothing to acknowledge, which would prove them: they are asked for it then, while there is room.
func (t *unprovenTable) crowded(cfg *config, prefix peerAddr) bool {
	return t.reaches((cfg.maxUnproven+1)/2, (cfg.maxUnprovenPerPrefix+1)/2, prefix)
}

// reaches says whether there are that many sessions in all, or of the prefix; 0 is no limit.
func (t *unprovenTable) reaches(all, each int, prefix peerAddr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return all > 0 && t.fresh.n+t.challenged.n >= all || each > 0 && t.from[prefix] >= each
}

// add adds a new session.
func (t *unprovenTable) add(s *UDPSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh.push(s)
	if t.from == nil {
		t.from = make(map[peerAddr]int)
	}
	t.from[s.first.prefix()]++
}

// remove removes a session whose peer is proven, or that has ended, if it is there.
func (t *unprovenTable) remove(s *UDPSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.unproven.in != nil {
		t.removeLocked(s)
	}
}

func (t *unprovenTable) removeLocked(s *UDPSession) {
	s.unproven.in.remove(s)
	if prefix := s.first.prefix(); t.from[prefix] > 1 {
		t.from[prefix]--
	} else {
		delete(t.from, prefix)
	}
}

// makeWay returns the session that is to fail, which is removed, nil if there is none yet; then some are
// to be challenged.
func (t *unprovenTable) makeWay(now int64) (victim *UDPSession, challenge []*UDPSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.challenged.head; s != nil && now-s.unproven.challengedAt >= unprovenGrace {
		t.removeLocked(s)
		return s, nil
	}
	for len(challenge) < unprovenBatch && t.fresh.n > 0 {
		s := t.fresh.head
		t.fresh.remove(s)
		t.challenged.push(s)
		s.unproven.challengedAt = now
		challenge = append(challenge, s)
	}
	return nil, challenge
}

// waysToMake is the sessions that are to make way, and have not been told yet. The listener's lock guards
// it, but for due.
type waysToMake struct {
	due       atomic.Bool
	challenge []*UDPSession
	fail      []*UDPSession
}

// proven notes that the peer of a session is.
func (l *Listener) proven(s *UDPSession) { l.unproven.remove(s) }

// makeWayLocked says whether a session makes way for another, and has some challenged if not.
func (l *Listener) makeWayLocked(now int64) bool {
	victim, challenge := l.unproven.makeWay(now)
	w := &l.ways
	w.challenge = append(w.challenge, challenge...)
	if victim != nil {
		victim.displaced = true
		l.displaced++
		w.fail = append(w.fail, victim)
	}
	w.due.Store(len(w.challenge)+len(w.fail) > 0)
	return victim != nil
}

// tellUnproven tells the sessions that are to make way. Nothing may be locked.
func (l *Listener) tellUnproven(now int64) {
	if !l.ways.due.Load() {
		return
	}
	l.mu.Lock()
	challenge, fail := l.ways.challenge, l.ways.fail
	l.ways.challenge, l.ways.fail = nil, nil
	l.ways.due.Store(false)
	orphans := make([]bool, len(fail))
	for i, s := range fail {
		orphans[i] = l.backlog.remove(s)
	}
	l.mu.Unlock()
	for _, s := range challenge {
		s.mu.Lock()
		s.core.challengeAddress()
		s.driveLocked(now, false)
		s.unlockAndSend(false)
	}
	for i, s := range fail {
		s.giveWay(now, orphans[i])
	}
}

// giveWay fails a session, unless its peer has just been proven. orphan says that nobody has accepted it,
// so that it ends, too.
func (s *UDPSession) giveWay(now int64, orphan bool) {
	s.mu.Lock()
	if orphan && s.closing.state == stateOpen {
		s.closeLocked()
		s.failLocked(errClosed)
		s.abortLocked(now)
	} else if !s.provenLocked() {
		s.failLocked(&PeerTimeoutError{Silent: time.Duration(now - s.core.heardAt())})
		s.driveLocked(now, false)
	}
	s.unlockAndSend(false)
}
