package kcp

import (
	"encoding/json"
	"expvar"
	"reflect"
	"testing"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// What expvar shows are the process's counters and the listeners'.
func TestVars(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.9.8.7:2000")
		defer l.Close()
		var got struct {
			Process   Snmp
			Listeners map[string]ListenerStats
		}
		if err := json.Unmarshal([]byte(expvar.Func(Vars).String()), &got); err != nil {
			t.Fatal(err)
		}
		if _, ok := got.Listeners["10.9.8.7:2000"]; !ok {
			t.Errorf("no listener: %v", got.Listeners)
		}
	})
}

// No counter is left out of a sum.
func TestListenerStatsPlus(t *testing.T) {
	var a ListenerStats
	v := reflect.ValueOf(&a).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.CanInt() {
			f.SetInt(int64(i + 1))
		} else {
			f.SetUint(uint64(i + 1))
		}
	}
	sum := reflect.ValueOf(a.plus(a))
	for i := range sum.NumField() {
		f, want := sum.Field(i), uint64(2*(i+1))
		if f.CanInt() && uint64(f.Int()) != want || f.CanUint() && f.Uint() != want {
			t.Errorf("%s: %v, want %d", sum.Type().Field(i).Name, f, want)
		}
	}
}
