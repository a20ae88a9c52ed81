// Package unmarked is a peer as there are many in the field: it speaks the protocol of sections 2 to
// 8 and 13 of docs/protocol.md and none of the extensions. It is for tests, and written from the
// description of the wire alone: it shares no code with the package under test, so that a mistake
// made there is not made here again.
//
// What it does as deployed peers do, and the package under test does not:
//
//   - Windows are fixed. There is neither congestion control nor pacing.
//   - A timer that runs freely sends what has collected: an ACK for each PUSH, as many as fit into a
//     datagram, and what was lost.
//   - Capabilities, and data of WASK and WINS, mean nothing. A cmd that it does not know ends the
//     datagram.
//   - A listener knows a session by its source address alone. Whatever datagram comes first makes
//     one, and a datagram of another conversation whose first segment has sn 0 replaces it.
//   - Close sends what the window allows once, and is silent from then on.
//
// Everything keeps time by package time, and so runs in a testing/synctest bubble.
package unmarked

import (
	"cmp"
	"errors"
	"time"
)

// Config is what a peer can be told. The zero value of each field means its default.
type Config struct {
	Envelope Envelope // the cipher. Default: none

	// DataShards and ParityShards are the FEC of what is sent, 0 for none.
	DataShards, ParityShards int
	// FixedFEC makes the decoder believe that the peer's shard counts are its own. By default it
	// adapts.
	FixedFEC bool
	// OOB is called with each out-of-band payload, which is its own.
	OOB func([]byte)

	SendWindow, ReceiveWindow int           // in segments. Default: 32
	Interval                  time.Duration // of the timer. Default: 10 ms
	NoDelay                   bool          // minimum RTO 30 ms and backoff 1.5, instead of 100 ms and 2
	Resend                    int           // acknowledgements skipped that repeat a segment, 0 for never
	ACKNoDelay                bool          // acknowledgements do not wait for the timer
	WriteDelay                bool          // writes wait for the timer
	MTU                       int           // longest datagram in bytes. Default: 1400
	Stream                    bool          // small writes are merged, and reads know no boundaries
	// Fragments makes messages of as many segments as a Write needs, with frg counting down, as
	// programs do that use the protocol's core directly. Sessions of most programs cut a Write into
	// messages of one segment.
	Fragments bool
}

const (
	mtuMax      = 1500 // what peers read into
	fecOverhead = 8
	overhead    = 24 // of a segment
)

var (
	// ErrClosed is the error of what Close has ended.
	ErrClosed = errors.New("unmarked: closed")
	// ErrTimeout is the error of a Read or Write beyond its deadline.
	ErrTimeout = errors.New("unmarked: deadline passed")
)

// complete fills in the defaults.
func (c Config) complete() *Config {
	c.SendWindow = cmp.Or(c.SendWindow, 32)
	c.ReceiveWindow = cmp.Or(c.ReceiveWindow, 32)
	c.Interval = cmp.Or(c.Interval, 10*time.Millisecond)
	c.MTU = cmp.Or(c.MTU, 1400)
	return &c
}

// room is how many bytes of segments a datagram has.
func (c *Config) room() int {
	n := c.MTU
	if c.Envelope != nil {
		n -= c.Envelope.Overhead()
	}
	if c.hasFEC() {
		n -= fecOverhead
	}
	return n
}

func (c *Config) hasFEC() bool { return c.DataShards > 0 && c.ParityShards > 0 }
