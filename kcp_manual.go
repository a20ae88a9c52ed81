package kcp

import "time"

// NewKCP returns a core for the conversation conv, which must be the same at both ends. output
// is called with each datagram to be sent: its first size bytes, valid until output returns.
// Windows, MTU and timing start with the published defaults.
func NewKCP(conv uint32, output func(buf []byte, size int)) *KCP {
	return newCore(conv, &callbackSink{output: output}, &packets, new(Snmp), clock())
}

// callbackSink passes datagrams to a function.
type callbackSink struct {
	output func(buf []byte, size int)
	buf    []byte
}

func (s *callbackSink) buffer(n int) []byte {
	if len(s.buf) < n {
		s.buf = make([]byte, n)
	}
	return s.buf
}

func (s *callbackSink) emit(_ int64, n int, _ bool) { s.output(s.buf[:n], n) }

// Recv copies the first message to b and returns its size. It returns -1 while no message is
// complete, and -2, leaving the message where it is, when b is too small.
func (k *KCP) Recv(b []byte) int {
	size := k.rcv.peek()
	switch {
	case size < 0:
		return -1
	case size > len(b):
		return -2
	}
	n := k.rcv.read(b, false, k.pool)
	k.logRead(n)
	k.noteWindowOpened()
	return n
}

// Update sends what is due, at most once an interval. Call it every 10 to 100 ms, or when Check
// says.
func (k *KCP) Update() { k.update(clock()) }

func (k *KCP) update(now int64) {
	u := &k.manual
	if !u.started {
		u.started, u.next = true, now
	}
	if now < u.next {
		return
	}
	u.next += k.interval
	if now >= u.next {
		u.next = now + k.interval
	}
	k.flush(now)
}

// ResetRTO makes everything that is in flight due at once, with a timeout that does not back off any
// more, for a program that knows that the path works again: Update sends it now, as the windows
// allow. A zero window is probed now, too. The congestion control is not told of any loss.
func (k *KCP) ResetRTO() {
	now := clock()
	k.resetRTO(now)
	if k.manual.started {
		k.manual.next = now
	}
}

// Check returns when Update has something to do next, in milliseconds on the clock of CurrentMs,
// which wraps. Earlier calls of Update do nothing.
func (k *KCP) Check() uint32 {
	now := clock()
	if !k.manual.started || now >= k.manual.next {
		return millis(now)
	}
	return millis(k.manual.next + int64(time.Millisecond) - 1) // rounded up
}

// PacketType says how a datagram got to Input. It is a bool, so that a call compiles with either.
type PacketType = bool

const (
	IKCP_PACKET_REGULAR PacketType = true  // it was received
	IKCP_PACKET_FEC     PacketType = false // it was rebuilt from parity
)

// Input takes one received datagram, without reserved bytes. regular is false (IKCP_PACKET_FEC) for
// a datagram that was rebuilt from parity, which says nothing about the round trip or the peer's
// window. ackNoDelay sends acknowledgements at once instead of at the next Update.
//
// The result is 0; -1 when the datagram is shorter than a header, or a segment is of another
// conversation, or acknowledges what was never sent; -2 when a segment is longer than the rest of the
// datagram; -3 for an unknown cmd. Segments before the bad one have taken effect, but for -1 because
// of an acknowledgement, when none has.
func (k *KCP) Input(data []byte, regular PacketType, ackNoDelay bool) int {
	now := clock()
	code := k.input(now, data, regular)
	if ackNoDelay && len(k.acks.pending) > 0 {
		k.writeAcks(now)
		k.endDatagram(now)
	}
	return code
}
