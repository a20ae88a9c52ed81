package kcp

import (
	"fmt"
	"io"
	"time"
)

// Settings are what connections can be told before they begin; a [Dialer] and a [ListenConfig]
// contain them. The zero value of each field means its default. Cipher and key must be the same at
// both ends; everything else is each end's own choice. Cipher and FEC stay what they are; the
// setters of [UDPSession] change the rest on a live session.
type Settings struct {
	// Block is the cipher. Default: none.
	Block BlockCrypt
	// Seal says whether sessions are sealed: have keys of their own, with forward secrecy, and take
	// nothing that was replayed or changed; see SECURITY.md. Default: SealAuto, where both ends are of
	// this package, and Block is not nil, NewNoneBlockCrypt, NewSimpleXORBlockCrypt or NewSM4BlockCrypt.
	Seal SealMode
	// ServerKey is the public key of the listener that is dialled: the session is sealed, with that
	// listener, or not made. It needs no cipher. Default: none, and whoever has Block's key is believed.
	ServerKey PublicKey
	// NoEarlyData lets what is dialled wait for the listener's answer before it sends data, which is a
	// round trip, so that nothing is as secret as Block alone makes it.
	NoEarlyData bool
	// KeyLog, if not nil, is where the secrets of sealed sessions are written, a line for each direction of
	// each session and a Write for each line, for debugging: with it the dissector of docs/wireshark.md shows
	// what they say. Whoever has it reads everything. Write is called under locks, one call at a time in
	// the process, and its errors are ignored. Default: none, and nobody but the ends has the secrets.
	KeyLog io.Writer
	// DataShards is the number of data shards, one a datagram, of a FEC group. With ParityShards it
	// is at most 256 together; 0 in either means no FEC, the default.
	DataShards int
	// ParityShards is the number of parity shards of a FEC group.
	ParityShards int
	// MinParity is the lower bound of adaptive parity, in shards per full group. 0, the default,
	// lets adaptation switch parity off on a clean path; ParityShards disables adaptation. Toward a
	// peer that takes repairs it is the lower bound of those, for each DataShards segments.
	MinParity int
	// RepairBudget bounds what a session with FEC sends to a peer that takes repairs, in the place of
	// parity: so many for each segment at most, as the path's losses need them, up to 2. Default: 0.5.
	// Negative means parity, as to other peers. See docs/protocol.md, Repairs.
	RepairBudget float64

	// Profile is the set of timings for a purpose. Default: DefaultProfile.
	Profile Profile
	// Timing replaces the profile's timings. Default: nil, the profile's.
	Timing *Timing
	// SendWindow is the most segments in flight, 1 to 65535. By default it follows the path,
	// between 128 and MaxWindow.
	SendWindow int
	// ReceiveWindow is the most segments waiting to be read, 1 to 65535. By default it follows the
	// path and the reader, between 128 and MaxWindow.
	ReceiveWindow int
	// MaxWindow is the most segments that a window may grow to that follows the path, 128 to 65535.
	// Default: 65535, which 1 Gbit/s needs on a path of 200 ms; memory is taken as it is used.
	// SetWindowMemory bounds what all sessions take.
	MaxWindow int
	// Congestion makes the congestion controller of each session. Default: NewBBR. NewConservation
	// is what SetNoDelay's nc=1 chooses.
	Congestion func() CongestionControl
	// Redundancy bounds the duplicates of retransmissions, in percent of the other segments, at
	// most 100. Default: 25. Negative means none. See SetRedundancy.
	Redundancy int
	// RateLimit bounds the bytes a second of datagrams with data. Default: no limit.
	RateLimit int64

	// MTU is the length of the longest datagram in bytes, at most 1500, or up to 9000 for jumbo frames.
	// Default: 1400, and what Ethernet carries, 1472 to IPv4 addresses and 1452 to IPv6, where the path is
	// found to carry that. On sockets of the package's own a path that carries less than MTU is found,
	// too: see docs/networks.md. Above 1500 it is what the session may come to, from the default on, with a peer
	// of this package that sets as much, and what it announces that it reads. It has no DataShards then.
	MTU int
	// FixedMTU sends datagrams of up to MTU whatever the path carries, and no probes.
	FixedMTU bool
	// StreamMode merges small writes, and lets a Read return what many segments brought.
	StreamMode bool
	// ACKNoDelay acknowledges each arrival at once, whatever the profile says.
	ACKNoDelay bool
	// WriteDelay holds small writes back until the next tick of the interval; see SetWriteDelay.
	WriteDelay bool

	// KeepAlive is how long nothing is heard before the peer is probed, at least 10 ms. Default:
	// never. See SetKeepAlivePeriod.
	KeepAlive time.Duration
	// IdleTimeout is how long nothing is heard before a session fails. Default: never.
	IdleTimeout time.Duration
	// UserTimeout is how long a peer may leave unanswered what it has to answer before a session
	// fails: data that it has room for has to be acknowledged, whatever else it says. Default: 60
	// seconds. Negative means for ever. See SetUserTimeout.
	UserTimeout time.Duration
	// CloseTimeout is how long a closed session goes on delivering what was written. Default: 5
	// seconds. Negative makes Close wait for it. (SetLinger takes seconds as net.TCPConn's does:
	// its 0 discards what was written.)
	CloseTimeout time.Duration

	// Roam says whether a sealed session goes on when a network changes: an accepted one follows its peer to
	// another address, as behind a NAT that has forgotten it; a dialled one asks after its peer, and takes
	// another socket where its own is of no use any more. Default: RoamAuto.
	Roam RoamMode
	// PathHandler is called when the path of a session has changed, with the addresses before and after;
	// from a goroutine of its own, one call of a session at a time. It may call any method of the session. Where
	// 16 changes wait for it, the last of them is told as one with those that follow.
	PathHandler func(s *UDPSession, c PathChange)

	// OOBHandler is called with the payload of each out-of-band datagram, of which there are none
	// without FEC; see SetOOBHandler.
	OOBHandler func(s *UDPSession, b []byte)

	// DatagramQueue is the most datagrams of SendDatagram that wait to be sent, and the most that wait for
	// ReceiveDatagram, 1 to 4096. Beyond that the oldest is dropped. Default: 64.
	DatagramQueue int

	// Tracer, if not nil, is called once for each session, with its first datagram, and returns who is told
	// what the session does, nil for nobody. It may use the session only as a Tracer may. Default: none,
	// which costs nothing.
	Tracer func(s *UDPSession) Tracer

	// DSCP is the differentiated services code point of the socket, 0 to 63. Default: the socket's.
	DSCP int
	// ReadBuffer is the size of the socket's receive buffer in bytes. Default: 32 MiB are asked for
	// on sockets of the package's own, and others are left as they are.
	ReadBuffer int
	// WriteBuffer is the size of the socket's send buffer in bytes. Default: 7 MiB, likewise.
	WriteBuffer int
}

