package kcp

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// ticketKey makes a listener's tickets: who has the ticket of an address has received there before. It
// is drawn when the listener starts, so a ticket is of no use at another one.
type ticketKey [32]byte

func newTicketKey() (k ticketKey) {
	rand.Read(k[:]) // never fails
	return k
}

// ticket returns that of a peer's IP address.
func (k *ticketKey) ticket(from peerAddr) (t [ticketSize]byte) {
	copy(t[:], k.mac('t', 0, from, false))
	return t
}

// valid says whether t is the ticket of a peer's address.
func (k *ticketKey) valid(t *[ticketSize]byte, from peerAddr) bool {
	own := k.ticket(from)
	return hmac.Equal(t[:], own[:])
}

const (
	// tokenLife is how long the secret of tokens is the same. The one before is taken, too.
	tokenLife = int64(2 * time.Minute)
	tokenSize = 16
)

// token returns what RETRY tells the peer at an address.
func (k *ticketKey) token(from peerAddr, now int64) []byte {
	return k.mac('r', uint64(now/tokenLife), from, true)[:tokenSize]
}

// tokenValid says whether a token is one that was told to the peer lately.
func (k *ticketKey) tokenValid(token []byte, from peerAddr, now int64) bool {
	return hmac.Equal(token, k.token(from, now)) || hmac.Equal(token, k.token(from, now-tokenLife))
}

// mac authenticates an address, with its port if that is asked for.
func (k *ticketKey) mac(purpose byte, epoch uint64, from peerAddr, port bool) []byte {
	b := append(make([]byte, 0, 64), purpose)
	b = binary.LittleEndian.AppendUint64(b, epoch)
	if from.udp.IsValid() {
		ip := from.udp.Addr().As16()
		b = append(b, ip[:]...)
		if port {
			b = binary.LittleEndian.AppendUint16(b, from.udp.Port())
		}
		b = append(b, from.udp.Addr().Zone()...)
	}
	b = append(b, from.other...)
	m := hmac.New(sha256.New, k[:])
	m.Write(b)
	return m.Sum(nil)
}

// keySet is the ephemeral keys of handshakes of late.
type keySet struct {
	young, old map[ephemeral]struct{}
	since      int64 // when young was started
	life       int64 // in the place of seenLife, if it is not 0
}

const (
	// earlySkew is how far the time of a HELLO may be from the listener's clock.
	earlySkew = int64(10 * time.Second)
	// seenLife is how long a key is remembered at least, and twice as long at most.
	seenLife = 2 * earlySkew
	// spentLife is the same for early data whose client never came back: longer than clients try.
	spentLife = int64(5 * time.Minute)
	// seenMax bounds each half of a set.
	seenMax = 1 << 14
)

// age forgets what is old enough.
func (s *keySet) age(now int64) {
	life := cmp.Or(s.life, seenLife)
	switch {
	case s.young == nil || now-s.since >= 2*life:
		s.young, s.old, s.since = make(map[ephemeral]struct{}), nil, now
	case now-s.since >= life:
		s.young, s.old, s.since = make(map[ephemeral]struct{}), s.young, now
	}
}

// has says whether a key is remembered.
func (s *keySet) has(key ephemeral, now int64) bool {
	s.age(now)
	_, young := s.young[key]
	_, old := s.old[key]
	return young || old
}

// size is how many keys were added to the half that has a bound.
func (s *keySet) size(now int64) int {
	s.age(now)
	return len(s.young)
}

// add remembers a key, if there is room.
func (s *keySet) add(key ephemeral, now int64) (ok bool) {
	if s.age(now); len(s.young) >= seenMax {
		return false
	}
	s.young[key] = struct{}{}
	return true
}

// seenKeys is the keys of HELLOs with a ticket: the early data of a copy is not taken at once. A HELLO may
// be taken as long as its time is near enough to the listener's clock, so a key is remembered until that
// is over: those that came in time for a while, and those that were ahead of the clock, and will be in
// time later, each by itself.
type seenKeys struct {
	recent keySet
	ahead  map[ephemeral]int64
}

// first notes a key, and says whether it was not there. skew is how far its HELLO is ahead of the clock.
// known is false where there is no room for the key.
func (s *seenKeys) first(key ephemeral, skew, now int64) (first, known bool) {
	_, ahead := s.ahead[key]
	switch {
	case ahead || s.recent.has(key, now):
		return false, true
	case skew > earlySkew:
		return true, s.noteAhead(key, later(now, skew+earlySkew), now)
	}
	return true, s.recent.add(key, now)
}

// noteAhead remembers a key until that time.
func (s *seenKeys) noteAhead(key ephemeral, until, now int64) bool {
	if s.ahead == nil {
		s.ahead = make(map[ephemeral]int64)
	}
	if len(s.ahead) >= seenMax {
		for other, until := range s.ahead {
			if now > until {
				delete(s.ahead, other)
			}
		}
	}
	if len(s.ahead) >= seenMax {
		return false
	}
	s.ahead[key] = until
	return true
}

// steadyClock is the time of day as it would be had nobody set the clock.
type steadyClock struct {
	wall time.Time
	at   int64 // the monotonic time then
}

// clockStep is how far the clock may drift from the steady one.
const clockStep = time.Second

// read returns the time of day. set says that the clock was set since, or stood still: HELLOs may be in
// time once more, or be remembered for too short a time.
func (c *steadyClock) read(wall time.Time, now int64) (steady time.Time, set bool) {
	if steady = c.wall.Add(time.Duration(now - c.at)); !c.wall.IsZero() && steady.Sub(wall).Abs() < clockStep {
		return steady, false
	}
	set = !c.wall.IsZero()
	*c = steadyClock{wall.Round(0), now}
	return c.wall, set
}
