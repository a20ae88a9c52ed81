package kcp

import (
	"math"
	"time"
)

// never is the deadline of something that is not due at any time.
const never = math.MaxInt64

const (
	// ackBatch is how many acknowledgements wait for a datagram of their own
	// before the interval is over: every second segment is acknowledged at once
	// (RFC 5681, section 4.2).
	ackBatch = 2
	// ackDelay is the longest that an acknowledgement waits, also where the interval is
	// longer: well below the least RTO of 100 ms that deployed senders have by default.
	ackDelay = 20 * int64(time.Millisecond)
	// trimAfter is how long an empty window keeps its memory.
	trimAfter = int64(time.Second)
)

// A sink takes the datagrams that a flush writes.
type sink interface {
	// room returns a buffer of at least n bytes for the next datagram.
	room(n int) []byte
	// emit takes the buffer back; its first n bytes are the datagram, reserved
	// bytes included.
	emit(n int)
}

// A lender is a sink that can send a segment from where it is.
type lender interface {
	// lend takes p's own memory as the buffer for the next datagram, which carries p's
	// data and nothing else. It leaves p's data as it is, and needs it as long as the pool
	// says that the datagram's batch is unsent.
	lend(p *packet)
}

// ack is an acknowledgement that is due: the serial number and the time stamp of
// the transmission that arrived.
type ack struct{ sn, ts uint32 }

// KCP is the ARQ core of one connection: it turns messages into datagrams and
// back, in order and without loss. It does no I/O, starts no goroutine and holds
// no lock; a program may drive one by hand over a transport of its own, from one
// goroutine at a time: Send and Recv messages, feed what arrives to Input, and
// call Update again and again, at the latest when Check says so.
//
// The methods read the clock; what they call takes the time as an argument.
type KCP struct {
	conv     uint32
	mtu      int // of a datagram, reserved bytes included
	mss      int // data of one segment
	reserved int // bytes left free at the start of each datagram
	stream   bool

	interval     int64 // longest wait of an acknowledgement or a delayed write
	resend       int   // later acknowledgements that make a segment lost, 0 for off
	conserveOnly bool  // nc=1: no congestion window
	ackNoDelay   bool  // acknowledge every arrival at once

	snd              sendWindow
	sndWnd           uint32 // limit of segments in flight
	rmtWnd           uint32 // what the peer's receive window has room for
	wndUna           uint32 // una of the segment that said so
	rcv              recvWindow
	pendingRead      pendingRead
	autoSnd, autoRcv bool // the windows are ours to choose
	rtt              rttEstimator
	loss             lossDetector
	rate             deliveryRate
	cc               CongestionControl // nil before the first segment is sent
	userCC           CongestionControl // by the user for nc=0, nil for the default
	tuner            windowTuner
	ccPacer          pacer // at cc's rate
	limitPacer       pacer // of SetRateLimit
	dup              duplicateQueue

	acks       []ack
	repeat     []ack  // acknowledgements to be sent once more
	acksBy     int64  // when acks must be sent at the latest, while there are any
	tell       bool   // a WINS is due
	announced  bool   // edge is set
	edge       uint32 // first serial number beyond the window we announced last
	ask        bool   // a WASK is due
	corked     bool   // what was written waits for the shell to flush
	probeAt    int64  // when to ask next, 0 while the peer's window is open
	probeWait  int64
	heard      bool  // the peer has announced a window
	lastHeard  int64 // time of the last valid segment
	lastActive int64 // time of the last flush or input that did something

	// Of the extensions; see extend.go.
	caps        uint8 // what our control segments announce, 0 without extensions
	peer        uint8 // what the peer's announced, 0 before it did
	met         bool  // one of the peer's control segments was heard, so peer is known
	fresh       bool  // we dialled, and nothing of ours was confirmed yet
	introduceAt int64 // when to announce caps again, while fresh
	asked       bool  // a WASK was sent, and nothing was heard since
	reset       bool  // the peer has reset the session

	out    sink
	lender lender // out, if it is one
	buf    []byte // datagram being written, nil for none
	n      int    // bytes of it so far
	paced  bool   // it holds data, and the pacer was charged for it
	pool   *packetPool

	count Snmp // what happened since the session last folded it away

	updated bool  // Update was called before
	nextUpd int64 // when Update flushes next
}

