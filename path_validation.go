package kcp

import (
	"math/rand/v2"
	"time"
)

// pathValidation finds out whether a peer has moved, whose newest datagram has come from another address: a
// NAT may have forgotten it, its network be another one, or somebody may have copied the datagram on its
// way. Both addresses are asked for the echo of a value of their own (RFC 9000, section 8.2:
// https://www.rfc-editor.org/rfc/rfc9000#section-8.2). The peer echoes both from the socket that it uses now.
//
//	         newest datagram from                 echo from the new address
//	settled ────another address────▶ asking ──────────────────────────────▶ moved ──patience over──▶ settled
//	   ▲                               │ echo from the old one, or nothing    │
//	   └───────────────────────────────┴──────echo from the old address───────┘
//
// The old address answers only if it is still the peer's, so its echo tells that somebody copies (section
// 9.3.3: https://www.rfc-editor.org/rfc/rfc9000#section-9.3.3).
type pathValidation struct {
	old, new pathChallenge
	size     int   // of the datagram that asks
	came     int   // bytes that came from the new address
	until    int64 // when it is settled
	active   bool
	moved    bool // the new address is used
}

// pathChallenge asks whether the peer is at an address.
type pathChallenge struct {
	path  *path
	value uint64
	sent  int // bytes
	tries int
	askAt int64
}

const (
	// pathTries is how often an address is asked, an RTO apart.
	pathTries = 3
	// pathPatienceMin is how long an answer is waited for at least: a network that is new may be slow.
	pathPatienceMin = int64(time.Second)
)

// pathPatience is how long after it was asked for an answer may come.
func pathPatience(rto int64) int64 { return max((pathTries+1)*rto, pathPatienceMin) }

func newPathChallenge(p *path) pathChallenge {
	return pathChallenge{path: p, value: rand.Uint64() | 1} // never 0
}

// begin begins to ask at both addresses, by datagrams of so many bytes. While another new one is asked
// already, the old one has its time.
func (v *pathValidation) begin(now, rto int64, old, new *path, size int) {
	was := *v
	*v = pathValidation{
		old: newPathChallenge(old), new: newPathChallenge(new), size: size, active: true, until: now + pathPatience(rto),
	}
	if was.active && !was.moved {
		v.old.askAt = was.old.askAt
	}
}

// askAt is when to ask next at the address that c is of, never for not before something comes. The new one
// gets no more than unprovenTimes what came from there (section 8.1).
func (v *pathValidation) askAt(c *pathChallenge) int64 {
	switch isNew := c == &v.new; {
	case c.tries == pathTries, isNew && v.moved, isNew && c.sent+v.size > unprovenTimes*v.came:
		return never
	}
	return c.askAt
}

// due returns the challenge to be sent now, nil for none.
func (v *pathValidation) due(now, rto int64) *pathChallenge {
	for _, c := range []*pathChallenge{&v.new, &v.old} {
		if v.active && now >= v.askAt(c) {
			c.tries++
			c.sent += v.size
			c.askAt = now + rto
			return c
		}
	}
	return nil
}

// pathVerdict is what an echo says.
type pathVerdict uint8

const (
	pathUnknown pathVerdict = iota
	pathMoves               // the peer is at the new address
	pathStays               // it is at the old one, and somebody copies
	pathReturns             // likewise, and the new one is used
)

// echoed takes the echo of a value that came from an address.
func (v *pathValidation) echoed(value uint64, from peerAddr) pathVerdict {
	switch {
	case !v.active:
	case value == v.new.value && from == v.new.path.peerAddr && !v.moved:
		v.moved = true
		return pathMoves
	case value == v.old.value && from == v.old.path.peerAddr:
		v.active = false
		if v.moved {
			return pathReturns
		}
		return pathStays
	}
	return pathUnknown
}

// settle ends what has no answer, or has had it for long enough.
func (v *pathValidation) settle(now int64) {
	if v.active && now >= v.until {
		*v = pathValidation{}
	}
}

// deadline is when there is something to do, never for nothing.
func (v *pathValidation) deadline() int64 {
	if !v.active {
		return never
	}
	return min(v.until, v.askAt(&v.old), v.askAt(&v.new))
}
