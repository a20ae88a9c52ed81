package kcp

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// acceptBacklog is how many sessions may wait for Accept. What would make one
	// more is dropped, and its sender tries again.
	acceptBacklog = 128
	// afterlife is how long an ended session is remembered, at least, so that its
	// stragglers do not look like a new one.
	timeWaitLife = int64(time.Minute)
	// restart is how soon after the end of a session that had heard nothing back its first
	// segment may be that of a new one: a peer would have sent it again sooner.
	reconnectAfter = int64(10 * time.Second)
	// afterlives bounds the memory that takes, against floods of short sessions.
	timeWaitMax = 1 << 16
)

// sessionKey tells the sessions of a listener apart. Many clients use the same conv,
// and one address may have several.
type sessionKey struct {
	from peerAddr
	conv uint32
}

// Listener is a net.Listener over a packet socket, or a few at one address that share the
// peers. Sessions it has accepted go on after it is closed, as TCP's do; its sockets are closed
// with the last of them.
type Listener struct {
	cfg   *config
	socks []*socket  // at least one; each has a reader of its own
	task  *timedTask // runs onTimer

	mu       sync.Mutex // guards all below; may be held while no session is locked
	sessions map[sessionKey]*UDPSession
	recent   map[peerAddr]*UDPSession // that last received a FEC data shard: parity has no conv
	ended    timeWaitTable
	backlog  []*UDPSession
	arrived  sync.Cond // Accept waits for it
	acceptBy int64     // deadline, never for none
	closed   bool
	err      error // why the socket broke

	shut atomic.Bool // closed, for who holds a session's lock (not guarded)
}

func newListener(cfg *config, socks ...*socket) *Listener {
	l := &Listener{
		cfg: cfg, socks: socks,
		sessions: make(map[sessionKey]*UDPSession),
		recent:   make(map[peerAddr]*UDPSession),
		acceptBy: never,
	}
	l.arrived.L = &l.mu
	l.task = cfg.sched.task(l.onTimer)
	for _, sock := range socks {
		sock.start(&listenerReader{Listener: l, sock: sock})
	}
	return l
}

// onTimer wakes Accept, and forgets ended sessions.
func (l *Listener) onTimer(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived.Broadcast()
	l.ended.age(now)
	l.forgetLocked()
}

// forgetLocked sees to it that ended sessions are forgotten also where nothing happens.
func (l *Listener) forgetLocked() {
	if !l.closed && (l.ended.young != nil || l.ended.old != nil) {
		l.task.arm(l.ended.since + timeWaitLife)
	}
}

// route finds the session of a datagram from d.from with that payload, or makes one.
// It returns nil for a datagram that belongs to none.
func (l *listenerReader) route(d inbound, payload []byte, now int64) *UDPSession {
	h, isFEC := parseFEC(payload)
	l.mu.Lock()
	defer l.mu.Unlock()
	if isFEC && h.kind == fecTypeParity {
		return l.recent[d.from]
	}
	segments := payload
	if isFEC {
		var ok bool
		if segments, ok = h.body(payload); !ok {
			return nil
		}
	}
	if len(segments) < oobConvField {
		return nil
	}
	key := sessionKey{d.from, segmentConv(segments)} // a segment starts with its conv, too
	s := l.sessions[key]
	if s == nil && !(isFEC && h.kind == fecTypeOOB) {
		s = l.openLocked(key, d, segments, now)
	}
	if s != nil && isFEC && h.kind == fecTypeData && l.recent[d.from] != s {
		l.recent[d.from] = s
	}
	return s
}

