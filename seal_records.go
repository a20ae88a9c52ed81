package kcp

import (
	"encoding/binary"
	"net/netip"
)

// The records of a handshake.
const (
	recordHello   = 2  // HELLO: pattern u8, Noise message
	recordWelcome = 3  // WELCOME: Noise message, or nothing: HELLO does not open
	recordRetry   = 4  // RETRY: a token
	recordToken   = 5  // TOKEN: the one that came in RETRY
	recordEarly   = 10 // EARLY: u32 first sn, digests; before early data without HELLO it has none
)

const (
	ticketSize = 16
	digestSize = 16
	// helloDigestsMax is the most digests that HELLO lists.
	helloDigestsMax = 16
	// tokenMax is the longest token that is sent back.
	tokenMax = 64

	paramsPairsSize  = paramsSize - recordHeaderSize
	helloFixedSize   = 8 + 4 + 1 + 4 + ticketSize + 1 + 1
	welcomeFixedSize = 1 + 4 + ticketSize + 1 + 1 + addressSize
	addressSize      = 16 + 2

	// welcomeSize is the length of a WELCOME record, and helloMax the longest of HELLO, with TOKEN.
	welcomeSize = recordHeaderSize + noiseOverhead + welcomeFixedSize + paramsPairsSize
	helloMax    = 2*recordHeaderSize + 1 + noiseOverhead + helloFixedSize + helloDigestsMax*digestSize + paramsPairsSize + tokenMax
)

// What HELLO asks for.
const (
	helloNew   = 0 // a new session
	helloKnown = 1 // whether this session is known
)

// The ciphers of sealed datagrams, as WELCOME names them.
const (
	sealGCM    = 1 // AES-256-GCM
	sealChaCha = 2 // ChaCha20-Poly1305
)

// ciphersGCM is the bit of HELLO's ciphers that says that AES-GCM runs in hardware.
const ciphersGCM = 1 << 0

// hello is HELLO's payload.
type hello struct {
	time    int64  // Unix, ms
	index   uint32 // what the dialler wants to be called by
	kind    uint8
	peer    uint32 // helloKnown: the listener's index
	ticket  [ticketSize]byte
	ciphers uint8
	digests []digest // of the segments from sn 0 on
	params  params
}

// append appends the payload to b.
func (h *hello) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(h.time))
	b = le.AppendUint32(b, h.index)
	b = append(b, h.kind)
	b = le.AppendUint32(b, h.peer)
	b = append(b, h.ticket[:]...)
	b = append(b, h.ciphers, uint8(len(h.digests)))
	for i := range h.digests {
		b = append(b, h.digests[i][:]...)
	}
	return appendParamPairs(b, &h.params)
}

// parseHello reads the payload.
func parseHello(b []byte) (h hello, ok bool) {
	if len(b) < helloFixedSize {
		return h, false
	}
	le := binary.LittleEndian
	h.time, h.index, h.kind, h.peer = int64(le.Uint64(b)), le.Uint32(b[8:]), b[12], le.Uint32(b[13:])
	copy(h.ticket[:], b[17:])
	h.ciphers = b[33]
	count := int(b[34])
	b = b[helloFixedSize:]
	if h.kind > helloKnown || count > helloDigestsMax || len(b) < count*digestSize {
		return h, false
	}
	h.digests = parseDigests(b[:count*digestSize])
	h.params, ok = parseParams(b[count*digestSize:])
	return h, ok
}

// parseDigests reads a list of digests; what is less than one at its end is left.
func parseDigests(b []byte) (list []digest) {
	for ; len(b) >= digestSize; b = b[digestSize:] {
		list = append(list, digest(b))
	}
	return list
}

// What WELCOME says of the session.
const (
	welcomeYes = 0
	welcomeNo  = 1 // there is no such session
)

// welcome is WELCOME's payload.
type welcome struct {
	status uint8
	index  uint32 // what the listener wants to be called by
	ticket [ticketSize]byte
	cipher uint8
	early  bool           // what HELLO lists is taken at once
	seen   netip.AddrPort // the dialler's address, as the listener sees it
	params params
}

