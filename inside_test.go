package kcp

import (
	"fmt"
	"maps"
	"net"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What the tests of sessions and listeners know of the inside of these, beyond exported methods, is
// here.

// plainMSS is what a segment holds without cipher and FEC.
const plainMSS = IKCP_MTU_DEF - IKCP_OVERHEAD

// innerSettings are those that Stats does not show.
type innerSettings struct {
	interval                                    time.Duration
	resend, mtu, parity                         int
	rate                                        int64
	nodelay, stream, ackNoDelay, writeDelay     bool
	keepAlive, idleTimeout, userTimeout, linger time.Duration
}

func (s *UDPSession) settings() innerSettings {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := innerSettings{
		interval: time.Duration(s.core.interval), resend: s.core.resend, mtu: s.mtu,
		rate: s.core.limitPacer.rate, nodelay: s.core.rtt.nodelay, stream: s.core.stream,
		ackNoDelay: s.core.ackNoDelay, writeDelay: s.writeDelay,
		keepAlive: time.Duration(s.keepalive.period), idleTimeout: time.Duration(s.keepalive.idle),
		userTimeout: time.Duration(s.keepalive.user), linger: s.closing.linger,
	}
	if s.enc != nil {
		in.parity = s.enc.code.parity
	}
	return in
}

// overhead is what a datagram has beside its segments.
func (s *UDPSession) overhead() int { return s.cfg.headroom() + s.behind() }

// state is how far the session is closed.
func (s *UDPSession) state() closeState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing.state
}

// timerArmed says whether the scheduler has something to do for the session.
func (s *UDPSession) timerArmed() bool {
	w := s.task.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.task.index >= 0
}

// timers is how many tasks the scheduler has.
func (ts *TimedSched) timers() (n int) {
	for i := range ts.workers {
		w := &ts.workers[i]
		w.mu.Lock()
		n += len(w.tasks)
		w.mu.Unlock()
	}
	return n
}

// describe says what the scheduler is to run, and when.
func (ts *TimedSched) describe() (tasks []string) {
	for i := range ts.workers {
		w := &ts.workers[i]
		w.mu.Lock()
		for _, t := range w.tasks {
			name := runtime.FuncForPC(reflect.ValueOf(t.run).Pointer()).Name()
			tasks = append(tasks, fmt.Sprintf("%s in %v", name, time.Duration(t.at-clock())))
		}
		w.mu.Unlock()
	}
	return tasks
}

// countTimer counts how often the timer runs from now on.
func (s *UDPSession) countTimer() *atomic.Int64 {
	runs := new(atomic.Int64)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.task
	old.retire()
	s.task = &timedTask{worker: old.worker, index: -1, run: func(now int64) {
		runs.Add(1)
		s.onTimer(now)
	}}
	if s.armed != never {
		s.task.arm(s.armed)
	}
	return runs
}

// vanish closes the socket beneath the session.
func (s *UDPSession) vanish() { s.path().sock.close() }

// readerOverdue makes the session's timer find data that the reader has not read yet, and runs it.
func (s *UDPSession) readerOverdue() {
	now := clock()
	s.path().sock.unreadAt.Store(now)
	s.path().sock.unread.Store(true)
	s.onTimer(now)
}

// setGSO makes the session write as if so many datagrams were one send with segmentation offload.
func (s *UDPSession) setGSO(segments int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gsoSegments = segments
}

// received is the number of segments that have arrived, in order or not, and were not read.
func (s *UDPSession) received() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.unread()
}

// nextSn is the serial number that the session expects next.
func (s *UDPSession) nextSn() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.rcv.nxt
}

// numbers returns the oldest unacknowledged serial number and the next FEC seqid.
func (s *UDPSession) numbers() (sn, seqid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.snd.una, s.enc.next
}

// renumber lets an idle session go on as if it had sent snd and received rcv segments.
func (s *UDPSession) renumber(snd, rcv, seqid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.core
	k.snd = sendWindow{una: snd, nxt: snd, end: snd}
	k.rcv = recvWindow{head: rcv, nxt: rcv, wnd: k.rcv.wnd}
	k.flow.peerUna = snd
	k.proof.edge = snd
	if s.enc != nil {
		s.enc.skipParity()
		s.enc.next, s.enc.count = seqid, 0
		s.dec.release()
	}
}

// plainClock makes the ts of what is sent from now on the clock's microseconds.
func (s *UDPSession) plainClock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.tsBase = 0
}