// openLocked makes the session of key for its first datagram, if that is one: only a
// PUSH that the new session's window takes makes a session.
func (l *listenerReader) openLocked(key sessionKey, d inbound, segments []byte, now int64) *UDPSession {
	ok, first := opensSession(key.conv, segments)
	if !ok || l.closed || l.err != nil || len(l.backlog) >= acceptBacklog || l.ended.straggler(key, first, now) {
		return nil
	}
	s := newSession(l.cfg, l.sock, l.Listener, key.conv, l.sock.destination(d.from, d.addr))
	l.sessions[key] = s
	l.backlog = append(l.backlog, s)
	l.cfg.snmp.opened(&l.cfg.snmp.PassiveOpens)
	l.arrived.Signal()
	return s
}

// opens says whether a datagram's segments contain a PUSH that a new session of conv
// accepts, and whether that is the very first of a connection. One that has heard something
// before belongs to a session that we have forgotten, perhaps since we were started.
func opensSession(conv uint32, segments []byte) (ok, first bool) {
	for len(segments) >= IKCP_OVERHEAD {
		var h header
		h.parse(segments)
		segments = segments[IKCP_OVERHEAD:]
		if !h.valid(conv, segments) {
			return false, false // the session rejects it from here on
		}
		if h.cmd == IKCP_CMD_PUSH && h.sn < IKCP_WND_RCV && h.una == 0 {
			return true, h.sn == 0
		}
		segments = segments[h.len:]
	}
	return false, false
}

// expects says whether a datagram is so plainly for s that the table need not be asked.
func (s *UDPSession) expects(from peerAddr, payload []byte) bool {
	if h, isFEC := parseFEC(payload); isFEC {
		if h.kind != fecTypeData {
			return false
		}
		payload = payload[fecHeaderSize:]
	}
	return len(payload) >= IKCP_OVERHEAD && segmentConv(payload) == s.core.conv && from == s.to.peerAddr
}

// remove takes an ended session out of the table.
func (l *Listener) remove(s *UDPSession, wait bool) {
	s.mu.Lock()
	end := s.closing.late
	s.mu.Unlock()
	l.mu.Lock()
	key := sessionKey{s.to.peerAddr, s.core.conv}
	if l.sessions[key] == s {
		delete(l.sessions, key)
	}
	if l.recent[key.from] == s {
		delete(l.recent, key.from)
	}
	l.ended.add(key, end, clock())
	l.forgetLocked()
	last := l.closed && len(l.sessions) == 0
	l.mu.Unlock()
	if last {
		l.closeSockets(wait)
	}
}

// readFailed breaks the listener and its sessions when the socket is of no use any
// more.
func (l *Listener) readFailed(err error) {
	err = brokenError{err}
	l.mu.Lock()
	l.err = err
	l.arrived.Broadcast()
	sessions := make([]*UDPSession, 0, len(l.sessions))
	for _, s := range l.sessions {
		sessions = append(sessions, s)
	}
	l.mu.Unlock()
	for _, s := range sessions {
		s.abort(err)
	}
}

// Accept waits for the next session, until the deadline. It is AcceptKCP as a
// net.Listener has it.
func (l *Listener) Accept() (net.Conn, error) {
	s, err := l.AcceptKCP()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptKCP waits for the next session, until the deadline. A session is there when
// the first data of a peer has arrived.
func (l *Listener) AcceptKCP() (*UDPSession, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.opError("accept", errClosed)
		case l.acceptBy != never && clock() >= l.acceptBy:
			return nil, l.opError("accept", errDeadline)
		case len(l.backlog) > 0:
			s := l.backlog[0]
			l.backlog[0] = nil
			if l.backlog = l.backlog[1:]; len(l.backlog) == 0 {
				l.backlog = nil
			}
			return s, nil
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
	return &net.OpError{Op: op, Net: "udp", Addr: l.Addr(), Err: err}
}

// Close stops accepting: Accept fails with net.ErrClosed, and sessions that nobody has
// accepted are closed. Sessions that were accepted go on; the socket, if it belongs to
// the listener, is closed with the last of them. A second Close returns net.ErrClosed.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return l.opError("close", errClosed)
	}
	l.closed = true
	l.shut.Store(true)
	orphans := l.backlog
	l.backlog = nil
	l.arrived.Broadcast()
	empty := len(l.sessions) == 0
	l.mu.Unlock()
	l.task.disarm()
	for _, s := range orphans {
		s.Close()
	}
	if empty {
		return l.closeSockets(true)
	}
	return nil
}

