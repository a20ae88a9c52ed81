package kcp

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Listener is a net.Listener over a packet socket, or a few at one address that share the peers.
// Sessions that it has accepted go on after it is closed, as TCP's do; its sockets are closed with
// the last of them.
type Listener struct {
	cfg   *config
	socks []*socket  // at least one; each has a reader of its own
	task  *timedTask // runs onTimer
	table sessionTable
	check addressCheck
	seal  *listenerSeal // nil where nothing is sealed

	unproven unprovenTable

	mu        sync.Mutex       // guards all below; may be taken while a shard is locked
	backlog   backlog          // not accepted yet
	open      int              // sessions in the shards
	displaced int              // of them, those that have made way for others
	ways      waysToMake       // sessions that are to do so
	from      map[peerAddr]int // how many of them each prefix has, where that is limited
	opened    uint64           // sessions made
	accepted  uint64           // of them, those that Accept has returned
	rejected  uint64           // first datagrams that made no session, as a limit was reached
	crowded   uint64           // of them, those for which the backlog was full
	arrived   sync.Cond        // Accept waits for it
	acceptBy  int64            // deadline, never for none
	closed    bool
	err       error         // why the socket broke
	reading   int           // readers that have not ended
	done      chan struct{} // closed when there are none

	shut   atomic.Bool // closed, for whoever holds a session's lock
	counts listenerCounts
}

// onTimer wakes Accept, and forgets sessions that ended long ago.
func (l *Listener) onTimer(now int64) {
	l.mu.Lock()
	l.arrived.Broadcast()
	l.mu.Unlock()
	for i := range l.table {
		sh := &l.table[i]
		sh.mu.Lock()
		sh.timeWaits.age(now)
		l.scheduleLocked(sh)
		sh.mu.Unlock()
	}
	if l.seal != nil {
		if at := l.seal.expire(now); at != never && !l.shut.Load() {
			l.task.arm(at)
		}
	}
}

// scheduleLocked arms the timer for a shard, so that ended sessions are forgotten even where
// nothing happens.
func (l *Listener) scheduleLocked(sh *demuxShard) {
	if !l.shut.Load() && !sh.timeWaits.empty() {
		l.task.arm(sh.timeWaits.since + timeWaitLife)
	}
}

// admit makes a session with open, unless the listener is closed or broken, its backlog full, or a
// limit of sessions reached, of all or of those around the address. asked says that the peer has
// answered a question.
func (l *Listener) admit(from peerAddr, asked bool, open func() *UDPSession) *UDPSession {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.err != nil {
		return nil
	}
	prefix := from.prefix()
	if !l.hasRoomLocked(prefix, asked) || !l.withinLimitLocked() && !(asked && l.makeWayLocked(clock())) {
		if !asked {
			l.rejected++
			if l.backlog.full(asked) {
				l.crowded++
			}
		}
		return nil
	}
	s := open()
	l.open++
	l.opened++
	if !asked {
		l.unproven.add(s)
	}
	if l.cfg.maxPerPrefix > 0 {
		if l.from == nil {
			l.from = make(map[peerAddr]int)
		}
		l.from[prefix]++
	}
	l.backlog.push(s, asked)
	l.cfg.snmp.opened(&l.cfg.snmp.PassiveOpens)
	l.arrived.Signal()
	return s
}

// admits says whether admit would make a session of a peer at from that was not asked, and asks whether
// it may make one of a peer that was.
func (l *Listener) admits(from peerAddr) (ok, asks bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.err != nil {
		return false, false
	}
	prefix := from.prefix()
	ok = l.hasRoomLocked(prefix, false) && l.withinLimitLocked()
	return ok, !ok && l.hasRoomLocked(prefix, true)
}

// hasRoomLocked says whether there is room for a session of that prefix, but for the limit of all.
func (l *Listener) hasRoomLocked(prefix peerAddr, asked bool) bool {
	return !l.backlog.full(asked) && (l.cfg.maxPerPrefix == 0 || l.from[prefix] < l.cfg.maxPerPrefix) &&
		(asked || !l.unproven.full(l.cfg, prefix))
}

// withinLimitLocked says whether the limit of sessions allows one more.
func (l *Listener) withinLimitLocked() bool {
	return l.cfg.maxSessions == 0 || l.open-l.displaced < l.cfg.maxSessions
}

// sessionEnded notes that a session has left the table. The last one of a closed listener closes the
// sockets.
func (l *Listener) sessionEnded(s *UDPSession) {
	l.unproven.remove(s)
	l.mu.Lock()
	l.open--
	if s.displaced {
		l.displaced--
	}
	if prefix := s.first.prefix(); l.from[prefix] > 1 {
		l.from[prefix]--
	} else {
		delete(l.from, prefix)
	}
	last := l.closed && l.open == 0
	l.mu.Unlock()
	if last {
		l.closeSockets()
	}
}

