package qlog

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	kcp "github.com/xtaci/kcp-go/v5"
)

// Event writes an event.
func (l *log) Event(e *kcp.Event) {
	if e.Kind == kcp.EventOpened {
		l.begin(e)
	}
	if l.file == nil {
		return
	}
	if e.Kind != kcp.EventAcked {
		l.arrived()
	}
	switch e.Kind {
	case kcp.EventOpened:
		l.event(e, "connectivity:connection_started", started{endpointOf(l.session.LocalAddr()), endpointOf(e.Addr)})
	case kcp.EventClosed:
		l.event(e, "connectivity:connection_closed", closedBy(e))
		l.flush()
	case kcp.EventEnded:
		l.event(e, "connectivity:connection_state_updated", change{New: "closed"})
		l.end()
	case kcp.EventSent:
		l.sent++
		l.event(e, "transport:packet_sent", &packet{Header: header(l.sent), Raw: rawInfo{e.Bytes}, Frames: l.framesSent(e)})
	case kcp.EventReceived:
		l.received++
		p := &packet{Header: header(l.received), Raw: rawInfo{e.Bytes}, Frames: frames(e)}
		p.at = &event{millis(e.At), "transport:packet_received", p}
		l.arriving = p
	case kcp.EventAcked:
		l.acked = append(l.acked, e.SN)
	case kcp.EventLost:
		l.lost(e)
	case kcp.EventDropped:
		l.dropped(e)
	case kcp.EventMetrics:
		if m := l.changed(&e.Metrics); *m != (metrics{}) {
			l.event(e, "recovery:metrics_updated", m)
		}
	case kcp.EventState:
		l.event(e, "recovery:congestion_state_updated", change{e.Old, e.New})
	case kcp.EventMTU:
		l.event(e, "connectivity:mtu_updated", mtuUpdated{e.Bytes})
	case kcp.EventPath:
		l.event(e, "connectivity:tuple_assigned", tupleAssigned{"", endpointOf(e.Addr)})
	default:
		l.ownEvent(e)
	}
}

// ownEvent writes an event that QUIC does not have.
func (l *log) ownEvent(e *kcp.Event) {
	switch e.Kind {
	case kcp.EventRecovered:
		if list := frames(e); len(list) > 0 {
			l.event(e, "kcp:packet_recovered", &packet{Header: packetHeader{Type: "1RTT"}, Raw: rawInfo{e.Bytes}, Frames: list})
			return
		}
		l.event(e, "kcp:segment_recovered", segment{e.SN, e.Bytes})
	case kcp.EventSpurious:
		l.event(e, "kcp:spurious_loss", segment{e.SN, e.Bytes})
	case kcp.EventLimit:
		l.event(e, "kcp:limit_updated", change{e.Old, e.New})
	case kcp.EventSealed:
		l.event(e, "kcp:sealed", sealed{e.New})
	}
}

// framesSent returns the frames of a datagram that is sent, and notes its segments.
func (l *log) framesSent(e *kcp.Event) []any {
	list := frames(e)
	for i := range list {
		f, ok := list[i].(*streamFrame)
		if !ok {
			continue
		}
		t, before := l.segments[f.SN]
		if f.Again = before || int32(f.SN-l.next) < 0; !f.Again {
			t.offset, t.length = l.offset, f.Length
			l.next = f.SN + 1
			l.offset += uint64(f.Length)
		}
		t.packet = l.sent
		l.segments[f.SN] = t
		offset := t.offset
		f.Offset = &offset
	}
	return list
}

// frames returns the frames of a datagram.
func frames(e *kcp.Event) []any {
	list := make([]any, 0, 2)
	for h := range e.Segments() {
		switch h.Type {
		case "PUSH", "FIN", "SKIP":
			list = append(list, &streamFrame{
				Type: "stream", Length: h.Len, FIN: h.Type == "FIN", Raw: rawInfo{h.Len}, SN: h.SN,
			})
		default:
			name := "kcp_" + strings.ToLower(h.Type)
			if h.Type == "DGRAM" {
				name = "datagram"
			}
			list = append(list, &kcpFrame{name, rawInfo{h.Len}, h.SN, h.TS, h.UNA, h.Window})
		}
	}
	return list
}

