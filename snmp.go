package kcp

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"
)

// Snmp holds counters in the manner of RFC 1213 (https://www.rfc-editor.org/rfc/rfc1213). All
// fields are uint64. Header, ToSlice, Copy and Reset take them in the order of the fields. The
// counters of DefaultSnmp change while sessions run: read them by Copy.
type Snmp struct {
	BytesSent        uint64 // bytes that Write accepted
	BytesReceived    uint64 // bytes that Read returned
	MaxConn          uint64 // most sessions open at a time
	ActiveOpens      uint64 // sessions dialled
	PassiveOpens     uint64 // sessions made by listeners
	CurrEstab        uint64 // sessions open now
	InErrs           uint64 // datagrams dropped: malformed, of no session, or of an unknown sender
	InCsumErrors     uint64 // datagrams dropped: checksum or authentication failed
	KCPInErrors      uint64 // datagrams with an invalid segment or list of records, and RSTs with an implausible una
	InPkts           uint64 // datagrams received
	OutPkts          uint64 // datagrams sent
	InSegs           uint64 // segments received
	OutSegs          uint64 // segments sent
	InBytes          uint64 // bytes of the datagrams received
	OutBytes         uint64 // bytes of the datagrams sent
	RetransSegs      uint64 // segments retransmitted
	FastRetransSegs  uint64 // segments declared lost by enough later acknowledgements
	EarlyRetransSegs uint64 // segments declared lost by fewer, as nothing new could be sent
	LostSegs         uint64 // segments declared lost by a timeout
	RepeatSegs       uint64 // segments received again
	FECRecovered     uint64 // datagrams rebuilt from parity
	FECErrs          uint64 // FEC datagrams that were invalid or could not be decoded
	FECParityShards  uint64 // parity shards received
	FECShortShards   uint64 // FEC groups given up with data shards missing
	OutErrs          uint64 // datagrams that the socket refused; they are lost

	// FEC groups of which no shard was missing that had to be rebuilt, among those whose shard counts
	// are known; groups that are not complete, now; and the seqid of the first shard of the oldest of
	// these, in the session that was driven last of those that have any, 0 where that has none left.
	FECFullShardSet uint64
	FECShardSet     uint64
	FECShardMin     uint64

	// Segments that are held now, in all sessions: written and never sent, received in order and not
	// read, and sent and not acknowledged. They are as of the last time that each session was driven,
	// by what arrives, a timer, a Read or a Write.
	RingBufferSndQueue  uint64
	RingBufferRcvQueue  uint64
	RingBufferSndBuffer uint64

	OOBPackets uint64 // out-of-band datagrams received

	// Bytes that the windows that follow the path hold now beyond 128 segments, in all sessions: what
	// SetWindowMemory bounds. As of the last time that each session was driven, in steps of 64 KiB.
	WindowMemory uint64
	WindowsCut   uint64 // times that a receive window was kept from growing, or made smaller, by that bound

	Sealed       uint64 // sessions that became sealed
	EarlyRefused uint64 // of those that were dialled, with early data that was not taken at once
	InReplays    uint64 // sealed datagrams dropped that had been received before
	InUnsealed   uint64 // datagrams dropped as they were not sealed, in sessions that are or have to be

	RcvbufErrs uint64 // datagrams that the kernel dropped as a receive buffer was full, see Stats.ReceiveDrops
}

const snmpFields = int(unsafe.Sizeof(Snmp{}) / 8)

// DefaultSnmp counts the events of all sessions and listeners of the process.
var DefaultSnmp = newSnmp()

func newSnmp() *Snmp { return new(Snmp) }

// fields views the counters as an array, in the order of the fields.
func (s *Snmp) fields() *[snmpFields]uint64 { return (*[snmpFields]uint64)(unsafe.Pointer(s)) }

// Header returns the names of the counters, in the order of the fields.
func (s *Snmp) Header() []string {
	t := reflect.TypeFor[Snmp]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Name
	}
	return names
}

// ToSlice returns the values of the counters in decimal, in the order of Header.
func (s *Snmp) ToSlice() []string {
	values := make([]string, snmpFields)
	for i := range s.fields() {
		values[i] = fmt.Sprint(atomic.LoadUint64(&s.fields()[i]))
	}
	return values
}

// Copy returns a copy of the counters. Each is read atomically, but sessions may change others
// meanwhile.
func (s *Snmp) Copy() *Snmp {
	c := new(Snmp)
	for i := range s.fields() {
		c.fields()[i] = atomic.LoadUint64(&s.fields()[i])
	}
	return c
}

// Reset sets all counters to 0. It leaves CurrEstab, FECShardSet, FECShardMin and those of ring buffers,
// which are states and no counts of events.
func (s *Snmp) Reset() {
	for i := range s.fields() {
		switch p := &s.fields()[i]; p {
		case &s.CurrEstab, &s.FECShardSet, &s.FECShardMin, &s.RingBufferSndQueue, &s.RingBufferRcvQueue,
			&s.RingBufferSndBuffer, &s.WindowMemory:
		default:
			atomic.StoreUint64(p, 0)
		}
	}
}

// ringBuffers and shardSets note in s what a session holds now: as the difference to what was folded
// away before, which total has. The sums wrap, and come out right.
func (s *Snmp) ringBuffers(total *Snmp, sndQueue, rcvQueue, sndBuffer int) {
	s.RingBufferSndQueue = uint64(sndQueue) - total.RingBufferSndQueue
	s.RingBufferRcvQueue = uint64(rcvQueue) - total.RingBufferRcvQueue
	s.RingBufferSndBuffer = uint64(sndBuffer) - total.RingBufferSndBuffer
}

func (s *Snmp) shardSets(total *Snmp, open int) {
	s.FECShardSet = uint64(open) - total.FECShardSet
}

// fold adds the counters of from to s, atomically, and sets them to 0. The caller owns from.
func (s *Snmp) fold(from *Snmp) {
	for i, n := range from.fields() {
		if n != 0 {
			atomic.AddUint64(&s.fields()[i], n)
			from.fields()[i] = 0
		}
	}
}

// foldBoth is fold, and adds the counters of from to total as well. The caller owns both.
func (s *Snmp) foldBoth(from, total *Snmp) {
	for i, n := range from.fields() {
		if n != 0 {
			total.fields()[i] += n
		}
	}
	s.fold(from)
}

// opened counts a new session. how is &s.ActiveOpens or &s.PassiveOpens.
func (s *Snmp) opened(how *uint64) {
	atomic.AddUint64(how, 1)
	now := atomic.AddUint64(&s.CurrEstab, 1)
	for {
		most := atomic.LoadUint64(&s.MaxConn)
		if now <= most || atomic.CompareAndSwapUint64(&s.MaxConn, most, now) {
			return
		}
	}
}

// closed counts the end of a session.
func (s *Snmp) closed() { atomic.AddUint64(&s.CurrEstab, ^uint64(0)) }
