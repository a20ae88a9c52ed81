package kcp

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
)

// lentSession returns a session that nothing drives, with one full segment in flight that a
// driver has begun to send.
func lentSession(t *testing.T, block BlockCrypt) (s *UDPSession, sent outbound, data []byte) {
	return lentSessionAt(t, block, 0)
}

// lentSessionAt is lentSession with so many batches sent before.
func lentSessionAt(t *testing.T, block BlockCrypt, begun uint32) (s *UDPSession, sent outbound, data []byte) {
	cfg, err := newConfig(block, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	s = newSession(cfg, newSocket(hole{newPostOffices("hole")[0]}, true), nil, testConv, destination{})
	s.mu.Lock()
	t.Cleanup(s.mu.Unlock)
	s.pool.begun, s.pool.done = begun, begun
	s.core.fresh = false // no probe before
	data = random(7, s.core.mss)
	s.core.Send(data)
	s.core.flush(1)
	batch := s.takeLocked()
	if len(batch) != 1 {
		t.Fatalf("%d datagrams", len(batch))
	}
	return s, batch[0], data
}

// lies says whether a datagram lies in a segment.
func lies(o outbound, segment *packet) bool { return &o.data[0] == &segment.mem[0] }

// carriesData checks the one segment of a datagram's payload.
func carriesData(t *testing.T, payload, data []byte) {
	t.Helper()
	var h header
	h.parse(payload)
	if !h.valid(testConv, payload[IKCP_OVERHEAD:]) || !bytes.Equal(payload[IKCP_OVERHEAD:], data) {
		t.Fatalf("carries %+v and %d bytes", h, len(payload)-IKCP_OVERHEAD)
	}
}

// timeOut makes what is in flight time out, and be sent again.
func timeOut(s *UDPSession, now int64) {
	s.core.flush(now)
	s.core.flush(now + graceMax) // it bears with us if it was not asked in time
}

// A full segment is sent from where it is, and sent again from a copy while it still is being
// sent.
func TestSegmentLent(t *testing.T) {
	s, first, data := lentSession(t, nil)
	segment := s.core.snd.at(0).p
	if !lies(first, segment) {
		t.Fatal("the segment was copied")
	}
	carriesData(t, first.data, data)
	timeOut(s, 1+rtoMax)
	if len(s.queue) != 1 || lies(s.queue[0], segment) {
		t.Fatal("lent twice at a time")
	}
	carriesData(t, s.queue[0].data, data)
	s.putBackLocked()
	timeOut(s, 1+3*rtoMax)
	if len(s.queue) != 2 || !lies(s.queue[1], segment) {
		t.Fatal("copied, though nobody was sending it")
	}
	timeOut(s, 1+5*rtoMax)
	if len(s.queue) != 3 || lies(s.queue[2], segment) {
		t.Fatal("lent twice in a batch")
	}
}

// acknowledge tells s that everything below una has arrived, and no more.
func acknowledge(s *UDPSession, una uint32) {
	var b [IKCP_OVERHEAD]byte
	(&header{conv: testConv, cmd: IKCP_CMD_WINS, wnd: 32, una: una}).put(b[:])
	s.core.input(2, b[:], true)
}

// A segment that is acknowledged while it is being sent, or while it is still to be sent behind
// what is, is not used again before that ends: whether its own acknowledgement or a later one
// tells, or the session ends. It is so with whatever number the batch has.
func TestSegmentLentAndAcknowledged(t *testing.T) {
	for how, settle := range map[string]func(*UDPSession){
		"ack": func(s *UDPSession) {
			for sn := range s.core.snd.nxt {
				var b [IKCP_OVERHEAD]byte
				(&header{conv: testConv, cmd: IKCP_CMD_ACK, wnd: 32, sn: sn, ts: s.core.snd.at(sn).ts}).put(b[:])
				s.core.input(2, b[:], true)
			}
		},
		"una": func(s *UDPSession) { acknowledge(s, s.core.snd.nxt) },
		"end": func(s *UDPSession) { s.core.release() },
	} {
		for _, begun := range []uint32{0, 1, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32 - 2, math.MaxUint32 - 1} {
			t.Run(fmt.Sprint(how, begun), func(t *testing.T) {
				s, first, data := lentSessionAt(t, nil, begun)
				taken := s.core.snd.at(0).p
				s.core.Send(data)
				s.core.flush(1)
				next := s.queue[0]
				queued := s.core.snd.at(1).p
				if !lies(first, taken) || !lies(next, queued) {
					t.Fatal("the segments were copied")
				}
				settle(s)
				if s.core.WaitSnd() != 0 || len(s.pool.free) != 0 {
					t.Fatalf("%d segments wait, %d packets are free", s.core.WaitSnd(), len(s.pool.free))
				}
				carriesData(t, first.data, data)
				s.putBackLocked()
				s.sentLocked(0, nil)
				if !slices.Equal(s.pool.free, []*packet{taken}) {
					t.Fatalf("%d packets free when the first was sent, want its own", len(s.pool.free))
				}
				carriesData(t, next.data, data)
				s.takeLocked()
				s.putBackLocked()
				if !slices.Equal(s.pool.free, []*packet{taken, queued}) {
					t.Fatalf("%d packets free when both were sent", len(s.pool.free))
				}
				if s.pool.trim(); s.pool.held[0] != nil || s.pool.held[1] != nil {
					t.Error("idle, it keeps room for more")
				}
			})
		}
	}
}

// What is not in a datagram of its own is free when it is acknowledged, after any number of
// batches.
func TestSegmentCopied(t *testing.T) {
	for _, begun := range []uint32{0, math.MaxInt32 + 1, math.MaxUint32 - 1, math.MaxUint32} {
		s, _, data := lentSessionAt(t, nil, begun)
		s.core.Send(data[:100])
		s.core.flush(1)
		copied := s.core.snd.at(1).p
		if lies(s.queue[0], copied) {
			t.Fatal("a short segment was lent")
		}
		acknowledge(s, 2)
		if !slices.Equal(s.pool.free, []*packet{copied}) {
			t.Errorf("after %d batches: %d packets free", begun, len(s.pool.free))
		}
	}
}

// Sealing leaves the segment as it is: it may have to be sent again.
func TestSegmentLentAndSealed(t *testing.T) {
	for name, newCrypt := range map[string]func([]byte) (BlockCrypt, error){
		"AEAD": NewAESGCMCrypt, "CFB": NewAESBlockCrypt, "stream": NewSalsa20BlockCrypt,
	} {
		t.Run(name, func(t *testing.T) {
			block, err := newCrypt(make([]byte, 16))
			if err != nil {
				t.Fatal(err)
			}
			s, first, data := lentSession(t, block)
			segment := s.core.snd.at(0).p
			if !lies(first, segment) {
				t.Fatal("the segment was copied")
			}
			s.cfg.env.sealAll(s.taken)
			first = s.taken[0]
			if !bytes.Equal(segment.data, data) {
				t.Fatal("sealing changed the segment")
			}
			payload, ok := s.cfg.env.open(first.data)
			if !ok {
				t.Fatal("does not open")
			}
			carriesData(t, payload, data)
			s.putBackLocked()
		})
	}
}
