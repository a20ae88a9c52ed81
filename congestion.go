package kcp

import "time"

// reno is the congestion window of nc=0: slow start and congestion avoidance (RFC
// 5681) in segments, with one reduction for all losses of one window (RFC 6582).
type reno struct {
	cwnd     int    // congestion window, in segments
	ssthresh int    // slow start ends here
	credit   int    // acknowledgements towards the next step of congestion avoidance
	recover  uint32 // losses below this serial number have been answered
	reacting bool   // recover is valid
	slow     bool   // the answer was that to a timeout: slow start again
}

// renoInitial is the initial window of RFC 6928.
const renoInitial = 10

func (c *reno) init() { c.cwnd, c.ssthresh = renoInitial, wndLimit }

// acked takes n newly acknowledged segments into account; una is the oldest
// unacknowledged one and limited says whether the window was what held the sender
// back, without which it must not grow (RFC 7661).
func (c *reno) acked(n int, una uint32, limited bool) {
	if c.reacting && !before(una, c.recover) {
		c.reacting = false
	}
	if !limited || c.reacting && !c.slow {
		return
	}
	if c.cwnd < c.ssthresh {
		c.cwnd += n
	} else if c.credit += n; c.credit >= c.cwnd {
		c.credit -= c.cwnd
		c.cwnd++
	}
	c.cwnd = min(c.cwnd, wndLimit)
}

// lost answers the loss of segment sn, with nxt the next to be sent for the first
// time; timeout says that a timer had to tell. After that the window grows from 1
// again while what was in flight is repaired, as there may be a lot of it.
func (c *reno) lost(sn, nxt uint32, timeout bool) {
	if answered := c.reacting && before(sn, c.recover); !answered {
		c.reacting, c.slow, c.recover, c.credit = true, false, nxt, 0
		c.ssthresh = max(c.cwnd/2, IKCP_THRESH_MIN)
		c.cwnd = c.ssthresh
	}
	if timeout && !c.slow {
		c.slow, c.cwnd = true, 1
	}
}

// pacer is a token bucket over the datagrams that carry data. It may go into debt
// by what was sent in one go and then waits until the debt is paid.
type pacer struct {
	rate   int64 // bytes a second, 0 for no limit
	tokens int64 // bytes that may be sent; negative in debt
	filled int64 // time up to which tokens has been credited
}

// pacerBurst is what may be sent at once after a pause, in time at the full rate:
// the grain of ordinary timers.
const pacerBurst = 5 * time.Millisecond

func (p *pacer) setRate(rate int64, now int64) {
	p.rate, p.tokens, p.filled = rate, 0, now
}

// blocked says whether nothing may be sent at now.
func (p *pacer) blocked(now int64) bool {
	if p.rate == 0 {
		return false
	}
	burst := max(p.rate*int64(pacerBurst)/int64(time.Second), 2*mtuLimit)
	if now >= p.at(burst) {
		p.tokens, p.filled = burst, now
	} else if gain := p.rate * (now - p.filled) / int64(time.Second); gain > 0 {
		p.tokens += gain
		p.filled += gain * int64(time.Second) / p.rate // the rest of a byte is not lost
	}
	return p.tokens <= 0
}

// spend charges n bytes sent.
func (p *pacer) spend(n int) {
	if p.rate != 0 {
		p.tokens -= int64(n)
	}
}

// ready returns when blocked turns false.
func (p *pacer) ready() int64 { return p.at(1) }

// at returns when there are that many tokens, rounded up.
func (p *pacer) at(tokens int64) int64 {
	return p.filled + ((tokens-p.tokens)*int64(time.Second)+p.rate-1)/p.rate
}
