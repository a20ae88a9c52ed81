package main

import (
	"reflect"
	"time"
)

// transportStats is where a transport stands. Fields that it does not tell are 0.
type transportStats struct {
	BytesSent, BytesQueued                       float64 // written; of these never sent
	Resent                                       float64
	LostFast, LostEarly, LostTimeout, Spurious   float64
	RTT, MinRTT, RTTVar                          time.Duration
	SendWindow, PeerWindow, Unacknowledged       float64 // segments
	BytesInFlight, CongestionWindow, PacingRate  float64
	FECDataShards, FECParityShards, FECRecovered float64
}

// statsOf returns a function that calls session's method Stats, and takes the fields of its result
// by name: other implementations at the same import path have no such method, and other versions
// not all of its fields.
func statsOf(session any) func() transportStats {
	method := reflect.ValueOf(session).MethodByName("Stats")
	return func() (s transportStats) {
		if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
			return s
		}
		from, to := method.Call(nil)[0], reflect.ValueOf(&s).Elem()
		for i := range to.NumField() {
			f := from.FieldByName(to.Type().Field(i).Name)
			switch field := to.Field(i); {
			case !f.IsValid():
			case f.CanConvert(field.Type()):
				field.Set(f.Convert(field.Type()))
			}
		}
		return s
	}
}
