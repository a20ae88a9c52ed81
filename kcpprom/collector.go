// Package kcpprom has a collector for Prometheus of what the sessions and listeners of a process do. It is a
// module of its own, so that programs without Prometheus do not get its client.
//
//	prometheus.MustRegister(kcpprom.NewCollector())
//
// It counts what kcp.DefaultSnmp counts (kcp_in_pkts_total and so on), what each listener counts, with its
// address as the label "listener", and shows the sessions that there are when it is asked: how many each
// kcp.SendLimit keeps from sending more (kcp_sessions), and their round trips (kcp_session_rtt_seconds).
package kcpprom

import (
	"reflect"
	"strings"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	kcp "github.com/xtaci/kcp-go/v5"
)

// NewCollector returns a collector of the process. To collect asks each session for its statistics, which
// takes about a microsecond and that session's lock.
func NewCollector() prometheus.Collector {
	return &collector{process: snmpMetrics(), listener: listenerMetrics()}
}

// collector asks package kcp anew each time.
type collector struct{ process, listener []metric }

// metric is a member of a struct of counters.
type metric struct {
	field int
	desc  *prometheus.Desc
	kind  prometheus.ValueType
}

var (
	sessionsDesc = prometheus.NewDesc("kcp_sessions", "Sessions, by what keeps them from sending more: see kcp.SendLimit.", []string{"limit"}, nil)
	rttDesc      = prometheus.NewDesc("kcp_session_rtt_seconds", "Smoothed round-trip times of the sessions that there are.", nil, nil)

	// rttBuckets are upper bounds in seconds: from a rack to a satellite.
	rttBuckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
)

// states are the members of kcp.Snmp and kcp.ListenerStats that are no counts of events.
var states = map[string]bool{
	"MaxConn": true, "CurrEstab": true, "FECShardSet": true, "FECShardMin": true, "RingBufferSndQueue": true,
	"RingBufferRcvQueue": true, "RingBufferSndBuffer": true, "WindowMemory": true,
	"Sessions": true, "Backlog": true, "HalfOpen": true,
}

func snmpMetrics() []metric { return metrics(reflect.TypeFor[kcp.Snmp](), "kcp_", "kcp.Snmp") }

func listenerMetrics() []metric {
	return metrics(reflect.TypeFor[kcp.ListenerStats](), "kcp_listener_", "kcp.ListenerStats", "listener")
}

// metrics returns those of a struct's members.
func metrics(t reflect.Type, prefix, of string, labels ...string) (list []metric) {
	for i := range t.NumField() {
		name := t.Field(i).Name
		m := metric{field: i, kind: prometheus.CounterValue}
		full := prefix + snake(name) + "_total"
		if states[name] {
			full, m.kind = prefix+snake(name), prometheus.GaugeValue
		}
		m.desc = prometheus.NewDesc(full, of+"."+name+".", labels, nil)
		list = append(list, m)
	}
	return list
}

// snake writes a name in small letters, words joined by underscores: InPkts as in_pkts, FECErrs as fec_errs.
func snake(name string) string {
	var b strings.Builder
	r := []rune(name)
	for i, c := range r {
		begins := i > 0 && unicode.IsUpper(c) && (unicode.IsLower(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1]))
		if begins {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// Describe sends the descriptions of all metrics.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range append(c.process[:len(c.process):len(c.process)], c.listener...) {
		out <- m.desc
	}
	out <- sessionsDesc
	out <- rttDesc
}

// Collect sends the values of all metrics.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	process := reflect.ValueOf(kcp.DefaultSnmp.Copy()).Elem()
	for _, m := range c.process {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(process.Field(m.field).Uint()))
	}
	c.collectListeners(out)
	collectSessions(out)
}

// collectListeners sends the listeners' metrics. Several at one address are one.
func (c *collector) collectListeners(out chan<- prometheus.Metric) {
	sums := make(map[string][]float64)
	for l := range kcp.Listeners() {
		addr, stats := l.Addr().String(), reflect.ValueOf(l.Stats())
		if sums[addr] == nil {
			sums[addr] = make([]float64, len(c.listener))
		}
		for i, m := range c.listener {
			if f := stats.Field(m.field); f.CanInt() {
				sums[addr][i] += float64(f.Int())
			} else {
				sums[addr][i] += float64(f.Uint())
			}
		}
	}
	for addr, values := range sums {
		for i, m := range c.listener {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, values[i], addr)
		}
	}
}

// collectSessions sends what the sessions are doing.
func collectSessions(out chan<- prometheus.Metric) {
	limits := make([]float64, len(kcp.LimitTimes{}))
	buckets := make(map[float64]uint64, len(rttBuckets))
	for _, bound := range rttBuckets {
		buckets[bound] = 0
	}
	var count uint64
	var sum float64
	for s := range kcp.Sessions() {
		st := s.Stats()
		limits[st.SendLimit]++
		if st.RTT == 0 {
			continue
		}
		rtt := st.RTT.Seconds()
		count++
		sum += rtt
		for _, bound := range rttBuckets {
			if rtt <= bound {
				buckets[bound]++
			}
		}
	}
	for limit, n := range limits {
		out <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, n, kcp.SendLimit(limit).String())
	}
	out <- prometheus.MustNewConstHistogram(rttDesc, count, sum, buckets)
}
