package kcp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"
)

// acceptBacklog is how many sessions may wait for Accept: so many of any peers, and as many again of
// those that have answered a question of addressCheck. What would make one more is dropped; its sender
// is asked, if there is room for it then, and tries again.
const acceptBacklog = 128

// backlog is the sessions that wait for Accept, in the order in which they came: those of any peers,
// and those of peers that were asked. Accept takes them in turn, so that neither wait for ever. No
// session gives way to another: its first data may have been acknowledged.
type backlog struct {
	any, asked []*UDPSession
	askedNext  bool
}

func (b *backlog) len() int { return len(b.any) + len(b.asked) }

// queue returns the queue of sessions whose peers were asked, or not.
func (b *backlog) queue(asked bool) *[]*UDPSession {
	if asked {
		return &b.asked
	}
	return &b.any
}

func (b *backlog) full(asked bool) bool { return len(*b.queue(asked)) >= acceptBacklog }

func (b *backlog) push(s *UDPSession, asked bool) {
	q := b.queue(asked)
	*q = append(*q, s)
}

// pop takes the next session, nil if there is none.
func (b *backlog) pop() *UDPSession {
	q := b.queue(b.askedNext)
	if b.askedNext = !b.askedNext; len(*q) == 0 {
		q = b.queue(b.askedNext)
	}
	if len(*q) == 0 {
		return nil
	}
	s := (*q)[0]
	(*q)[0] = nil
	if *q = (*q)[1:]; len(*q) == 0 {
		*q = nil
	}
	return s
}

// remove removes a session, and says whether it was there.
func (b *backlog) remove(s *UDPSession) bool {
	for _, q := range []*[]*UDPSession{&b.any, &b.asked} {
		if i := slices.Index(*q, s); i >= 0 {
			*q = slices.Delete(*q, i, i+1)
			return true
		}
	}
	return false
}

// addressCheck asks the senders of first datagrams, while the listener has no room for them, whether they
// are there, and keeps nothing of them: what SYN cookies are to TCP (RFC 4987, section 3.6:
// https://www.rfc-editor.org/rfc/rfc4987#section-3.6). The question is an empty PUSH with the number
// before the first, which any peer acknowledges and throws away, as it does with a repeated segment.
// Its ts, which the acknowledgement has to repeat, is a digest of the peer's address and conv: nobody
// who sends from a forged address sees it.
type addressCheck struct {
	secret [32]byte
	asked  atomic.Int64 // when a question was asked last, 0 for never
}

// questionEpoch is how long a digest is the same. The one before is taken, too, so that an answer
// has as long at least, and twice that at most.
const questionEpoch = int64(8 * time.Second)

func (a *addressCheck) init() { rand.Read(a.secret[:]) } // which never fails

// cookie is the ts of a question to key.
func (a *addressCheck) cookie(key sessionKey, epoch int64) uint32 {
	b := append(make([]byte, 0, 128), a.secret[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(epoch))
	b = binary.LittleEndian.AppendUint32(b, key.conv)
	ip := key.from.udp.Addr().As16()
	b = append(b, ip[:]...)
	b = binary.LittleEndian.AppendUint16(b, key.from.udp.Port())
	b = append(append(b, key.from.udp.Addr().Zone()...), key.from.other...)
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint32(sum[:])
}

// question returns the datagram, still to be sealed, that asks the sender of a first datagram. It is
// shorter than that.
func (a *addressCheck) question(cfg *config, key sessionKey, now int64) *packet {
	a.asked.Store(now)
	p := packets.get()
	p.data = p.mem[:cfg.env.head]
	p.appendHeader(&header{
		conv: key.conv, cmd: IKCP_CMD_PUSH, wnd: uint16(cfg.receiveWindow()),
		ts: a.cookie(key, now/questionEpoch), sn: questionSn,
	})
	return p
}

// answers says whether a datagram's segments acknowledge a question to key, from a peer that has
// acknowledged nothing before.
func (a *addressCheck) answers(key sessionKey, segments []byte, now int64) bool {
	if asked := a.asked.Load(); asked == 0 || now-asked > 2*questionEpoch {
		return false
	}
	for h, rest, ok := nextSegment(key.conv, segments); ok; h, rest, ok = nextSegment(key.conv, rest) {
		if h.cmd == IKCP_CMD_ACK && h.sn == questionSn { // one is looked at
			epoch := now / questionEpoch
			return h.una == 0 && (h.ts == a.cookie(key, epoch) || h.ts == a.cookie(key, epoch-1))
		}
	}
	return false
}
