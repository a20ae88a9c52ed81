package kcp

import "net"

// inbound is a received datagram.
type inbound struct {
	data []byte
	from peerAddr
	addr net.Addr // only where from is not a UDP address

	sealed   *sealedPeer  // whom it is for, if it is sealed; not opened yet where that has no keys
	number   uint64       // its number
	unopened bool         // there were no keys yet
	group    *cipherGroup // of a transport's: under whose shared cipher it has opened, nil if it is sealed
}

// setSource says that d came from addr.
func (d *inbound) setSource(addr net.Addr) {
	if d.from, d.addr = peerAddrOf(addr), nil; d.from.other != "" {
		d.addr = addr
	}
}

// outbound is a datagram to be sent.
type outbound struct {
	data []byte  // in p, or in a segment
	p    *packet // to be put back; nil where data is in a segment, unless it is to be sealed, into p
	to   *destination
	keys *datagramSealer // nil for the shared cipher
}

// room returns memory for a datagram of at most so many bytes, in p.
func (p *packet) room(size int) []byte {
	if size <= mtuLimit {
		return p.mem[:]
	}
	p.data = largeBuffers.Get().(*largeBuffer)[:]
	return p.data
}

// shrink gives p's large buffer back.
func (p *packet) shrink() {
	largeBuffers.Put((*largeBuffer)(p.data))
	p.data = nil
}

// jumbo says whether the datagram lies in a large buffer, of p's.
func (o *outbound) jumbo() bool {
	return cap(o.data) > mtuLimit && o.p != nil && len(o.p.data) == jumboLimit
}

// release puts back what the datagram lies in.
func (o *outbound) release(pool *packetPool) {
	if o.jumbo() {
		o.p.shrink()
	}
	if o.p != nil {
		pool.put(o.p)
	}
}

// copyOut copies a datagram that lies in a segment, and is to be sealed, to p.
func (o *outbound) copyOut() {
	if !o.inPacket() {
		o.data = o.p.mem[:copy(o.p.mem[:], o.data)]
	}
}

// inPacket says whether the datagram, which has a p, lies in p.
func (o *outbound) inPacket() bool { return o.jumbo() || &o.data[0] == &o.p.mem[0] }

// contents is what an opened datagram holds.
type contents struct {
	isFEC bool
	fec   fecHeader // if isFEC
	// body is what follows the FEC header, if there is one: segments, or the conv and payload of an
	// out-of-band datagram. Of parity there is none.
	body []byte
	conv uint32 // the conversation that body begins with, if hasConv
	// hasConv is false for parity and where body is too short.
	hasConv bool
	// early is set where the segments are those of a session whose HELLO is in another datagram.
	early bool
}

// parseContents takes the FEC header off an opened datagram and finds its conversation. ok is
// false when the header's size field does not fit.
func parseContents(b []byte) (c contents, ok bool) {
	c.fec, c.isFEC = parseFEC(b)
	switch {
	case !c.isFEC:
		c.body = b
	case c.fec.kind == fecTypeParity:
		return c, true
	default:
		if c.body, ok = c.fec.body(b); !ok {
			return c, false
		}
	}
	if len(c.body) >= convSize {
		c.conv, c.hasConv = segmentConv(c.body), true
	}
	return c, true
}

// kind returns the FEC type, 0 for a datagram without FEC header.
func (c *contents) kind() uint16 {
	if c.isFEC {
		return c.fec.kind
	}
	return 0
}

// number returns the session number that the segments begin with, 0 if they do not.
func (c *contents) number() uint32 {
	if c.kind() == fecTypeOOB {
		return 0
	}
	return leadingNumber(c.body)
}

const (
	// gsoMaxSegments is how many datagrams every kernel takes in one send with segmentation
	// offload (UDP_MAX_SEGMENTS before Linux 6.9).
	gsoMaxSegments = 64
	// gsoMaxPayload is the longest payload of a UDP datagram over IPv4; IPv6 has 20 more.
	gsoMaxPayload = 65507
	// sendPiece is how many datagrams are sent between two looks at the clock.
	sendPiece = 256
)

// fullGSO returns how many datagrams of that size fill one send with segmentation offload.
func fullGSO(size int) int { return min(gsoMaxSegments, gsoMaxPayload/size) }