// RoamMode says whether sessions follow a change of network: see Settings.Roam.
type RoamMode int

const (
	// RoamAuto follows where a session is sealed.
	RoamAuto RoamMode = iota
	// RoamOff ties a session to the addresses that it began with.
	RoamOff
)

// Timing is what SetNoDelay and SetACKNoDelay set, but for the congestion control.
type Timing struct {
	// NoDelay sets the minimum RTO to 30 ms, growing by half with each timeout, instead of 100 ms,
	// doubling; and makes a missing acknowledgement alone declare a segment lost after a round trip.
	NoDelay bool
	// Interval is the longest time that a delayed write waits, and an acknowledgement up to 20 ms:
	// 10 ms to 5 s.
	Interval time.Duration
	// Resend is the number of acknowledgements of later segments that declare a segment lost, 0 for
	// timeouts only.
	Resend int
	// ACKNoDelay acknowledges each arrival at once, or with an answer that is written at once.
	ACKNoDelay bool
}

// A Profile names a purpose, for which it chooses what SetNoDelay would set. All of them leave
// windows to follow the path, and congestion control on.
type Profile int

const (
	// DefaultProfile is (0, 100, 3, 0): it repairs what three later acknowledgements show as lost,
	// else after 100 ms or more. For streams of any size. Few needless datagrams; a lost last
	// message waits for the timeout.
	DefaultProfile Profile = iota
	// LowLatency is (1, 10, 2, 0) and ACKNoDelay, for interactive streams that are thin beside the
	// path. It repairs losses as early as it can, on lossy paths twice, and acknowledges everything
	// at once: at 10% loss some 10% more bytes forward, and twice the datagrams back.
	LowLatency
	// Balanced is (1, 20, 2, 0): quick repair, acknowledgements that may wait 20 ms.
	Balanced
	// Bulk is (0, 40, 3, 0): much data over a long path, few needless datagrams. What the other
	// profiles repair after 30 ms may take it 100.
	Bulk
)

// profiles holds what the constants say.
var profiles = [...]struct {
	name       string
	noDelay    [4]int
	ackNoDelay bool
}{
	DefaultProfile: {"default", [4]int{0, IKCP_INTERVAL, -1, 0}, false},
	LowLatency:     {"low latency", [4]int{1, 10, 2, 0}, true},
	Balanced:       {"balanced", [4]int{1, 20, 2, 0}, false},
	Bulk:           {"bulk", [4]int{0, 40, 3, 0}, false},
}

// String returns the profile's name.
func (p Profile) String() string {
	if p < 0 || int(p) >= len(profiles) {
		return fmt.Sprintf("Profile(%d)", int(p))
	}
	return profiles[p].name
}
