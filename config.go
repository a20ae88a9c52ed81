package kcp

import (
	"math"
	"time"

	"github.com/pkg/errors"
)

// The defaults that are not the published protocol's.
const (
	// closeTimeout is how long a closed session goes on delivering what was written.
	closeTimeout = 5 * time.Second
	// userTimeout is how long a peer may leave unanswered what it has to answer.
	userTimeout = 60 * time.Second
	// repairBudget is the most repairs for each segment that a session with FEC sends, and
	// repairBudgetMax the most that can be set.
	repairBudget    = 0.5
	repairBudgetMax = 2.0
	// keepAliveMin is the shortest period of keepalive probes. Less is a slip of the pen.
	keepAliveMin = 10 * time.Millisecond
	// unprovenMax and unprovenPerPrefix are the default limits of unproven sessions, of all and of those around
	// an address. A stranger at one address draws the bound of what goes there so many times at most.
	unprovenMax       = 4096
	unprovenPerPrefix = 256
)

// config is Settings that were checked, with all defaults filled in. It is immutable; the sessions
// of a listener share one.
type config struct {
	env    envelope
	seal   *sealConfig // nil for none
	fec    *fecCode    // nil for none
	fecMin int         // parity shards of each group at least
	repair float64     // most repairs for each segment, to peers that take them
	sched  *TimedSched
	snmp   *Snmp

	simultaneous bool  // see Dialer
	caps         uint8 // announced; 0 makes sessions what they are without extensions

	noDelay                        [4]int // SetNoDelay's arguments
	sndWnd, rcvWnd, maxWnd, mtu    int
	memory                         *windowMemory
	stream, ackNoDelay, writeDelay bool
	rate                           int64                    // bytes a second, 0 for no limit
	dgramsMax                      int                      // datagrams that wait
	congestion                     func() CongestionControl // nil for the default
	redundancy                     int                      // percent
	mtuGrows                       bool                     // mtu is where the path is not known
	jumbo                          int                      // the longest datagram, if that may be above mtuLimit, else 0
	fixedMTU                       bool                     // mtu is whatever the path is
	keepAlive, idle, user          int64                    // 0 for never
	unproven                       int64                    // the same, of accepted sessions
	maxUnproven                    int                      // of them, 0 for no limit
	maxUnprovenPerPrefix           int                      // the same
	limitAmplification             bool                     // see ListenConfig
	maxSessions, maxPerPrefix      int                      // of a listener, 0 for no limit
	linger                         time.Duration            // negative for Close to wait
	roam                           bool                     // sealed sessions follow a change of network
	pathHandler                    func(*UDPSession, PathChange)
	oobHandler                     func(*UDPSession, []byte)
	tracer                         func(*UDPSession) Tracer // nil for none
	socket                         socketOptions
}

// newConfig resolves the settings of the constructors without Settings.
func newConfig(block BlockCrypt, dataShards, parityShards int) (*config, error) {
	return Settings{Block: block, DataShards: dataShards, ParityShards: parityShards}.resolve()
}

// resolve checks the settings and fills in the defaults.
func (s Settings) resolve() (*config, error) { return s.resolveFor(PrivateKey{}) }

