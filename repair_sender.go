package kcp

import "time"

// repairSender is what a sender keeps of its repairs.
type repairSender struct {
	budget float64 // most repairs for each new segment, 0 for none
	floor  float64 // repairs for each new segment, whatever is lost
	on     bool    // the peer takes them, and segments are cut so that they fit

	index   uint8
	credit  float64 // repairs that are due, or part of one
	gap     int64   // smoothed time between new segments
	newAt   int64   // when the last was sent
	tailAt  int64   // when a repair is due as nothing follows, never for none
	path    forwardLoss
	bursts  lossBursts
	rebuilt snSet // segments acknowledged as rebuilt

	list []sentRepair // the newest, oldest first
	held []heldSegment
}

// sentRepair is a repair under way.
type sentRepair struct {
	at      int64
	members uint64 // from base on
	base    uint32
	ts      uint32
	taken   bool // a segment is held for it, or it asks for an answer
}

// sentRepairsMax is how many repairs under way are kept.
const sentRepairsMax = 256

// repairHold is how long after a segment a repair may be sent, or half a round trip, that it is held for.
const repairHold = 30 * int64(time.Millisecond)

// repairMSS is the least MSS of a session that sends repairs.
const repairMSS = 4 * IKCP_OVERHEAD

// heldSegment is a segment that is not declared lost before a repair may have brought it.
type heldSegment struct {
	sn, ts uint32
	until  int64
}
