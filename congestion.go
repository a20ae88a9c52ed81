package kcp

import (
	"math"
	"time"
)

// A CongestionControl decides how many bytes a session has in flight and how fast it
// sends them. The session calls its methods under its lock, so one value serves one
// session and needs no lock of its own; it must neither block nor call the session.
// Bytes are those of segments, header included. Times are readings of one monotonic
// clock.
type CongestionControl interface {
	// Sent is called after each transmission of a segment, the first or a repeated one.
	Sent(now time.Duration, bytes, inFlight int)

	// Acked is called once for every datagram that acknowledges something.
	Acked(now time.Duration, s *RateSample)

	// Lost is called when bytes in flight are declared lost; timeout says that a timer
	// had to tell, with no acknowledgement of what was sent later.
	Lost(now time.Duration, bytes, inFlight int, timeout bool)

	// Spurious is called when bytes that were declared lost had arrived after all.
	Spurious(now time.Duration, bytes int)

	// Window returns how many bytes may be in flight.
	Window() int

	// PacingRate returns the rate to send at in bytes a second, 0 for no pacing.
	PacingRate() int64
}

// A RateSample is what one datagram's acknowledgements tell
// (draft-cheng-iccrg-delivery-rate-estimation).
type RateSample struct {
	Acked      int           // bytes newly acknowledged
	InFlight   int           // bytes in flight now
	Prior      int           // bytes in flight before
	RTT        time.Duration // of the newest transmission acknowledged, 0 for unknown
	Rate       int64         // bytes a second delivered while that was under way, 0 for unknown
	AppLimited bool          // the application, not the path, bounded Rate
	Delivered  int64         // bytes acknowledged in all
	// PriorDelivered is what Delivered was when the newest transmission acknowledged was
	// sent: once it reaches an earlier Delivered, a round trip has passed.
	PriorDelivered int64
	WindowLimited  bool // the congestion window was used up before
}

// minWindow is the least that controllers here let be in flight, in bytes: enough for
// acknowledgements to keep coming (RFC 9002, section 7.2 has 2 datagrams, BBR 4).
const minWindow = 4 * IKCP_MTU_DEF

// initialWindow is that of RFC 6928, 10 full segments.
const initialWindow = 10 * IKCP_MTU_DEF

// delivery counts what has been acknowledged, and makes a rate of it.
type deliveryRate struct {
	total           int64 // bytes acknowledged
	at              int64 // when that became so many
	firstSent       int64 // when the newest segment acknowledged was sent
	appLimited      int64 // total up to which samples are the application's, 0 for none
	sample          RateSample
	prior           rateSnapshot // of the transmission that sample is of
	priorAppLimited bool         // it was the application's pace
	priorSent       int64        // when that was sent, 0 for none
}

// sentRecord is how things stood when a segment was sent: the low bits of delivery's fields, of
// times in microseconds. After an hour in flight they mean little, but no rate is too high for it:
// none is of less than the shortest round trip.
type rateSnapshot struct {
	delivered uint32 // delivery.total
	at        uint32 // delivery.at
	firstSent uint32 // delivery.firstSent
}

// micros returns a time of the clock as the ts field of a segment has it.
func micros(at int64) uint32 { return uint32(at / int64(time.Microsecond)) }

// microsBetween returns the time from then, of micros, to now, with that precision.
func microsBetween(then uint32, now int64) int64 {
	return int64(micros(now)-then) * int64(time.Microsecond)
}

// record returns how things stand for a transmission at now; idle says that nothing is in
// flight.
func (d *deliveryRate) snapshot(now int64, idle bool) (r rateSnapshot, appLimited bool) {
	if idle {
		d.firstSent, d.at = now, now
	}
	return rateSnapshot{uint32(d.total), micros(d.at), micros(d.firstSent)}, d.appLimited != 0
}

// begin starts the sample of one datagram.
func (d *deliveryRate) begin(inFlight int) {
	d.sample, d.priorSent = RateSample{Prior: inFlight}, 0
}

