package qlog_test

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// definitions are those of the drafts that files of this package use, in the form of their CDDL: member and
// type, "?" before a member that may be missing, and "*" for any others. A type is text, uint, float, bool,
// hex, any, "a" / "b" for these words, [type] for an array, or the name of a definition.
//
//   - draft-ietf-quic-qlog-main-schema-13, sections 3, 5, 6, 7 and 10
//   - draft-ietf-quic-qlog-quic-events-13, sections 4, 5, 7 and 8
//
// Those marked ";ours" have members beside the drafts', which allow them by an extension point, or are of the
// namespace kcp.
var definitions = parse(`
QlogFileSeq = file_schema: text, serialization_format: text, ?title: text, ?description: text, trace: TraceSeq, ?qlog_version: "0.3", ?qlog_format: "JSON-SEQ" ;ours
TraceSeq = ?title: text, ?description: text, ?common_fields: CommonFields, ?vantage_point: VantagePoint, event_schemas: [text]
VantagePoint = ?name: text, type: "client" / "server" / "network" / "unknown", ?flow: text
CommonFields = ?tuple: text, ?time_format: "relative_to_epoch" / "relative_to_previous_event", ?reference_time: ReferenceTime, ?group_id: text, *
ReferenceTime = clock_type: "system" / "monotonic", epoch: text, ?wall_clock_time: RFC3339
Event = time: float, name: text, data: any, ?tuple: text, ?group_id: text
RawInfo = ?length: uint, ?payload_length: uint, ?data: hex

connection_started = local: TupleEndpointInfo, remote: TupleEndpointInfo
connection_closed = ?initiator: "local" / "remote", ?reason: text, ?trigger: "idle_timeout" / "application" / "error" / "version_mismatch" / "stateless_reset" / "aborted" / "unspecified"
connection_state_updated = ?old: text, new: "attempted" / "handshake_started" / "handshake_complete" / "closed"
mtu_updated = ?old: uint, new: uint, ?done: bool
tuple_assigned = tuple_id: text, ?tuple_remote: TupleEndpointInfo, ?tuple_local: TupleEndpointInfo
TupleEndpointInfo = ?ip_v4: text, ?port_v4: uint, ?ip_v6: text, ?port_v6: uint, ?connection_ids: [hex]

packet_sent = header: PacketHeader, ?frames: [Frame], ?raw: RawInfo, ?datagram_id: uint
packet_received = header: PacketHeader, ?frames: [Frame], ?raw: RawInfo, ?datagram_id: uint
packet_dropped = ?header: PacketHeader, ?raw: RawInfo, ?trigger: "internal_error" / "rejected" / "unsupported" / "invalid" / "duplicate" / "connection_unknown" / "decryption_failure" / "key_unavailable" / "general", ?sn: uint, ?reason: text ;ours
packet_lost = ?header: PacketHeader, ?frames: [Frame], ?trigger: "reordering_threshold" / "time_threshold" / "pto_expired", ?sn: uint, ?reason: text ;ours
PacketHeader = packet_type: "initial" / "handshake" / "0RTT" / "1RTT" / "retry" / "version_negotiation" / "stateless_reset" / "unknown", ?packet_number: uint
Frame = frame_type: text, *
stream = frame_type: "stream", stream_id: uint, ?offset: uint, ?fin: bool, ?raw: RawInfo, *
ack = frame_type: "ack", ?ack_delay: float, ?acked_ranges: [AckRange], *
datagram = frame_type: "datagram", ?raw: RawInfo, *

metrics_updated = ?min_rtt: float, ?smoothed_rtt: float, ?latest_rtt: float, ?rtt_variance: float, ?pto_count: uint, ?congestion_window: uint, ?bytes_in_flight: uint, ?ssthresh: uint, ?packets_in_flight: uint, ?pacing_rate: uint, ?rto: float, ?send_window: uint, ?peer_window: uint, ?delivery_rate: uint, ?queueing_delay: float ;ours
congestion_state_updated = ?old: text, new: text, ?trigger: text

limit_updated = ?old: text, new: text ;ours
segment_recovered = sn: uint, length: uint ;ours
packet_recovered = header: PacketHeader, frames: [Frame], raw: RawInfo ;ours
spurious_loss = sn: uint, length: uint ;ours
sealed = cipher: text ;ours
`)

// member is a member of a definition.
type member struct {
	kind     string
	optional bool
}

type definition struct {
	members map[string]member
	open    bool // others are allowed
}

func parse(text string) map[string]definition {
	all := make(map[string]definition)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " ;")
		name, rest, ok := strings.Cut(line, " = ")
		if !ok {
			continue
		}
		d := definition{members: make(map[string]member)}
		for part := range strings.SplitSeq(rest, ", ") {
			if part == "*" {
				d.open = true
				continue
			}
			key, kind, _ := strings.Cut(part, ": ")
			d.members[strings.TrimPrefix(key, "?")] = member{kind, key[0] == '?'}
		}
		all[name] = d
	}
	return all
}

var (
	hexString = regexp.MustCompile(`^([0-9a-f]{2})*$`)
	rfc3339   = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$`)
)

// check says what is wrong with a value of that type, nil for nothing.
func check(kind string, v any) error {
	bad := fmt.Errorf("%v is no %s", v, kind)
	text, isText := v.(string)
	number, isNumber := v.(float64)
	list, isList := v.([]any)
	switch {
	case kind == "any":
		return nil
	case kind == "text":
		return unless(isText, bad)
	case kind == "hex":
		return unless(isText && hexString.MatchString(text), bad)
	case kind == "RFC3339":
		return unless(isText && rfc3339.MatchString(text), bad)
	case kind == "bool":
		_, ok := v.(bool)
		return unless(ok, bad)
	case kind == "float":
		return unless(isNumber, bad)
	case kind == "uint":
		return unless(isNumber && number >= 0 && number == math.Trunc(number), bad)
	case kind[0] == '"':
		return unless(isText && slices.Contains(strings.Split(kind, " / "), `"`+text+`"`), bad)
	case kind == "AckRange":
		return unless(isList && (len(list) == 1 || len(list) == 2) && check("[uint]", v) == nil, bad)
	case kind[0] == '[':
		if !isList {
			return bad
		}
		for _, one := range list {
			if err := check(kind[1:len(kind)-1], one); err != nil {
				return err
			}
		}
		return nil
	}
	return checkObject(kind, v)
}

func unless(ok bool, err error) error {
	if ok {
		return nil
	}
	return err
}

// checkObject is check for an object. A frame is of the definition of its type, if there is one.
func checkObject(kind string, v any) error {
	d, known := definitions[kind]
	object, ok := v.(map[string]any)
	if !known || !ok {
		return fmt.Errorf("%v is no %s", v, kind)
	}
	for key, m := range d.members {
		if _, ok := object[key]; !ok && !m.optional {
			return fmt.Errorf("%s without %s: %v", kind, key, v)
		}
	}
	for key, value := range object {
		m, ok := d.members[key]
		if !ok && !d.open {
			return fmt.Errorf("%s with %s", kind, key)
		}
		if !ok {
			continue
		}
		if err := check(m.kind, value); err != nil {
			return fmt.Errorf("%s.%s: %w", kind, key, err)
		}
	}
	if name, _ := object["frame_type"].(string); kind == "Frame" && definitions[name].members != nil {
		return checkObject(name, v)
	}
	return nil
}
