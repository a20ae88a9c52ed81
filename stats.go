package kcp

import "time"

// Stats is what a session has done and where it stands, all as of one moment.
type Stats struct {
	// BytesSent is the number of bytes that Write accepted.
	BytesSent uint64
	// BytesReceived is the number of bytes that Read returned.
	BytesReceived uint64

	// DatagramsSent counts the datagrams sent, parity and copies included.
	DatagramsSent uint64
	// DatagramsReceived counts the datagrams received, parity included.
	DatagramsReceived uint64
	// WireBytesSent is the number of bytes of the datagrams sent: UDP's payload, headers inside it
	// included.
	WireBytesSent uint64
	// WireBytesReceived is the number of bytes of the datagrams received.
	WireBytesReceived uint64
	// SegmentsSent counts the segments sent, acknowledgements included.
	SegmentsSent uint64
	// SegmentsReceived counts the segments received, acknowledgements included.
	SegmentsReceived uint64

	// Resent counts the segments that were retransmitted.
	Resent uint64
	// LostFast counts the segments declared lost because enough later ones were acknowledged.
	LostFast uint64
	// LostEarly counts the segments declared lost because fewer later ones were acknowledged, while
	// nothing new could be sent.
	LostEarly uint64
	// LostTimeout counts the segments declared lost by a timeout.
	LostTimeout uint64
	// Spurious counts the segments declared lost that had arrived.
	Spurious uint64
	// Copies counts the retransmissions that were sent twice; they are part of Resent.
	Copies uint64
	// Duplicates counts the segments that were received again.
	Duplicates uint64
	// FECRecovered counts the datagrams that were rebuilt from parity, and the segments from repairs.
	FECRecovered uint64
	// FECWasted counts the parity shards received that rebuilt nothing.
	FECWasted uint64
	// OOBDropped counts the out-of-band datagrams that SendOOB dropped; see there.
	OOBDropped uint64
	// UnreliableSent and UnreliableReceived count the messages of SendDatagram that were sent, and that
	// arrived; UnreliableDropped those that found no room, before they were sent or read.
	UnreliableSent, UnreliableReceived, UnreliableDropped uint64
	// Expired counts the segments whose data was not sent, or not sent again, as their message had expired:
	// see WriteMessage. Skipped counts the messages that were not received for that.
	Expired, Skipped uint64
	// ReceiveDrops counts the datagrams that the kernel dropped as the receive buffer of the session's socket
	// was full; of an accepted session, that of the listener's socket that it came to. Linux tells, for
	// sockets that the package has opened or owns. The first one is reported to log/slog.
	ReceiveDrops uint64
	// InvalidInputs counts the datagrams that were not understood. Those that do not open, because
	// the peer has another cipher or key, are counted by a dialled session here, and otherwise by
	// the listener.
	InvalidInputs uint64

	// FECDataShards is the number of data shards of the FEC groups sent now, 0 without FEC.
	FECDataShards int
	// FECParityShards is the number of parity shards that each of them gets.
	FECParityShards int

	// MTU is the length of the longest datagram that is sent now, in bytes: see Settings.MTU.
	MTU int
	// MTUProbes counts the probes that were sent to find how long datagrams may be, and MTUProbesLost those
	// of them that were not answered in time.
	MTUProbes, MTUProbesLost uint64
	// BlackHoles counts how often the path was found to carry less than what was sent.
	BlackHoles uint64

	// RTT is the smoothed round-trip time, 0 before the first sample.
	RTT time.Duration
	// RTTVar is the mean deviation of the round-trip time.
	RTTVar time.Duration
	// MinRTT is the smallest sample of the round-trip time.
	MinRTT time.Duration
	// RTO is the retransmission timeout, before any backoff.
	RTO time.Duration
	// QueueingDelay is how long datagrams wait in the queues of the path now: by how much the
	// shortest of the last round trips, of eight or a second's, is above the shortest of the last 15
	// to 30 seconds. 0 is none, or unknown. Jitter hardly counts, and delayed acknowledgements do not,
	// unless the peer, one without extensions, sends them on a timer; where each segment is acknowledged
	// alone, it may be too small by the time for which the peer may delay that. A path that becomes longer reads
	// as a queue until the shorter one is forgotten, and a queue that has never been empty for as long
	// reads as part of the path.
	QueueingDelay time.Duration

	// SendWindow is the most segments that may be in flight, in segments.
	SendWindow int
	// PeerWindow is the receive window that the peer advertised last, in segments.
	PeerWindow int
	// MaxPeerWindow is how many segments the peer has room for in all, as far as is known: the largest
	// receive window that it has advertised. If PeerWindow stays far below, the peer reads late.
	MaxPeerWindow int
	// ReceiveWindow is the most segments that may wait to be read, in segments.
	ReceiveWindow int
	// InFlight is the number of segments that are sent, and neither acknowledged nor declared lost.
	InFlight int
	// BytesInFlight is the number of bytes of those segments, headers included.
	BytesInFlight int
	// CongestionWindow is the most bytes that the congestion controller allows in flight now, 0 for
	// no bound.
	CongestionWindow int
	// PacingRate is the rate that the congestion controller sends at in bytes a second, 0 for no
	// pacing.
	PacingRate int64
	// DeliveryRate is the rate at which the path delivers what is sent, in bytes a second of
	// segments, headers included, as in PacingRate; 0 is unknown. It is that of the last six round
	// trips together, of at least 20 ms each, without a short gap among them. It is what congestion
	// control and windows have let through, so what an encoder sends a little below it leaves at once.
	//
	// While the application sends less than it could, the rate is the highest one of the last ten
	// seconds or so, or before that if nothing was sent since, and a lower bound of what the path
	// carries, to the precision of one datagram in a round trip: see DeliveryRateAppLimited. To find
	// out more, send more. Where a window or a rate limit holds data back, see SendLimit, it is what
	// that allows.
	DeliveryRate int64
	// DeliveryRateAppLimited says that the application has sent less than it could in the last round
	// trip, or sends nothing now, so that the path may carry more than DeliveryRate.
	DeliveryRateAppLimited bool
	// SendLimit is what keeps the session from sending more now.
	SendLimit SendLimit
	// TimeLimited is how long each limit was the limit since the session began, to the precision of
	// events: TimeLimited[LimitPeerWindow] is how long the peer's window was. Together they are Age.
	TimeLimited LimitTimes
	// Unacknowledged is the number of segments that were written and not acknowledged.
	Unacknowledged int
	// BytesQueued is the number of bytes that were written and never sent yet.
	BytesQueued int
	// Unread is the number of segments that were received in order and not read.
	Unread int

	// KeyDatagrams is the number of datagrams that this process has sealed with the session's AEAD, in all
	// sessions that have the same BlockCrypt. What the peers have sealed with that key, and what was sealed
	// before a restart, comes on top.
	KeyDatagrams uint64
	// KeyLimit is how many datagrams a key may seal, as its nonces are random: 2³² with 12 bytes; see
	// NewAESGCMCrypt. 0 is without limit.
	KeyLimit uint64

	// LastHeard is how long ago something came from the peer, or the session began.
	LastHeard time.Duration
	// Age is how long ago the session began.
	Age time.Duration

	// Sealed says that the session has keys of its own; see Settings.Seal.
	Sealed bool
	// Cipher is what it is sealed with, "AES-256-GCM" or "ChaCha20-Poly1305", or empty.
	Cipher string
	// SealEpoch counts the keys of the direction to this end, of which each opens four million datagrams.
	SealEpoch uint64
	// EarlyData says that a listener has taken what was sent before the session had keys at once, without
	// a round trip for the handshake.
	EarlyData bool
	// PathChanges counts how often the session has gone over to another path: its peer to another address, or
	// a dialled session to another socket. See Settings.Roam.
	PathChanges uint64
	// Replays counts the sealed datagrams dropped that had been received before, or were too old to tell.
	Replays uint64
	// Unsealed counts the datagrams dropped as they were not sealed, and should have been.
	Unsealed uint64

	// PeerExtended says that the peer is known to have this package's extensions.
	PeerExtended bool
	// PeerFIN says that the peer is told of the end of the stream.
	PeerFIN bool
}
