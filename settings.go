package kcp

import (
	"fmt"
	"time"

	"github.com/pkg/errors"
)

// Settings are what connections can be told before they begin; a [Dialer] and a [ListenConfig]
// contain them. The zero value means the defaults, and so does every field that is zero. Cipher
// and key must be the same at both ends, everything else is each end's own choice. What a field
// sets the method of the same name sets on a live session, except cipher and FEC, which stay.
type Settings struct {
	// Block is the cipher, nil for none.
	Block BlockCrypt
	// DataShards and ParityShards are the datagrams of a FEC group, at most 256 together;
	// either 0 means no FEC.
	DataShards, ParityShards int
	// MinParity is how many parity shards each group gets at least, on a path that loses
	// nothing and where a group would be long in filling, too: 0 to ParityShards, which
	// keeps all groups as they are set.
	MinParity int

	// Profile is a set of timings and windows for a purpose.
	Profile Profile
	// SendWindow and ReceiveWindow are the most segments in flight and waiting to be read,
	// 1 to 65535. 0 lets them follow the path and the reader, between 128 and 4096.
	SendWindow, ReceiveWindow int
	// Congestion makes each session's congestion control, nil for NewBBR.
	Congestion func() CongestionControl

	// MTU is the longest datagram in bytes, at most 1500, 0 for 1400.
	MTU int
	// StreamMode merges small writes, and lets a Read return what many segments brought.
	StreamMode bool
	// ACKNoDelay acknowledges every arrival at once.
	ACKNoDelay bool
	// WriteDelay holds small writes back for the profile's interval.
	WriteDelay bool
	// RateLimit bounds the bytes a second of datagrams with data, 0 for no limit.
	RateLimit uint32

	// KeepAlive is how long nothing is heard before the peer is probed: at least 10 ms, 0 for
	// never.
	KeepAlive time.Duration
	// IdleTimeout is how long nothing is heard before a session fails, 0 for never.
	IdleTimeout time.Duration
	// UserTimeout is how long a peer may leave unanswered what it has to answer before a
	// session fails: 0 for 60 seconds, negative for ever.
	UserTimeout time.Duration
	// Linger is how long a closed session goes on to deliver what was written: 0 for 5
	// seconds; negative makes Close wait for it. To abort, call SetLinger(0).
	Linger time.Duration
}

// A Profile names a purpose, for which it chooses what SetNoDelay would set. All of them leave
// windows to follow the path, and congestion control on.
type Profile int