// append appends the payload to b.
func (w *welcome) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, w.status)
	b = le.AppendUint32(b, w.index)
	b = append(b, w.ticket[:]...)
	b = append(b, w.cipher, 0)
	if w.early {
		b[len(b)-1] = 1
	}
	var ip [16]byte
	if w.seen.IsValid() {
		ip = w.seen.Addr().As16()
	}
	b = append(b, ip[:]...)
	b = le.AppendUint16(b, w.seen.Port())
	return appendParamPairs(b, &w.params)
}

// parseWelcome reads the payload.
func parseWelcome(b []byte) (w welcome, ok bool) {
	if len(b) < welcomeFixedSize {
		return w, false
	}
	le := binary.LittleEndian
	w.status, w.index, w.cipher, w.early = b[0], le.Uint32(b[1:]), b[21], b[22] == 1
	copy(w.ticket[:], b[5:])
	w.seen = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[23:])).Unmap(), le.Uint16(b[39:]))
	if w.status > welcomeNo || b[22] > 1 || w.cipher != sealGCM && w.cipher != sealChaCha {
		return w, false
	}
	w.params, ok = parseParams(b[welcomeFixedSize:])
	return w, ok
}

// appendRecord appends a record whose body is the parts.
func appendRecord(b []byte, kind uint8, parts ...[]byte) []byte {
	b = append(b, kind, 0, 0)
	at := len(b)
	for _, part := range parts {
		b = append(b, part...)
	}
	binary.LittleEndian.PutUint16(b[at-2:], uint16(len(b)-at))
	return b
}

// appendHello appends HELLO to b, with the token that RETRY brought, if any, and PAD, so that WELCOME is
// no longer.
func appendHello(b []byte, p pattern, message, token []byte) []byte {
	at := len(b)
	b = appendRecord(b, recordHello, []byte{uint8(p)}, message)
	if len(token) > 0 {
		b = appendRecord(b, recordToken, token)
	}
	if short := welcomeSize - (len(b) - at); short > 0 {
		b = appendRecord(b, recordPad, make([]byte, max(0, short-recordHeaderSize)))
	}
	return b
}

// handshakeRecords is what a datagram's WINS and WASK segments say of a handshake: the bodies of the
// first record of each type.
type handshakeRecords struct {
	hello, welcome, retry, token, early []byte
	any                                 bool
}

// findHandshake looks for records of a handshake in the segments of conversation conv. Most datagrams
// have none: they do not begin with a segment that has records.
func findHandshake(conv uint32, segments []byte) (r handshakeRecords) {
	for h, rest, ok := nextSegment(conv, segments); ok; h, rest, ok = nextSegment(conv, segments) {
		body := segments[IKCP_OVERHEAD : IKCP_OVERHEAD+h.len]
		segments = rest
		if h.cmd != IKCP_CMD_WINS && h.cmd != IKCP_CMD_WASK {
			continue
		}
		for {
			kind, b, rest, ok := cutRecord(body)
			if !ok {
				break
			}
			r.note(kind, b)
			body = rest
		}
	}
	return r
}

func (r *handshakeRecords) note(kind uint8, body []byte) {
	var to *[]byte
	switch kind {
	case recordHello:
		to = &r.hello
	case recordWelcome:
		to = &r.welcome
	case recordRetry:
		to = &r.retry
	case recordToken:
		to = &r.token
	case recordEarly:
		to = &r.early
	default:
		return
	}
	if *to == nil {
		*to, r.any = body, true
	}
}

// parseHelloRecord splits HELLO's body. ok is false for a pattern that is not known, and a message that
// is too short.
func parseHelloRecord(b []byte) (p pattern, message []byte, ok bool) {
	if len(b) < 1+noiseOverhead+helloFixedSize || int(b[0]) >= len(noisePatterns) {
		return 0, nil, false
	}
	return pattern(b[0]), b[1:], true
}

// appendEarly appends EARLY: digests of the segments from first on.
func appendEarly(b []byte, first uint32, digests []digest) []byte {
	b = appendRecord(b, recordEarly, binary.LittleEndian.AppendUint32(nil, first))
	for i := range digests {
		b = append(b, digests[i][:]...)
	}
	binary.LittleEndian.PutUint16(b[len(b)-len(digests)*digestSize-4-2:], uint16(4+len(digests)*digestSize))
	return b
}

// parseEarly reads EARLY's body.
func parseEarly(b []byte) (first uint32, digests []digest, ok bool) {
	if len(b) < 4 || (len(b)-4)%digestSize != 0 {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint32(b), parseDigests(b[4:]), true
}
