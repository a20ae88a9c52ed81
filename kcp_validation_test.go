package kcp

import (
	"testing"
	"time"
)

// strict is a node whose datagrams with data are bounded while the peer's address is not validated.
type strict struct {
	*node
	batch inPlaceBatches
	room  int // of datagrams with data, and for challenges while it is not negative
}

func (s *strict) sendInPlace(*packet)      {}
func (s *strict) batches() *inPlaceBatches { return &s.batch }
func (s *strict) full() bool               { return false }
func (s *strict) dataRoom() int            { return s.room }
func (s *strict) challengeFits() bool      { return s.room >= 0 }
func (s *strict) probe(n int) []byte       { return make([]byte, n) }
func (s *strict) emitProbe(int)            {}

func newStrict(t *testing.T, room int) *strict {
	s := &strict{alone(t), inPlaceBatches{}, room}
	s.out.inPlace = s
	s.address = addressValidation{pending: true, ts: 77}
	return s
}

// challenges returns when the challenges were sent.
func (s *strict) challenges() (at []int64) {
	for _, h := range s.pushes(questionSn) {
		if h.ts != s.address.ts || h.len != 0 || h.frg != 0 {
			s.l.Errorf("a challenge of %+v", h)
		}
		at = append(at, h.at)
	}
	return at
}

// Data that may not be sent is held back until the peer has echoed the challenge, which comes again and
// again meanwhile. What cannot be known to have been sent there is no echo.
func TestChallenge(t *testing.T) {
	s := newStrict(t, 40)
	s.write(3)
	s.want("nxt", 0)
	s.pass(10 * time.Second)
	at := s.challenges()
	if len(at) < 10 || len(at) > 14 || at[0] != int64(time.Hour) {
		t.Errorf("%d challenges: %v", len(at), at)
	}
	for i := range at[1:] {
		if gap := at[i+1] - at[i]; gap < s.rtt.rto || gap > challengeMax {
			t.Errorf("%v between two", time.Duration(gap))
		}
	}
	ack := header{cmd: IKCP_CMD_ACK, sn: questionSn, ts: 77}
	for _, wrong := range []header{
		{cmd: IKCP_CMD_ACK, sn: questionSn, ts: 78},
		{cmd: IKCP_CMD_ACK, sn: 0, ts: 77},
		{cmd: IKCP_CMD_ACK, sn: questionSn - 1, ts: 77},
		{cmd: IKCP_CMD_PUSH, sn: questionSn, ts: 77},
		{cmd: IKCP_CMD_WINS, sn: questionSn, ts: 77},
	} {
		s.hear(s.fromPeer(wrong))
		if !s.addressPending() {
			t.Errorf("validated by %+v", wrong)
		}
	}
	s.hear(s.fromPeer(ack))
	s.drive()
	if s.want("nxt", 3); s.addressPending() {
		t.Error("not validated")
	}
	s.pass(time.Minute)
	if n := len(s.challenges()); n != len(at) {
		t.Errorf("%d more challenges", n-len(at))
	}
}

// An echo of a challenge that was never sent proves nothing, as its ts may be guessed by trying.
func TestChallengeNotSent(t *testing.T) {
	s := newStrict(t, mtuLimit)
	s.write(1)
	if s.hear(s.fromPeer(header{cmd: IKCP_CMD_ACK, sn: questionSn, ts: 77})); !s.addressPending() {
		t.Error("validated")
	}
	if n := len(s.challenges()); n != 0 {
		t.Errorf("%d challenges", n)
	}
	s.hear(s.ackOf(0))
	if s.addressPending() {
		t.Error("not validated by the echo of data")
	}
}

// Without any room nothing is sent, and no timer runs.
func TestChallengeWithoutRoom(t *testing.T) {
	s := newStrict(t, -1)
	s.write(3)
	s.pass(time.Minute)
	if at := s.deadline(); len(s.sent) != 0 || at < s.l.now {
		t.Errorf("%d segments were sent, the next at %v", len(s.sent), time.Duration(at))
	}
	s.room = mtuLimit
	s.drive()
	s.want("nxt", 3)
}

// Segments whose first transmission did not fit later on wait for the proof, too.
func TestChallengeOfRepeats(t *testing.T) {
	s := newStrict(t, mtuLimit)
	s.write(3)
	s.want("nxt", 3)
	s.room = 0
	s.pass(5 * time.Second)
	if s.wantSent(0, 1); len(s.challenges()) < 3 {
		t.Errorf("%d challenges", len(s.challenges()))
	}
	s.hear(s.fromPeer(header{cmd: IKCP_CMD_ACK, sn: questionSn, ts: 77}))
	s.drive()
	s.wantSent(0, 2)
}
