package kcp

import "encoding/binary"

// The published constants of the protocol. Times are in milliseconds, windows in segments, sizes in
// bytes.
const (
	IKCP_RTO_NDL     = 30     // minimum RTO with nodelay
	IKCP_RTO_MIN     = 100    // minimum RTO without
	IKCP_RTO_DEF     = 200    // RTO before the first round-trip sample
	IKCP_RTO_MAX     = 60000  // maximum RTO, backed off or not
	IKCP_CMD_PUSH    = 81     // cmd: data
	IKCP_CMD_ACK     = 82     // cmd: acknowledgement
	IKCP_CMD_WASK    = 83     // cmd: window probe, asks for a WINS
	IKCP_CMD_WINS    = 84     // cmd: window update, tells the window
	IKCP_ASK_SEND    = 1      // probe flag: a WASK is due
	IKCP_ASK_TELL    = 2      // probe flag: a WINS is due
	IKCP_WND_SND     = 32     // default send window of a core
	IKCP_WND_RCV     = 32     // default receive window of a core
	IKCP_MTU_DEF     = 1400   // default MTU
	IKCP_ACK_FAST    = 3      // a common choice for NoDelay's resend
	IKCP_INTERVAL    = 100    // default interval of NoDelay
	IKCP_OVERHEAD    = 24     // size of a segment's header
	IKCP_DEADLINK    = 20     // published limit of transmissions; here time decides, see SetUserTimeout
	IKCP_THRESH_INIT = 2      // published start of ssthresh; here slow start ends with the first loss
	IKCP_THRESH_MIN  = 2      // published lower bound of ssthresh; not used
	IKCP_PROBE_INIT  = 7000   // longest wait for the answer to a zero-window probe; from there on waits grow by half
	IKCP_PROBE_LIMIT = 120000 // longest wait between two zero-window probes
)

// This package's extensions (docs/protocol.md, Capabilities). An endpoint that has them marks each
// control segment that it sends by bit 7 of frg. The bits below tell what it can do. Other
// implementations send 0 in frg of control segments, and ignore it. A peer that has not sent the
// mark is sent no FIN and no RST.
const (
	cmdFIN     = 85 // cmd: end of the sender's stream, with a serial number as a PUSH has
	cmdRST     = 86 // cmd: end of the session; data that was not read is discarded
	cmdDGRAM   = 87 // cmd: an unreliable message, to peers whose parameters have the feature
	cmdREP     = 88 // cmd: a repair, to peers whose parameters have the feature
	cmdREPORT  = 89 // cmd: how many PUSHes, REPs and DGRAMs have arrived
	cmdSKIP    = 90 // cmd: a PUSH whose message has expired, without its data
	cmdLast    = cmdSKIP
	capMark    = 1 << 7 // frg of a control segment: its sender has the extensions
	capFIN     = 1 << 0 // with capMark: its sender takes FIN and RST
	capRecords = 1 << 1 // with capMark: its sender takes records, the data of WINS and WASK
	capRebuilt = 1 << 2 // of an ACK: the segment was rebuilt, ts is the newest repair's
)

const (
	// mtuLimit is the length of the longest datagram in bytes: deployed peers read into buffers of
	// this size.
	mtuLimit = 1500
	// jumboLimit is that to a peer which says that it reads as much: what a link with jumbo frames carries.
	// Segments with data are cut for mtuLimit all the same, and a jumbo datagram has several.
	jumboLimit = 9000
	// mtuMin is the C library's lower bound of the MTU, in bytes.
	mtuMin = 50
	// wndLimit is the largest window in segments: the wnd field has 16 bits.
	wndLimit = 65535
	// maxFragments is the most segments that one message may have.
	maxFragments = 255
)

// header is the header of a segment, little-endian on the wire, in this order.
type header struct {
	conv uint32 // conversation
	cmd  uint8  // IKCP_CMD_PUSH to cmdLast
	frg  uint8  // fragments of the message that follow; of a control segment: capMark and its bits
	wnd  uint16 // receive window that the sender advertises, in segments
	ts   uint32 // time stamp of the transmission, in an ACK that of the one acknowledged
	sn   uint32 // serial number
	una  uint32 // everything below this serial number has arrived
	len  uint32 // bytes of data behind the header
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

// leadingNumber returns the session number that a datagram's segments begin with, 0 if they do not.
func leadingNumber(b []byte) uint32 {
	if len(b) < IKCP_OVERHEAD || b[4] != IKCP_CMD_WINS || b[5]&capMark == 0 {
		return 0
	}
	return binary.LittleEndian.Uint32(b[8:])
}

// segmentConv returns the conv of the segment that b starts with.
func segmentConv(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// valid says whether h is the header of a segment of conversation conv whose data is at the start
// of rest.
func (h *header) valid(conv uint32, rest []byte) bool {
	return h.conv == conv && h.cmd >= IKCP_CMD_PUSH && h.cmd <= cmdLast && h.fits(rest)
}

// isControl says whether h is of a control segment, whose frg tells the sender's capabilities.
func (h *header) isControl() bool { return h.cmd >= IKCP_CMD_ACK && h.cmd <= IKCP_CMD_WINS }

// fits says whether rest, the bytes behind h, has all the data that h announces.
func (h *header) fits(rest []byte) bool {
	return uint64(h.len) <= uint64(len(rest)) && h.len <= segmentMost(h.cmd)
}

// segmentMost is the most data of a segment with that cmd. Records go as they come, all else is kept in
// packets.
func segmentMost(cmd uint8) uint32 {
	if cmd == IKCP_CMD_WINS {
		return jumboLimit
	}
	return mtuLimit
}

// nextSegment returns the header of the segment of conversation conv that b starts with, and what
// follows the segment. ok is false, and rest is b, where there is none.
func nextSegment(conv uint32, b []byte) (h header, rest []byte, ok bool) {
	if len(b) < IKCP_OVERHEAD {
		return h, b, false
	}
	h.parse(b)
	if rest = b[IKCP_OVERHEAD:]; !h.valid(conv, rest) {
		return h, b, false
	}
	return h, rest[h.len:], true
}

// wellFormed says whether b consists of whole segments of conversation conv and nothing else.
func wellFormed(conv uint32, b []byte) bool {
	for ok := true; ok; {
		_, b, ok = nextSegment(conv, b)
	}
	return len(b) == 0
}

// before says whether serial number a comes before b, by their signed difference, as serial numbers
// wrap (RFC 1982, section 3.2: https://www.rfc-editor.org/rfc/rfc1982#section-3.2).
func before(a, b uint32) bool { return int32(a-b) < 0 }
