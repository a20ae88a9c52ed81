package kcp

import (
	"net/netip"
	"sync"
	"time"
)

// handshake is one that a listener has answered: WELCOME was sent. It is known by HELLO's ephemeral key,
// from whatever address that comes, and always has the same answer.
type handshake struct {
	key     ephemeral
	conv    uint32
	from    peerAddr // where the first HELLO came from
	at      int64    // when
	token   bool     // with a TOKEN
	index   uint32   // ours
	hello   hello
	welcome []byte // the Noise message of the answer
	cipher  uint8
	sealer  *datagramSealer
	opener  *datagramOpener
	taken   bool       // what HELLO lists is taken at once
	others  []peerAddr // where copies of HELLO came from

	mu    sync.Mutex // guards early
	early earlyData
}

// keepEarly keeps the data of a datagram's segments.
func (h *handshake) keepEarly(segments []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for seg, rest, ok := nextSegment(h.conv, segments); ok; seg, rest, ok = nextSegment(h.conv, segments) {
		body := segments[IKCP_OVERHEAD : IKCP_OVERHEAD+seg.len]
		if segments = rest; seg.cmd == IKCP_CMD_PUSH || seg.cmd == cmdFIN {
			h.early.keep(&seg, body, &packets)
		}
	}
}

// dropEarly forgets what was kept.
func (h *handshake) dropEarly() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.early.discard(&packets)
}

const (
	// halfOpenFree is how many handshakes may be unfinished before a HELLO has to come with a TOKEN.
	halfOpenFree = 128
	// halfOpenMax is how many may be in all, and halfOpenPerPrefix of an IPv4 address or an IPv6 /64.
	halfOpenMax       = 4096
	halfOpenPerPrefix = 16
	// halfOpenLife is how long a handshake may be unfinished.
	halfOpenLife = int64(30 * time.Second)
)

// halfOpenTable is a listener's unfinished handshakes.
type halfOpenTable struct {
	byKey map[ephemeral]*handshake
	// byAddr finds those for early data that comes without HELLO: the last of an address and
	// conversation.
	byAddr map[sessionKey]*handshake
	from   map[peerAddr]int // how many of them with a TOKEN a prefix has: others may be forged
	order  []*handshake     // by age; those that have left are still in it
	// waiting is how many have no session: those that have are its listener's affair.
	waiting int
}

// room says whether one more handshake may be unfinished, or whether it may if its HELLO has a TOKEN.
func (t *halfOpenTable) room(from peerAddr, token bool) (ok, withToken bool) {
	n := t.waiting
	withToken = n < halfOpenMax && t.from[from.prefix()] < halfOpenPerPrefix
	return n < halfOpenFree || token && withToken, withToken
}

// taken is how many had early data taken at once.
func (t *halfOpenTable) taken() int { return len(t.byKey) - t.waiting }

// add notes a handshake.
func (t *halfOpenTable) add(h *handshake) {
	if t.byKey == nil {
		t.byKey, t.byAddr = make(map[ephemeral]*handshake), make(map[sessionKey]*handshake)
		t.from = make(map[peerAddr]int)
	}
	t.byKey[h.key] = h
	t.byAddr[sessionKey{h.from, h.conv}] = h
	if !h.taken {
		t.waiting++
		if h.token {
			t.from[h.from.prefix()]++
		}
	}
	t.order = append(t.order, h)
}

// othersMax is how many more addresses a handshake is known by: a copy may have overtaken HELLO.
const othersMax = 3

// alsoFrom notes that HELLO has come from another address, too.
func (t *halfOpenTable) alsoFrom(h *handshake, from peerAddr) {
	if key := (sessionKey{from, h.conv}); t.byAddr[key] != h && len(h.others) < othersMax {
		h.others = append(h.others, from)
		t.byAddr[key] = h
	}
}

// remove forgets a handshake that is finished, or never will be.
func (t *halfOpenTable) remove(h *handshake) {
	if t.byKey[h.key] != h {
		return
	}
	delete(t.byKey, h.key)
	if !h.taken {
		t.waiting--
	}
	if from := h.from.prefix(); !h.taken && h.token {
		if t.from[from]--; t.from[from] == 0 {
			delete(t.from, from)
		}
	}
	for _, from := range append(h.others, h.from) {
		if key := (sessionKey{from, h.conv}); t.byAddr[key] == h {
			delete(t.byAddr, key)
		}
	}
}

// expire returns handshakes that have been unfinished for too long, and forgets them. It is called
// before each add, so the cost is in proportion to their number.
func (t *halfOpenTable) expire(now int64) (gone []*handshake) {
	for len(t.order) > 0 {
		h := t.order[0]
		left := t.byKey[h.key] != h
		if !left && now-h.at < halfOpenLife {
			break
		}
		t.order[0] = nil
		t.order = t.order[1:]
		if !left {
			t.remove(h)
			gone = append(gone, h)
		}
	}
	if len(t.byKey) == 0 {
		*t = halfOpenTable{}
	}
	return gone
}

// anyPort returns the address without its port.
func (a peerAddr) anyPort() peerAddr {
	if a.other != "" {
		return a
	}
	return peerAddr{udp: netip.AddrPortFrom(a.udp.Addr(), 0)}
}
