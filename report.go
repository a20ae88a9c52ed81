package kcp

import "time"

// REPORT tells a sender of DGRAMs or REPs, which are not acknowledged, how many of its segments arrive
// (docs/protocol.md, Datagrams).

const (
	// reportEvery is the number of arrivals after which a REPORT is sent; or a round trip after the last.
	reportEvery = 16
	// reportTime is how long REPORTs are sent after the last DGRAM or REP, and the history of what was sent is
	// kept.
	reportTime = 10 * int64(time.Second)
	// sentRounds is the number of entries of a sentHistory that a round trip makes at most, and sentMax
	// how many there may be.
	sentRounds = 32
	sentMax    = 4 * sentRounds
)

// reporter is the receiving side's.
type reporter struct {
	until int64  // when no REPORT is sent any more, 0 where there never was one
	since int    // arrivals since the last
	ts    uint32 // the newest ts among those
	at    int64  // when the last was sent
	due   bool
}

// arrived takes an arrival, a DGRAM, a REP or a PUSH, on a path with that round trip, 0 for unknown. A REPORT
// is due with an arrival, and not later, so that its ts makes a sample of the round trip.
func (r *reporter) arrived(now int64, ts uint32, unreliable bool, rtt int64) {
	if unreliable {
		r.until = now + reportTime
	}
	if now >= r.until {
		return
	}
	if r.since == 0 || before(r.ts, ts) {
		r.ts = ts
	}
	r.since++
	r.due = r.due || r.since >= reportEvery || now-r.at >= max(rtt, reportMinGap)
}

// reportMinGap keeps a short path from having a REPORT for each of them.
const reportMinGap = 10 * int64(time.Millisecond)

// sent notes that a REPORT is sent.
func (r *reporter) sent(now int64) { r.since, r.at, r.due = 0, now, false }

// sentHistory is what was sent lately, by the time of transmission, while there are DGRAMs or REPs among it.
type sentHistory struct {
	ring     []sentEntry
	head, n  int
	open     int   // of the newest entries, those whose DGRAMs and REPs are in flight
	inFlight int   // bytes of those, headers included
	until    int64 // when the history ends
	unheard  int64 // when the oldest was sent that no REPORT has told of, where there is one

	based bool  // lost is known
	lost  int32 // segments that have not arrived of all that were sent before head
}

// sentEntry is what was sent within a short time.
type sentEntry struct {
	began, sentAt int64  // of the first and the last transmission
	ts            uint32 // of the last
	sent          uint32 // segments sent until then since the session began: PUSHes, DGRAMs and REPs
	segments      int    // of them, those of the entry
	dgrams, bytes int    // DGRAMs and REPs, and their size in flight
	rate          rateSnapshot
	appLimited    bool
}

func (h *sentHistory) at(i int) *sentEntry { return &h.ring[(h.head+i)%len(h.ring)] }

// add notes a transmission at now: e is an entry for it alone. Entries of less than a part of the round
// trip become one.
func (h *sentHistory) add(now int64, e sentEntry, rtt int64) {
	if h.ring == nil {
		h.ring = make([]sentEntry, sentMax)
	}
	h.inFlight += e.bytes
	if h.n == 0 {
		h.unheard = e.began
	}
	if h.n > 0 && h.open > 0 {
		if last := h.at(h.n - 1); now-last.began <= rtt/sentRounds {
			e.began = last.began
			e.segments += last.segments
			e.dgrams += last.dgrams
			e.bytes += last.bytes
			*last = e
			return
		}
	}
	if h.n == len(h.ring) {
		h.drop()
	}
	*h.at(h.n) = e
	h.n++
	h.open++
}

// drop takes the oldest entry out.
func (h *sentHistory) drop() {
	if h.open == h.n {
		h.land(h.at(0))
	}
	h.head = (h.head + 1) % len(h.ring)
	h.n--
}

// trim gives the memory back while nothing is in flight. What of it no REPORT has told of, the next one will.
func (h *sentHistory) trim() {
	*h = sentHistory{until: h.until, based: h.based, lost: h.lost}
}

// land notes that the oldest entry that is in flight is not any more.
func (h *sentHistory) land(e *sentEntry) {
	h.inFlight -= e.bytes
	h.open--
}

// expire takes out of flight what was sent a round trip ago: what is not acknowledged cannot be told to be
// lost.
func (h *sentHistory) expire(now, rtt int64) {
	for h.open > 0 {
		e := h.at(h.n - h.open)
		if e.sentAt+rtt > now {
			return
		}
		h.land(e)
	}
}

// expiresAt is when the next DGRAM or REP is out of flight, never for none.
func (h *sentHistory) expiresAt(rtt int64) int64 {
	if h.open == 0 {
		return never
	}
	return h.at(h.n-h.open).sentAt + rtt
}

// silentEntries is how many entries have to go unreported for persistent congestion: one REPORT, and what it
// would have told of, may be lost.
const silentEntries = 3

// silent says whether no REPORT has come of anything that was sent over three timeouts, where each would have
// had one within a timeout: persistent congestion
// (https://www.rfc-editor.org/rfc/rfc9002#section-7.6). Those entries leave the history, as lost: their DGRAMs
// and REPs have bytes bytes.
func (h *sentHistory) silent(now, rto int64) (bytes int, ok bool) {
	if h.n < silentEntries || now-h.unheard < 4*rto {
		return 0, false
	}
	n := 0
	for n < h.n && h.at(n).sentAt+rto <= now {
		n++
	}
	if n < silentEntries || h.at(n-1).sentAt-h.unheard < 3*rto {
		return 0, false
	}
	for range n {
		bytes += h.at(0).bytes
		h.drop()
	}
	h.based = false // of how many of them arrived there was no word
	if h.n > 0 {
		h.unheard = h.at(0).began
	}
	return bytes, true
}

// arrived takes a REPORT: so many segments had arrived, of which the newest was sent with ts. It returns
// the newest entry sent by then, with the sums of all entries that end there, and how many of its
// segments are lost.
func (h *sentHistory) arrived(ts, received uint32) (e sentEntry, lost int, ok bool) {
	segments, dgrams, bytes := 0, 0, 0
	for h.n > 0 && !before(ts, h.at(0).ts) {
		e, ok = *h.at(0), true
		segments += e.segments
		dgrams += e.dgrams
		bytes += e.bytes
		h.drop()
	}
	if !ok {
		return e, 0, false
	}
	if h.n > 0 {
		h.unheard = h.at(0).began
	}
	e.segments, e.dgrams, e.bytes = segments, dgrams, bytes
	total := int32(e.sent - received)
	if h.based {
		lost = min(max(0, int(total-h.lost)), segments)
		h.lost += int32(lost)
	} else {
		h.based, h.lost = true, total
	}
	return e, lost, true
}