// answersStragglers says whether the listener answers for sessions that have ended.
func (l *Listener) answersStragglers() bool { return !l.shut.Load() }

// refused is nothing to a listener, whose sockets are not connected.
func (l *Listener) refused() {}

// readFailed breaks the listener and its sessions when a socket is of no use any more.
func (l *Listener) readFailed(err error) {
	err = brokenError{err}
	l.mu.Lock()
	l.err = err
	l.arrived.Broadcast()
	l.mu.Unlock()
	for s := range l.Sessions() {
		s.abort(err)
	}
}

// readEnded notes that one of the sockets is not read any more.
func (l *Listener) readEnded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reading--; l.reading == 0 {
		process.removeListener(l)
		close(l.done)
	}
}

// Accept waits for the next session, until the deadline. It is AcceptKCP as a net.Listener has it.
func (l *Listener) Accept() (net.Conn, error) {
	s, err := l.AcceptKCP()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptKCP waits for the next session, until the deadline. A session is there when the first data
// of a peer has arrived, or with FEC its first out-of-band datagram. Up to 128 wait. Beyond that the
// senders of first data are asked whether they are there, as these datagrams may be forged; up to 128
// more, of peers that have answered, wait beside the others, and their data comes when they send it
// again. ListenConfig has limits that are enforced likewise.
func (l *Listener) AcceptKCP() (*UDPSession, error) { return l.AcceptContext(context.Background()) }

// AcceptContext is AcceptKCP that also gives up when ctx is over; then the error is ctx's.
func (l *Listener) AcceptContext(ctx context.Context) (*UDPSession, error) {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.arrived.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.opError("accept", errClosed)
		case l.acceptBy != never && clock() >= l.acceptBy:
			return nil, l.opError("accept", errDeadline)
		case ctx.Err() != nil:
			l.arrived.Signal() // this one may have been woken for a session
			return nil, l.opError("accept", ctx.Err())
		case l.backlog.len() > 0:
			l.accepted++
			return l.backlog.pop(), nil
		case l.err != nil:
			return nil, l.opError("accept", l.err)
		}
		if l.acceptBy != never {
			l.task.arm(l.acceptBy)
		}
		l.arrived.Wait()
	}
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Addr: l.socks[0].localAddr(), Err: err}
}

// Close stops accepting: Accept fails with net.ErrClosed, and sessions that nobody has accepted are
// closed. Sessions that were accepted go on; the socket, if it belongs to the listener, is closed
// with the last of them, and Done tells when. A second Close returns net.ErrClosed.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return l.opError("close", errClosed)
	}
	l.closed = true
	l.shut.Store(true)
	orphans := append(l.backlog.any, l.backlog.asked...)
	l.backlog = backlog{}
	l.arrived.Broadcast()
	empty := l.open == 0
	l.mu.Unlock()
	l.task.retire()
	for _, s := range orphans {
		if l.cfg.linger < 0 { // which is for those who wait
			s.SetLinger(int(closeTimeout / time.Second))
		}
		s.Close()
	}
	if !empty {
		return nil
	}
	err := l.closeSockets()
	for _, sock := range l.socks {
		sock.awaitReader()
	}
	return err
}

// Done returns a channel that is closed when nothing of the listener goes on: it and all sessions
// that it accepted are closed and have ended, or its socket has failed. A PacketConn of the
// caller's is the caller's again then.
func (l *Listener) Done() <-chan struct{} { return l.done }

func (l *Listener) closeSockets() error {
	return l.eachSocket(func(sock *socket) error { return sock.close() })
}

// eachSocket calls f with each socket and returns the first error.
func (l *Listener) eachSocket(f func(*socket) error) (err error) {
	for _, sock := range l.socks {
		if e := f(sock); err == nil {
			err = e
		}
	}
	return err
}

// configure is eachSocket for a setter, which returns net.ErrClosed after Close.
func (l *Listener) configure(f func(*socket) error) error {
	if l.shut.Load() {
		return l.opError("set", errClosed)
	}
	return l.eachSocket(f)
}

// Addr returns the local address.
func (l *Listener) Addr() net.Addr { return l.socks[0].conn.LocalAddr() }

// SetDeadline sets the time at which Accept gives up.
func (l *Listener) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetReadDeadline sets the time at which Accept gives up, also one that is blocked already. The
// zero time means never.
func (l *Listener) SetReadDeadline(t time.Time) error {
	at := clockAt(t, clock())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.opError("set", errClosed)
	}
	l.acceptBy = at
	l.arrived.Broadcast()
	return nil
}

// SetWriteDeadline returns an error, an errors.ErrUnsupported: a listener writes nothing.
func (l *Listener) SetWriteDeadline(time.Time) error { return errNoWrites }

// SetDSCP sets the differentiated services code point, 0 to 63, of all sessions.
func (l *Listener) SetDSCP(dscp int) error {
	return l.configure(func(sock *socket) error { return sock.setDSCP(dscp) })
}

