package kcp

import "time"

// pathMTU finds how long datagrams may be on a path, by Datagram Packetization Layer Path MTU Discovery
// (RFC 8899: https://www.rfc-editor.org/rfc/rfc8899): probes of the length to be tried are sent, with
// Don't Fragment set, and the peer answers those that arrive. Nothing depends on ICMP, which is often
// filtered. It knows of no segments: step says what to send, and is told the rest.
//
//	        ┌──────────── raise timer ────────────┐
//	        ▼                                     │
//	search: top, in use, base, floor, bisect ─▶ found ◀─ the length in use is answered
//	                     ▲                        │ │
//	                     └─ the base is answered, │ │ long ones are lost, twice in a row
//	                        that in use is not    ▼ ▼
//	                                            suspect: base, in use
//
// Lengths are a core's: without what the session adds behind its datagrams.
type pathMTU struct {
	size int // of the longest datagram that is made

	searching bool
	suspect   bool  // in this search: long datagrams seem to be lost for their length
	top       int   // the longest that is tried in it
	good      int   // the longest that was answered in it, 0 for none
	bad       int   // the shortest that was not, beyond top for none
	began     int64 // when it did

	probe   int    // the length that is under way, 0 for none
	value   uint32 // that the peer echoes
	sn      uint32 // of a PUSH that is a probe
	tries   int
	at      int64 // when to go on
	echoed  bool
	refused bool // the socket did not take it

	nextAt    int64 // when the next search may begin
	wait      int64 // that was waited for the last one
	suspectAt int64 // not before this time is there another suspicion
	hold      int64 // that was waited for the last one

	longestLost lostLength // of the longest that were lost
	shorterLost lostLength // of shorter ones

	sample   uint32 // a segment that went in a jumbo datagram, whose length the segments do not tell
	sampleTS uint32 // and its time stamp
	sampled  bool   // what has become of it is not known yet

	echo    uint32 // the value of a probe of the peer's
	echoDue bool   // it is to be answered

	probes, unanswered, reductions uint64
}

// mtuBounds are what is searched within; no search has a most of 0.
type mtuBounds struct {
	floor, base, most int16
	ethernet          int16 // what is likely where a jumbo datagram does not pass, and the most until the peer has said what it reads
	fill              int16 // what is sent in fragments has to be as long, 0 for any length
	behind            int16 // bytes that the session adds behind a datagram
}

const (
	// mtuBase is the length that any path is taken to carry (BASE_PLPMTU), and mtuFloor and mtuFloor6
	// what nearly all do, inside IP's and UDP's headers (MIN_PLPMTU).
	mtuBase   = 1200
	mtuFloor  = 576 - 28
	mtuFloor6 = 1280 - 48
	// mtuEthernet and mtuEthernet6 are what 1500 bytes have room for.
	mtuEthernet  = 1500 - 28
	mtuEthernet6 = 1500 - 48
	// mtuProbes is how often a length is tried (MAX_PROBES), an RTO apart.
	mtuProbes = 3
	// mtuResolution is how exactly the length is found.
	mtuResolution = 8
	// mtuRaise is the time until longer datagrams are tried again (PMTU_RAISE_TIMER). It doubles up to
	// mtuRaiseMost, as long as they are not answered.
	mtuRaise     = int64(time.Minute)
	mtuRaiseMost = int64(10 * time.Minute)
	// mtuSuspectRounds is how often in a row long datagrams are lost before their length is suspected.
	mtuSuspectRounds = 2
	// mtuSuspectMedium is how often that is for those that are no longer than the base, where longer ones are
	// in use and none of these tells: any path is taken to carry them, but some carry only the floor.
	mtuSuspectMedium = 4
	// mtuLostFor is after how many round trips without a loss of its length a still shorter one is followed.
	mtuLostFor = 4
	// mtuSuspectHold is the time until the next suspicion where nothing at all was answered. It doubles
	// up to mtuRaise.
	mtuSuspectHold = int64(time.Second)
)

// begin begins a search up to top.
func (p *pathMTU) begin(now int64, top int, suspect bool) {
	p.searching, p.suspect, p.began, p.at = true, suspect, now, now
	p.top, p.good, p.bad, p.probe = top, 0, top+1, 0
}

// step takes what has become of the probe under way, and returns the length of one to be sent now, 0 for
// none. A length is probed again with the same value.
func (p *pathMTU) step(now int64, b *mtuBounds) int {
	switch {
	case p.probe == 0:
	case p.echoed:
		if p.good == 0 && p.bad <= p.size { // it may have been an outage that ends now
			p.bad = p.size + 1
		}
		p.good, p.hold = max(p.good, p.probe), 0
	case now < p.at:
		return 0
	default:
		p.unanswered++
		if p.tries < mtuProbes && !p.refused {
			return p.probe
		}
		p.bad = min(p.bad, p.probe)
	}
	if p.good > p.size || p.good > 0 && p.bad <= p.size {
		if p.good < p.size {
			p.reductions++
		}
		p.size = p.good
	}
	p.probe, p.value, p.tries = p.next(b), 0, 0
	p.echoed, p.refused = false, false
	if p.probe == 0 {
		p.end(now, b)
	}
	return p.probe
}