// NewKCP returns a core for the conversation conv, which must be the same at both
// ends. output is called with every datagram to be sent: its first size bytes,
// valid until it returns. Windows, MTU and timing start with the published
// defaults.
func NewKCP(conv uint32, output func(buf []byte, size int)) *KCP {
	return newCore(conv, &callbackSink{output: output}, &packets, clock())
}

// callbackSink hands datagrams to a function.
type callbackSink struct {
	output func(buf []byte, size int)
	buf    []byte
}

func (s *callbackSink) room(n int) []byte {
	if len(s.buf) < n {
		s.buf = make([]byte, n)
	}
	return s.buf
}

func (s *callbackSink) emit(n int) { s.output(s.buf[:n], n) }

func newCore(conv uint32, out sink, pool *packetPool, now int64) *KCP {
	k := &KCP{
		conv:       conv,
		interval:   IKCP_INTERVAL * int64(time.Millisecond),
		sndWnd:     IKCP_WND_SND,
		rmtWnd:     IKCP_WND_RCV,
		out:        out,
		pool:       pool,
		lastHeard:  now,
		lastActive: now,
	}
	k.lender, _ = out.(lender)
	k.rcv.wnd = IKCP_WND_RCV
	k.rtt.init()
	k.dup.percent = duplicatePercent
	k.setMtu(IKCP_MTU_DEF)
	return k
}

// NoDelay sets how eager the core is. nodelay: 0 for a least RTO of 100 ms that
// doubles on timeout, else 30 ms that grows by half. interval: milliseconds that a
// delayed write may wait, and an acknowledgement too but at most 20, clamped to
// 10…5000; a core that is driven by hand flushes once an interval. resend: the number of later acknowledgements after which a segment is sent again without
// waiting for its timeout, 0 for never. nc: not 0 switches the congestion window
// off. A negative argument leaves its setting as it is. The result is 0.
func (k *KCP) NoDelay(nodelay, interval, resend, nc int) int {
	if nodelay >= 0 {
		k.rtt.setNoDelay(nodelay != 0)
	}
	if interval >= 0 {
		k.interval = int64(min(max(interval, 10), 5000)) * int64(time.Millisecond)
	}
	if resend >= 0 {
		k.resend = resend
	}
	if nc >= 0 && k.conserveOnly != (nc != 0) {
		k.conserveOnly = nc != 0
		k.setControl(nil)
	}
	return 0
}

// WndSize sets the send and receive windows in segments, at most 65535 (a larger
// value is clamped: the wire's field has 16 bits). A value below 1 leaves its
// window as it is. The result is 0.
func (k *KCP) WndSize(sndwnd, rcvwnd int) int {
	if sndwnd > 0 {
		k.autoSnd = false
		k.sndWnd = uint32(min(sndwnd, wndLimit))
	}
	if rcvwnd > 0 {
		k.autoRcv = false
		k.rcv.wnd = uint32(min(rcvwnd, wndLimit))
	}
	return 0
}

// SetMtu sets the size of the longest datagram in bytes, reserved bytes included.
// It returns 0, or -1 and changes nothing when mtu is below 50 or above 1500 or
// leaves no room for data behind the reserved bytes and a segment's header.
// Segments that were cut before keep their size.
func (k *KCP) SetMtu(mtu int) int {
	if mtu < mtuMin || !k.setMtu(mtu) {
		return -1
	}
	return 0
}

func (k *KCP) setMtu(mtu int) bool {
	if mtu > mtuLimit || mtu <= k.reserved+IKCP_OVERHEAD {
		return false
	}
	k.mtu, k.mss = mtu, mtu-k.reserved-IKCP_OVERHEAD
	return true
}

// ReserveBytes keeps the first n bytes of every datagram free for the caller's own
// header. It returns false and changes nothing when n is negative or leaves no
// room for data within the MTU.
func (k *KCP) ReserveBytes(n int) bool {
	if n < 0 || n >= k.mtu-IKCP_OVERHEAD {
		return false
	}
	k.reserved = n
	k.mss = k.mtu - n - IKCP_OVERHEAD
	return true
}

