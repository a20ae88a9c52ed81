package netem

import (
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// Stats counts what became of the datagrams of a link. Bytes are those of the payload.
type Stats struct {
	Sent           uint64 // accepted by WriteTo
	SentBytes      uint64 // bytes of them
	Delivered      uint64 // put into a receive buffer, copies included
	DeliveredBytes uint64 // bytes of them

	TapDrops    uint64 // refused by the tap
	MTUDrops    uint64 // longer than Path.MTU
	Policed     uint64 // dropped by Path.Policer
	QueueDrops  uint64 // dropped, as the queue was full
	Lost        uint64 // lost by Path.Loss or Path.Burst
	Unbound     uint64 // arrived where no Conn is bound, or were in flight when the Network closed
	BufferDrops uint64 // dropped, as the receive buffer was full

	Duplicated uint64 // copies made
	// Reordered counts the datagrams delivered after one that was sent later (RFC 4737, section
	// 3.3: https://www.rfc-editor.org/rfc/rfc4737#section-3.3).
	Reordered uint64
}

// InFlight returns the number of datagrams, copies included, that are queued or on the wire: sent
// and not counted as delivered or dropped.
func (s Stats) InFlight() uint64 {
	return s.Sent + s.Duplicated - s.Delivered -
		s.TapDrops - s.MTUDrops - s.Policed - s.QueueDrops - s.Lost - s.Unbound - s.BufferDrops
}

func (s *Stats) add(t *Stats) {
	s.Sent += t.Sent
	s.SentBytes += t.SentBytes
	s.Delivered += t.Delivered
	s.DeliveredBytes += t.DeliveredBytes
	s.TapDrops += t.TapDrops
	s.MTUDrops += t.MTUDrops
	s.Policed += t.Policed
	s.QueueDrops += t.QueueDrops
	s.Lost += t.Lost
	s.Unbound += t.Unbound
	s.BufferDrops += t.BufferDrops
	s.Duplicated += t.Duplicated
	s.Reordered += t.Reordered
}

// A link is one direction between two addresses. Network.mu guards it, and is held in all its
// methods.
type link struct {
	net      *Network
	from, to netip.AddrPort
	fromAddr *net.UDPAddr // from, as ReadFrom returns it

	path    Path
	own     bool        // SetPath was called for this link
	private Bottleneck  // with path's Bandwidth, Overhead and Queue
	via     *Bottleneck // &private, or the one that SetRoute chose

	tokens   float64       // bytes in Path.Policer's bucket
	filledAt time.Duration // when tokens were counted

	rand    *rand.Rand
	bad     bool          // path.Burst is in its bad state
	arrival time.Duration // of the newest datagram on the wire, without jitter and reordering
	newest  uint64        // highest sequence number delivered
	stats   Stats
}

// setPath changes the link's behaviour at the time now.
func (l *link) setPath(p Path, now time.Duration) {
	l.fillBucket(now)
	l.path = p
	l.tokens = min(l.tokens, float64(p.Policer.Burst))
	l.bad = l.bad && p.Burst.Enter > 0 // otherwise it might never leave the bad state
	l.private.setRate(p, now)
}

// submit takes d at the time now. Everything that was due has been processed. pass is false if the
// tap has refused d.
func (l *link) submit(d *datagram, pass bool, now time.Duration) {
	l.stats.Sent++
	l.stats.SentBytes += uint64(len(d.b))
	l.draw(d)
	switch {
	case !pass:
		l.stats.TapDrops++
	case l.net.closed:
		l.stats.Unbound++
	case l.path.MTU > 0 && len(d.b) > l.path.MTU && !d.fragments:
		l.stats.MTUDrops++
	case !l.police(d, now):
		l.stats.Policed++
	case !l.via.enqueue(d, now):
		l.stats.QueueDrops++
	default:
		return
	}
	d.free()
}

// pieces is how many fragments the datagram goes in.
func (d *datagram) pieces() int {
	if mtu := d.link.path.MTU; mtu > 0 && len(d.b) > mtu {
		return (len(d.b) + mtu - 1) / mtu
	}
	return 1
}

// police says whether path.Policer lets d pass at the time now.
func (l *link) police(d *datagram, now time.Duration) bool {
	if l.path.Policer.Rate == 0 {
		return true
	}
	l.fillBucket(now)
	size := float64(len(d.b) + l.path.Overhead)
	if size > l.tokens {
		return false
	}
	l.tokens -= size
	return true
}

// fillBucket adds the tokens that have come in by the time now. Without a policer the bucket is full.
func (l *link) fillBucket(now time.Duration) {
	p := &l.path.Policer
	if p.Rate == 0 {
		l.tokens = math.MaxInt32
	} else {
		l.tokens = min(float64(p.Burst), l.tokens+(now-l.filledAt).Seconds()*float64(p.Rate))
	}
	l.filledAt = now
}

// draw draws what happens to d. It takes the same number of draws whatever the path, so that a
// change of one field does not change what the other fields do.
func (l *link) draw(d *datagram) {
	p := &l.path
	var (
		move   = l.rand.Float64()
		burst  = l.rand.Float64()
		single = l.rand.Float64()
		hold   = l.rand.Float64()
		twice  = l.rand.Float64()
		jitter = l.rand.Float64()
		copied = l.rand.Float64()
	)
	if l.bad {
		l.bad = move >= p.Burst.Leave
	} else {
		l.bad = move < p.Burst.Enter
	}
	d.lost = single < p.Loss || l.bad && burst < p.Burst.Loss
	d.twice = twice < p.Duplicate
	d.late = time.Duration(jitter * float64(p.Jitter))
	d.copyLate = time.Duration(copied * float64(p.Jitter))
	if hold < p.Reorder {
		d.late += p.ReorderDelay
		d.copyLate += p.ReorderDelay
	}
}

// launch puts d, which left the bottleneck at the time left, on the wire.
func (l *link) launch(d *datagram, left time.Duration) {
	if d.lost {
		l.stats.Lost++
		d.free()
		return
	}
	// The maximum keeps the order when the delay has become shorter.
	l.arrival = max(l.arrival, left+l.path.Delay)
	l.net.events.push(event{due: l.arrival + d.late, seq: d.seq, d: d})
	if d.twice {
		c := newDatagram(d.b)
		c.link, c.seq = l, d.seq
		l.stats.Duplicated++
		l.net.events.push(event{due: l.arrival + d.copyLate, seq: c.seq, d: c})
	}
}

// A Bottleneck is a rate with a drop-tail queue in front of it. Every link has one of its own;
// [Network.NewBottleneck] makes one for several links to share.
type Bottleneck struct {
	// Network.mu guards it, and is held in all its methods but SetPath. While waiting is not empty,
	// an event at the time done is in the network's heap; others, outdated by setRate, may be there
	// too.

	net      *Network
	rate     Path            // with Bandwidth, Overhead and Queue only
	waiting  fifo[*datagram] // the first is being transmitted
	backlog  int             // bytes of waiting, without the first
	done     time.Duration   // when the first will have been transmitted
	fraction int64           // nanoseconds that done is short of the exact time, in 1/Bandwidth
}

// SetPath changes the Bottleneck as [Network.SetPath] does, while traffic flows. The fields of p,
// and the errors, are those of [Network.NewBottleneck].
func (b *Bottleneck) SetPath(p Path) error {
	p, err := p.resolveShared()
	if err != nil {
		return err
	}
	b.net.update(func(now time.Duration) { b.setRate(p, now) })
	return nil
}

// setRate changes the rate and the queue at the time now. The rest of the datagram being
// transmitted goes at the new rate.
func (b *Bottleneck) setRate(p Path, now time.Duration) {
	old := b.rate.Bandwidth
	b.rate = p
	if b.waiting.len() == 0 || p.Bandwidth == old {
		return
	}
	left := time.Duration(0)
	if p.Bandwidth > 0 {
		left = time.Duration(float64(b.done-now) * float64(old) / float64(p.Bandwidth))
	}
	b.fraction = 0
	b.schedule(now + left)
}

// enqueue takes d at the time now. It returns false, and leaves d alone, if the queue is full.
func (b *Bottleneck) enqueue(d *datagram, now time.Duration) bool {
	d.size = len(d.b) + b.rate.Overhead*d.pieces()
	switch {
	case b.rate.Bandwidth == 0: // nothing waits
		d.link.launch(d, now)
	case b.waiting.len() == 0:
		b.waiting.push(d)
		b.fraction = 0
		b.transmit(now)
	case d.size > b.rate.Queue-b.backlog:
		return false
	default:
		b.waiting.push(d)
		b.backlog += d.size
	}
	return true
}

// transmit begins to transmit the first datagram at the time start.
func (b *Bottleneck) transmit(start time.Duration) {
	if b.rate.Bandwidth == 0 { // datagrams that waited when setRate took the limit away
		b.schedule(start)
		return
	}
	// The remainder is carried over, so that N bytes take N/Bandwidth seconds whatever the number
	// of datagrams.
	work := int64(b.waiting.peek().size)*int64(time.Second) + b.fraction
	b.fraction = work % b.rate.Bandwidth
	b.schedule(start + time.Duration(work/b.rate.Bandwidth))
}

// schedule sets the time when the first datagram will have been transmitted.
func (b *Bottleneck) schedule(done time.Duration) {
	b.done = done
	b.net.events.push(event{due: done, seq: b.waiting.peek().seq, q: b})
}

// transmitted processes the event of the time due. An outdated event is harmless.
func (b *Bottleneck) transmitted(due time.Duration) {
	if b.waiting.len() == 0 || b.done > due {
		return
	}
	d := b.waiting.pop()
	d.link.launch(d, b.done)
	if b.waiting.len() > 0 {
		b.backlog -= b.waiting.peek().size
		b.transmit(b.done)
	}
}

// discard empties the queue of a network that closes.
func (b *Bottleneck) discard() {
	for b.waiting.len() > 0 {
		d := b.waiting.pop()
		d.link.stats.Unbound++
		d.free()
	}
	b.backlog = 0
}
