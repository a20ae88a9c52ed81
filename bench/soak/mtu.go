package soak

import (
	"math/rand/v2"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// The least lengths that paths carry on which it is found how long datagrams may be: packets of 576 bytes, and
// IPv6's of 1280 (RFC 8899, section 5.1.2: https://www.rfc-editor.org/rfc/rfc8899#section-5.1.2).
const (
	leastMTU  = 576 - 28
	leastMTU6 = 1280 - 48
)

// finds says whether both ends find how long datagrams may be.
func (w *world) finds() bool {
	return w.has(featMTU) && w.peer == "" && !w.listening.FixedMTU && !w.dialling.FixedMTU
}

// jumbo says whether both ends take datagrams of more than 1500 bytes.
func (w *world) jumbo() bool {
	return w.has(featMTU) && w.has(featJumbo) && !w.has(featFEC) && w.peer == ""
}

// drawMTU draws the length that a path carries.
func (w *world) drawMTU(r *rand.Rand) int {
	least, most := leastMTU, 1500
	if w.has(featSix) {
		least = leastMTU6
	}
	if w.jumbo() && chance(r, 0.5) {
		most = 9000
	}
	return sized(r, least, most)
}

// narrowed makes a path narrow now and then, which a session that finds its MTU has to survive.
func (v *weather) narrowed(p netem.Path) netem.Path {
	if v.w.finds() && p.MTU == 0 && chance(v.r, 0.5) {
		p.MTU = v.w.drawMTU(v.r)
		v.w.count("narrow path")
	}
	return p
}

// calmPath is the path on which the connection has to end: a narrow one now and then.
func (c *connection) calmPath(r *rand.Rand) netem.Path {
	p := calmPath
	if c.w.finds() && chance(r, 0.5) {
		p.MTU = c.w.drawMTU(r)
		c.w.count("narrow path")
	}
	return p
}

// mtuTime is how long it may take on a path that does not change until datagrams are no longer than it carries,
// while there are some: two losses in a row, a search with probes that are an RTO apart, and a pause of a minute
// where one has failed.
const mtuTime = 2 * time.Minute

// mtuDrops is how many datagrams are lost meanwhile, at least, where that is not found: probes are fewer.
const mtuDrops = 100

// redundancyLonger is how much longer redundancy is than the longest datagram with data. Where the path carries
// this and not that, all redundancy is lost and nothing else, which is not noticed.
const redundancyLonger = 40

// checkMTU sends something over a calm path, and checks that datagrams become no longer than it carries.
func (c *connection) checkMTU(r *rand.Rand) {
	mtu := c.weather.calmMTU()
	if mtu == 0 || !c.w.finds() {
		return
	}
	for _, e := range c.shuffled(r) {
		if e.s == nil || e.may(func() bool { return e.finish }) {
			continue
		}
		e.s.SetWriteDeadline(time.Time{})
		e.full = true
		before := c.dropped()
		for begin := time.Now(); time.Since(begin) < mtuTime && e.s.Stats().MTU > mtu; time.Sleep(time.Second) {
			if err := e.writeOnce(r, e.unheard()); err != nil {
				if !c.excused(e) && !isTimeout(err) {
					e.judge("Write", err)
				}
				return
			}
		}
		s, lost := e.s.Stats(), c.dropped()-before
		least := mtu
		if c.w.has(featFEC) {
			least += redundancyLonger
		}
		if s.MTU > least && lost > mtuDrops && c.weather.calmMTU() == mtu && !c.hostile(0) && !c.excused(e) {
			e.fail("datagrams of %d bytes, %v after the path had come to carry %d, which has dropped %d", s.MTU, mtuTime, mtu, lost)
		}
	}
}

// dropped is how many datagrams were longer than the path carried.
func (c *connection) dropped() uint64 {
	at := c.client.sock().Bound()
	if c.site != nil {
		at = c.site.sock.Bound()
	}
	return c.w.net.Stats(at, c.w.serverAddr).MTUDrops + c.w.net.Stats(c.w.serverAddr, at).MTUDrops
}

// calmMTU is what the path carries while it is calm, 0 for all.
func (v *weather) calmMTU() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.worst().MTU
}
