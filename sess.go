package kcp

import (
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// OOBCallBackType is called with the payload of each out-of-band datagram, valid
// until it returns.
type OOBCallBackType func(b []byte)

// Three things drive a session: a caller (Write, Read, Close, a setter), a socket's
// reader with datagrams, and a timer. Each takes the lock, feeds what it has to the
// core, flushes once if that is worth it, and sends what came out when the lock is
// released: see settleLocked and unlockAndSend.
//
// Lock order: a Listener's table is never locked while a session is, nor one session
// while another is.

// UDPSession is one connection: a net.Conn over a KCP core, with FEC and encryption
// around it. All methods may be called from any goroutine at any time.
type UDPSession struct {
	cfg      *config
	sock     *socket
	listener *Listener // that accepted it, nil if it was dialled
	to       destination
	task     *timedTask // runs onTimer

	mu   sync.Mutex // guards all below
	pool packetPool
	core *KCP
	enc  *fecEncoder // nil without FEC
	dec  *fecDecoder // nil until the peer sends FEC

	stream      bool
	writeDelay  bool
	gsoSegments int // segments that one message holds with segmentation offload, 0 without
	dup         int // extra copies of each datagram
	oob         OOBCallBackType

	readable, writable sync.Cond
	readers, writers   int   // goroutines that wait on them
	readBy, writeBy    int64 // deadlines, never for none
	writing            bool  // a Write is under way; others wait for their turn

	err       error // why the session broke, nil while it works
	created   int64
	closing   closing
	keepalive keepalive
	total     Snmp // what was counted since the session began; see Stats

	current outbound    // datagram that the core writes
	paced   int         // datagrams of the FEC group that the rate limit counted
	queue   []outbound  // datagrams to be sent
	taken   []outbound  // what a driver is sending
	spare   []outbound  // an empty slice to take queue's place
	sending bool        // a driver is sending; what is queued meanwhile it sends too
	oobs    []*packet   // out-of-band payloads to be handed to oob
	handing atomic.Bool // oob is being called, on a reader's goroutine
	flushBy int64       // when a delayed write must go, never for none
	armed   int64       // what task is armed for at the latest, never for not at all
	touched bool        // in a reader's batch that is not settled yet

	postponed uint8 // times in a row that onTimer waited for the reader
}

// maxPostponed bounds how long the timer waits for a reader, readerSlack each time: an
// out-of-band handler may keep it.
const maxPostponed = 50

// newSession makes a session that nothing drives yet.
func newSession(cfg *config, sock *socket, l *Listener, conv uint32, to destination) *UDPSession {
	s := &UDPSession{
		cfg: cfg, sock: sock, listener: l, to: to,
		stream: cfg.stream, writeDelay: cfg.writeDelay,
		readBy: never, writeBy: never, flushBy: never, armed: never, created: clock(),
		closing: closing{linger: cfg.linger, askAt: never},
	}
	s.readable.L, s.writable.L = &s.mu, &s.mu
	s.pool.parent = &packets
	s.core = newCore(conv, s, &s.pool, s.created)
	s.core.autotune()
	s.core.ReserveBytes(cfg.headroom())
	s.core.NoDelay(cfg.noDelay[0], cfg.noDelay[1], cfg.noDelay[2], cfg.noDelay[3])
	s.core.WndSize(cfg.sndWnd, cfg.rcvWnd)
	s.core.SetStreamMode(cfg.stream)
	s.core.ackNoDelay = cfg.ackNoDelay
	if cfg.congestion != nil {
		s.core.userCC = cfg.congestion()
	}
	s.core.limitPacer.setRate(int64(cfg.rate), s.created)
	s.core.caps, s.core.fresh = cfg.caps, cfg.caps != 0 && l == nil
	if cfg.fec != nil {
		s.enc = newFECEncoder(cfg.fec, cfg.env.head, &s.pool)
		s.enc.adapter.setMinParity(cfg.fecMin)
	}
	s.setMtuLocked(cfg.mtu)
	s.keepalive = keepalive{period: cfg.keepAlive, idle: cfg.idle, user: cfg.user}
	s.task = cfg.sched.task(s.onTimer)
	return s
}

// room, lend and emit make the session its core's sink.
func (s *UDPSession) room(int) []byte {
	p := s.pool.get()
	s.current = outbound{p.mem[:], p, &s.to}
	return s.current.data
}

func (s *UDPSession) lend(segment *packet) {
	s.current = outbound{segment.mem[:], nil, &s.to}
	if !s.cfg.env.plain() {
		s.current.p = s.pool.get()
	}
}

func (s *UDPSession) emit(n int) {
	o := s.current
	s.current = outbound{}
	o.data = o.data[:n]
	var parity []*packet
	if s.enc != nil {
		if s.enc.count == 0 {
			s.enc.adapter.adapt(s.core.lastActive, s.enc, s.core)
		}
		parity = s.enc.encode(o.data, s.core.lastActive)
	}
	if s.core.paced {
		s.core.limitPacer.spend(s.cfg.env.tail + s.dup*(n+s.cfg.env.tail))
		s.paced++
	}
	s.enqueueLocked(o)
	for _, p := range parity {
		// Of parity the rate limit counts the share of the datagrams that it counted.
		s.core.limitPacer.spend((1 + s.dup) * (len(p.data) + s.cfg.env.tail) * s.paced / s.enc.code.data)
		s.enqueueLocked(s.datagram(p))
	}
	if s.enc != nil && s.enc.count == 0 {
		s.paced = 0
	}
}

// datagram returns what p holds, to be sent to the peer.
func (s *UDPSession) datagram(p *packet) outbound { return outbound{p.data, p, &s.to} }

// enqueueLocked appends a datagram, to be sealed, to what is to be sent.
func (s *UDPSession) enqueueLocked(o outbound) {
	s.total.OutPkts += uint64(1 + s.dup)
	s.total.OutBytes += uint64((1 + s.dup) * (len(o.data) + s.cfg.env.tail))
	s.queue = append(s.queue, o)
	for range s.dup {
		p := s.pool.get()
		s.queue = append(s.queue, outbound{p.mem[:copy(p.mem[:], o.data)], p, o.to})
	}
}

// inputLocked takes one datagram's opened payload.
func (s *UDPSession) datagramLocked(now int64, payload []byte) {
	switch {
	case s.closing.ended:
		s.replyLocked(payload)
		return
	case s.err != nil:
		return
	}
	s.total.InPkts++
	s.total.InBytes += uint64(len(payload) + s.cfg.env.head + s.cfg.env.tail)
	h, isFEC := parseFEC(payload)
	if !isFEC {
		s.segmentsLocked(now, payload, true)
		return
	}
	shard := payload[fecShardStart:]
	if h.kind != fecTypeParity {
		body, ok := h.body(payload)
		if !ok {
			s.core.count.FECErrs++
			return
		}
		if h.kind == fecTypeOOB {
			s.oobLocked(body)
			return
		}
		s.segmentsLocked(now, body, true)
		shard = shard[:h.size]
	}
	if s.dec == nil {
		s.dec = &fecDecoder{code: s.cfg.fec, pool: &s.pool, count: &s.core.count}
	}
	s.dec.add(h, shard, func(segments []byte) {
		// What was rebuilt under shard counts that are not the peer's is noise.
		if wellFormed(s.core.conv, segments) {
			s.segmentsLocked(now, segments, false)
		} else {
			s.core.count.FECErrs++
		}
	})
}

func (s *UDPSession) segmentsLocked(now int64, b []byte, regular bool) {
	if s.core.input(now, b, regular) < 0 {
		s.core.count.KCPInErrors++
	}
}

// oobLocked queues an out-of-band payload for the handler, which is called without
// the lock.
func (s *UDPSession) oobLocked(body []byte) {
	if len(body) < oobConvField || segmentConv(body) != s.core.conv {
		s.core.count.InErrs++
		return
	}
	if s.oob != nil && !s.closing.closed {
		p := packets.get()
		p.data = p.mem[:copy(p.mem[:], body[oobConvField:])]
		s.oobs = append(s.oobs, p)
	}
}

// settleLocked is the last that a driver does before unlockAndSend: it flushes if
// flush is set or there is reason to, wakes who can go on, ends a closed session
// that is done, and sees to it that the timer runs when something is due.
func (s *UDPSession) driveLocked(now int64, flush bool) {
	if s.closing.ended {
		return
	}
	if s.closing.deaf && s.core.discard() && s.closing.closed {
		s.closing.forgot = true
	}
	if s.core.reset {
		s.failLocked(syscall.ECONNRESET)
	}
	if s.err == nil {
		s.finishLocked(now)
		s.checkLivenessLocked(now)
	}
	if s.err == nil {
		s.uncorkLocked()
		if flush || s.core.ask || now >= s.flushBy || s.core.ackNoDelay && len(s.core.acks) > 0 ||
			now >= s.core.deadline() || s.core.wantsFlush(now) {
			s.core.lastActive = now
			s.core.flush(now)
			s.flushBy, s.core.corked = never, false
		}
		s.noteAwaitingLocked(now)
	}
	if s.readers > 0 && (s.closing.knock && s.core.met || s.core.pendingRead.n > 0 || s.core.readable(s.stream) ||
		s.core.rcv.fin || now >= s.readBy) {
		s.readable.Broadcast()
	}
	if s.writers > 0 && (s.core.WaitSnd() <= s.lowWaterLocked() || now >= s.writeBy) {
		s.writable.Broadcast()
	}
	if s.closing.closed && s.doneLocked(now) {
		s.endLocked(now)
	}
	s.cfg.snmp.foldBoth(&s.core.count, &s.total)
	s.scheduleLocked(now)
}

// scheduleLocked arms the timer for the next thing that is due. Who waits until woken or
// earlier has been woken, and may not have run yet.
func (s *UDPSession) scheduleLocked(woken int64) {
	if s.closing.ended {
		return
	}
	at := int64(never)
	if s.err == nil {
		at = min(s.core.deadline(), s.flushBy, s.livenessAtLocked(), s.closing.askAt)
		if s.dec != nil && s.dec.holding() || s.enc != nil && len(s.enc.parity) > 0 ||
			s.spare != nil || s.pool.free != nil {
			at = min(at, s.core.lastActive+trimAfter)
		}
	}
	if s.readers > 0 && s.readBy > woken {
		at = min(at, s.readBy)
	}
	if s.writers > 0 && s.writeBy > woken {
		at = min(at, s.writeBy)
	}
	if s.closing.closed {
		at = min(at, s.closing.lingerUntil)
	}
	if at < s.armed {
		s.armed = at
		s.task.arm(at)
	}
}

// onTimer is the timer's drive.
func (s *UDPSession) onTimer(now int64) {
	late := s.sock.readerOverdue(now)
	s.mu.Lock()
	s.armed = never
	// What is to be read may be what would be taken for lost.
	if late && !s.closing.ended && s.postponed < maxPostponed {
		s.postponed++
		s.armed = now + readerSlack
		s.task.arm(s.armed)
		s.mu.Unlock()
		return
	}
	s.postponed = 0
	if now-s.core.lastActive >= trimAfter && !s.closing.ended {
		s.trimLocked(now)
	}
	s.driveLocked(now, false)
	s.unlockAndSend(false)
}

// trimLocked gives back the memory that a pause leaves idle.
func (s *UDPSession) trimLocked(now int64) {
	s.core.trim(now)
	if s.enc != nil {
		s.enc.trim(now)
	}
	if s.dec != nil {
		s.dec.release()
	}
	s.pool.trim()
	s.spare = nil
}

// unlockAndSend releases the lock and sends what is queued, in order: if another
// driver is sending already, that one does it. wait says whether the caller may be kept
// waiting, by a full socket or for a reader to end. Nothing of the session may be touched
// afterwards.
func (s *UDPSession) unlockAndSend(wait bool) {
	for s.sendBatchLocked(wait) {
	}
	leave := s.closing.ended && s.leavesLocked(clock())
	s.mu.Unlock()
	if leave {
		s.leave(wait)
	}
}

// unlockAndHandOver releases the lock, sends as unlockAndSend does and calls the
// out-of-band handler. Only a reader may do that: the caller of a Write, say, may hold a
// mutex that the handler takes. Where a listener has several, one at a time does.
func (s *UDPSession) unlockAndHandOver() {
	if len(s.oobs) == 0 || s.handing.Load() {
		s.unlockAndSend(false)
		return
	}
	s.handing.Store(true)
	for len(s.oobs) > 0 {
		oobs, handler := s.oobs, s.oob
		s.oobs = nil
		s.unlockAndSend(false)
		for _, p := range oobs {
			if handler != nil {
				handler(p.data)
			}
			packets.put(p)
		}
		s.mu.Lock()
	}
	s.handing.Store(false)
	s.mu.Unlock()
}

// sendBatchLocked sends what is queued, without the lock meanwhile. It returns false, and has
// done nothing, if nothing is or another driver is sending.
func (s *UDPSession) sendBatchLocked(wait bool) bool {
	if len(s.queue) == 0 || s.sending {
		return false
	}
	batch := s.takeLocked()
	s.mu.Unlock()
	refused, err := s.cfg.transmit(s.sock, batch, wait)
	lockSpinning(&s.mu)
	s.putBackLocked()
	s.sentLocked(refused, err)
	return true
}

// takeLocked takes what is queued, to be sent without the lock.
func (s *UDPSession) takeLocked() []outbound {
	s.pool.beginBatch()
	s.taken = s.queue
	s.queue, s.spare = s.spare, nil
	s.sending = true
	return s.taken
}

// putBackLocked takes back what takeLocked returned and transmit has sent.
func (s *UDPSession) putBackLocked() {
	for _, o := range s.taken {
		if o.p != nil {
			s.pool.put(o.p)
		}
	}
	s.pool.endBatch()
	clear(s.taken)
	s.spare, s.taken = s.taken[:0], nil
}

// sentLocked records that the sending is over.
func (s *UDPSession) sentLocked(refused int, err error) {
	s.sending = false
	s.core.count.OutErrs += uint64(refused)
	if err != nil && !s.closing.closed {
		s.failLocked(brokenError{err})
	}
}

// failLocked breaks the session: everything but reads of what has arrived returns
// err from now on.
func (s *UDPSession) failLocked(err error) {
	if s.err == nil {
		s.err = err
		s.readable.Broadcast()
		s.writable.Broadcast()
	}
}

// receive takes a batch of datagrams for a dialled session from its socket's reader.
func (s *UDPSession) receive(batch []inbound) {
	now := clock()
	peer := &s.to.peerAddr
	if s.sock.connected {
		peer = nil // nobody else gets there
	}
	if batch = s.cfg.openAll(batch, peer); len(batch) == 0 {
		return
	}
	lockSpinning(&s.mu)
	for _, d := range batch {
		s.datagramLocked(now, d.data)
	}
	s.driveLocked(now, false)
	s.unlockAndHandOver()
}

// readFailed breaks a dialled session whose socket is of no use any more.
func (s *UDPSession) readFailed(err error) { s.abort(brokenError{err}) }

// abort breaks the session with err and ends it if it was closed.
func (s *UDPSession) abort(err error) {
	s.mu.Lock()
	s.failLocked(err)
	s.driveLocked(clock(), false)
	s.unlockAndSend(false)
}

// Read reads what has arrived in order. In stream mode it fills b as far as it can,
// else it ends with the message (of a peer's session: with what one segment
// carried), the rest of which the next Read returns if b was too short. It blocks
// while there is nothing, until the read deadline. Behind the last byte of a peer that has
// ended its stream it returns io.EOF.
func (s *UDPSession) Read(b []byte) (n int, err error) {
	s.mu.Lock()
	for n == 0 && err == nil { // a message may be empty
		if len(b) == 0 {
			err = s.readErrLocked()
			break
		}
		if n, err = s.awaitDataLocked(b); err == nil {
			if n == 0 || s.stream {
				n += s.core.read(b[n:], s.stream)
			}
			s.receivedLocked(n)
		}
	}
	s.unlockReader()
	return n, s.opError("read", err)
}

// awaitDataLocked waits until there is something to be read, or returns why there is not. What
// arrives meanwhile may be put into b, n bytes of it.
func (s *UDPSession) awaitDataLocked(b []byte) (n int, err error) {
	for {
		err := s.readErrLocked()
		switch {
		case err != nil:
			return 0, err
		case s.core.readable(s.stream) && s.core.pendingRead.n == 0: // else another has what came before
			return 0, nil
		case s.core.finished():
			return 0, io.EOF
		case s.core.rcv.fin: // in the midst of a message
			return 0, io.ErrUnexpectedEOF
		case s.err != nil:
			return 0, s.err
		}
		registered := b != nil && s.core.pendingRead.buf == nil
		if registered {
			s.core.pendingRead = pendingRead{buf: b, stream: s.stream}
		}
		s.waitLocked(&s.readable, &s.readers)
		if registered {
			n = s.core.pendingRead.n
			if s.core.pendingRead = (pendingRead{}); n > 0 {
				if s.readers > 0 {
					s.readable.Broadcast() // who waited for that may go on
				}
				return n, nil
			}
		}
	}
}

// readErrLocked returns why nothing can be read whatever has arrived.
func (s *UDPSession) readErrLocked() error {
	switch {
	case s.closing.closed:
		return errClosed
	case s.closing.deaf:
		return io.EOF
	case s.readBy != never && clock() >= s.readBy:
		return errDeadline
	}
	return nil
}

// unlockReader ends a read: the peer may wait for the window that it opened.
func (s *UDPSession) unlockReader() {
	if !s.core.tell {
		s.mu.Unlock()
		return
	}
	s.driveLocked(clock(), true)
	s.unlockAndSend(true)
}

// receivedLocked counts what was read.
func (s *UDPSession) receivedLocked(n int) {
	s.total.BytesReceived += uint64(n)
	atomic.AddUint64(&s.cfg.snmp.BytesReceived, uint64(n))
}

// waitLocked waits on c, at most until the deadline that goes with it.
func (s *UDPSession) waitLocked(c *sync.Cond, waiters *int) {
	*waiters++
	s.scheduleLocked(math.MinInt64)
	c.Wait()
	*waiters--
}

// opError wraps err as package net does, nil as nil.
func (s *UDPSession) opError(op string, err error) error {
	switch err {
	case nil, io.EOF, io.ErrUnexpectedEOF:
		return err
	}
	return &net.OpError{Op: op, Net: "udp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// LocalAddr returns the socket's local address.
func (s *UDPSession) LocalAddr() net.Addr { return s.sock.conn.LocalAddr() }

// RemoteAddr returns the peer's address.
func (s *UDPSession) RemoteAddr() net.Addr { return s.to.netAddr() }

// GetConv returns the conversation id.
func (s *UDPSession) GetConv() uint32 { return s.core.conv }