// SetReadBuffer sets the receive buffer of each socket in bytes.
func (l *Listener) SetReadBuffer(bytes int) error {
	return l.configure(func(sock *socket) error { return sock.setReadBuffer(bytes) })
}

// SetWriteBuffer sets the send buffer of each socket in bytes.
func (l *Listener) SetWriteBuffer(bytes int) error {
	return l.configure(func(sock *socket) error { return sock.setWriteBuffer(bytes) })
}

// Control calls f with the listener's PacketConn, or one after the other where it has several at
// its address, and returns the first error. The connections are not to be read, written or closed.
func (l *Listener) Control(f func(conn net.PacketConn) error) error {
	return l.eachSocket(func(sock *socket) error { return f(sock.conn) })
}

// succeed makes the session that next is of, in the place of s.
func (l *Listener) succeed(s *UDPSession, next *successor) {
	s.mu.Lock()
	end := s.closing.timeWait
	if s.closing.state < stateDraining {
		end = s.core.closingTimeWait(true)
	}
	s.mu.Unlock()
	now := clock()
	key := sessionKey{s.path().peerAddr, s.conv}
	sh := l.table.shard(key.from)
	sh.mu.Lock()
	sh.remove(key, s, end)
	l.scheduleLocked(sh)
	var made *UDPSession
	for _, p := range next.datagrams {
		if c, ok := parseContents(p.data); made == nil && ok && sh.sessions[key] == nil {
			made = l.openLocked(sh, key, s.path().sock, s.path().destination, &c, now)
		}
	}
	sh.mu.Unlock()
	if made != nil {
		lockSpinning(&made.mu)
		for _, p := range next.datagrams {
			c, ok := parseContents(p.data)
			made.datagramLocked(now, p.data, &c, ok)
		}
		made.driveLocked(now, false)
		made.unlockAndSend(false)
	}
	next.discard()
}

// remove takes a session that has ended out of the table, and remembers it.
func (l *Listener) remove(s *UDPSession) {
	s.mu.Lock()
	end := s.closing.timeWait
	s.mu.Unlock()
	key := sessionKey{s.path().peerAddr, s.conv}
	if z := s.seal; z != nil {
		now := clock()
		l.seal.ended(z.peer, &sealedEnd{end, s.conv, z.sealer}, now)
		if !l.shut.Load() {
			l.task.arm(now + timeWaitLife)
		}
	} else {
		sh := l.table.shard(key.from)
		sh.mu.Lock()
		sh.remove(key, s, end)
		l.scheduleLocked(sh)
		sh.mu.Unlock()
	}
	l.sessionEnded(s)
}

// openLocked makes the session of key for its first datagram, if that is one: a PUSH that the new
// session's window takes makes a session, an out-of-band datagram where there is FEC, and the answer
// to a question that came for one.
func (l *Listener) openLocked(sh *demuxShard, key sessionKey, sock *socket, to destination, c *contents, now int64) *UDPSession {
	var ok, first, asked bool
	if c.kind() == fecTypeOOB {
		ok = l.cfg.fec != nil && c.fec.seqid == oobSeqid
	} else {
		asked = l.check.answers(key, c.body, now)
		ok, first = opensSession(key.conv, c.body, uint32(l.cfg.receiveWindow()))
	}
	if l.seal != nil && l.seal.required || !ok && !asked || sh.timeWaits.straggler(key, c.number(), first, dataTS(key.conv, c.body), now) {
		return nil
	}
	return l.admit(key.from, asked, func() *UDPSession {
		s := newSession(l.cfg, sock, l, key.conv, to)
		if s.unproved = !asked; asked {
			s.core.addressValidated()
		}
		if sh.sessions == nil {
			sh.sessions = make(map[sessionKey]*UDPSession)
		}
		sh.sessions[key] = s
		return s
	})
}

// opensSession says whether a datagram's segments contain a PUSH that a new session of conv with
// that receive window takes, of the first that a peer sends, and whether it is the very first. A
// peer that has acknowledged something before, in any of them, belongs to a session that was
// forgotten, perhaps since before this process was started, and so does a marked one that does not
// begin with its number.
func opensSession(conv uint32, segments []byte, window uint32) (ok, first bool) {
	numbered := leadingNumber(segments) != 0
	// The session rejects a datagram from the first bad segment on.
	for h, rest, valid := nextSegment(conv, segments); valid; h, rest, valid = nextSegment(conv, rest) {
		if int32(h.una) > 0 || !numbered && h.frg&capMark != 0 && (h.cmd == IKCP_CMD_ACK || h.cmd == IKCP_CMD_WASK) {
			return false, false
		}
		if !ok && h.cmd == IKCP_CMD_PUSH && h.sn < min(window, IKCP_WND_RCV) && h.una == 0 {
			ok, first = true, h.sn == 0
		}
	}
	return ok, first
}
