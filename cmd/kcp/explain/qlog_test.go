package explain

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// wantAlike checks that what is read from a qlog is what Stats told at that time, but for the segment that ends
// the session.
func wantAlike(t *testing.T, live, logged *kcp.Stats) {
	t.Helper()
	ms := func(d time.Duration) float64 { return float64(d.Milliseconds()) }
	for _, c := range []struct {
		name         string
		live, logged float64
	}{
		{"DatagramsSent", float64(live.DatagramsSent), float64(logged.DatagramsSent)},
		{"DatagramsReceived", float64(live.DatagramsReceived), float64(logged.DatagramsReceived)},
		{"SegmentsSent", float64(live.SegmentsSent), float64(logged.SegmentsSent)},
		{"Resent", float64(live.Resent), float64(logged.Resent)},
		{"lost", float64(Lost(live)), float64(Lost(logged))},
		{"InFlight", float64(live.InFlight), float64(logged.InFlight)},
		{"BytesInFlight", float64(live.BytesInFlight) / 1400, float64(logged.BytesInFlight) / 1400},
		{"SendWindow", float64(live.SendWindow), float64(logged.SendWindow)},
		{"PeerWindow", float64(live.PeerWindow), float64(logged.PeerWindow)},
		{"MaxPeerWindow", float64(live.MaxPeerWindow), float64(logged.MaxPeerWindow)},
		{"RTT", ms(live.RTT), ms(logged.RTT)},
		{"MinRTT", ms(live.MinRTT), ms(logged.MinRTT)},
		{"QueueingDelay", ms(live.QueueingDelay), ms(logged.QueueingDelay)},
		{"LastHeard", ms(live.LastHeard), ms(logged.LastHeard)},
		{"Age", ms(live.Age), ms(logged.Age)},
	} {
		if math.Abs(c.live-c.logged) > 2+0.02*c.live {
			t.Errorf("%s is %v, and %v in the qlog", c.name, c.live, c.logged)
		}
	}
	for i, d := range live.TimeLimited {
		if l := logged.TimeLimited[i]; (d - l).Abs() > 10*time.Millisecond {
			t.Errorf("%v was the limit for %v, and %v in the qlog", kcp.SendLimit(i), d, l)
		}
	}
}

const qlogHeader = "\x1e" + `{"file_schema":"urn:ietf:params:qlog:file:sequential","trace":{"event_schemas":["https://example.org/kcp"]}}` + "\n"

// What is no qlog of a session is said to be none, and a record that is cut off is passed over.
func TestReadQlogRefuses(t *testing.T) {
	sent := "\x1e" + `{"time":5,"name":"transport:packet_sent","data":{"frames":[{"frame_type":"stream","sn":0,"length":9}]}}` + "\n"
	for _, c := range []struct{ text, err string }{
		{qlogHeader, "no event"},
		{"\x1e\x1e\n", "no event"},
		{qlogHeader + sent + "\x1e" + `{"time":5,"na`, ""},
		{qlogHeader + "\x1e" + `{"time":1e12,"name":"transport:packet_sent","data":{}}`, "record 2: the time 1e+12"},
		{qlogHeader + "\x1e" + `{"time":1,"name":"transport:packet_sent","data":{"frames":7}}`, "record 2: transport:packet_sent: "},
		{qlogHeader + "\x1e" + `{"time":1,"name":"recovery:metrics_updated","data":{"packets_in_flight":"x"}}`, "record 2: recovery:metrics_updated: "},
		{"\x1e" + `{"qlog_version":"0.3","trace":{"event_schemas":["urn:ietf:params:qlog:events:quic"]}}`, "not of a session of this package"},
		{"\x1e" + strings.Repeat(" ", longestRecord+1), "more than 1048576 bytes"},
	} {
		series, err := ReadQlog(strings.NewReader(c.text))
		switch {
		case c.err == "" && (err != nil || len(series) == 0 || series[len(series)-1].Stats.InFlight != 1):
			t.Errorf("%.80q: %+v, %v", c.text, series, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%.80q: %v, want %s", c.text, err, c.err)
		}
	}
}

func FuzzReadQlog(f *testing.F) {
	for _, seed := range []string{
		`{"time":5,"name":"transport:packet_sent","data":{"frames":[{"frame_type":"stream","sn":0,"length":9,"again":true}]}}`,
		`{"time":9,"name":"transport:packet_received","data":{"frames":[{"frame_type":"ack","sns":[[0,5],[],[7,1]]}]}}`,
		`{"time":150,"name":"recovery:metrics_updated","data":{"min_rtt":1e300,"packets_in_flight":-5,"peer_window":3,"delivery_rate":80}}`,
		`{"time":350,"name":"kcp:limit_updated","data":{"old":"application","new":"pacing"}}`,
		`{"time":9e9,"name":"connectivity:connection_closed","data":{"trigger":"idle_timeout","reason":"x"}}`,
		`{"time":4,"name":"recovery:packet_lost","data":{"reason":"early"}}`,
		`{"time":4,"name":"transport:packet_dropped","data":{"reason":"decryption"}}`,
	} {
		f.Add(qlogHeader + "\x1e" + seed + "\n\x1e" + seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		series, err := ReadQlog(strings.NewReader(text))
		if err != nil {
			return
		}
		for i, s := range series {
			if i > 0 && s.At < series[i-1].At {
				t.Errorf("a sample of %v after one of %v", s.At, series[i-1].At)
			}
		}
		if v := Judge(series); v.Bound == "" || v.Do == "" {
			t.Errorf("%+v", v)
		}
	})
}
