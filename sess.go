package kcp

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// UDPSession is one connection: a net.Conn over a KCP core, with FEC and encryption around it. All
// methods may be called from any goroutine at any time.
//
// The errors of its methods are *net.OpErrors, in which errors.Is finds net.ErrClosed after Close;
// os.ErrDeadlineExceeded when a deadline has passed; syscall.ETIMEDOUT, in a *[PeerTimeoutError],
// when the peer vanished; syscall.ECONNRESET when the peer discarded data; syscall.EPIPE after
// CloseWrite; and syscall.ECONNABORTED with the cause (but io.EOF, which means the end of the stream)
// when the socket failed. Setters that return an error return net.ErrClosed after Close; the others
// have no effect then.
type UDPSession struct {
	// These do not change.
	cfg   *config
	conv  uint32
	owner sessionOwner // nil for a session with a socket of its own
	first path         // that it began with
	task  *timedTask   // runs onTimer

	way atomic.Pointer[path] // see path

	// mu guards all below. Drivers spin on it (lockSpinning), so what lies in the same cache line is
	// what its holder rarely writes.
	mu        sync.Mutex
	err       error // why the session broke, nil while it works
	created   int64
	closing   closing
	seal      *sessionSeal // nil for a session that is not to be sealed; set before the session is used
	roam      *roaming     // nil before there is reason to think of another path
	mtu       int
	capsProbe capsProbe
	keepalive keepalive
	oob       oobQueue
	next      *successor // of an accepted session, nil while there is none

	done    chan struct{} // made when asked for; see Done
	readers int           // of sockets of its own, that have not ended

	pool packetPool
	core *KCP
	enc  *fecEncoder // nil without FEC
	dec  *fecDecoder // nil until the peer sends FEC
	tx   sender

	writeDelay   bool
	gsoSegments  int // datagrams of one send with segmentation offload, 0 without
	copies       int // extra copies of each datagram, see SetDUP
	sized        *sizedDestinations
	bucket       Bucket // of SetBucket, nil for none
	repairing    bool   // repairs take the place of enc's parity
	limitCharged int    // datagrams of the FEC group that the rate limit has counted

	readable, writable waitQueue
	writing            bool  // a Write is under way; others wait for their turn
	restAt             int64 // when that queues its rest, room or not; never for not yet
	messageAt          int64 // when a WriteMessage that waits may expire, never for none

	oobDropped uint64     // out-of-band datagrams that SendOOB dropped
	dgramsIn   *waitQueue // ReceiveDatagram waits in it, nil before the first

	count Snmp // events since they were last folded into total and the process's counters
	total Snmp // events since the session began

	flushBy    int64 // when a delayed write has to be flushed, never for none
	flushHeld  bool  // a flush was left out, as the sender was crowded
	timersHeld bool  // the core's timers are not armed, as the sender was crowded
	armed      int64 // the latest time that task is armed for, never for none
	dialled    bool  // does not change
	unproved   bool  // the listener has it among those whose peers are not proven
	inBatch    bool  // part of a reader's batch that has not been driven yet
	postponed  uint8 // times in a row that onTimer has waited for the reader
	mtuGrows   bool  // the longest datagram is the path's, and not mtuAsked
	mtuAsked   uint16

	limits   limitClock
	ackTimer *time.Timer // runs flushHeldAck, nil until it is needed

	// The listener's, of an accepted session, which other locks guard.
	unproven  unprovenLink
	displaced bool // its place was given to another
}

// A sessionOwner is what a session shares its socket by: the listener of an accepted one, the group of one
// that was dialled over a Transport.
type sessionOwner interface {
	// dials says whether the session is dialled.
	dials() bool
	// cipherGroup returns the group of sessions whose datagrams open as those of the session.
	cipherGroup() *cipherGroup
	// remove takes a session that has ended out of the transport's table.
	remove(s *UDPSession)
	// succeed makes a newer session of the same peer and conversation in the place of s.
	succeed(s *UDPSession, next *successor)
	// moved notes that a sealed session, which was at the address from, is somewhere else.
	moved(s *UDPSession, from peerAddr)
	// proven notes that the peer of s has shown that it is there.
	proven(s *UDPSession)
	// answersStragglers says whether the transport answers for sessions that have ended.
	answersStragglers() bool
}

