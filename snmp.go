package kcp

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"
)

// Snmp holds counters in the manner of RFC 1213. Its fields, all uint64 and in
// this order, are the one table of them: Header, ToSlice, Copy and Reset follow.
// Those of DefaultSnmp change while sessions run: read them with Copy.
type Snmp struct {
	BytesSent        uint64 // bytes that Write accepted
	BytesReceived    uint64 // bytes that Read returned
	MaxConn          uint64 // most sessions open at a time
	ActiveOpens      uint64 // sessions dialled
	PassiveOpens     uint64 // sessions made by listeners
	CurrEstab        uint64 // sessions open now
	InErrs           uint64 // datagrams dropped: malformed, of no session, or of an unknown sender
	InCsumErrors     uint64 // datagrams dropped: checksum or authentication failed
	KCPInErrors      uint64 // datagrams with a segment that could not be understood, or a reset that was not credible
	InPkts           uint64 // datagrams received
	OutPkts          uint64 // datagrams sent
	InSegs           uint64 // segments received
	OutSegs          uint64 // segments sent
	InBytes          uint64 // bytes of the datagrams received
	OutBytes         uint64 // bytes of the datagrams sent
	RetransSegs      uint64 // segments sent again
	FastRetransSegs  uint64 // declared lost by enough later acknowledgements
	EarlyRetransSegs uint64 // declared lost by fewer, as nothing new could be sent
	LostSegs         uint64 // declared lost by timeout
	RepeatSegs       uint64 // segments received again
	FECRecovered     uint64 // datagrams rebuilt from parity
	FECErrs          uint64 // FEC datagrams that were invalid or could not be decoded
	FECParityShards  uint64 // parity shards received
	FECShortShards   uint64 // FEC groups given up with data missing
	OutErrs          uint64 // datagrams the socket refused; they are lost and sent again
}

const snmpFields = int(unsafe.Sizeof(Snmp{}) / 8)

// DefaultSnmp counts what all sessions of the process do.
var DefaultSnmp = newSnmp()

func newSnmp() *Snmp { return new(Snmp) }

// fields views the counters as an array.
func (s *Snmp) fields() *[snmpFields]uint64 { return (*[snmpFields]uint64)(unsafe.Pointer(s)) }

// Header returns the counters' names.
func (s *Snmp) Header() []string {
	t := reflect.TypeFor[Snmp]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Name
	}
	return names
}

// ToSlice returns the counters' values, in Header's order.
func (s *Snmp) ToSlice() []string {
	values := make([]string, snmpFields)
	for i := range s.fields() {
		values[i] = fmt.Sprint(atomic.LoadUint64(&s.fields()[i]))
	}
	return values
}

// Copy returns the counters as they are now.
func (s *Snmp) Copy() *Snmp {
	c := new(Snmp)
	for i := range s.fields() {
		c.fields()[i] = atomic.LoadUint64(&s.fields()[i])
	}
	return c
}

// Reset sets all counters to 0, except CurrEstab, which says what is and not what
// was.
func (s *Snmp) Reset() {
	for i := range s.fields() {
		if p := &s.fields()[i]; p != &s.CurrEstab {
			atomic.StoreUint64(p, 0)
		}
	}
}

// fold adds the counters of from, which the caller owns, to s and clears them.
func (s *Snmp) fold(from *Snmp) {
	for i, n := range from.fields() {
		if n != 0 {
			atomic.AddUint64(&s.fields()[i], n)
			from.fields()[i] = 0
		}
	}
}

// foldBoth is fold that adds to total too, which the caller owns.
func (s *Snmp) foldBoth(from, total *Snmp) {
	for i, n := range from.fields() {
		if n != 0 {
			total.fields()[i] += n
		}
	}
	s.fold(from)
}

// opened counts a new session; how is ActiveOpens or PassiveOpens.
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