const (
	// DefaultProfile repairs what three later acknowledgements show as lost, else after 100 ms
	// or more: for streams of any size. Few needless datagrams; a lost last message waits for
	// the timeout.
	DefaultProfile Profile = iota
	// LowLatency is (1, 10, 2, 0) and ACKNoDelay: for interactive streams that are thin beside
	// the path. It repairs losses as early as it can, on lossy paths twice, and acknowledges
	// everything at once: at 10% loss some 10% more bytes forward, and twice the datagrams back.
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

func (p Profile) valid() bool { return p >= 0 && int(p) < len(profiles) }

// String returns the profile's name.
func (p Profile) String() string {
	if !p.valid() {
		return fmt.Sprintf("Profile(%d)", int(p))
	}
	return profiles[p].name
}

const (
	// lingerTime is how long a closed session goes on to deliver what was written, unless
	// it is told otherwise.
	lingerTime = 5 * time.Second
	// userTimeout is how long a peer may owe an answer, unless told otherwise.
	userTimeout = 60 * time.Second
	// keepAliveLeast is the shortest period of probes: less is a slip of the pen.
	keepAliveLeast = 10 * time.Millisecond
)

// config is Settings that were checked, with all defaults filled in. It is immutable; the
// sessions of a listener share its.
type config struct {
	env    envelope
	fec    *fecCode // nil for none
	fecMin int      // parity shards of each group at least
	sched  *TimedSched
	snmp   *Snmp
	caps   uint8 // announced; 0 makes sessions what they are without extensions

	noDelay                        [4]int
	sndWnd, rcvWnd, mtu            int
	stream, ackNoDelay, writeDelay bool
	rate                           uint32
	congestion                     func() CongestionControl // nil for the default
	keepAlive, idle, user          int64                    // 0 for never
	linger                         time.Duration            // negative for Close to wait
}

// newConfig resolves the settings that all constructors without Settings have.
func newConfig(block BlockCrypt, dataShards, parityShards int) (*config, error) {
	return Settings{Block: block, DataShards: dataShards, ParityShards: parityShards}.resolve()
}

// resolve checks the settings and fills in the defaults.
func (s Settings) resolve() (*config, error) {
	env, err := newEnvelope(s.Block)
	if err != nil {
		return nil, err
	}
	fec, err := newFECCode(s.DataShards, s.ParityShards)
	if err != nil {
		return nil, err
	}
	if s.MinParity < 0 || s.MinParity > s.ParityShards {
		return nil, errors.Errorf("kcp: MinParity %d: must be 0 to ParityShards, which is %d", s.MinParity, s.ParityShards)
	}
	if !s.Profile.valid() {
		return nil, errors.Errorf("kcp: Profile %d: must be 0 to %d", s.Profile, len(profiles)-1)
	}
	p := &profiles[s.Profile]
	c := &config{
		env: env, fec: fec, fecMin: s.MinParity, sched: SystemTimedSched, snmp: DefaultSnmp, caps: capMark | capFIN,
		noDelay: p.noDelay, stream: s.StreamMode, ackNoDelay: s.ACKNoDelay || p.ackNoDelay, writeDelay: s.WriteDelay,
		rate: s.RateLimit, congestion: s.Congestion,
	}
	for _, n := range []struct {
		name                  string
		to                    *int
		value, standard, most int
	}{
		{"SendWindow", &c.sndWnd, s.SendWindow, 0, wndLimit},
		{"ReceiveWindow", &c.rcvWnd, s.ReceiveWindow, 0, wndLimit},
		{"MTU", &c.mtu, s.MTU, IKCP_MTU_DEF, mtuLimit},
	} {
		if n.value < 0 || n.value > n.most {
			return nil, errors.Errorf("kcp: %s %d: must be 1 to %d, or 0 for the default", n.name, n.value, n.most)
		}
		if *n.to = n.value; n.value == 0 {
			*n.to = n.standard
		}
	}
	if least := c.headroom() + env.tail + IKCP_OVERHEAD + 1; c.mtu < least {
		if s.MTU == 0 {
			return nil, errors.Errorf("kcp: cipher with %d bytes of nonce and %d of tag: leaves no room in datagrams of %d",
				env.head, env.tail, c.mtu)
		}
		return nil, errors.Errorf("kcp: MTU %d: must be %d to %d, with these headers", c.mtu, max(least, mtuMin), mtuLimit)
	}
	if c.mtu < mtuMin {
		return nil, errors.Errorf("kcp: MTU %d: must be %d to %d", c.mtu, mtuMin, mtuLimit)
	}
	return c, c.setTimes(&s)
}

// setTimes is resolve for the times.
func (c *config) setTimes(s *Settings) error {
	if err := checkTimes(s.KeepAlive, s.IdleTimeout); err != nil {
		return err
	}
	c.keepAlive, c.idle, c.user, c.linger = int64(s.KeepAlive), int64(s.IdleTimeout), int64(s.UserTimeout), s.Linger
	if c.user == 0 {
		c.user = int64(userTimeout)
	}
	c.user = max(c.user, 0)
	if c.linger == 0 {
		c.linger = lingerTime
	}
	return nil
}

func checkTimes(keepAlive, idle time.Duration) error {
	if keepAlive != 0 && keepAlive < keepAliveLeast {
		return errors.Errorf("kcp: KeepAlive %v: must be at least %v, or 0 for none", keepAlive, keepAliveLeast)
	}
	if idle < 0 {
		return errors.Errorf("kcp: IdleTimeout %v: must be above 0, or 0 for none", idle)
	}
	return nil
}

// receiveWindow is the receive window that a session starts with.
func (c *config) receiveWindow() int {
	if c.rcvWnd == 0 {
		return autoWindow
	}
	return c.rcvWnd
}

// headroom is the size of the headers in front of a datagram's segments.
func (c *config) headroom() int {
	if c.fec != nil {
		return c.env.head + fecHeaderSize
	}
	return c.env.head
}

// openAll opens a batch, without any lock, and counts it. It returns the payloads of those that
// open and are from peer, any if that is nil, at the front of the batch.
func (c *config) openAll(batch []inbound, peer *peerAddr) []inbound {
	var count Snmp
	opened := batch[:0]
	for _, d := range batch {
		count.InPkts++
		count.InBytes += uint64(len(d.data))
		if len(d.data) > mtuLimit || peer != nil && d.from != *peer {
			count.InErrs++
			continue
		}
		payload, ok := c.env.open(d.data)
		if !ok {
			count.InCsumErrors++
			continue
		}
		d.data = payload
		opened = append(opened, d)
	}
	c.snmp.fold(&count)
	return opened
}

// transmit seals and sends a batch. The packets remain the caller's.
func (c *config) transmit(sock *socket, batch []outbound, wait bool) (refused int, err error) {
	var count Snmp
	for len(batch) > 0 && err == nil {
		piece := batch[:min(len(batch), c.env.piece)]
		batch = batch[len(piece):]
		c.env.sealAll(piece)
		for _, o := range piece {
			count.OutPkts++
			count.OutBytes += uint64(len(o.data))
		}
		var n int
		n, err = sock.send(piece, wait)
		refused += n
	}
	c.snmp.fold(&count)
	return refused, err
}

// later returns now + d, and never for what is further away than the clock reaches.
func later(now, d int64) int64 {
	if d > never-now {
		return never
	}
	return now + d
}