// next is the length to be tried next, 0 for that enough is known.
func (p *pathMTU) next(b *mtuBounds) int {
	switch {
	case p.good == 0 && p.suspect:
		return p.below(int(b.base), int(b.floor))
	case p.bad > p.top && p.good < p.top:
		return p.top
	case p.good == 0:
		return p.below(p.size, int(b.base), int(b.floor))
	case p.bad == p.size+1 && p.good < p.size:
		return p.size
	case p.good < int(b.ethernet) && int(b.ethernet) < min(p.bad, p.top):
		return int(b.ethernet)
	case p.bad-p.good <= mtuResolution:
		return 0
	}
	return (p.good + p.bad) / 2
}

// below is the first of some lengths that may be answered, 0 for none.
func (p *pathMTU) below(lengths ...int) int {
	for _, n := range lengths {
		if n < p.bad {
			return n
		}
	}
	return 0
}

// end ends a search. If nothing was answered, the peer does not answer probes, or the path carries nothing
// now: nothing is known.
func (p *pathMTU) end(now int64, b *mtuBounds) {
	switch {
	case p.good == 0 && p.suspect:
		p.hold = min(max(2*p.hold, mtuSuspectHold), mtuRaise)
		p.suspectAt = now + p.hold
	case p.suspect && p.size == p.top: // it was something else
	case p.good >= int(b.most):
		p.wait, p.nextAt = 0, never
	default:
		p.wait = min(max(2*p.wait, mtuRaise), mtuRaiseMost)
		p.nextAt = now + p.wait
	}
	p.searching, p.suspect, p.longestLost, p.shorterLost = false, false, lostLength{}, lostLength{}
}

// sent notes that the probe was sent, and says until when it may be answered.
func (p *pathMTU) sent(now int64, rtt *rttEstimator) {
	wait := rtt.rto
	if p.suspect && p.good == 0 { // perhaps nothing arrives at all
		wait = rtt.backoff(uint8(p.tries))
	}
	p.tries++
	p.probes++
	p.at = now + wait
}

// answer takes a value that a peer has echoed.
func (p *pathMTU) answer(value uint32) (ours bool) {
	if p.probe == 0 || p.tries == 0 || value != p.value {
		return false
	}
	p.echoed, p.at = true, 0
	return true
}

// refuse notes that the socket did not take the probe under way: the first link is narrower.
func (p *pathMTU) refuse() {
	if p.probe != 0 && !p.echoed {
		p.refused, p.at = true, 0
	}
}

// lostLength is how often in a row datagrams of a length were lost, none as long having arrived.
type lostLength struct {
	size, rounds int
	at           int64 // when one was lost last
}

// lost takes the loss of a long datagram, and says whether that it was lost for its length is to be found
// out: for a round trip and more, rounds times, no other one as long has arrived. Shorter ones are followed
// beside the longest, which may not be sent any more, such as a message that has expired.
func (p *pathMTU) lost(now int64, size int, rtt int64, rounds int) bool {
	l := &p.longestLost
	if size < l.size {
		l = &p.shorterLost
	}
	switch {
	case size > l.size, size < l.size && now-l.at >= mtuLostFor*rtt: // the latter of shorterLost alone
		*l = lostLength{size, 1, now}
	case size == l.size && now-l.at >= rtt:
		l.rounds++
		l.at = now
	}
	return size == l.size && l.rounds >= rounds && !p.suspect && now >= p.suspectAt
}

// suspicious says whether the loss of long datagrams is followed.
func (p *pathMTU) suspicious() bool { return p.longestLost.rounds > 0 || p.shorterLost.rounds > 0 }

// arrived takes the arrival of a datagram of that length, which had no fragments.
func (p *pathMTU) arrived(size int) {
	for _, l := range []*lostLength{&p.longestLost, &p.shorterLost} {
		if size >= l.size {
			*l = lostLength{}
		}
	}
}

// sure is the longest datagram that is not expected to need fragments.
func (p *pathMTU) sure(b *mtuBounds) int {
	if p.suspect {
		return max(p.good, int(b.floor))
	}
	return p.size
}

// restart forgets the path, and begins with datagrams of that length.
func (p *pathMTU) restart(size int) {
	*p = pathMTU{size: size, echo: p.echo, echoDue: p.echoDue, probes: p.probes, unanswered: p.unanswered, reductions: p.reductions}
}
