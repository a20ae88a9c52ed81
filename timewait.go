package kcp

import (
	"slices"
	"time"
)

const (
	// timeWaitLife is how long a session that has ended is remembered at least, so that its
	// stragglers do not make a new one (TCP's TIME-WAIT: RFC 9293, section 3.6.1,
	// https://www.rfc-editor.org/rfc/rfc9293#section-3.6.1).
	timeWaitLife = int64(time.Minute)
	// reconnectAfter is how soon after the end of a session that had heard nothing back its first
	// segment may be that of a new one: the peer would have repeated it sooner. For as long after
	// that, or after the end, its ts tells a late copy.
	reconnectAfter = int64(10 * time.Second)
	// timeWaitMax bounds the sessions that a shard of the table remembers, against floods of short
	// ones.
	timeWaitMax = 1 << 12
	// timeWaitWindow is the window that a session announces that has ended. What a peer sends into
	// it is answered with a reset.
	timeWaitWindow = IKCP_WND_RCV
)

// timeWait is what is remembered of a session that has ended, so that stragglers are answered: a
// peer whose last acknowledgement was lost stops repeating, and one that goes on writing learns
// that nobody reads.
type timeWait struct {
	una       uint32 // everything below had arrived
	caps      uint8  // our capabilities
	peer      uint8  // the peer's
	fin       bool   // the peer's FIN had arrived; it is below una
	reset     bool   // data was lost with the session
	confirmed bool   // the peer had acknowledged something of ours

	dataTS      tsRange                 // of the peer's data
	ownNumber   uint32                  // our session number
	peerNumbers [peerNumbersKept]uint32 // the peer's, and those of its sessions before; 0 for none
}

// peerNumbersKept is how many session numbers of a peer are remembered, of sessions that followed one
// another at the same address with the same conversation.
const peerNumbersKept = 4

// replaces takes the numbers of the session that had ended before with the same key.
func (t *timeWait) replaces(old *timeWait) {
	at := 0
	for _, n := range append(t.peerNumbers[:1:1], old.peerNumbers[:]...) {
		if n != 0 && !slices.Contains(t.peerNumbers[:at], n) && at < peerNumbersKept {
			t.peerNumbers[at] = n
			at++
		}
	}
}

// tsRange is the time stamps of a peer's data, from the first to the last.
type tsRange struct {
	first, last uint32
	any         bool
}

// note takes the ts of a segment.
func (r *tsRange) note(ts uint32) {
	switch {
	case !r.any:
		r.first, r.last, r.any = ts, ts, true
	case before(r.last, ts):
		r.last = ts
	case before(ts, r.first):
		r.first = ts
	}
}

// has says whether ts lies within the range.
func (r *tsRange) has(ts uint32) bool { return r.any && ts-r.first <= r.last-r.first }

// isOf says whether a datagram may be of the session that ended: it does not begin with the number of
// another one.
func (t *timeWait) isOf(c *contents) bool {
	number := c.number()
	return number == 0 || t.peerNumbers[0] == 0 || slices.Contains(t.peerNumbers[:], number)
}

// reply returns the datagram, still to be sealed, that answers an opened one, nil for none. It is
// no longer than what it answers, or one segment, or a RST behind its number.
func (t *timeWait) reply(cfg *config, conv uint32, c *contents) *packet {
	if c.kind() == fecTypeParity || c.kind() == fecTypeOOB {
		return nil
	}
	p := packets.get()
	p.data = p.mem[:cfg.env.head]
	for h, rest, ok := nextSegment(conv, c.body); ok; h, rest, ok = nextSegment(conv, rest) {
		if h.isControl() && h.frg&capMark != 0 && t.caps != 0 {
			t.peer = h.frg
		}
		cmd := t.replyCmd(&h)
		if cmd == 0 {
			continue
		}
		r := header{conv: conv, cmd: cmd, frg: t.caps, wnd: timeWaitWindow, una: t.una}
		switch cmd {
		case IKCP_CMD_ACK:
			r.sn, r.ts = h.sn, h.ts
		case IKCP_CMD_WINS:
			r.ts = t.ownNumber
		case cmdRST: // it says all, behind our number
			p.data = p.data[:cfg.env.head]
			if cfg.env.head+2*IKCP_OVERHEAD+cfg.behind() <= cfg.mtu {
				lead := r
				lead.cmd, lead.ts = IKCP_CMD_WINS, t.ownNumber
				p.appendHeader(&lead)
			}
			r.sn, r.ts = t.una, dataTS(conv, c.body) // for a dialler that has heard nothing yet
			p.appendHeader(&r)
			return p
		}
		if len(p.data)+IKCP_OVERHEAD+cfg.behind() > cfg.mtu {
			break
		}
		p.appendHeader(&r)
	}
	if len(p.data) == cfg.env.head {
		packets.put(p)
		return nil
	}
	return p
}