// SetStreamMode chooses between message mode (off, the default), in which every
// Send is one message to the peer's Recv, and stream mode, in which the bytes of a
// Send fill up the last segment that was not sent yet and boundaries are lost.
func (k *KCP) SetStreamMode(on bool) { k.stream = on }

// WaitSnd returns how many segments were written and not yet acknowledged.
func (k *KCP) WaitSnd() int { return k.snd.waiting() }

// PeekSize returns the size in bytes of the message that Recv would return, -1
// while none is complete.
func (k *KCP) PeekSize() int { return k.rcv.peek() }

// Send queues a copy of b as one message, or as bytes of the stream in stream
// mode. It returns 0, -1 when b is empty, and -2 when it needs more than 255
// segments, in which case nothing is queued. A message of more segments than the
// peer's receive window has never gets there: the peer's Recv waits for its end.
func (k *KCP) Send(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	var tail *packet
	fill := 0
	if k.stream && k.snd.queued() > 0 {
		tail = k.snd.at(k.snd.end - 1).p
		fill = min(len(b), max(0, k.mss-len(tail.data)))
	}
	count := (len(b) - fill + k.mss - 1) / k.mss
	if count > maxFragments {
		return -2
	}
	if fill > 0 {
		tail.data = append(tail.data, b[:fill]...)
		b = b[fill:]
	}
	for i := count - 1; i >= 0; i-- {
		p := k.pool.get()
		at := k.reserved + IKCP_OVERHEAD // where it is in a datagram of its own
		p.data = p.mem[at : at+copy(p.mem[at:at+k.mss], b)]
		b = b[len(p.data):]
		if !k.stream {
			p.frg = uint8(i)
		}
		k.snd.push(p)
	}
	return 0
}

// Recv copies the first message to b and returns its size. It returns -1 while no
// message is complete and -2, leaving the message where it is, when b is too
// small.
func (k *KCP) Recv(b []byte) int {
	size := k.rcv.peek()
	switch {
	case size < 0:
		return -1
	case size > len(b):
		return -2
	}
	return k.read(b, false)
}

// read copies in-order data to b: of one message, or in stream mode of as many as
// fit, also of one that is not complete yet.
func (k *KCP) read(b []byte, stream bool) int {
	n := k.rcv.read(b, stream, k.pool)
	k.noteWindowOpened()
	return n
}

// Input takes one datagram that arrived, without reserved bytes. regular is false
// for one that was rebuilt from parity: it says nothing about the round trip or
// the peer's window. ackNoDelay sends acknowledgements at once instead of at the
// next Update. The result is 0, -1 when a segment is of another conversation or
// the datagram is shorter than a header, -2 when a segment is longer than what is
// left, -3 for an unknown cmd; segments before the bad one have taken effect.
func (k *KCP) Input(data []byte, regular, ackNoDelay bool) int {
	now := clock()
	code := k.input(now, data, regular)
	if ackNoDelay && len(k.acks) > 0 {
		k.writeAcks()
		k.endDatagram()
	}
	return code
}

