package kcp

import (
	"math"
	"time"
)

// trimAfter is how long a core has to be inactive before it gives back the memory of empty
// windows.
const trimAfter = int64(time.Second)

// KCP is the ARQ core of one connection. It turns messages into datagrams and back, in order and
// without loss. It does no I/O, starts no goroutine and holds no lock. A program may drive one by
// hand over a transport of its own, from one goroutine at a time: Send and Recv messages, pass
// received datagrams to Input, and call Update repeatedly, no later than Check says.
//
// The exported methods read the clock; the methods that they call take the time as an argument.
type KCP struct {
	conv     uint32
	mtu      int // longest datagram in bytes, reserved bytes included
	mss      int // most data bytes of one segment
	mssLess  int // so much less than it would be in a session that is never sealed
	reserved int // bytes left free at the start of each datagram
	stream   bool

	interval     int64  // longest delay of an acknowledgement or of a corked write
	resend       int    // later acknowledgements that declare a segment lost, 0 for off
	conserveOnly bool   // nc=1: the controller is conservation
	ackNoDelay   bool   // acknowledge each arrival at once
	plain        bool   // there is no cipher
	copies       uint8  // that are sent of each datagram beside it
	reads        uint16 // longest datagram that this end takes, 0 for mtuLimit

	snd  sendWindow
	rcv  recvWindow
	flow flowControl
	acks ackQueue
	caps peerCaps

	rtt         rttEstimator
	pathQueue   queueDelay
	loss        lossState
	rate        deliveryRate
	dup         duplicateQueue
	cc          CongestionControl // nil until the first segment is sent
	ccLossTimes lossTimes         // cc, if it is one
	userCC      CongestionControl // the caller's choice for nc=0, nil for the default
	ccPacer     pacer             // at the controller's rate
	limitPacer  pacer             // at SetRateLimit's
	bucket      bucketPacer       // as SetBucket's says
	repairs     repairSender
	decoder     *repairDecoder // nil while no repairs come
	windowTuner windowTuner
	maxWindow   uint32 // bound of windows that follow the path
	memory      windowCharge

	pendingRead pendingRead
	corked      bool // new data waits until the session flushes
	repeatsHeld bool // see holdRepeats
	out         datagramWriter
	pool        *packetPool

	lastHeard  int64 // time of the last valid segment
	lastActive int64 // time of the last input, or flush by the session
	trimmed    int64 // lastActive when it was trimmed last
	fittedAt   int64 // time of the last fitWindows

	roomAwaited int64 // until when a writer has waited for room, see noteRoomAwaited

	lastAcknowledged int64 // time when una moved last, 0 for never

	count  *Snmp // events
	log    logger
	manual updateClock

	peer      peerIdentity
	params    peerParams
	pathCheck pathCheck
	early     earlyQueue
	seal      coreSeal
	dataTS    tsRange // of what has arrived
	proof     ackProof
	address   addressValidation
	tsBase    uint32 // ts at the time 0

	expiries []expiry // of messages that are not all acknowledged, in their order
	expired  uint64   // segments whose data was dropped for that

	dgrams          *dgrams // nil before the first
	dgramsMax       int     // how many may wait to be sent, and how many to be read
	segmentsSent    uint32  // transmissions of PUSHes and DGRAMs, and arrivals
	segmentsArrived uint32

	unaHidden uint32 // all ones while una is not told: see peerIdentity.startedAnew

	trace     *tracing // nil without a tracer
	mtuBounds mtuBounds
	pmtu      *pathMTU // nil before the first search
}

func newCore(conv uint32, sink datagramSink, pool *packetPool, count *Snmp, now int64) *KCP {
	k := &KCP{
		conv:       conv,
		interval:   IKCP_INTERVAL * int64(time.Millisecond),
		flow:       flowControl{sendWnd: IKCP_WND_SND, peerWnd: IKCP_WND_RCV},
		out:        datagramWriter{sink: sink},
		pool:       pool,
		count:      count,
		lastHeard:  now,
		lastActive: now,

		roomAwaited: math.MinInt64 / 2,
		dgramsMax:   dgramsDefault,
	}
	if s, ok := sink.(inPlaceSink); ok {
		k.out.inPlace = s
	}
	k.rcv.wnd = IKCP_WND_RCV
	k.params.forget()
	k.maxWindow, k.memory.most = autoWindowMax, autoWindowMax
	k.rtt.init()
	k.dup.percent = duplicatePercent
	k.repairs.tailAt = never
	k.setMtu(IKCP_MTU_DEF)
	return k
}

// NoDelay sets the timing. A negative argument leaves its setting unchanged; the result is 0.
//
//   - nodelay: 0 for a minimum RTO of 100 ms that doubles with each timeout; otherwise 30 ms,
//     growing by half, and a missing acknowledgement alone declares a segment lost after a
//     round trip.
//   - interval: the longest time in milliseconds that a corked write waits, and an
//     acknowledgement up to 20 of them. Clamped to 10…5000. A core driven by hand flushes once
//     an interval.
//   - resend: the number of acknowledgements of later segments that declare a segment lost,
//     0 for timeouts only.
//   - nc: not 0 switches the congestion window off. Only where more than a fifth of what is sent is
//     lost, and sending less loses less, is what is in flight bounded: see NewConservation.
func (k *KCP) NoDelay(nodelay, interval, resend, nc int) int {
	if nodelay >= 0 {
		k.rtt.setNoDelay(nodelay != 0)
	}
	if interval >= 0 {
		k.interval = int64(min(max(interval, intervalMin), intervalMax)) * int64(time.Millisecond)
	}
	if resend >= 0 {
		k.resend = resend
	}
	if nc >= 0 && k.conserveOnly != (nc != 0) {
		k.conserveOnly = nc != 0
		k.resetControl()
	}
	return 0
}