// waitQueue is the goroutines that wait for an event, and the deadline of their wait, or a function
// that is called instead.
type waitQueue struct {
	cond     sync.Cond
	waiting  int
	deadline int64 // never for none
	notify   notifier
}

// expired says whether the deadline has passed.
func (q *waitQueue) expired() bool { return q.deadline != never && clock() >= q.deadline }

// wakeLocked wakes all who wait in q.
func (s *UDPSession) wakeLocked(q *waitQueue) {
	if q.waiting > 0 {
		q.cond.Broadcast()
	}
	if q.notify.f != nil {
		q.notify.signal(&s.mu)
	}
}

// opError wraps err as package net does, nil as nil.
func (s *UDPSession) opError(op string, err error) error {
	switch err {
	case nil, io.EOF, io.ErrUnexpectedEOF:
		return err
	}
	return &net.OpError{Op: op, Net: "udp", Source: s.path().sock.localAddr(), Addr: s.RemoteAddr(), Err: err}
}

// LocalAddr returns the socket's local address.
func (s *UDPSession) LocalAddr() net.Addr { return s.path().sock.conn.LocalAddr() }

// RemoteAddr returns the peer's address: as it was given to the constructor, or, of a sealed session whose
// peer has moved, the present one. It is never nil: of a session that was made without an address it is
// a nil *net.UDPAddr, which prints as <nil>.
func (s *UDPSession) RemoteAddr() net.Addr {
	if addr := s.path().netAddr(); !isNil(addr) {
		return addr
	}
	return (*net.UDPAddr)(nil)
}

// GetConv returns the conversation id.
func (s *UDPSession) GetConv() uint32 { return s.conv }

// closeState is how far a session is on its way out:
//
//	open ─Close─▶ closing ─all acknowledged─▶ draining ─stragglers answered─▶ closed
//	  │              │ linger time over, or broken ▲
//	  └─ Close with linger 0, or Abort: reset ─────┘
//
// A session that is closing still has its core: what was written goes out, then the FIN. One that
// is draining (RFC 9000, section 10.2: https://www.rfc-editor.org/rfc/rfc9000#section-10.2) holds
// a few bytes, which answer stragglers: its listener has them, for a minute or two, and a session
// with a socket of its own keeps that open until the peer must have heard of the end, at most for
// the rest of the linger time. A closed one has left its socket, or its listener's table.
type closeState uint8

const (
	stateOpen closeState = iota
	stateClosing
	stateDraining
	stateClosed
)

// closing is what the end of a session needs. The session's lock guards it.
type closing struct {
	state       closeState
	writeClosed bool // nothing is written any more: CloseWrite or Close was called
	readClosed  bool // nothing is read any more: CloseRead or Close was called
	finSent     bool // our FIN is queued, or beyond
	finAcksPeer bool // our FIN carries the acknowledgement of the peer's
	discarded   bool // data that arrived was not read

	linger      time.Duration // 0 to reset, negative for Close to wait
	lingerUntil int64         // when a closed session gives up
	lingerFor   int           // unacknowledged segments when that was set

	cause    error    // why it had failed when it was closed, or errClosed
	timeWait timeWait // while draining: answers what comes
	leaveAt  int64    // when draining ends
	left     bool     // it has left its socket, or its listener's table
}

// keepalive watches whether the peer is still there. The session's lock guards it.
type keepalive struct {
	period, idle, user int64 // the settings in nanoseconds, 0 for never
	onPeriod           int64 // the period that SetKeepAlive(true) means

	probes   int   // sent since anything was heard
	probedAt int64 // when the last of them was

	readerUntil int64 // until when the reader has a turn before the peer is given up

	awaitingReply bool  // the peer has to answer something, and was not heard since
	awaitingSince int64 // since when
}