// arrived writes the datagram that has arrived last, once it is known what it acknowledges.
func (l *log) arrived() {
	p := l.arriving
	if p == nil {
		return
	}
	l.arriving = nil
	if len(l.acked) > 0 {
		packets := make([]uint64, 0, len(l.acked))
		for _, sn := range l.acked {
			if t, ok := l.segments[sn]; ok {
				packets = append(packets, t.packet)
				delete(l.segments, sn)
			}
		}
		if len(packets) > 0 {
			p.Frames = append(p.Frames, &ackFrame{"ack", ranges(packets), ranges(l.acked)})
		}
		l.acked = l.acked[:0]
	}
	l.record(p.at)
}

// ranges returns the ranges of numbers, each from the first to the last, or alone.
func ranges[N uint32 | uint64](numbers []N) (list [][]N) {
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	for i := 0; i < len(numbers); {
		first, last := numbers[i], numbers[i]
		for i++; i < len(numbers) && numbers[i] == last+1; i++ {
			last++
		}
		if first == last {
			list = append(list, []N{first})
		} else {
			list = append(list, []N{first, last})
		}
	}
	return list
}

// lost writes that a segment is lost.
func (l *log) lost(e *kcp.Event) {
	t := l.segments[e.SN]
	offset := t.offset
	l.event(e, "recovery:packet_lost", packetLost{
		Header: header(t.packet),
		Frames: []streamFrame{{Type: "stream", Offset: &offset, Length: t.length, Raw: rawInfo{t.length}, SN: e.SN}},
		Trigger: map[string]string{
			"reordering": "reordering_threshold", "early": "reordering_threshold", "time": "time_threshold",
			"timeout": "pto_expired", "repair": "time_threshold",
		}[e.Reason],
		SN: e.SN, Reason: e.Reason,
	})
}

// dropped writes that a segment or a datagram was dropped.
func (l *log) dropped(e *kcp.Event) {
	d := packetDropped{Reason: e.Reason, Trigger: map[string]string{
		"duplicate": "duplicate", "invalid": "invalid", "decryption": "decryption_failure", "replay": "duplicate",
		"unsealed": "rejected", "refused": "internal_error",
	}[e.Reason]}
	if e.Bytes > 0 {
		sn := e.SN
		d.SN, d.Raw = &sn, &rawInfo{e.Bytes}
	}
	l.event(e, "transport:packet_dropped", d)
}

// changed returns the metrics that have changed.
func (l *log) changed(m *kcp.Metrics) *metrics {
	last, out := &l.metrics, new(metrics)
	if m.LatestRTT != 0 {
		rtt := millis(m.LatestRTT)
		out.LatestRTT = &rtt
	}
	set(&last.MinRTT, &out.MinRTT, millis(m.MinRTT))
	set(&last.SmoothedRTT, &out.SmoothedRTT, millis(m.RTT))
	set(&last.RTTVariance, &out.RTTVariance, millis(m.RTTVar))
	set(&last.RTO, &out.RTO, millis(m.RTO))
	set(&last.QueueingDelay, &out.QueueingDelay, millis(m.QueueingDelay))
	set(&last.Window, &out.Window, uint64(m.CongestionWindow))
	set(&last.BytesInFlight, &out.BytesInFlight, uint64(m.BytesInFlight))
	set(&last.InFlight, &out.InFlight, uint64(m.InFlight))
	set(&last.PacingRate, &out.PacingRate, uint64(8*m.PacingRate))
	set(&last.DeliveryRate, &out.DeliveryRate, uint64(8*m.DeliveryRate))
	set(&last.SendWindow, &out.SendWindow, uint64(m.SendWindow))
	set(&last.PeerWindow, &out.PeerWindow, uint64(m.PeerWindow))
	return out
}

// set sets a member that differs from what it was.
func set[T comparable](last, out **T, now T) {
	if *last == nil || **last != now {
		*last, *out = &now, &now
	}
}

// closedBy tells who has closed a session, and why.
func closedBy(e *kcp.Event) closed {
	c := closed{Initiator: "local", Trigger: "error"}
	if e.Err != nil {
		c.Reason = e.Err.Error()
	}
	switch e.Reason {
	case "closed":
		c.Trigger = "application"
	case "reset":
		c.Initiator, c.Trigger = "remote", "aborted"
	case "timeout":
		c.Trigger = "idle_timeout"
	}
	return c
}

// endpointOf returns an address as qlog has it, nothing of one that has no IP.
func endpointOf(a net.Addr) (e endpoint) {
	if a == nil {
		return e
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return e
	}
	port := ap.Port()
	if ip := ap.Addr().Unmap(); ip.Is4() {
		e.IPv4, e.PortV4 = ip.String(), &port
	} else {
		e.IPv6, e.PortV6 = ip.String(), &port
	}
	return e
}
