package kcp

import (
	"context"
	"log/slog"
)

// SlogTracer returns a Settings.Tracer that writes each event as a record to l: those of datagrams,
// segments and metrics at slog.LevelDebug, losses and drops among them, and the others, of which a session
// has few, at slog.LevelInfo, or slog.LevelWarn for a session that has failed. Records have the session's
// conversation and peer as "conv" and "peer".
func SlogTracer(l *slog.Logger) func(s *UDPSession) Tracer {
	return func(s *UDPSession) Tracer {
		return slogTracer{l.With("conv", s.GetConv(), "peer", s.RemoteAddr())}
	}
}

type slogTracer struct{ log *slog.Logger }

func (t slogTracer) Event(e *Event) {
	level := slog.LevelDebug
	switch e.Kind {
	case EventOpened, EventClosed, EventEnded, EventMTU, EventPath, EventSealed:
		level = slog.LevelInfo
		if e.Err != nil {
			level = slog.LevelWarn
		}
	}
	ctx := context.Background()
	if t.log.Enabled(ctx, level) {
		t.log.LogAttrs(ctx, level, "kcp "+e.Kind.String(), e.attrs()...)
	}
}

// attrs returns the fields that an event of the kind has.
func (e *Event) attrs() []slog.Attr {
	list := []slog.Attr{slog.Duration("at", e.At)}
	add := func(more ...slog.Attr) { list = append(list, more...) }
	switch e.Kind {
	case EventOpened:
		add(slog.Bool("dialled", e.Dialled))
	case EventClosed:
		add(slog.String("reason", e.Reason))
		if e.Err != nil {
			add(slog.Any("err", e.Err))
		}
	case EventSent, EventReceived:
		add(slog.Int("bytes", e.Bytes), e.segmentsAttr())
	case EventRecovered:
		if e.segments != nil {
			add(slog.Int("bytes", e.Bytes), e.segmentsAttr())
			break
		}
		add(slog.Any("sn", e.SN), slog.Int("bytes", e.Bytes))
	case EventAcked, EventSpurious:
		add(slog.Any("sn", e.SN), slog.Int("bytes", e.Bytes))
	case EventLost:
		add(slog.Any("sn", e.SN), slog.Int("bytes", e.Bytes), slog.String("reason", e.Reason))
	case EventDropped:
		add(slog.String("reason", e.Reason))
		if e.Bytes > 0 {
			add(slog.Any("sn", e.SN), slog.Int("bytes", e.Bytes))
		}
	case EventMetrics:
		m := &e.Metrics
		add(slog.Duration("latest_rtt", m.LatestRTT), slog.Duration("rtt", m.RTT), slog.Duration("rtt_var", m.RTTVar),
			slog.Duration("min_rtt", m.MinRTT), slog.Duration("rto", m.RTO), slog.Duration("queue", m.QueueingDelay),
			slog.Int("cwnd", m.CongestionWindow), slog.Int("bytes_in_flight", m.BytesInFlight), slog.Int("in_flight", m.InFlight),
			slog.Int("send_window", m.SendWindow), slog.Int("peer_window", m.PeerWindow),
			slog.Int64("pacing_rate", m.PacingRate), slog.Int64("delivery_rate", m.DeliveryRate))
	case EventState, EventLimit:
		add(slog.String("old", e.Old), slog.String("new", e.New))
	case EventMTU:
		add(slog.Int("bytes", e.Bytes))
	case EventPath:
		add(slog.Any("addr", e.Addr))
	case EventSealed:
		add(slog.String("cipher", e.New))
	}
	return list
}

// segmentsAttr tells the types of a datagram's segments.
func (e *Event) segmentsAttr() slog.Attr {
	var types []string
	for h := range e.Segments() {
		types = append(types, h.Type)
	}
	return slog.Any("segments", types)
}
