package kcp

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
)

// publishedCounters are the names that programs in the field use.
var publishedCounters = []string{
	"BytesSent", "BytesReceived", "MaxConn", "ActiveOpens", "PassiveOpens", "CurrEstab",
	"InErrs", "InCsumErrors", "KCPInErrors", "InPkts", "OutPkts", "InSegs", "OutSegs", "InBytes", "OutBytes",
	"RetransSegs", "FastRetransSegs", "EarlyRetransSegs", "LostSegs", "RepeatSegs",
	"FECRecovered", "FECErrs", "FECParityShards", "FECShortShards",
}

// numberedSnmp returns counters of which each has a value of its own.
func numberedSnmp() *Snmp {
	s := newSnmp()
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(uint64(i + 100))
	}
	return s
}

func TestSnmpFields(t *testing.T) {
	typ := reflect.TypeFor[Snmp]()
	for _, name := range publishedCounters {
		if f, ok := typ.FieldByName(name); !ok || f.Type.Kind() != reflect.Uint64 {
			t.Errorf("no counter %s", name)
		}
	}
	s := numberedSnmp()
	header, values := s.Header(), s.ToSlice()
	if len(header) != typ.NumField() || len(values) != typ.NumField() || len(s.fields()) != typ.NumField() {
		t.Fatalf("%d names and %d values of %d counters", len(header), len(values), typ.NumField())
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Type.Kind() != reflect.Uint64 || f.Offset != uintptr(8*i) {
			t.Errorf("%s is not the %dth uint64", f.Name, i)
		}
		if header[i] != f.Name || values[i] != fmt.Sprint(100+i) {
			t.Errorf("counter %d is %s = %s, want %s = %d", i, header[i], values[i], f.Name, 100+i)
		}
	}
}

func TestSnmpCopyAndReset(t *testing.T) {
	s := numberedSnmp()
	c := s.Copy()
	if c == s || *c != *s {
		t.Error("a copy differs")
	}
	s.Reset()
	want := Snmp{
		CurrEstab: c.CurrEstab, FECShardSet: c.FECShardSet, FECShardMin: c.FECShardMin,
		RingBufferSndQueue: c.RingBufferSndQueue, RingBufferRcvQueue: c.RingBufferRcvQueue,
		RingBufferSndBuffer: c.RingBufferSndBuffer, WindowMemory: c.WindowMemory,
	}
	if *s != want {
		t.Errorf("after Reset: %+v", *s)
	}
	if *c != *numberedSnmp() {
		t.Error("Reset reached the copy")
	}
}

func TestSnmpFold(t *testing.T) {
	total, part := numberedSnmp(), numberedSnmp()
	part.InSegs = 0
	total.fold(part)
	if *part != (Snmp{}) {
		t.Error("what was folded away is still there")
	}
	v := reflect.ValueOf(total).Elem()
	for i := range v.NumField() {
		want := uint64(2 * (i + 100))
		if v.Type().Field(i).Name == "InSegs" {
			want /= 2
		}
		if got := v.Field(i).Uint(); got != want {
			t.Errorf("%s = %d, want %d", v.Type().Field(i).Name, got, want)
		}
	}
}

func TestSnmpSessions(t *testing.T) {
	s := newSnmp()
	s.opened(&s.ActiveOpens)
	s.opened(&s.PassiveOpens)
	s.closed()
	s.opened(&s.ActiveOpens)
	s.closed()
	s.closed()
	if want := (Snmp{MaxConn: 2, ActiveOpens: 2, PassiveOpens: 1}); *s != want {
		t.Errorf("%+v", *s)
	}
}

func TestSnmpConcurrently(t *testing.T) {
	s := newSnmp()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				s.opened(&s.PassiveOpens)
				s.fold(&Snmp{InPkts: 2, OutErrs: 1})
				s.Copy()
				s.ToSlice()
				s.closed()
			}
		})
	}
	wg.Wait()
	if s.InPkts != 8000 || s.OutErrs != 4000 || s.PassiveOpens != 4000 || s.CurrEstab != 0 || s.MaxConn > 8 || s.MaxConn < 1 {
		t.Errorf("%+v", *s)
	}
	if i := slices.Index(s.Header(), "OutErrs"); s.ToSlice()[i] != "4000" {
		t.Error(s.ToSlice())
	}
}