func (l *Listener) closeSockets(wait bool) error {
	return l.eachSocket(func(sock *socket) error { return sock.close(wait) })
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

// Addr returns the local address.
func (l *Listener) Addr() net.Addr { return l.socks[0].conn.LocalAddr() }

// SetDeadline sets the time at which Accept gives up.
func (l *Listener) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// SetReadDeadline sets the time at which Accept gives up, also one that is blocked
// already. The zero time means never.
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

// SetWriteDeadline returns an error: a listener writes nothing.
func (l *Listener) SetWriteDeadline(time.Time) error { return errNoWrites }

// SetDSCP sets the differentiated services code point, 0 to 63, of all sessions.
func (l *Listener) SetDSCP(dscp int) error {
	return l.eachSocket(func(sock *socket) error { return sock.setDSCP(dscp) })
}

// SetReadBuffer sets the receive buffer of each socket in bytes.
func (l *Listener) SetReadBuffer(bytes int) error {
	return l.eachSocket(func(sock *socket) error { return sock.setReadBuffer(bytes) })
}

// SetWriteBuffer sets the send buffer of each socket in bytes.
func (l *Listener) SetWriteBuffer(bytes int) error {
	return l.eachSocket(func(sock *socket) error { return sock.setWriteBuffer(bytes) })
}

// Control calls f with the listener's PacketConn, or one after the other where it has several
// at its address, and returns the first error. The connections are not to be read, written or
// closed.
func (l *Listener) Control(f func(conn net.PacketConn) error) error {
	return l.eachSocket(func(sock *socket) error { return f(sock.conn) })
}

// endedSessions remembers sessions for afterlife to twice that, at most afterlives of them,
// and from when on a first segment is not one of theirs: programs reconnect from the same
// port with the same conv.
type timeWaitTable struct {
	young, old map[sessionKey]timeWaitEntry
	since      int64 // when young was started
}

type timeWaitEntry struct {
	timeWait
	from int64 // when a first segment is a new session's
}

// add remembers an ended session. A peer that had confirmed something of ours does not start
// from the beginning again.
func (e *timeWaitTable) add(key sessionKey, end timeWait, now int64) {
	e.age(now)
	if e.young == nil {
		e.young = make(map[sessionKey]timeWaitEntry)
		if e.old == nil { // else young began when old ended
			e.since = now
		}
	}
	if !end.confirmed {
		now += reconnectAfter
	}
	e.young[key] = timeWaitEntry{end, now}
}

// find returns what is remembered of key, and where.
func (e *timeWaitTable) find(key sessionKey, now int64) (end timeWaitEntry, in map[sessionKey]timeWaitEntry) {
	e.age(now)
	for _, in := range []map[sessionKey]timeWaitEntry{e.young, e.old} {
		if end, ok := in[key]; ok {
			return end, in
		}
	}
	return timeWaitEntry{}, nil
}

// straggler says whether a datagram for key may be of the session that ended; first says
// that it starts a connection, or did.
func (e *timeWaitTable) straggler(key sessionKey, first bool, now int64) bool {
	end, in := e.find(key, now)
	return in != nil && !(first && now >= end.from)
}

// age forgets what is old enough.
func (e *timeWaitTable) age(now int64) {
	if e.young == nil && e.old == nil {
		return
	}
	if now-e.since >= 2*timeWaitLife {
		e.young, e.old = nil, nil
	} else if now-e.since >= timeWaitLife || len(e.young) >= timeWaitMax/2 {
		e.young, e.old, e.since = nil, e.young, now
	}
}