func (k *KCP) input(now int64, data []byte, regular bool) (code int) {
	if len(data) < IKCP_OVERHEAD {
		return -1
	}
	var (
		h       header
		newest  int64 // when the newest transmission acknowledged was sent, 0 for none
		una     = k.snd.una
		limited = k.cwndLimited()
	)
	k.rate.begin(k.snd.bytesInFlight)
	for len(data) >= IKCP_OVERHEAD {
		h.parse(data)
		data = data[IKCP_OVERHEAD:]
		if h.conv != k.conv {
			code = -1
			break
		}
		if !h.fits(data) {
			code = -2
			break
		}
		body := data[:h.len]
		data = data[h.len:]
		if h.cmd < IKCP_CMD_PUSH || h.cmd > k.lastCmd() {
			code = -3
			break
		}
		if k.asked {
			k.asked = false
			if k.probeAt != 0 {
				k.probeAt = now + k.probeWait
			}
		}
		k.lastHeard = now
		k.count.InSegs++
		if d := h.una - k.snd.una; d <= k.snd.nxt-k.snd.una {
			if d > una-k.snd.una {
				una = h.una
			}
			if regular {
				k.onWindow(h.una, h.wnd)
			}
		}
		switch h.cmd {
		case IKCP_CMD_ACK:
			newest = max(newest, k.onAck(now, h.sn, h.ts))
		case IKCP_CMD_PUSH, cmdFIN:
			k.onData(now, &h, body)
		case IKCP_CMD_WASK:
			k.tell = true
		case cmdRST:
			k.onReset(&h)
		}
		if h.isControl() {
			k.learnCaps(&h)
		}
	}
	for sn := k.snd.una; sn != una; sn++ {
		k.onUna(now, sn)
	}
	was := k.snd.una
	k.snd.advance()
	if k.snd.una != was {
		k.fresh = false
	}
	if regular && newest != 0 {
		k.rtt.sample(now-newest, k.interval)
	}
	if k.rate.sample.Acked > 0 {
		k.loss.onAcks(now)
		sample := k.rate.finish(now, k.snd.bytesInFlight, k.rtt.min)
		sample.WindowLimited = limited
		k.congestion().Acked(time.Duration(now), sample)
		k.setPacingRate(now)
		k.tuneSend()
	}
	k.lastActive = now
	return code
}

// acknowledged takes the acknowledgement of segment sn's transmission with time stamp ts.
// It returns when that was sent, 0 where it says nothing of the round trip.
func (k *KCP) onAck(now int64, sn, ts uint32) (sentAt int64) {
	if sn-k.snd.una >= k.snd.nxt-k.snd.una {
		return 0
	}
	s := k.snd.at(sn)
	if s.state == segAcked {
		return 0
	}
	at, last, ok := s.sentWith(now, ts)
	switch {
	case !ok: // nothing to be learnt, but it is acknowledged
	case !last || s.state == segLost:
		// It was not lost: later ones had overtaken it, or its acknowledgement was on its
		// way for longer than we waited.
		if at < k.loss.newestAcked {
			k.loss.noteReordering(now, now-at-k.loss.rtt)
		}
		k.loss.spurious++
		k.congestion().Spurious(time.Duration(now), s.size())
		sentAt = at
	case !s.duplicated: // else it may have been either copy (Karn's algorithm)
		k.loss.onAck(now, at)
		sentAt = at
	}
	k.loss.noteDelivered()
	k.rate.onAcked(now, s, last && sentAt != 0)
	k.pool.putSegment(k.snd.ack(sn, ts), s.batch)
	return sentAt
}

// passed takes segment sn, of which an una says that it arrived. Which transmission did
// and when is known only if there was one.
func (k *KCP) onUna(now int64, sn uint32) {
	s := k.snd.at(sn)
	if s.state == segAcked {
		return
	}
	k.loss.noteDelivered()
	k.rate.onAcked(now, s, s.state == segInFlight && !s.resent)
	k.pool.putSegment(k.snd.markAcked(sn), s.batch)
}

// window takes the peer's announcement wnd, made when it had received everything
// below una. An older announcement that was overtaken is ignored; of two equally
// old ones the larger counts, as a peer's window only opens between them.
func (k *KCP) onWindow(una uint32, wnd uint16) {
	newer := int32(una - k.wndUna)
	if !k.heard || newer > 0 || newer == 0 && uint32(wnd) > k.rmtWnd {
		k.heard, k.wndUna, k.rmtWnd = true, una, uint32(wnd)
	}
}

// push takes a data segment, or the FIN.
func (k *KCP) onData(now int64, h *header, body []byte) {
	if !k.rcv.inside(h.sn) {
		return
	}
	if len(k.acks) == 0 {
		k.acksBy = now + min(k.interval, ackDelay)
	}
	k.acks = append(k.acks, ack{h.sn, h.ts})
	if k.rcv.has(h.sn) {
		k.count.RepeatSegs++
		k.acksBy = now // the first acknowledgement may have been lost
		return
	}
	if !k.deliverDirect(h, body) {
		p := k.pool.get()
		p.data = p.mem[:copy(p.mem[:], body)]
		p.frg, p.fin = h.frg, h.cmd == cmdFIN
		k.rcv.insert(h.sn, p, k.pool)
	}
	k.tuneReceive(now, h.sn)
	if k.rcv.fin || k.rcv.gap() {
		// The sender's loss detection waits for it (RFC 5681, 4.2), or nothing follows the
		// end that could take it along.
		k.acksBy = now
	}
}