// WndSize sets the send and receive windows in segments. Values above 65535, the largest that
// the wire's 16-bit field can tell, are clamped; a value below 1 leaves its window unchanged. The
// result is 0.
func (k *KCP) WndSize(sndwnd, rcvwnd int) int {
	if sndwnd > 0 {
		k.flow.autoSend = false
		k.flow.sendWnd = uint32(min(sndwnd, wndLimit))
	}
	if rcvwnd > 0 {
		k.windowTuner.auto = false
		k.rcv.wnd = uint32(min(rcvwnd, wndLimit))
	}
	return 0
}

// SetMtu sets the length of the longest datagram in bytes, reserved bytes included. It returns 0,
// or -1 without a change when mtu is above 1500 or leaves no room for data after the reserved bytes
// and a segment's header: without any reserved it is at least 25. A message has at most 255
// segments, so a small mtu bounds it, too. Segments that are already cut keep their size.
func (k *KCP) SetMtu(mtu int) int {
	if mtu > mtuLimit || !k.setMtu(mtu) {
		return -1
	}
	return 0
}

func (k *KCP) setMtu(mtu int) bool {
	if mtu > jumboLimit || mtu <= k.reserved+IKCP_OVERHEAD {
		return false
	}
	k.mtu = mtu
	k.fitSegments()
	return true
}

// fitSegments sets what a segment of full size holds. Those of jumbo datagrams fit into any of Ethernet's:
// should the path become narrower, none has to go in fragments.
func (k *KCP) fitSegments() {
	size := k.mtu
	if behind := int(k.mtuBounds.behind); size+behind > mtuLimit {
		size = mtuEthernet6 - behind
	}
	k.mss = size - k.reserved - IKCP_OVERHEAD
}

// ReserveBytes keeps the first n bytes of each datagram free for a header of the caller's. It
// returns false, without a change, when n is negative or leaves no room for data within the MTU.
func (k *KCP) ReserveBytes(n int) bool {
	if n < 0 || n >= k.mtu-IKCP_OVERHEAD {
		return false
	}
	k.reserved = n
	k.fitSegments()
	return true
}

// SetStreamMode chooses between message mode (off, the default), in which each Send is one
// message to the peer's Recv, and stream mode, in which the bytes of a Send fill up the last
// segment that was not sent yet, and boundaries are lost.
func (k *KCP) SetStreamMode(on bool) { k.stream = on }

// WaitSnd returns the number of segments that were written and not yet acknowledged.
func (k *KCP) WaitSnd() int { return k.snd.waiting() }

// PeekSize returns the size in bytes of the message that Recv would return, -1 while none is
// complete.
func (k *KCP) PeekSize() int { return k.rcv.peek() }

// updateClock is when Update flushes.
type updateClock struct {
	started bool
	next    int64
}

// putSent gives back the packet of a segment that was written to that batch, 0 for none.
func (k *KCP) putSent(p *packet, batch uint32) {
	if batch != 0 && k.out.inPlace != nil {
		k.out.inPlace.batches().put(k.pool, p, batch)
	} else {
		k.pool.put(p)
	}
}

// pendingRead is the buffer of a blocked Read.
type pendingRead struct {
	buf []byte // what is left of it, nil for no such Read
	n   int    // bytes delivered
}

// windowTuner finds the receive window that the sender and the path can use by dynamic
// right-sizing (Fisk and Feng, 2001: https://public.lanl.gov/radiant/pubs/drs/sc2001-poster.pdf).
// It takes the round trip from this end's own samples, which it has if it sends data, too, and from the
// time in which a whole window arrives: the shortest, but a path may become longer.
type windowTuner struct {
	auto       bool   // the receive window is to be tuned
	edge       uint32 // first serial number beyond the window, as of edgeAt
	edgeAt     int64  // 0 for none
	rtt        int64  // the round trip, the longest that counts if it is not known
	taken      uint32 // recvWindow.taken, as of since
	since      int64  // when the current round trip began
	need       uint32 // four times what was taken in the last one, in segments
	wanted     uint32 // the largest window that was wanted in the current one
	slowReader int64  // since when the reader seems not to keep up, 0 if it does
}

// setReceiveWindow makes the receive window wnd segments, as far as its bounds and memory allow.
func (k *KCP) setReceiveWindow(wnd uint32) {
	most := k.maxWindow
	if k.proof.required && !k.proof.heard && !k.pathCheck.valid && most > unsureWindow {
		k.pathCheck.wanted = k.pathCheck.wanted || wnd > unsureWindow
		most = unsureWindow
	}
	if wnd = min(wnd, most); wnd > k.memory.most {
		wnd = k.memory.most
		k.count.WindowsCut++
	}
	k.rcv.wnd = max(wnd, autoWindow)
}
