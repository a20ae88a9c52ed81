package kcp

import (
	"iter"
	"net"
	"time"
)

// A Tracer is told what a session does, as it happens: see Settings.Tracer. Event is called under the
// session's lock, one call at a time, in the order of the events: it must neither block nor call the
// session's methods, except LocalAddr, RemoteAddr and GetConv, and the session waits for it. e is valid
// until it returns. It is told headers and sizes, and no content.
//
// Package qlog writes files for viewers, [SlogTracer] lines for log/slog.
type Tracer interface {
	Event(e *Event)
}

// Event is something that a session did. Which fields are set, beside Kind and At, the kinds tell.
type Event struct {
	Kind EventKind
	// At is when, since the session began. It never decreases.
	At time.Duration
	// Dialled says that this end has dialled.
	Dialled bool
	// SN is the serial number of a segment.
	SN uint32
	// Bytes is the length of a segment or a datagram, headers of KCP included, envelopes not.
	Bytes int
	// Reason says why.
	Reason string
	// Old and New are what was before, and what is now.
	Old, New string
	// Err is why the session has failed, nil where it was closed.
	Err error
	// Addr is the peer's address.
	Addr net.Addr
	// Metrics is where loss recovery and congestion control stand.
	Metrics Metrics

	segments []byte // of a datagram
}

// EventKind is the kind of an [Event]. The comments tell which fields it has.
type EventKind uint8

const (
	// EventOpened is the first event: Dialled, Addr.
	EventOpened EventKind = iota
	// EventClosed is that the session was closed here, or has failed, whichever was first: Err, and Reason:
	// "closed", "reset" by the peer, "timeout" as the peer was silent, or "error". What was written before may
	// still be delivered.
	EventClosed
	// EventEnded is the last event.
	EventEnded
	// EventSent is a datagram with segments: Bytes, Segments. It is sent soon; parity and copies are none.
	EventSent
	// EventReceived is a datagram with segments that has arrived and opened: Bytes, Segments.
	EventReceived
	// EventRecovered is a segment that was rebuilt from repairs: SN, Bytes. A datagram that was rebuilt
	// from parity has Segments, and no SN.
	EventRecovered
	// EventAcked is a segment that is acknowledged for the first time: SN, Bytes.
	EventAcked
	// EventLost is a segment that is declared lost: SN, Bytes, and Reason: "reordering" where enough later
	// ones are acknowledged, "early" where fewer are, and nothing new can be sent, "time" where its
	// acknowledgement is overdue, "timeout" for its RTO, "repair" where repairs that had to bring it did
	// not.
	EventLost
	// EventSpurious is that a segment has arrived that was declared lost: SN, Bytes.
	EventSpurious
	// EventDropped is something that arrived and was not taken: Bytes, 0 where that is not known, and
	// Reason: "duplicate" for a segment that had arrived before, with SN; and for datagrams "invalid";
	// "decryption", which did not open; "replay"; "unsealed", which was not sealed, and had to be; and
	// "refused" for one to be sent that the socket did not take.
	EventDropped
	// EventMetrics follows each datagram that acknowledges something: Metrics.
	EventMetrics
	// EventState is that the congestion controller, if it has a method State() string, has changed its
	// state: Old, New.
	EventState
	// EventLimit is that something else keeps the session from sending more: Old, New, the names of
	// [SendLimit].
	EventLimit
	// EventMTU is that the longest datagram is another: Bytes.
	EventMTU
	// EventPath is that the peer has moved, or is reached from elsewhere: Addr.
	EventPath
	// EventSealed is that the session has keys of its own: New, the cipher.
	EventSealed

	eventKinds = int(EventSealed) + 1
)

var eventNames = [eventKinds]string{
	"opened", "closed", "ended", "sent", "received", "recovered", "acked", "lost", "spurious", "dropped", "metrics",
	"state", "limit", "mtu", "path", "sealed",
}

// String returns the kind's name, such as "acked".
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown"
}

// Metrics is where loss recovery and congestion control stand; see [Stats] for what the fields mean.
type Metrics struct {
	// LatestRTT is the round trip that the datagram has told, 0 for none.
	LatestRTT, RTT, RTTVar, MinRTT, RTO time.Duration
	// QueueingDelay is how long datagrams wait in the queues of the path.
	QueueingDelay time.Duration
	// CongestionWindow and BytesInFlight are in bytes; 0 is no window.
	CongestionWindow, BytesInFlight int
	// InFlight, SendWindow and PeerWindow are in segments.
	InFlight, SendWindow, PeerWindow int
	// PacingRate and DeliveryRate are in bytes a second; 0 is no pacing, or unknown.
	PacingRate, DeliveryRate int64
}

// SegmentHeader is the header of a segment of a datagram; see docs/protocol.md.
type SegmentHeader struct {
	// Type is "PUSH", "ACK", "WASK", "WINS", "FIN", "RST", "DGRAM", "REP", "REPORT" or "SKIP".
	Type string
	// Frg is the number of fragments of the message that follow, or the bits of a control segment.
	Frg uint8
	// Window is the receive window that is advertised, in segments.
	Window uint16
	// TS, SN and UNA are the time stamp, the serial number, and that below which everything has arrived.
	TS, SN, UNA uint32
	// Len is the number of bytes of data.
	Len int
}

var segmentTypes = [...]string{
	"PUSH", "ACK", "WASK", "WINS", "FIN", "RST", "DGRAM", "REP", "REPORT", "SKIP",
}

// Segments returns the headers of a datagram's segments, up to the first that is not well formed.
func (e *Event) Segments() iter.Seq[SegmentHeader] {
	return func(yield func(SegmentHeader) bool) {
		if len(e.segments) < IKCP_OVERHEAD {
			return
		}
		conv := segmentConv(e.segments)
		for h, rest, ok := nextSegment(conv, e.segments); ok; h, rest, ok = nextSegment(conv, rest) {
			if !yield(SegmentHeader{segmentTypes[h.cmd-IKCP_CMD_PUSH], h.frg, h.wnd, h.ts, h.sn, h.una, int(h.len)}) {
				return
			}
		}
	}
}

// tracing is a session's way to its tracer. The session's lock guards it.
type tracing struct {
	begin   func() Tracer // asks for the tracer, nil once it was
	to      Tracer        // nil for none
	began   int64
	last    int64 // time of the last event
	dialled bool
	addr    net.Addr
	state   string // of the congestion controller
	sealed  string // the cipher, of a session that was sealed before the first event
	event   Event
}

// next returns the event that is told next, to be completed and passed to tell; nil where nobody wants it.
// The tracer is made for the first one, as the listener is locked when a session is made.
func (t *tracing) next(now int64, kind EventKind) *Event {
	if t.begin != nil {
		begin := t.begin
		t.begin = nil
		if t.to = begin(); t.to != nil {
			t.event = Event{Kind: EventOpened, Dialled: t.dialled, Addr: t.addr}
			t.tell()
		}
		if t.sealed != "" && t.to != nil {
			t.event = Event{Kind: EventSealed, New: t.sealed}
			t.tell()
		}
	}
	if t.to == nil {
		return nil
	}
	t.last = max(t.last, now)
	t.event = Event{Kind: kind, At: time.Duration(t.last - t.began)}
	return &t.event
}

func (t *tracing) tell() { t.to.Event(&t.event) }