// resolveFor is resolve for a listener with that key.
func (s Settings) resolveFor(private PrivateKey) (*config, error) {
	env, err := newEnvelope(s.Block)
	if err != nil {
		return nil, err
	}
	fec, err := newFECCode(s.DataShards, s.ParityShards)
	if err != nil {
		return nil, err
	}
	c := &config{
		env: env, fec: fec, fecMin: s.MinParity, sched: SystemTimedSched, snmp: DefaultSnmp, caps: capMark | capFIN | capRecords,
		stream: s.StreamMode, writeDelay: s.WriteDelay, congestion: s.Congestion, rate: s.RateLimit,
		redundancy: redundancyOf(s.Redundancy), oobHandler: s.OOBHandler,
		keepAlive: int64(s.KeepAlive), idle: int64(s.IdleTimeout), user: userTimeoutOf(s.UserTimeout),
		unproven: int64(unprovenTimeout), maxUnproven: unprovenMax, maxUnprovenPerPrefix: unprovenPerPrefix,
		linger: s.CloseTimeout, socket: socketOptions{s.DSCP, s.ReadBuffer, s.WriteBuffer},
		sndWnd: s.SendWindow, rcvWnd: s.ReceiveWindow, maxWnd: s.MaxWindow, mtu: s.MTU, memory: &processWindows,
		dgramsMax: s.DatagramQueue, tracer: s.Tracer, fixedMTU: s.FixedMTU,
		roam: s.Roam == RoamAuto, pathHandler: s.PathHandler,
	}
	if fec != nil {
		c.repair = repairBudgetOf(s.RepairBudget)
	}
	if c.linger == 0 {
		c.linger = closeTimeout
	}
	if c.jumbo = s.MTU; c.jumbo <= mtuLimit {
		c.jumbo = 0
	}
	if c.mtu == 0 || c.jumbo != 0 { // which begin as any other
		c.mtu, c.mtuGrows = IKCP_MTU_DEF, !s.FixedMTU
	}
	c.env.longest = max(c.env.longest, c.jumbo)
	if c.dgramsMax == 0 {
		c.dgramsMax = dgramsDefault
	}
	if c.maxWnd == 0 {
		c.maxWnd = autoWindowMax
	}
	if !(s.RepairBudget <= repairBudgetMax) {
		return nil, errors.Errorf("kcp: RepairBudget %v: must be at most %v, negative for none, or 0 for the default", s.RepairBudget, repairBudgetMax)
	}
	for _, check := range []func(*Settings) error{c.checkRanges, c.checkMTU, c.setTiming} {
		if err := check(&s); err != nil {
			return nil, err
		}
	}
	if err := c.setSeal(&s, private); err != nil {
		return nil, err
	}
	return c, nil
}

// checkRanges checks the settings that are numbers with bounds of their own.
func (c *config) checkRanges(s *Settings) error {
	for _, n := range []struct {
		name             string
		value, low, high int64
		bounds           string
	}{
		{"MinParity", int64(s.MinParity), 0, int64(s.ParityShards), "0 to ParityShards, which is %d"},
		{"Profile", int64(s.Profile), 0, int64(len(profiles) - 1), "0 to %d"},
		{"SendWindow", int64(s.SendWindow), 0, wndLimit, "1 to %d, or 0 for the default"},
		{"ReceiveWindow", int64(s.ReceiveWindow), 0, wndLimit, "1 to %d, or 0 for the default"},
		{"MaxWindow", int64(c.maxWnd), autoWindow, autoWindowMax, "128 to %d, or 0 for the default"},
		{"MTU", int64(s.MTU), 0, jumboLimit, "50 to %d, or 0 for the default"},
		{"DatagramQueue", int64(s.DatagramQueue), 0, dgramsLimit, "1 to %d, or 0 for the default"},
		{"RateLimit", s.RateLimit, 0, rateLimitMax, "1 to %d, or 0 for no limit"},
		{"Redundancy", int64(s.Redundancy), math.MinInt, redundancyMax, "at most %d, negative for none, or 0 for the default"},
		{"Roam", int64(s.Roam), 0, int64(RoamOff), "RoamAuto or RoamOff, 0 or %d"},
		{"DSCP", int64(s.DSCP), 0, dscpMax, "0 to %d"},
		{"ReadBuffer", int64(s.ReadBuffer), 0, math.MaxInt32, "1 to %d, or 0 for the default"},
		{"WriteBuffer", int64(s.WriteBuffer), 0, math.MaxInt32, "1 to %d, or 0 for the default"},
	} {
		if n.value < n.low || n.value > n.high {
			return errors.Errorf("kcp: %s %d: must be "+n.bounds, n.name, n.value, n.high)
		}
	}
	return checkTimes(s.KeepAlive, s.IdleTimeout)
}