// waitingReader is a blocked Read.
type pendingRead struct {
	buf    []byte // what is left of its buffer; nil for no such reader
	n      int    // bytes put there
	stream bool   // it takes more than one message
}

// fillReader puts a segment that is next, and a whole message, into the buffer of the reader that
// waits for it, which saves a copy. It returns false for all that takes the way through the window.
func (k *KCP) deliverDirect(h *header, body []byte) bool {
	r := &k.pendingRead
	if len(body) == 0 || len(body) > len(r.buf) || h.sn != k.rcv.nxt || h.sn != k.rcv.head ||
		h.frg != 0 || h.cmd != IKCP_CMD_PUSH || r.n > 0 && !r.stream {
		return false
	}
	copy(r.buf, body)
	r.buf = r.buf[len(body):]
	r.n += len(body)
	k.rcv.pass(k.pool)
	return true
}

// Update sends what is due, at most once an interval; call it every 10 to 100 ms
// or when Check says so.
func (k *KCP) Update() { k.update(clock()) }

func (k *KCP) update(now int64) {
	if !k.updated {
		k.updated, k.nextUpd = true, now
	}
	if now < k.nextUpd {
		return
	}
	k.nextUpd += k.interval
	if now >= k.nextUpd {
		k.nextUpd = now + k.interval
	}
	k.flush(now)
}

// Check returns when Update has something to do next: milliseconds on the clock of
// CurrentMs, which wraps. Calls in between do nothing.
func (k *KCP) Check() uint32 {
	now := clock()
	if !k.updated || now >= k.nextUpd {
		return millis(now)
	}
	return millis(k.nextUpd + int64(time.Millisecond) - 1) // not a part of one too early
}

// idle says whether nothing waits to be sent or acknowledged.
func (k *KCP) idle() bool { return k.snd.waiting() == 0 && len(k.acks) == 0 && !k.tell }

// trim gives memory back after a pause.
func (k *KCP) trim(now int64) {
	if now-k.lastActive < trimAfter {
		return
	}
	k.snd.trim()
	k.rcv.trim()
	if len(k.acks) == 0 {
		k.acks, k.repeat = nil, nil
	}
}

// release gives all packets back; the core is of no use afterwards.
func (k *KCP) release() {
	for sn := k.snd.una; sn != k.snd.end; sn++ {
		if s := k.snd.at(sn); s.p != nil {
			k.pool.putSegment(s.p, s.batch)
		}
	}
	k.snd = sendWindow{una: k.snd.una, nxt: k.snd.una, end: k.snd.una}
	k.rcv.release(k.pool)
	k.acks, k.repeat = nil, nil
}

// readable says whether read would return something, or drop an empty message.
func (k *KCP) readable(stream bool) bool {
	if stream {
		return k.rcv.head != k.rcv.nxt
	}
	return k.rcv.whole > 0
}

// discard throws away what has arrived in order, as if it were read, and says whether
// there was anything.
func (k *KCP) discard() (any bool) {
	any = k.rcv.head != k.rcv.nxt
	for k.rcv.head != k.rcv.nxt {
		k.rcv.drop(k.pool)
	}
	k.noteWindowOpened()
	return any
}

// tellOpened makes a WINS due when reading has opened the window for a peer that may be
// waiting for it: one that has less than a quarter of the window left, as soon as there is
// a quarter more for it (RFC 9293, 3.8.6.2.2, against silly windows) or nothing more to be
// read before it sends.
func (k *KCP) noteWindowOpened() {
	if !k.announced {
		return
	}
	left, free := max(0, int(int32(k.edge-k.rcv.nxt))), int(k.rcv.free())
	quarter := max(1, int(k.rcv.wnd/4))
	if left < quarter && (free-left >= quarter || free > left && k.rcv.whole == 0) {
		k.tell = true
	}
}
