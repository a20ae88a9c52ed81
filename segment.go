package kcp

import "encoding/binary"

// The published constants of the protocol. Times are in milliseconds, windows in
// segments, sizes in bytes.
const (
	IKCP_RTO_NDL     = 30     // lower bound of the RTO with nodelay
	IKCP_RTO_MIN     = 100    // lower bound of the RTO without
	IKCP_RTO_DEF     = 200    // RTO before the first round-trip sample
	IKCP_RTO_MAX     = 60000  // upper bound of the RTO, backed off or not
	IKCP_CMD_PUSH    = 81     // cmd: data
	IKCP_CMD_ACK     = 82     // cmd: acknowledgement
	IKCP_CMD_WASK    = 83     // cmd: window probe, ask
	IKCP_CMD_WINS    = 84     // cmd: window size, tell
	IKCP_ASK_SEND    = 1      // probe flag: a WASK is due
	IKCP_ASK_TELL    = 2      // probe flag: a WINS is due
	IKCP_WND_SND     = 32     // default send window
	IKCP_WND_RCV     = 32     // default receive window
	IKCP_MTU_DEF     = 1400   // default MTU
	IKCP_ACK_FAST    = 3      // a common choice for NoDelay's resend
	IKCP_INTERVAL    = 100    // default interval
	IKCP_OVERHEAD    = 24     // size of a segment's header
	IKCP_DEADLINK    = 20     // published limit of transmissions; here time decides, see SetUserTimeout
	IKCP_THRESH_INIT = 2      // published start of ssthresh; here slow start ends with the first loss
	IKCP_THRESH_MIN  = 2      // lower bound of ssthresh
	IKCP_PROBE_INIT  = 7000   // first wait before a closed window is probed
	IKCP_PROBE_LIMIT = 120000 // longest wait between two probes
)

// The extensions: an endpoint that knows them marks each control segment it sends by bit 7 of
// frg, which is 0 at every other, and which those ignore. Nobody is sent a FIN or RST before it
// has sent the mark, with the bits below it for what it can do.
const (
	cmdFIN  = 85     // cmd: end of the sender's stream. Takes a serial number, as a PUSH does
	cmdRST  = 86     // cmd: the session is gone, and data that was not read with it
	capMark = 1 << 7 // frg of a control segment: its sender knows the extensions
	capFIN  = 1 << 0 // with capMark: it takes FIN and RST
)

const (
	// mtuLimit is the longest datagram: deployed peers read into buffers of this
	// size.
	mtuLimit = 1500
	// mtuMin is the C library's lower bound of the MTU.
	mtuMin = 50
	// wndLimit is the largest window: the wnd field has 16 bits.
	wndLimit = 65535
	// maxFragments is the most segments that one message may have.
	maxFragments = 255
)

// header is a segment's header, little-endian on the wire in this order.
type header struct {
	conv uint32
	cmd  uint8
	frg  uint8
	wnd  uint16
	ts   uint32
	sn   uint32
	una  uint32
	len  uint32
}

// put writes h into the first IKCP_OVERHEAD bytes of b.
func (h *header) put(b []byte) {
	_ = b[IKCP_OVERHEAD-1]
	le := binary.LittleEndian
	le.PutUint32(b, h.conv)
	b[4] = h.cmd
	b[5] = h.frg
	le.PutUint16(b[6:], h.wnd)
	le.PutUint32(b[8:], h.ts)
	le.PutUint32(b[12:], h.sn)
	le.PutUint32(b[16:], h.una)
	le.PutUint32(b[20:], h.len)
}

// parse reads h from the first IKCP_OVERHEAD bytes of b.
func (h *header) parse(b []byte) {
	_ = b[IKCP_OVERHEAD-1]
	le := binary.LittleEndian
	h.conv = le.Uint32(b)
	h.cmd = b[4]
	h.frg = b[5]
	h.wnd = le.Uint16(b[6:])
	h.ts = le.Uint32(b[8:])
	h.sn = le.Uint32(b[12:])
	h.una = le.Uint32(b[16:])
	h.len = le.Uint32(b[20:])
}

// segmentConv reads the conv of the segment that b starts with.
func segmentConv(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// valid says whether h is the header of a segment of the conversation conv with rest
// behind it.
func (h *header) valid(conv uint32, rest []byte) bool {
	return h.conv == conv && h.cmd >= IKCP_CMD_PUSH && h.cmd <= cmdRST && h.fits(rest)
}

// isControl says whether h is of a segment whose frg tells of its sender's capabilities.
func (h *header) isControl() bool { return h.cmd >= IKCP_CMD_ACK && h.cmd <= IKCP_CMD_WINS }

// fits says whether the data that h announces is there.
func (h *header) fits(rest []byte) bool {
	return uint64(h.len) <= uint64(len(rest)) && h.len <= mtuLimit
}

// wellFormed says whether b is nothing but whole segments of the conversation conv.
func wellFormed(conv uint32, b []byte) bool {
	for len(b) >= IKCP_OVERHEAD {
		var h header
		h.parse(b)
		b = b[IKCP_OVERHEAD:]
		if !h.valid(conv, b) {
			return false
		}
		b = b[h.len:]
	}
	return len(b) == 0
}

// before says whether serial number a comes before b, by signed difference as
// serial numbers wrap (RFC 1982).
func before(a, b uint32) bool { return int32(a-b) < 0 }