const (
	redundancyMax = 100
	// dgramsDefault is a second's datagrams of a game, and dgramsLimit 6 MB of full ones.
	dgramsDefault = 64
	dgramsLimit   = 4096
	// rateLimitMax keeps the pacer's arithmetic within 64 bits.
	rateLimitMax = 1 << 33
)

func checkTimes(keepAlive, idle time.Duration) error {
	if keepAlive != 0 && keepAlive < keepAliveMin {
		return errors.Errorf("kcp: KeepAlive %v: must be at least %v, or 0 for none", keepAlive, keepAliveMin)
	}
	if idle < 0 {
		return errors.Errorf("kcp: IdleTimeout %v: must be above 0, or 0 for none", idle)
	}
	return nil
}

// checkMTU checks that the headers leave room for data.
func (c *config) checkMTU(s *Settings) error {
	least := max(c.headroom()+c.env.tail+IKCP_OVERHEAD+1, mtuMin)
	switch {
	case c.jumbo != 0 && (c.fec != nil || s.FixedMTU):
		return errors.Errorf("kcp: MTU %d: must be at most %d with DataShards and with FixedMTU", s.MTU, mtuLimit)
	case c.mtu >= least:
		return nil
	case s.MTU == 0:
		return errors.Errorf("kcp: cipher with %d bytes of nonce and %d of tag: leaves no room in datagrams of %d",
			c.env.head, c.env.tail, c.mtu)
	}
	return errors.Errorf("kcp: MTU %d: must be %d to %d, with these headers", c.mtu, least, jumboLimit)
}

// setTiming takes the timing from Settings.Timing, or else from the profile.
func (c *config) setTiming(s *Settings) error {
	t := s.Timing
	if t == nil {
		p := &profiles[s.Profile]
		c.noDelay, c.ackNoDelay = p.noDelay, p.ackNoDelay || s.ACKNoDelay
		return nil
	}
	const low, high = intervalMin * time.Millisecond, intervalMax * time.Millisecond
	if t.Interval < low || t.Interval > high {
		return errors.Errorf("kcp: Timing.Interval %v: must be %v to %v", t.Interval, low, high)
	}
	if t.Resend < 0 {
		return errors.Errorf("kcp: Timing.Resend %d: must be above 0, or 0 for timeouts only", t.Resend)
	}
	c.noDelay = [4]int{0, int(t.Interval / time.Millisecond), t.Resend, -1}
	if t.NoDelay {
		c.noDelay[0] = 1
	}
	c.ackNoDelay = t.ACKNoDelay || s.ACKNoDelay
	return nil
}

// redundancyOf returns the percentage that a setting of the redundancy means.
func redundancyOf(percent int) int {
	if percent == 0 {
		return duplicatePercent
	}
	return max(percent, 0)
}

// receiveWindow is the receive window that a session starts with.
func (c *config) receiveWindow() int {
	if c.rcvWnd == 0 {
		return autoWindow
	}
	return c.rcvWnd
}

// behind is envelope.behind of the longer kind that a session may send.
func (c *config) behind() int {
	if c.seal == nil {
		return c.env.behind(false)
	}
	return max(c.env.behind(false), c.env.behind(true))
}

// headroom is the length of the headers in front of a datagram's segments.
func (c *config) headroom() int {
	if c.fec != nil {
		return c.env.head + fecHeaderSize
	}
	return c.env.head
}

// repairBudgetOf returns the bound that a setting of the repair budget means, 0 for no repairs.
func repairBudgetOf(budget float64) float64 {
	if budget == 0 {
		return repairBudget
	}
	return max(budget, 0)
}

// repairFloor is how many repairs there are for each segment at least, where that is so much parity.
func (c *config) repairFloor(minParity int) float64 {
	if c.fec == nil || c.repair == 0 {
		return 0
	}
	return float64(minParity) / float64(c.fec.data)
}

// userTimeoutOf returns the nanoseconds that a setting of the user timeout means, 0 for never.
func userTimeoutOf(d time.Duration) int64 {
	if d == 0 {
		d = userTimeout
	}
	return max(0, int64(d))
}