// capsProbe asks a peer that has not told what it can do, by window probes: before a FIN is sent,
// and where a Dialer waits for the peer.
type capsProbe struct {
	dialling bool  // a Dialer waits for any control segment of the peer's
	at       int64 // when to probe again, never for not at all
	next     int64 // the earliest time for the next probe
	count    int   // probes sent
	refused  int   // reports that the peer's port is closed, while dialling
}

// OOBCallBackType is called with the payload of each out-of-band datagram, valid until it returns.
type OOBCallBackType func(b []byte)

// oobQueue passes out-of-band payloads to their handler, on a goroutine that is there only while
// there are any: a handler that blocks stops nobody but itself.
type oobQueue struct {
	handler OOBCallBackType // nil to drop them
	waiting []*packet
	running bool
}

// windowFullLocked says whether Write has to wait for acknowledgements.
func (s *UDPSession) windowFullLocked() bool { return s.core.WaitSnd() >= s.core.sendLimit() }

// wakeRoom bounds the room in segments for which a waiting Write is woken on a long path.
const wakeRoom = 16

// lowWaterLocked is the number of unacknowledged segments at which a waiting Write goes on: low
// enough that it finds room for more than a few, a quarter of the window, and on a long path so high
// that it goes on before what that holds has been acknowledged.
func (s *UDPSession) lowWaterLocked() int {
	limit := s.core.sendLimit()
	room := limit / 4
	if !s.core.shortPath(restWait) {
		room = min(room, wakeRoom)
	}
	return limit - max(1, room)
}

// failLocked breaks the session: everything but reads of what has arrived returns err from now on.
func (s *UDPSession) failLocked(err error) {
	if s.err == nil {
		s.err = err
		s.traceClosedLocked(err)
		s.wakeAllLocked()
	}
}

// wakeAllLocked wakes all who wait for anything.
func (s *UDPSession) wakeAllLocked() {
	s.wakeLocked(&s.readable)
	s.wakeLocked(&s.writable)
	if s.dgramsIn != nil {
		s.wakeLocked(s.dgramsIn)
	}
}

// enqueueLocked appends a datagram, to be sealed, to what is to be sent, unless the peer's address may
// not be sent that much.
func (s *UDPSession) enqueueLocked(o outbound) {
	if !s.addressTakesLocked(len(o.data), 0) {
		o.release(&s.pool)
		return
	}
	if s.core.needsFragments(len(o.data)) && o.to == &s.path().destination {
		o.to = &s.sizedLocked().overlong
	}
	s.chargeLocked(len(o.data))
	s.tx.enqueue(o, s.copies)
}

// chargeLocked counts a datagram of that size, to be sealed, and its copies, and takes them from the
// bucket, if there is one.
func (s *UDPSession) chargeLocked(size int) {
	bytes := (1 + s.copies) * (size + s.behind())
	s.total.OutPkts += uint64(1 + s.copies)
	s.total.OutBytes += uint64(bytes)
	if s.core.addressPending() {
		s.noteSentUnprovenLocked()
	}
	if s.bucket != nil {
		s.core.bucketDelay(clock(), s.bucket.Take(int64(bytes)))
	}
}

// countRefusedLocked counts datagrams that the socket did not take.
func (s *UDPSession) countRefusedLocked(n int) {
	if n > 0 {
		s.total.OutErrs += uint64(n)
		atomic.AddUint64(&s.cfg.snmp.OutErrs, uint64(n))
		s.traceDropLocked(clock(), dropRefused, uint64(n))
	}
}

// restWait is how long a Write that has begun waits for room before it queues its rest, on a path
// with a shorter round trip. Where there is room at once a long queue would be nothing but memory to
// be fetched again.
const restWait = int64(5 * time.Millisecond)