// startGroup makes the next datagram the first of a FEC group.
func (s *UDPSession) startGroup() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enc.skipParity()
	n := s.enc.code.shards()
	s.enc.count, s.enc.next = 0, (s.enc.next+n-1)/n*n
}

// receives makes s take opened datagrams in one batch, and sends nothing.
func (s *UDPSession) receives(datagrams ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range datagrams {
		c, ok := parseContents(b)
		s.datagramLocked(clock(), b, &c, ok)
	}
	s.driveLocked(clock(), false)
}

// receivesAndFails makes s take an opened datagram, and fail before anybody sees it.
func (s *UDPSession) receivesAndFails(err error, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := parseContents(b)
	s.datagramLocked(clock(), b, &c, ok)
	s.failLocked(err)
	s.driveLocked(clock(), false)
}

// kept is how many packets a session refers to, beside its windows.
func (s *UDPSession) kept() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.pool.free) + len(s.tx.queue) + len(s.tx.oob) + len(s.tx.batch.list)
	for _, held := range s.tx.inPlace.held {
		n += len(held)
	}
	return n
}

// wantGone checks that nothing is left of a session but its name.
func (w *world) wantGone(s *UDPSession) {
	w.Helper()
	synctest.Wait()
	if s.state() != stateClosed || s.timerArmed() {
		w.Errorf("state %d, timer armed %t", s.state(), s.timerArmed())
	}
	if kept, sent, received := s.kept(), s.Stats().Unacknowledged, s.received(); kept+sent+received > 0 {
		w.Errorf("%d packets, %d+%d segments are left", kept, sent, received)
	}
	if l, ok := s.owner.(*Listener); ok {
		sh := l.t.table.shard(s.path().peerAddr)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.sessions[sessionKey{s.path().peerAddr, s.conv}] != nil || sh.lastFEC[s.path().peerAddr] == s {
			w.Error("the listener still knows it")
		}
	} else if c, err := w.net.Listen(s.LocalAddr().String()); err != nil {
		w.Errorf("the socket is still open: %v", err)
	} else {
		c.Close()
	}
}

// known returns the sessions in the listener's table.
func (l *Listener) known() map[sessionKey]*UDPSession {
	known := make(map[sessionKey]*UDPSession)
	for i := range l.t.table {
		sh := &l.t.table[i]
		sh.mu.Lock()
		maps.Copy(known, sh.sessions)
		sh.mu.Unlock()
	}
	for _, s := range l.t.index.sessions() {
		known[sessionKey{s.path().peerAddr, s.conv}] = s
	}
	return known
}

// knows returns the session with the peer at addr, nil for none.
func (l *Listener) knows(addr net.Addr, conv uint32) *UDPSession {
	return l.known()[sessionKey{peerAddrOf(addr), conv}]
}

// remembers is how many entries the table has beside sessions: of peers that send FEC, and of
// sessions that have ended.
func (l *Listener) remembers() (n int) {
	for i := range l.t.table {
		sh := &l.t.table[i]
		sh.mu.Lock()
		n += len(sh.lastFEC) + len(sh.timeWaits.young) + len(sh.timeWaits.old)
		sh.mu.Unlock()
	}
	return n
}

// sockets is how many sockets the listener has.
func (l *Listener) sockets() (n int) {
	l.Control(func(net.PacketConn) error { n++; return nil })
	return n
}

// waiting is how many sessions wait for Accept, and forget drops them.
func (l *Listener) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.backlog.len()
}

func (l *Listener) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backlog = backlog{}
}

// standalone returns a configuration for sessions outside a world, with a scheduler and counters of
// its own.
func standalone(t testing.TB, block BlockCrypt, data, parity int) *config {
	t.Helper()
	cfg, err := newConfig(block, data, parity)
	if err != nil {
		t.Fatal(err)
	}
	cfg.sched, cfg.snmp = NewTimedSched(1), newSnmp()
	t.Cleanup(func() { cfg.sched.Close() })
	return cfg
}

// confirm makes a dialled session take what arrives as its own, as an echo of its time stamps does.
func (s *UDPSession) confirm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.peer.confirmed = true
}

// arrived is the number of segments that have arrived, in order or not.
func (s *UDPSession) arrived() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.rcv.head + uint32(s.core.rcv.held)
}

// control makes c control congestion, with everything else as nc=1 has it.
func (s *UDPSession) control(c CongestionControl) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.cc = c
}
