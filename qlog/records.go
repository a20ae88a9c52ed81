package qlog

// The records of a file. Those with OldVersion and OldFormat are for viewers of qlog 0.3.

type fileHeader struct {
	FileSchema string      `json:"file_schema"`
	Format     string      `json:"serialization_format"`
	OldVersion string      `json:"qlog_version"`
	OldFormat  string      `json:"qlog_format"`
	Title      string      `json:"title"`
	Trace      traceHeader `json:"trace"`
}

type traceHeader struct {
	Common       commonFields `json:"common_fields"`
	VantagePoint vantagePoint `json:"vantage_point"`
	Schemas      []string     `json:"event_schemas"`
}

type commonFields struct {
	GroupID   string        `json:"group_id"`
	Reference referenceTime `json:"reference_time"`
}

type referenceTime struct {
	Clock string `json:"clock_type"`
	Epoch string `json:"epoch"`
	Wall  string `json:"wall_clock_time"`
}

type vantagePoint struct {
	Type string `json:"type"`
}

// schemas are the URIs of the namespaces. KCP is not QUIC, so they are not QUIC's, whose names for what
// means the same are those of qlog 0.3.
var schemas = []string{
	"https://github.com/xtaci/kcp-go/112026/connectivity",
	"https://github.com/xtaci/kcp-go/112026/transport",
	"https://github.com/xtaci/kcp-go/112026/recovery",
	"https://github.com/xtaci/kcp-go/112026/kcp",
}

type event struct {
	Time float64 `json:"time"` // ms since the session began
	Name string  `json:"name"`
	Data any     `json:"data"`
}

type rawInfo struct {
	Length int `json:"length"`
}

// packet is packet_sent and packet_received.
type packet struct {
	Header packetHeader `json:"header"`
	Raw    rawInfo      `json:"raw"`
	Frames []any        `json:"frames"`

	at *event // of one that is still to be written
}

type packetHeader struct {
	Type   string `json:"packet_type"`
	Number uint64 `json:"packet_number"`
}

// header is that of the datagram with that number.
func header(number uint64) packetHeader { return packetHeader{"1RTT", number} }

// streamFrame is a PUSH, or a FIN.
type streamFrame struct {
	Type     string  `json:"frame_type"`
	StreamID int     `json:"stream_id"`
	Offset   *uint64 `json:"offset,omitempty"`
	Length   int     `json:"length"`
	FIN      bool    `json:"fin,omitempty"`
	Raw      rawInfo `json:"raw"`
	SN       uint32  `json:"sn"`
	Again    bool    `json:"again,omitempty"`
}

// ackFrame is what a datagram acknowledges for the first time.
type ackFrame struct {
	Type   string     `json:"frame_type"`
	Ranges [][]uint64 `json:"acked_ranges"`
	SNs    [][]uint32 `json:"sns"`
}

// kcpFrame is any other segment.
type kcpFrame struct {
	Type string  `json:"frame_type"`
	Raw  rawInfo `json:"raw"`
	SN   uint32  `json:"sn"`
	TS   uint32  `json:"ts"`
	UNA  uint32  `json:"una"`
	Wnd  uint16  `json:"wnd"`
}

type packetLost struct {
	Header  packetHeader  `json:"header"`
	Frames  []streamFrame `json:"frames"`
	Trigger string        `json:"trigger,omitempty"`
	SN      uint32        `json:"sn"`
	Reason  string        `json:"reason"`
}

type packetDropped struct {
	Raw     *rawInfo `json:"raw,omitempty"`
	Trigger string   `json:"trigger"`
	SN      *uint32  `json:"sn,omitempty"`
	Reason  string   `json:"reason"`
}

type segment struct {
	SN     uint32 `json:"sn"`
	Length int    `json:"length"`
}

// metrics is metrics_updated. Only members that have changed are written.
type metrics struct {
	MinRTT        *float64 `json:"min_rtt,omitempty"`
	SmoothedRTT   *float64 `json:"smoothed_rtt,omitempty"`
	LatestRTT     *float64 `json:"latest_rtt,omitempty"`
	RTTVariance   *float64 `json:"rtt_variance,omitempty"`
	Window        *uint64  `json:"congestion_window,omitempty"`
	BytesInFlight *uint64  `json:"bytes_in_flight,omitempty"`
	InFlight      *uint64  `json:"packets_in_flight,omitempty"`
	PacingRate    *uint64  `json:"pacing_rate,omitempty"` // bit/s
	RTO           *float64 `json:"rto,omitempty"`
	QueueingDelay *float64 `json:"queueing_delay,omitempty"`
	SendWindow    *uint64  `json:"send_window,omitempty"`
	PeerWindow    *uint64  `json:"peer_window,omitempty"`
	DeliveryRate  *uint64  `json:"delivery_rate,omitempty"` // bit/s
}

// change is congestion_state_updated and limit_updated.
type change struct {
	Old string `json:"old,omitempty"`
	New string `json:"new"`
}

type started struct {
	Local  endpoint `json:"local"`
	Remote endpoint `json:"remote"`
}

type endpoint struct {
	IPv4   string  `json:"ip_v4,omitempty"`
	PortV4 *uint16 `json:"port_v4,omitempty"`
	IPv6   string  `json:"ip_v6,omitempty"`
	PortV6 *uint16 `json:"port_v6,omitempty"`
}

type closed struct {
	Initiator string `json:"initiator"`
	Trigger   string `json:"trigger"`
	Reason    string `json:"reason,omitempty"`
}

type mtuUpdated struct {
	New int `json:"new"`
}

type tupleAssigned struct {
	ID     string   `json:"tuple_id"`
	Remote endpoint `json:"tuple_remote"`
}

type sealed struct {
	Cipher string `json:"cipher"`
}