// dataTS returns the ts of the first PUSH or FIN of a datagram, 0 if there is none.
func dataTS(conv uint32, segments []byte) uint32 {
	for h, rest, ok := nextSegment(conv, segments); ok; h, rest, ok = nextSegment(conv, rest) {
		if h.cmd == IKCP_CMD_PUSH || h.cmd == cmdFIN {
			return h.ts
		}
	}
	return 0
}

// replyCmd returns the cmd of the answer to a segment, 0 for none.
func (t *timeWait) replyCmd(h *header) uint8 {
	resets := takeFIN(t.caps, t.peer)
	switch h.cmd {
	case IKCP_CMD_ACK, IKCP_CMD_WINS, cmdRST, cmdREP, cmdREPORT:
		return 0
	case IKCP_CMD_WASK:
		if resets && t.reset {
			return cmdRST
		} else if resets {
			return IKCP_CMD_WINS
		}
		return 0
	case cmdFIN:
		if resets && h.sn == t.una && !t.fin && !t.reset {
			t.una, t.fin = t.una+1, true
		}
	}
	switch {
	case t.caps == 0:
		return 0
	case before(h.sn, t.una) && !t.reset && h.cmd != cmdDGRAM:
		return IKCP_CMD_ACK
	case resets:
		return cmdRST
	}
	return 0
}

// probeReply returns the answer to a marked window probe of a session that does not exist: of a
// dialler that asks whether anybody is there, or of a peer that asks whether its session still is. It
// makes no session, and no more bytes than came. Its session number is 0.
func (c *config) probeReply(conv uint32, segments []byte) *packet {
	for h, rest, ok := nextSegment(conv, segments); ok && c.caps != 0; h, rest, ok = nextSegment(conv, rest) {
		if h.cmd == IKCP_CMD_WASK && h.frg&capMark != 0 {
			p := packets.get()
			p.data = p.mem[:c.env.head]
			p.appendHeader(&header{conv: conv, cmd: IKCP_CMD_WINS, frg: c.caps, wnd: uint16(c.receiveWindow())})
			return p
		}
	}
	return nil
}

// timeWaitTable remembers sessions that have ended for timeWaitLife to twice that, at most
// timeWaitMax of them, and from when on a first segment is not one of theirs: programs reconnect
// from the same port with the same conv.
type timeWaitTable struct {
	young, old map[sessionKey]timeWaitEntry
	since      int64 // when young was started
}

type timeWaitEntry struct {
	timeWait
	reconnectAt int64 // from when on a first segment is a new session's
}

// add remembers a session that has ended. A peer that had acknowledged something of ours does not
// start from the beginning again.
func (e *timeWaitTable) add(key sessionKey, end timeWait, now int64) {
	if old, in := e.find(key, now); in != nil {
		end.replaces(&old.timeWait)
	}
	if e.young == nil {
		e.young = make(map[sessionKey]timeWaitEntry)
		if e.old == nil { // else young began when old ended
			e.since = now
		}
	}
	if !end.confirmed {
		now += reconnectAfter
	}
	e.young[key] = timeWaitEntry{end, now}
}

// find returns what is remembered of key, and where.
func (e *timeWaitTable) find(key sessionKey, now int64) (end timeWaitEntry, in map[sessionKey]timeWaitEntry) {
	e.age(now)
	for _, in := range []map[sessionKey]timeWaitEntry{e.young, e.old} {
		if end, ok := in[key]; ok {
			return end, in
		}
	}
	return timeWaitEntry{}, nil
}

// straggler says whether a datagram for key may be of a session that ended: by the number that it
// begins with, 0 for none. Where there is none, first says that it starts a connection, or did, and ts
// is that of its first segment: a late copy's is one of the old session's (compare RFC 6191:
// https://www.rfc-editor.org/rfc/rfc6191).
func (e *timeWaitTable) straggler(key sessionKey, number uint32, first bool, ts uint32, now int64) bool {
	end, in := e.find(key, now)
	switch {
	case in == nil:
		return false
	case number != 0 && end.peerNumbers[0] != 0:
		return slices.Contains(end.peerNumbers[:], number)
	}
	return !first || now < end.reconnectAt || now < end.reconnectAt+reconnectAfter && end.dataTS.has(ts)
}

// ended says whether number is that of a session that ended.
func (e *timeWaitTable) ended(key sessionKey, number uint32, now int64) bool {
	end, in := e.find(key, now)
	return in != nil && slices.Contains(end.peerNumbers[:], number)
}

// age forgets what is old enough.
func (e *timeWaitTable) age(now int64) {
	if e.empty() {
		return
	}
	if now-e.since >= 2*timeWaitLife {
		e.young, e.old = nil, nil
	} else if now-e.since >= timeWaitLife || len(e.young) >= timeWaitMax/2 {
		e.young, e.old, e.since = nil, e.young, now
	}
}

func (e *timeWaitTable) empty() bool { return e.young == nil && e.old == nil }
