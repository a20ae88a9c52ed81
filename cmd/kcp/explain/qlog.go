package explain

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

const (
	recordSeparator = 0x1e // https://www.rfc-editor.org/rfc/rfc7464
	longestRecord   = 1 << 20
	sampleEvery     = 100 * time.Millisecond
	latestEvent     = 10 * 365 * 24 * time.Hour
)

// IsQlog says whether a file that begins like that may be one of package qlog.
func IsQlog(beginning []byte) bool {
	return len(beginning) > 0 && beginning[0] == recordSeparator
}

// ReadQlog reads a file of package qlog, of one session, and returns samples of it, each 100 ms of the session's
// time while something happened. They have what Judge looks at as far as a qlog has it: not the CPU that the
// process used, nor what a receive buffer dropped, nor what the other end knows. Records that are no JSON are
// passed over, as https://www.rfc-editor.org/rfc/rfc7464#section-2.3 has it: the last one of a program that was
// killed is cut off.
func ReadQlog(r io.Reader) ([]Sample, error) {
	records := bufio.NewScanner(r)
	records.Buffer(nil, longestRecord)
	records.Split(splitRecord)
	q := newQlogReader()
	for n := 1; records.Scan(); n++ {
		if err := q.record(records.Bytes()); err != nil {
			return nil, fmt.Errorf("record %d: %w", n, err)
		}
	}
	switch err := records.Err(); {
	case err == bufio.ErrTooLong:
		return nil, fmt.Errorf("a record has more than %d bytes", longestRecord)
	case err != nil:
		return nil, err
	case !q.begun:
		return nil, fmt.Errorf("it has no event of a session of this package")
	}
	q.sample(q.now)
	return q.series, nil
}

// splitRecord is a bufio.SplitFunc for JSON Text Sequences.
func splitRecord(data []byte, atEOF bool) (advance int, token []byte, err error) {
	start := 0
	for start < len(data) && data[start] == recordSeparator {
		start++
	}
	if end := bytes.IndexByte(data[start:], recordSeparator); end >= 0 {
		return start + end, data[start : start+end], nil
	}
	if atEOF && start < len(data) {
		return len(data), data[start:], nil
	}
	return 0, nil, nil
}

// A qlogReader follows a session's Stats through its events.
type qlogReader struct {
	series []Sample
	begun  bool          // there was an event
	now    time.Duration // of the last event
	next   time.Duration // when the next sample is due

	stats      kcp.Stats
	heard      time.Duration // when something arrived last
	limitSince time.Duration // when stats.SendLimit became the limit
	metrics    qlogMetrics
	failed     Failure
	why        string
}

// qlogMetrics is recovery:metrics_updated. A member that is absent is as it was.
type qlogMetrics struct {
	MinRTT        float64 `json:"min_rtt"` // ms
	RTT           float64 `json:"smoothed_rtt"`
	QueueingDelay float64 `json:"queueing_delay"`
	Window        int     `json:"congestion_window"`
	BytesInFlight int     `json:"bytes_in_flight"`
	InFlight      int     `json:"packets_in_flight"`
	PacingRate    int64   `json:"pacing_rate"` // bit/s
	DeliveryRate  int64   `json:"delivery_rate"`
	SendWindow    int     `json:"send_window"`
	PeerWindow    int     `json:"peer_window"`
}

// qlogData has the members of the other events.
type qlogData struct {
	Frames []struct {
		Type   string     `json:"frame_type"`
		Length int        `json:"length"`
		Again  bool       `json:"again"`
		SNs    [][]uint32 `json:"sns"`
	} `json:"frames"`
	Reason  string `json:"reason"`
	Trigger string `json:"trigger"`
	New     string `json:"new"`
}

func newQlogReader() *qlogReader {
	q := &qlogReader{metrics: qlogMetrics{PeerWindow: kcp.IKCP_WND_RCV}}
	q.stats.SendLimit = kcp.LimitApplication // as a session begins
	q.stats.PeerWindow = q.metrics.PeerWindow
	return q
}

// record takes a record.
func (q *qlogReader) record(text []byte) error {
	var e struct {
		Name    string          `json:"name"`
		Time    float64         `json:"time"` // ms
		Data    json.RawMessage `json:"data"`
		Schema  string          `json:"file_schema"`
		Version string          `json:"qlog_version"`
		Trace   struct {
			Schemas []string `json:"event_schemas"`
		} `json:"trace"`
	}
	if json.Unmarshal(text, &e) != nil {
		return nil
	}
	switch ours := func(schema string) bool { return strings.HasSuffix(schema, "/kcp") }; {
	case (e.Schema != "" || e.Version != "") && !slices.ContainsFunc(e.Trace.Schemas, ours):
		return fmt.Errorf("it is a qlog file, and not of a session of this package")
	case e.Name == "":
		return nil
	case len(e.Data) == 0:
		e.Data = []byte("{}")
	}
	if e.Time < 0 || e.Time > float64(latestEvent/time.Millisecond) {
		return fmt.Errorf("the time %v of %s is not from 0 to ten years", e.Time, e.Name)
	}
	q.begun = true
	if at := milliseconds(e.Time); at > q.now {
		if at >= q.next {
			q.sample(q.next)
			q.next = at - at%sampleEvery + sampleEvery
		}
		q.now = at
	}
	return q.event(e.Name, e.Data)
}

