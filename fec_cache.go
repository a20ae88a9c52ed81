package kcp

import (
	"sync"

	"github.com/klauspost/reedsolomon"
	"github.com/pkg/errors"
)

// newFECCode returns the code with these shard counts. It returns nil when either is 0, which means
// no FEC, and an error when one is negative or both together are more than 256. A large code takes
// milliseconds to make, so the caller must hold no lock.
func newFECCode(data, parity int) (*fecCode, error) {
	switch {
	case data < 0 || parity < 0:
		return nil, errors.Errorf("kcp: FEC shards %d/%d: counts must not be negative", data, parity)
	case data == 0 || parity == 0:
		return nil, nil
	case data > fecShardsMax || parity > fecShardsMax || data+parity > fecShardsMax:
		return nil, errors.Errorf("kcp: FEC shards %d/%d: at most %d together", data, parity, fecShardsMax)
	}
	key := fecCounts{data, parity}
	if c := fecCodes.find(key); c != nil {
		return c, nil
	}
	return fecCodes.make(key)
}

// fecCodeCache keeps the codes that were used last, as many sessions have the same counts.
type fecCodeCache struct {
	mu     sync.Mutex // guards the rest
	codes  []*fecCode // the most recently used first
	making bool       // request makes a code in the background
}

// fecCodesMax is the most codes that are kept: a peer may use any counts.
const fecCodesMax = 64

var fecCodes fecCodeCache

// find returns the code with valid counts, nil if it is not kept.
func (cc *fecCodeCache) find(key fecCounts) *fecCode {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	for i, c := range cc.codes {
		if c.fecCounts == key {
			copy(cc.codes[1:], cc.codes[:i])
			cc.codes[0] = c
			return c
		}
	}
	return nil
}

// make makes the code with valid counts, and keeps it.
func (cc *fecCodeCache) make(key fecCounts) (*fecCode, error) {
	// A shard is far too small to be worth several goroutines.
	rs, err := reedsolomon.New(key.data, key.parity, reedsolomon.WithMaxGoroutines(1),
		reedsolomon.WithInversionCache(false)) // it only encodes
	if err != nil {
		return nil, errors.Wrapf(err, "kcp: FEC shards %d/%d", key.data, key.parity)
	}
	c := &fecCode{fecCounts: key, limit: key.limit(), rs: rs}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	for _, other := range cc.codes { // made meanwhile
		if other.fecCounts == key {
			return other, nil
		}
	}
	if len(cc.codes) < fecCodesMax {
		cc.codes = append(cc.codes, nil)
	}
	copy(cc.codes[1:], cc.codes)
	cc.codes[0] = c
	return c, nil
}

// fecSmallCode is the work, data² × shards, up to which request makes a code at once: some 30 µs.
const fecSmallCode = 1 << 14

// request returns the code with valid counts. A large code that is not kept is made in the
// background, one at a time; request returns nil until it is there.
func (cc *fecCodeCache) request(key fecCounts) *fecCode {
	if c := cc.find(key); c != nil {
		return c
	}
	if key.data*key.data*(key.data+key.parity) <= fecSmallCode {
		c, _ := cc.make(key)
		return c
	}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if !cc.making {
		cc.making = true
		go func() {
			cc.make(key)
			cc.mu.Lock()
			defer cc.mu.Unlock()
			cc.making = false
		}()
	}
	return nil
}