// settled takes the acknowledgement of s, of its last transmission if timed is set.
func (d *deliveryRate) onAcked(now int64, s *sendSegment, timed bool) {
	d.total += int64(s.size())
	d.at = now
	d.sample.Acked += s.size()
	if timed && s.sentAt >= d.priorSent {
		d.prior, d.priorAppLimited, d.priorSent = s.rate, s.appLimited, s.sentAt
	}
}

// finish completes the sample. minRTT is the shortest round trip known: over a shorter
// time rates are those of a batch, not of the path.
func (d *deliveryRate) finish(now int64, inFlight int, minRTT int64) *RateSample {
	s := &d.sample
	s.InFlight, s.Delivered = inFlight, d.total
	s.PriorDelivered = -1
	if d.appLimited != 0 && d.total > d.appLimited {
		d.appLimited = 0
	}
	if d.priorSent == 0 {
		return s
	}
	delivered := int64(uint32(d.total) - d.prior.delivered)
	s.PriorDelivered, s.AppLimited = d.total-delivered, d.priorAppLimited
	s.RTT = time.Duration(now - d.priorSent)
	elapsed := max(microsBetween(d.prior.firstSent, d.priorSent), microsBetween(d.prior.at, now))
	d.firstSent = d.priorSent
	if elapsed > 0 && elapsed > minRTT-int64(time.Microsecond) {
		s.Rate = int64(float64(delivered) * float64(time.Second) / float64(elapsed))
	}
	return s
}

// conservation is the control of nc=1: no window, until something is lost. From then on
// packets are conserved (Jacobson 1988; RFC 6937): no more than a quarter more is sent than
// arrives, so that a window larger than the path holds wastes a bounded share of it, and a
// path that loses less than that is used to the full. It ends when that has been no bound
// for a while, and nothing was lost.
type conservation struct {
	budget   int   // bytes that may be sent, while active
	window   int   // inFlight + budget, or conserveFloor
	active   bool  // something was lost lately
	bound    bool  // the budget was used up, or something lost, in this round
	quiet    int   // rounds in a row without
	until    int64 // Delivered at which this round ends
	lost     int   // bytes lost since it became active
	spurious int   // of them, what had arrived after all
	total    int64 // Delivered now
}

const (
	// conserveFloor is what may be in flight all the same: messages now and then do not
	// overwhelm a path.
	conserveFloor = 32 * IKCP_MTU_DEF
	// conserveRounds is how many quiet rounds end it.
	conserveRounds = 16
)

func (c *conservation) Sent(_ time.Duration, bytes, inFlight int) {
	if c.active {
		c.budget -= bytes
		c.bound = c.bound || c.budget <= 0 && inFlight > conserveFloor
	}
}

func (c *conservation) Acked(_ time.Duration, s *RateSample) {
	c.total = s.Delivered
	if !c.active {
		return
	}
	c.budget = min(c.budget+s.Acked+s.Acked/4, max(s.InFlight/4, minWindow))
	c.window = max(s.InFlight+c.budget, conserveFloor)
	if s.PriorDelivered < c.until {
		return
	}
	c.quiet++
	if c.bound {
		c.quiet = 0
	}
	c.active = c.quiet < conserveRounds
	c.bound, c.until = false, s.Delivered
}

func (c *conservation) Lost(_ time.Duration, bytes, inFlight int, timeout bool) {
	if !c.active {
		*c = conservation{active: true, until: c.total + int64(inFlight), total: c.total}
	}
	c.bound = true
	c.lost += bytes
	if timeout { // nothing arrives: nothing may be sent but a probe
		c.budget = max(c.budget, bytes)
	}
	c.window = max(inFlight+c.budget, conserveFloor)
}

// Spurious ends it when most of what seemed lost was not.
func (c *conservation) Spurious(_ time.Duration, bytes int) {
	c.spurious += bytes
	c.active = c.active && 2*c.spurious < c.lost
}

func (c *conservation) Window() int {
	if !c.active {
		return math.MaxInt
	}
	return c.window
}

func (c *conservation) PacingRate() int64 { return 0 }
