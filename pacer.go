package kcp

import "time"

// pacer is a token bucket over the datagrams that carry data. Spending may take it below zero;
// then it blocks until the debt is paid.
type pacer struct {
	rate    int64 // bytes a second, 0 for no limit
	tokens  int64 // bytes that may be sent; negative in debt
	filled  int64 // time up to which tokens has been credited
	quantum int64 // tokens that are worth waking up for, at least least
	least   int64 // tokens without which nothing may be sent, at least 1
}

// pacerBurstTime bounds what may be sent at once after a pause, in time at the full rate: the
// granularity of ordinary timers.
const pacerBurstTime = 5 * time.Millisecond

func (p *pacer) setRate(rate int64, now int64) {
	p.rate, p.tokens, p.filled, p.quantum, p.least = rate, 0, now, 1, 1
}

// adjust changes the rate and keeps what was earned or owed. From then on the pacer is ready again
// when it has quantum tokens, and blocks when it has less than least.
func (p *pacer) adjust(rate, quantum, least, now int64) {
	if p.rate == 0 || rate == 0 {
		p.setRate(rate, now)
		p.tokens = quantum
	} else if rate != p.rate {
		p.refill(now)
		p.rate = rate
	}
	p.quantum, p.least = quantum, least
}

// burst is the most that tokens may be.
func (p *pacer) burst() int64 {
	return max(p.rate*int64(pacerBurstTime)/int64(time.Second), 2*mtuLimit, p.quantum)
}

// refill credits the time up to now.
func (p *pacer) refill(now int64) {
	if p.rate == 0 {
		return
	}
	burst := p.burst()
	if now >= p.at(burst) {
		p.tokens, p.filled = burst, now
	} else if gain := p.rate * (now - p.filled) / int64(time.Second); gain > 0 {
		p.tokens += gain
		p.filled += gain * int64(time.Second) / p.rate // the rest of a byte is not lost
	}
}

// blocks says whether nothing may be sent, as of the last refill.
func (p *pacer) blocks() bool { return p.rate != 0 && p.tokens < p.least }

// spend charges n bytes sent.
func (p *pacer) spend(n int) {
	if p.rate != 0 {
		p.tokens -= int64(n)
	}
}

// readyAt returns when a blocked pacer has enough tokens to send again.
func (p *pacer) readyAt() int64 {
	if p.rate == 0 {
		return 0
	}
	return p.at(max(p.quantum, 1))
}

// at returns when there are that many tokens, rounded up.
func (p *pacer) at(tokens int64) int64 {
	return p.filled + ((tokens-p.tokens)*int64(time.Second)+p.rate-1)/p.rate
}
