package kcp

import (
	"math"
	"time"
)

// Stats is what a session has done and where it stands, all of one moment.
type Stats struct {
	BytesSent     uint64 // that Write accepted
	BytesReceived uint64 // that Read returned

	DatagramsSent     uint64 // parity and copies included
	DatagramsReceived uint64
	WireBytesSent     uint64 // of the datagrams, their headers inside UDP included
	WireBytesReceived uint64
	SegmentsSent      uint64
	SegmentsReceived  uint64

	Resent        uint64 // segments sent again
	LostFast      uint64 // declared lost by enough later acknowledgements,
	LostEarly     uint64 // by fewer, as nothing new could be sent,
	LostTimeout   uint64 // or by timeout
	Spurious      uint64 // of those declared lost, what had arrived after all
	Copies        uint64 // retransmissions sent twice at once, part of Resent
	Duplicates    uint64 // segments received again
	FECRecovered  uint64 // datagrams rebuilt from parity
	FECWasted     uint64 // parity received that rebuilt nothing
	InvalidInputs uint64 // datagrams that were not understood

	FECDataShards   int // data shards of the FEC groups sent now, 0 without FEC
	FECParityShards int // parity that each of them gets, at most

	RTT    time.Duration // smoothed round-trip time, 0 before the first sample
	RTTVar time.Duration // its mean deviation
	MinRTT time.Duration // the least sample
	RTO    time.Duration // retransmission timeout, before any backoff

	SendWindow       int   // the windows, in segments: our limit of those in flight,
	PeerWindow       int   // what the peer has room for,
	ReceiveWindow    int   // and our limit of those not read
	InFlight         int   // segments sent, and neither acknowledged nor declared lost
	BytesInFlight    int   // bytes of them, headers included
	CongestionWindow int   // most bytes in flight that the congestion control allows now, 0 for any
	PacingRate       int64 // bytes a second that it sends, 0 for no pacing
	Unacknowledged   int   // segments written and not acknowledged
	Unread           int   // segments received and not read

	LastHeard time.Duration // since something came from the peer; since the begin, before
	Age       time.Duration // since the session began

	PeerExtended bool // the peer is known to have this package's extensions,
	PeerFIN      bool // that is to be told of an end
}

// Stats returns the session's statistics as they are at one moment, also of one that was closed.
// It takes the session's lock and copies some numbers.
func (s *UDPSession) Stats() Stats {
	now := clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.core
	n := s.total
	for i, more := range k.count.fields() { // of a write under way
		n.fields()[i] += more
	}
	st := Stats{
		BytesSent: n.BytesSent, BytesReceived: n.BytesReceived,
		DatagramsSent: n.OutPkts, DatagramsReceived: n.InPkts,
		WireBytesSent: n.OutBytes, WireBytesReceived: n.InBytes,
		SegmentsSent: n.OutSegs, SegmentsReceived: n.InSegs,
		Resent: n.RetransSegs, LostFast: n.FastRetransSegs, LostEarly: n.EarlyRetransSegs, LostTimeout: n.LostSegs,
		Duplicates: n.RepeatSegs, FECRecovered: n.FECRecovered,
		FECWasted:     n.FECParityShards - min(n.FECRecovered, n.FECParityShards),
		InvalidInputs: n.KCPInErrors + n.FECErrs,
		RTT:           time.Duration(k.rtt.srtt), RTTVar: time.Duration(k.rtt.rttvar),
		MinRTT: time.Duration(k.rtt.min), RTO: time.Duration(k.rtt.rto),
		SendWindow: int(k.sndWnd), PeerWindow: int(k.rmtWnd), ReceiveWindow: int(k.rcv.wnd),
		Spurious: k.loss.spurious, Copies: k.dup.sent,
		InFlight: k.snd.inFlight.n, BytesInFlight: k.snd.bytesInFlight, Unacknowledged: k.WaitSnd(), Unread: int(k.rcv.nxt - k.rcv.head),
		LastHeard: time.Duration(now - k.lastHeard), Age: time.Duration(now - s.created),
		PeerExtended: k.peer&capMark != 0, PeerFIN: k.peerTakesFIN(),
	}
	if s.enc != nil {
		st.FECDataShards, st.FECParityShards = s.enc.code.data, s.enc.send
	}
	if k.cc != nil {
		st.PacingRate = k.cc.PacingRate()
		if w := k.cc.Window(); w != math.MaxInt {
			st.CongestionWindow = w
		}
	}
	return st
}
