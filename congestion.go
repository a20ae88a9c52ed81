package kcp

import (
	"time"
)

// A CongestionControl decides how many bytes a session has in flight and how fast it sends them.
// The session calls its methods under its lock, so one value serves one session and needs no lock
// of its own; the methods must neither block nor call the session. Bytes are those of segments,
// headers included. Times are readings of one monotonic clock. One that has a method State() string
// has the changes of its state traced: see Tracer.
type CongestionControl interface {
	// Sent is called after each transmission of a segment, the first and each later one.
	Sent(now time.Duration, bytes, inFlight int)

	// Acked is called once for each datagram that acknowledges something.
	Acked(now time.Duration, s *RateSample)

	// Lost is called when bytes in flight are declared lost. timeout says that a timer declared
	// the loss, without an acknowledgement of anything sent later.
	Lost(now time.Duration, bytes, inFlight int, timeout bool)

	// Spurious is called when bytes that were declared lost turn out to have arrived.
	Spurious(now time.Duration, bytes int)

	// Window returns the congestion window: how many bytes may be in flight.
	Window() int

	// PacingRate returns the rate to send at in bytes a second, 0 for no pacing.
	PacingRate() int64
}

// A RateSample is what the acknowledgements of one datagram tell about the path (delivery rate
// estimation: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-4.1).
type RateSample struct {
	// Acked is the number of bytes newly acknowledged.
	Acked int
	// InFlight is the number of bytes in flight now.
	InFlight int
	// Prior is the number of bytes that were in flight before.
	Prior int
	// RTT is the round trip of the newest transmission acknowledged, 0 for unknown.
	RTT time.Duration
	// Rate is the number of bytes a second that were delivered while that transmission was under
	// way, 0 for unknown.
	Rate int64
	// AppLimited says that the application, not the path, bounded Rate.
	AppLimited bool
	// Delivered is the number of bytes acknowledged in all.
	Delivered int64
	// PriorDelivered is what Delivered was when the newest transmission acknowledged was sent.
	// Once it reaches an earlier Delivered, a round trip has passed.
	PriorDelivered int64
	// RoomLimited says that the send window, or the peer's, kept data back lately.
	RoomLimited bool
	// WindowLimited says that the congestion window was used up before.
	WindowLimited bool

	// In how long Delivered−PriorDelivered were sent, and acknowledged. Rate is over the longer.
	sendElapsed, ackElapsed time.Duration
}

const (
	// minWindow is the smallest congestion window of the controllers here, in bytes: enough for
	// acknowledgements to keep coming. RFC 9002 has 2 datagrams
	// (https://www.rfc-editor.org/rfc/rfc9002#section-7.2), BBR 4.
	minWindow = 4 * IKCP_MTU_DEF
	// initialWindow is 10 full segments (RFC 6928: https://www.rfc-editor.org/rfc/rfc6928).
	initialWindow = 10 * IKCP_MTU_DEF
	// pacedInitialWindow is the least window of bbr's Startup once a round trip is known, so that
	// pacing spreads it: what quic-go has.
	pacedInitialWindow = 32 * IKCP_MTU_DEF
	// What pacing releases at once is what the rate is in one pacingShare of the round trip, so little
	// that a queue of a tenth of it has room, and within these times, so much that timers and batches
	// do not notice.
	pacingShare      = 16
	pacingQuantumMin = int64(250 * time.Microsecond)
	pacingQuantum    = int64(time.Millisecond)
	// slowPacing is the rate in bytes a second below which pacing releases single datagrams, not two or
	// more (section 5.6.3: https://datatracker.ietf.org/doc/html/draft-ietf-ccwg-bbr#section-5.6.3).
	slowPacing = 150_000
)

// lossTimes is a CongestionControl that also wants to know when what is lost had been sent. Bytes are
// negative where those lost turn out to have arrived.
type lossTimes interface {
	lostAfter(sentAt time.Duration, bytes int)
}
