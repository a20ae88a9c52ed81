package unmarked

import (
	"encoding/binary"
	"slices"
)

// Kinds of segments.
const (
	cmdPush = 81
	cmdAck  = 82
	cmdAsk  = 83
	cmdTell = 84
)

// Milliseconds, as the core counts time.
const (
	rtoFirst   = 200
	rtoMost    = 60_000
	askFirst   = 7_000
	askLongest = 120_000
)

// segment is one of the wire.
type segment struct {
	conv     uint32
	cmd, frg uint8
	wnd      uint16
	ts       uint32
	sn, una  uint32
	data     []byte
}

func (s *segment) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, s.conv)
	b = append(b, s.cmd, s.frg)
	b = binary.LittleEndian.AppendUint16(b, s.wnd)
	for _, v := range []uint32{s.ts, s.sn, s.una, uint32(len(s.data))} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return append(b, s.data...)
}

// parse takes a segment from the head of b. It fails where the header or the data is not all there.
func (s *segment) parse(b []byte) (rest []byte, ok bool) {
	if len(b) < overhead {
		return nil, false
	}
	le := binary.LittleEndian
	*s = segment{le.Uint32(b), b[4], b[5], le.Uint16(b[6:]), le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:]), nil}
	size := le.Uint32(b[20:])
	if b = b[overhead:]; uint64(size) > uint64(len(b)) {
		return nil, false
	}
	s.data = b[:size]
	return b[size:], true
}

// before says whether a comes before b, of numbers that wrap.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// sent is a segment that is not acknowledged.
type sent struct {
	segment
	transmissions int
	resendAt, rto uint32
	skipped       int // acknowledgements of later ones since it was sent
}

// core is the state of one end of a conversation. Its time is in milliseconds, and wraps.
type core struct {
	cfg  *Config
	conv uint32

	una, next uint32 // oldest not acknowledged, and the first never sent
	queue     []segment
	flight    []*sent
	peerWnd   uint32

	rcvNext uint32
	early   map[uint32]segment
	ready   []segment

	acks              []segment
	tell, ask         bool
	askAt, askWait    uint32
	srtt, rttvar, rto uint32
	rejected          int // datagrams of which at least the end was not taken
	asked, told       int // WASKs and WINSs that have arrived
}

func newCore(cfg *Config, conv uint32) *core {
	return &core{cfg: cfg, conv: conv, peerWnd: 32, early: make(map[uint32]segment), rto: rtoFirst}
}

// mss is the most data of a segment.
func (c *core) mss() int { return c.cfg.room() - overhead }

// waiting is how many segments are not acknowledged, sent or not.
func (c *core) waiting() int { return len(c.queue) + len(c.flight) }

// write queues b.
func (c *core) write(b []byte) {
	mss := c.mss()
	if c.cfg.Stream && len(c.queue) > 0 {
		last := &c.queue[len(c.queue)-1]
		n := min(mss-len(last.data), len(b))
		last.data = append(last.data, b[:n]...)
		b = b[n:]
	}
	pieces := slices.Collect(slices.Chunk(b, mss))
	for i, piece := range pieces {
		s := segment{conv: c.conv, cmd: cmdPush, data: append([]byte(nil), piece...)}
		if c.cfg.Fragments {
			s.frg = uint8(len(pieces) - 1 - i)
		}
		c.queue = append(c.queue, s)
	}
}

// read takes a message, nil if none is whole.
func (c *core) read() (message []byte, ok bool) {
	whole := slices.IndexFunc(c.ready, func(s segment) bool { return s.frg == 0 })
	if whole < 0 {
		return nil, false
	}
	full := len(c.ready) >= c.cfg.ReceiveWindow
	for _, s := range c.ready[:whole+1] {
		message = append(message, s.data...)
	}
	c.ready = c.ready[whole+1:]
	c.advance()
	if full && len(c.ready) < c.cfg.ReceiveWindow {
		c.tell = true
	}
	return message, true
}

// advance moves what is in order to ready.
func (c *core) advance() {
	for len(c.ready) < c.cfg.ReceiveWindow {
		s, ok := c.early[c.rcvNext]
		if !ok {
			return
		}
		delete(c.early, c.rcvNext)
		c.ready = append(c.ready, s)
		c.rcvNext++
	}
}

func (c *core) window() uint16 { return uint16(max(0, c.cfg.ReceiveWindow-len(c.ready))) }

// input takes the segments of a datagram; rebuilt says that FEC has rebuilt them.
func (c *core) input(b []byte, now uint32, rebuilt bool) {
	var s segment
	for len(b) >= overhead {
		rest, ok := s.parse(b)
		if !ok || s.conv != c.conv || s.cmd < cmdPush || s.cmd > cmdTell {
			c.rejected++
			break
		}
		b = rest
		if !rebuilt {
			c.peerWnd = uint32(s.wnd)
		}
		c.acknowledgeBelow(s.una)
		switch s.cmd {
		case cmdPush:
			c.push(s)
		case cmdAck:
			c.acknowledge(s, now, rebuilt)
		case cmdAsk:
			c.asked++
			c.tell = true
		case cmdTell:
			c.told++
		}
	}
}

func (c *core) acknowledgeBelow(una uint32) {
	for len(c.flight) > 0 && before(c.flight[0].sn, una) {
		c.flight = c.flight[1:]
	}
	c.settle()
}

// settle finds the oldest that is not acknowledged.
func (c *core) settle() {
	c.una = c.next
	if len(c.flight) > 0 {
		c.una = c.flight[0].sn
	}
}

func (c *core) acknowledge(s segment, now uint32, rebuilt bool) {
	if !rebuilt && !before(now, s.ts) {
		c.sample(now - s.ts)
	}
	if before(s.sn, c.una) || !before(s.sn, c.next) {
		return
	}
	for i, f := range c.flight {
		if f.sn == s.sn {
			c.flight = slices.Delete(c.flight, i, i+1)
			break
		}
		if before(f.sn, s.sn) && !before(s.ts, f.ts) {
			f.skipped++
		}
	}
	c.settle()
}

// sample takes a round trip into account (RFC 6298).
func (c *core) sample(rtt uint32) {
	if c.srtt == 0 {
		c.srtt, c.rttvar = rtt, rtt/2
	} else {
		c.rttvar = (3*c.rttvar + max(rtt, c.srtt) - min(rtt, c.srtt)) / 4
		c.srtt = max(1, (7*c.srtt+rtt)/8)
	}
	least := uint32(100)
	if c.cfg.NoDelay {
		least = 30
	}
	interval := uint32(c.cfg.Interval.Milliseconds())
	c.rto = min(max(least, c.srtt+max(interval, 4*c.rttvar)), rtoMost)
}

// push takes data, and acknowledges it.
func (c *core) push(s segment) {
	limit := c.rcvNext + uint32(c.cfg.ReceiveWindow)
	if !before(s.sn, limit) {
		return
	}
	c.acks = append(c.acks, segment{conv: c.conv, cmd: cmdAck, ts: s.ts, sn: s.sn})
	if before(s.sn, c.rcvNext) {
		return
	}
	s.data = append([]byte(nil), s.data...)
	c.early[s.sn] = s
	c.advance()
}
