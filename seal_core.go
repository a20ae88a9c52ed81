package kcp

// coreSeal is what a core does for the handshake of a session that is to be sealed, and what changes when
// it is. What is in the records is the session's affair.
type coreSeal struct {
	sealed bool // what comes is the peer's: it was opened with the session's keys

	lead   []byte // records that stand before segment 0, and with each WASK, in a WINS of their own
	mark   []byte // those before other data that a listener would make a session for
	room   int    // bytes that segment 0 leaves free for lead
	listed uint32 // below this serial number nothing is appended to a segment
	hold   bool   // data is not sent

	leads  int   // how often lead was written
	leadAt int64 // when it was first

	asking bool   // list goes out in a WASK until something sealed has come
	list   []byte // a record, or nothing
	asked  int
	askAt  int64
}
