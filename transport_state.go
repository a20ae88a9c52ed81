package kcp

import "iter"

// newTransport makes a transport on socks that does not read yet.
func newTransport(sched *TimedSched, snmp *Snmp, socks ...*socket) *Transport {
	t := &Transport{snmp: snmp, socks: socks, reading: len(socks), done: make(chan struct{})}
	t.common.Store(new([]*cipherGroup))
	t.longest.Store(mtuLimit)
	t.others.arrived.L = &t.others.mu
	t.task = sched.task(t.onTimer)
	return t
}

// start starts the readers.
func (t *Transport) start() {
	process.addTransport(t)
	for _, sock := range t.socks {
		sock.snmp = t.snmp
		sock.start(newTransportReader(t, sock))
	}
}

// onTimer forgets sessions that ended long ago.
func (t *Transport) onTimer(now int64) {
	for i := range t.table {
		sh := &t.table[i]
		sh.mu.Lock()
		sh.timeWaits.age(now)
		t.scheduleLocked(sh)
		sh.mu.Unlock()
	}
	if at := t.index.expire(now); at != never && !t.shut.Load() {
		t.task.arm(at)
	}
}

// scheduleLocked arms the timer for a shard, so that ended sessions are forgotten even where
// nothing happens.
func (t *Transport) scheduleLocked(sh *demuxShard) {
	if !t.shut.Load() && !sh.timeWaits.empty() {
		t.task.arm(sh.timeWaits.since + timeWaitLife)
	}
}

// dialled says whether the session of key was dialled.
func (t *Transport) dialled(key sessionKey) bool {
	sh := t.table.shard(key.from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.sessions[key]
	return s != nil && s.dialled
}

// remove takes a session that has ended out of the tables, and remembers it.
func (t *Transport) remove(s *UDPSession) {
	s.mu.Lock()
	end := s.closing.timeWait
	s.mu.Unlock()
	sealed := s.seal != nil && s.seal.sealer != nil
	switch now := clock(); {
	case sealed:
		t.index.ended(s.seal.peer, &sealedEnd{end, s.cfg, s.conv, s.seal.sealer}, now)
		if !t.shut.Load() {
			t.task.arm(now + timeWaitLife)
		}
	case s.seal != nil:
		t.index.remove(s.seal.peer)
	}
	if sealed { // which is remembered by its index
		t.forget(sessionKey{s.first.peerAddr, s.conv}, s)
		t.forget(sessionKey{s.path().peerAddr, s.conv}, s)
		return
	}
	key := sessionKey{s.first.peerAddr, s.conv}
	sh := t.table.shard(key.from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.remove(key, s, end)
	t.scheduleLocked(sh)
}

// forget takes a session out of the table, if it is there.
func (t *Transport) forget(key sessionKey, s *UDPSession) {
	sh := t.table.shard(key.from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.forget(key, s)
}

// moved finds a dialled session by the address where it is now, and no more by the one before. Sealed ones
// alone move; their datagrams are found by the index wherever they come from, but for answers to whether the
// session is still known.
func (t *Transport) moved(s *UDPSession, from peerAddr) {
	t.forget(sessionKey{from, s.conv}, s)
	key := sessionKey{s.path().peerAddr, s.conv}
	sh := t.table.shard(key.from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sessions[key] == nil && s.seal.peer.end.Load() == nil && s.path().peerAddr == key.from {
		sh.add(key, s)
	}
}

// refused is nothing to a transport, which has many peers.
func (t *Transport) refused() {}

// readFailed breaks the listener and all sessions when a socket is of no use any more.
func (t *Transport) readFailed(err error) {
	err = brokenError{err}
	t.mu.Lock()
	if t.err == nil {
		t.err = err
	}
	t.mu.Unlock()
	t.others.end(err)
	if l := t.listener.Load(); l != nil {
		l.broken(err)
	}
	for s := range t.sessions() {
		s.abort(err)
	}
}

// sessions returns those that have not ended.
func (t *Transport) sessions() iter.Seq[*UDPSession] {
	return func(yield func(*UDPSession) bool) {
		for i := range t.table {
			for _, s := range t.table[i].list() {
				if !yield(s) {
					return
				}
			}
		}
		for _, s := range t.index.sessions() {
			if !s.dialled && !yield(s) { // those that are are in both
				return
			}
		}
	}
}

// failure returns why nothing can be made on the transport any more, nil for as long as it can.
func (t *Transport) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// idleLocked tells Close when nothing uses the transport any more.
func (t *Transport) idleLocked() {
	if t.idle != nil && t.used == 0 {
		close(t.idle)
	}
}

// readEnded notes that one of the sockets is not read any more.
func (t *Transport) readEnded() {
	t.mu.Lock()
	t.reading--
	last := t.reading == 0
	t.mu.Unlock()
	if !last {
		return
	}
	process.removeTransport(t)
	close(t.done)
	if l := t.listener.Load(); l != nil {
		l.ended()
	}
}

// awaitReaders waits for the readers of sockets of the caller's.
func (t *Transport) awaitReaders() {
	for _, sock := range t.socks {
		sock.awaitReader()
	}
}

func (t *Transport) closeSockets() error {
	return t.eachSocket(func(sock *socket) error { return sock.close() })
}

// eachSocket calls f with each socket and returns the first error.
func (t *Transport) eachSocket(f func(*socket) error) (err error) {
	for _, sock := range t.socks {
		if e := f(sock); err == nil {
			err = e
		}
	}
	return err
}