// sample adds a sample of that time.
func (q *qlogReader) sample(at time.Duration) {
	at = max(at, q.now)
	s := Sample{At: at, Stats: q.stats, Failed: q.failed, Why: q.why, Qlog: true}
	s.Stats.Age, s.Stats.LastHeard = at, at-q.heard
	s.Stats.TimeLimited[s.Stats.SendLimit] += at - q.limitSince
	q.series = append(q.series, s)
}

// event takes an event.
func (q *qlogReader) event(name string, data json.RawMessage) error {
	if name == "recovery:metrics_updated" {
		if err := json.Unmarshal(data, &q.metrics); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		q.metricsUpdated()
		return nil
	}
	var d qlogData
	switch name {
	case "transport:packet_sent", "transport:packet_received", "transport:packet_dropped", "recovery:packet_lost",
		"kcp:limit_updated", "connectivity:connection_closed":
		if err := json.Unmarshal(data, &d); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	switch s := &q.stats; name {
	case "transport:packet_sent":
		q.sent(&d)
	case "transport:packet_received":
		q.received(&d)
	case "transport:packet_dropped":
		if d.Reason == "invalid" || d.Reason == "decryption" {
			s.DatagramsReceived++
			s.InvalidInputs++
		}
	case "recovery:packet_lost":
		q.lost(&d)
	case "kcp:spurious_loss":
		s.Spurious++
	case "kcp:limit_updated":
		s.TimeLimited[s.SendLimit] += q.now - q.limitSince
		s.SendLimit, q.limitSince = limitNamed(d.New), q.now
	case "connectivity:connection_closed":
		q.closed(&d)
	}
	return nil
}

func (q *qlogReader) sent(d *qlogData) {
	s := &q.stats
	s.DatagramsSent++
	s.SegmentsSent += uint64(len(d.Frames))
	for _, f := range d.Frames {
		if f.Type != "stream" {
			continue
		}
		s.InFlight++
		s.BytesInFlight += f.Length + kcp.IKCP_OVERHEAD
		if f.Again {
			s.Resent++
			continue
		}
		s.Unacknowledged++
		s.BytesSent += uint64(max(0, f.Length))
	}
}

func (q *qlogReader) lost(d *qlogData) {
	s := &q.stats
	for _, f := range d.Frames {
		s.InFlight--
		s.BytesInFlight -= f.Length + kcp.IKCP_OVERHEAD
	}
	switch d.Reason {
	case "timeout":
		s.LostTimeout++
	case "early":
		s.LostEarly++
	default:
		s.LostFast++
	}
}

func (q *qlogReader) received(d *qlogData) {
	s := &q.stats
	s.DatagramsReceived++
	q.heard = q.now
	for _, f := range d.Frames {
		for _, r := range f.SNs {
			if len(r) > 0 {
				s.Unacknowledged = max(0, s.Unacknowledged-int(r[len(r)-1]-r[0])-1)
			}
		}
	}
}

func (q *qlogReader) metricsUpdated() {
	s, m := &q.stats, &q.metrics
	s.RTT, s.MinRTT, s.QueueingDelay = milliseconds(m.RTT), milliseconds(m.MinRTT), milliseconds(m.QueueingDelay)
	s.CongestionWindow, s.InFlight, s.BytesInFlight = m.Window, m.InFlight, m.BytesInFlight
	s.PacingRate, s.DeliveryRate = m.PacingRate/8, m.DeliveryRate/8
	s.SendWindow, s.PeerWindow = m.SendWindow, m.PeerWindow
	s.MaxPeerWindow = max(s.MaxPeerWindow, m.PeerWindow)
}

// limitNamed returns the SendLimit of that name, or LimitNone.
func limitNamed(name string) kcp.SendLimit {
	for i := range maxLimits {
		if l := kcp.SendLimit(i); l.String() == name {
			return l
		}
	}
	return kcp.LimitNone
}

// closed takes the end of a session. One that has failed as nothing was acknowledged, while the peer was heard,
// is judged as it stands.
func (q *qlogReader) closed(d *qlogData) {
	switch {
	case strings.Contains(d.Reason, kcp.ErrKeyDiffers.Error()), strings.Contains(d.Reason, kcp.ErrNotSealed.Error()):
		q.failed, q.why = WrongKey, d.Reason
	case d.Trigger == "idle_timeout" && (q.stats.DatagramsReceived == 0 || q.now-q.heard >= silence):
		q.failed, q.why = NoAnswer, d.Reason
	}
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
