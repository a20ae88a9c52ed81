package kcp

import (
	"log/slog"
	"sync/atomic"
)

// nonceCount counts the datagrams that were sealed by an AEAD, each with a random nonce. It is the
// cipher's, as the sessions that share one share its key. What other ciphers with the same key, other
// processes and the peer have sealed comes on top.
type nonceCount struct{ sealed atomic.Uint64 }

// nonceLimit returns how many datagrams may be sealed under one key with random nonces of that many
// bytes, so that two have the same with a probability below 2⁻³³: 2³² with 12 bytes (SP 800-38D,
// section 8.3: https://csrc.nist.gov/pubs/sp/800/38/d/final). Two random ones of b bits are equal
// among n with a probability of n²/2ᵇ⁺¹. It returns 0 for more than anybody can send.
func nonceLimit(size int) uint64 {
	bits := 4*size - 16
	if bits > 62 {
		return 0
	}
	return 1 << max(bits, 0)
}

// add counts n datagrams, and warns when half of the limit is used up, in time to change the key, and
// when all is. Each is reported once: what follows is as bad, and nobody has to be told again.
func (c *nonceCount) add(n int, limit uint64) {
	now := c.sealed.Add(uint64(n))
	if limit == 0 || now < limit/2 {
		return
	}
	was := now - uint64(n)
	switch {
	case was < limit && now >= limit:
		slog.Warn("kcp: a key has sealed as many datagrams as random nonces allow: it must be changed now",
			"datagrams", now, "limit", limit)
	case was < limit/2:
		slog.Warn("kcp: a key has sealed half as many datagrams as random nonces allow: it is to be changed soon",
			"datagrams", now, "limit", limit)
	}
}

// keyUse returns what Stats tells of the cipher.
func (e *envelope) keyUse() (datagrams, limit uint64) {
	if e.nonces == nil {
		return 0, 0
	}
	return e.nonces.sealed.Load(), e.nonceLimit
}
