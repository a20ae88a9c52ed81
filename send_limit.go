package kcp

import (
	"strconv"
	"time"
)

// A SendLimit is what keeps a session from sending more than it does.
type SendLimit uint8

const (
	// LimitNone is nothing: the session is about to send more, or it is over.
	LimitNone SendLimit = iota
	// LimitApplication is the application: all that was written is sent, or SetWriteDelay holds
	// it back.
	LimitApplication
	// LimitSendWindow is the send window, which is full: see SetWindowSize.
	LimitSendWindow
	// LimitPeerWindow is the receive window that the peer has advertised. It is full where the peer
	// does not read as fast as the path delivers. A peer that has not yet shown a listener that it is
	// there may be sent little, and has a small one where there is no authenticating cipher.
	LimitPeerWindow
	// LimitCongestionWindow is the congestion window: as much is in flight as the controller takes
	// the path to carry.
	LimitCongestionWindow
	// LimitPacing is the rate that the congestion controller sends at.
	LimitPacing
	// LimitRate is the rate of SetRateLimit, or the bucket of SetBucket.
	LimitRate
	// LimitSocket is the socket: the kernel, or a PacketConn, does not take what is sent as fast as
	// it comes.
	LimitSocket

	sendLimits = int(LimitSocket) + 1
)

var sendLimitNames = [sendLimits]string{
	"none", "application", "send window", "peer window", "congestion window", "pacing", "rate limit", "socket",
}

// String returns the name of the limit, such as "congestion window".
func (l SendLimit) String() string {
	if int(l) < len(sendLimitNames) {
		return sendLimitNames[l]
	}
	return "SendLimit(" + strconv.Itoa(int(l)) + ")"
}

// LimitTimes is how long each SendLimit was the limit. It is indexed by SendLimit.
type LimitTimes [sendLimits]time.Duration

// limitClock adds up how long each limit was the limit.
type limitClock struct {
	limit SendLimit
	since int64
	spent LimitTimes
}

// note says what the limit is from now on. now may be a little before the time of the call before, as
// drivers read the clock before they have the lock.
func (c *limitClock) note(now int64, limit SendLimit) {
	if limit != c.limit {
		c.spent = c.times(now)
		c.limit, c.since = limit, max(c.since, now)
	}
}

// times returns the sums up to now.
func (c *limitClock) times(now int64) LimitTimes {
	t := c.spent
	t[c.limit] += time.Duration(max(0, now-c.since))
	return t
}
