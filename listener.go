package kcp

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Listener is a net.Listener over a packet socket, or a few at one address that share the peers, or over
// a Transport. Sessions that it has accepted go on after it is closed, as TCP's do; its sockets are closed
// with the last of them.
type Listener struct {
	cfg    *config
	t      *Transport
	shares bool         // t is the program's
	group  *cipherGroup // of its sessions
	task   *timedTask   // runs onTimer
	check  addressCheck
	seal   *listenerSeal // nil where nothing is sealed

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
	over      bool          // nothing of the listener goes on
	done      chan struct{} // closed then

	shut   atomic.Bool // closed, for whoever holds a session's lock
	counts listenerCounts
}

// onTimer wakes Accept, and forgets handshakes that came to nothing.
func (l *Listener) onTimer(now int64) {
	l.mu.Lock()
	l.arrived.Broadcast()
	l.mu.Unlock()
	if l.seal != nil {
		if at := l.seal.expire(now); at != never {
			l.task.arm(at)
		}
	}
}

// admit makes a session with open, unless the listener is closed or broken, its backlog full, or a
// limit of sessions reached, of all or of those around the address. asked says that the peer has
// answered a question; open is told whether it should be asked one.
func (l *Listener) admit(from peerAddr, asked bool, open func(ask bool) *UDPSession) *UDPSession {
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
	s := open(!asked && l.unproven.crowded(l.cfg, prefix))
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

// sessionEnded notes that a session has left the table. With the last one of a closed listener nothing of
// that goes on.
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
		l.leave()
	}
}

// leave takes a listener away of which nothing goes on: from a transport of the program's, or closes
// its own.
func (l *Listener) leave() error {
	if !l.shares {
		return l.t.closeSockets()
	}
	l.task.retire()
	if l.seal != nil {
		l.seal.end()
	}
	l.t.listener.CompareAndSwap(l, nil)
	l.ended()
	return nil
}

// answersStragglers, dials and group are what its sessions ask their owner.
func (l *Listener) answersStragglers() bool   { return !l.t.shut.Load() }
func (l *Listener) dials() bool               { return false }
func (l *Listener) cipherGroup() *cipherGroup { return l.group }

// broken ends Accept: the socket is of no use any more.
func (l *Listener) broken(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	l.arrived.Broadcast()
}

// ended notes that nothing of the listener goes on.
func (l *Listener) ended() {
	l.mu.Lock()
	first := !l.over
	l.over = true
	l.mu.Unlock()
	if first {
		l.group.leave()
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
	return &net.OpError{Op: op, Net: "udp", Addr: l.t.socks[0].localAddr(), Err: err}
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
	if !l.shares {
		l.t.shut.Store(true)
		l.t.task.retire()
		l.task.retire()
	}
	for _, s := range orphans {
		if l.cfg.linger < 0 { // which is for those who wait
			s.SetLinger(int(closeTimeout / time.Second))
		}
		s.Close()
	}
	if !empty {
		return nil
	}
	err := l.leave()
	if !l.shares {
		l.t.awaitReaders()
	}
	return err
}

// Done returns a channel that is closed when nothing of the listener goes on: it and all sessions
// that it accepted are closed and have ended, or its socket has failed. A PacketConn of the
// caller's is the caller's again then.
func (l *Listener) Done() <-chan struct{} { return l.done }

// configure calls f with each socket, for a setter, which returns net.ErrClosed after Close.
func (l *Listener) configure(f func(*socket) error) error {
	if l.shut.Load() {
		return l.opError("set", errClosed)
	}
	return l.t.eachSocket(f)
}

// Addr returns the local address.
func (l *Listener) Addr() net.Addr { return l.t.LocalAddr() }

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
	return l.t.Control(f)
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
	sh := l.t.table.shard(key.from)
	sh.mu.Lock()
	sh.remove(key, s, end)
	l.t.scheduleLocked(sh)
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
	l.t.remove(s)
	if z := s.seal; z != nil {
		l.seal.ended(z.peer)
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
	return l.admit(key.from, asked, func(ask bool) *UDPSession {
		s := newSession(l.cfg, sock, l, key.conv, to)
		switch s.unproved = !asked; {
		case asked:
			s.core.addressValidated()
		case ask:
			s.core.challengeAddressOnce()
		}
		sh.add(key, s)
		return s
	})
}

// replyTo returns the answer to a datagram that no session was made of, nil for none: to a probe, or a
// question whether the sender is there.
func (l *Listener) replyTo(key sessionKey, c *contents, now int64) *packet {
	ok, asks := l.admits(key.from)
	if asks && c.kind() != fecTypeOOB {
		if opens, _ := opensSession(key.conv, c.body, uint32(l.cfg.receiveWindow())); opens {
			return l.check.question(l.cfg, key, now)
		}
	}
	if ok || asks {
		return l.cfg.probeReply(key.conv, c.body)
	}
	return nil
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
