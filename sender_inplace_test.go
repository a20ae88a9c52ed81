package kcp

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
)

// inPlaceSession returns a session that nothing drives, with one full segment in flight, in place,
// in a batch that was begun.
func inPlaceSession(t *testing.T, block BlockCrypt) (s *UDPSession, sent outbound, data []byte) {
	return inPlaceSessionAt(t, block, 0)
}

// inPlaceSessionAt is inPlaceSession with so many batches before.
func inPlaceSessionAt(t *testing.T, block BlockCrypt, begun uint32) (s *UDPSession, sent outbound, data []byte) {
	cfg, err := newConfig(block, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	s = newSession(unsealed(cfg), newSocket(hole{newPostOffices("hole")[0]}, true), nil, testConv, destination{})
	s.mu.Lock()
	t.Cleanup(s.mu.Unlock)
	s.tx.inPlace.begun, s.tx.inPlace.done = begun, begun
	s.core.caps.announcing, s.core.peer.confirmed = false, true // no WINS before, and any una counts
	data = random(7, s.core.mss)
	s.core.Send(data)
	s.core.flush(1)
	s.tx.beginBatch()
	batch := s.tx.batch.list
	if len(batch) != 1 {
		t.Fatalf("%d datagrams", len(batch))
	}
	return s, batch[0], data
}

// endBatch ends the sending of the batch that was begun.
func endBatch(s *UDPSession) {
	s.tx.batch.next = len(s.tx.batch.list)
	s.tx.end()
}

// What is left of a batch that the socket did not take is not overtaken, nor forgotten, when more
// is queued.
func TestRestOfBatchGoesFirst(t *testing.T) {
	s, first, data := inPlaceSession(t, nil)
	s.tx.sock = &socket{batch: new(batchIO)} // it sends at once
	s.tx.end()                               // nothing of it was sent
	s.core.Send(data)
	s.core.flush(1)
	if s.tx.begin(false) {
		t.Fatal("a batch was begun before the one before it was sent")
	}
	if s.tx.batch.left() != 1 || s.tx.batch.list[0].data == nil || !lies(first, s.core.snd.at(0).p) || len(s.tx.queue) != 1 {
		t.Fatalf("%d of the batch are left, %d are queued", s.tx.batch.left(), len(s.tx.queue))
	}
	endBatch(s)
	if !s.tx.begin(false) || s.tx.batch.left() != 1 {
		t.Error("what was queued is not the next batch")
	}
	endBatch(s)
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
	s.core.flush(now + graceMax) // the first flush was late, and gave a grace period
}

// A full segment is sent in place, and retransmitted from a copy while the first transmission is
// unsent.
func TestSegmentSentInPlace(t *testing.T) {
	s, first, data := inPlaceSession(t, nil)
	segment := s.core.snd.at(0).p
	if !lies(first, segment) {
		t.Fatal("the segment was copied")
	}
	carriesData(t, first.data, data)
	timeOut(s, 1+rtoMax)
	if len(s.tx.queue) != 1 || lies(s.tx.queue[0], segment) {
		t.Fatal("sent in place twice at a time")
	}
	carriesData(t, s.tx.queue[0].data, data)
	endBatch(s)
	timeOut(s, 1+3*rtoMax)
	if len(s.tx.queue) != 2 || !lies(s.tx.queue[1], segment) {
		t.Fatal("copied, though nobody was sending it")
	}
	timeOut(s, 1+5*rtoMax)
	if len(s.tx.queue) != 3 || lies(s.tx.queue[2], segment) {
		t.Fatal("in place twice in a batch")
	}
}

// acknowledge tells s that everything below una has arrived, and no more.
func acknowledge(s *UDPSession, una uint32) {
	var b [IKCP_OVERHEAD]byte
	(&header{conv: testConv, cmd: IKCP_CMD_WINS, wnd: 32, una: una}).put(b[:])
	s.core.input(2, b[:], true)
}

// The packet of a segment that is acknowledged while its batch is unsent is held back until the
// batch was sent, in the batch that was begun and in the next one: whether an ACK or an una
// acknowledges it, or the session ends, and whatever number the batch has.
func TestInPlaceSegmentAcknowledged(t *testing.T) {
	for how, free := range map[string]func(*UDPSession){
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
				s, first, data := inPlaceSessionAt(t, nil, begun)
				taken := s.core.snd.at(0).p
				s.core.Send(data)
				s.core.flush(1)
				next := s.tx.queue[0]
				queued := s.core.snd.at(1).p
				if !lies(first, taken) || !lies(next, queued) {
					t.Fatal("the segments were copied")
				}
				free(s)
				if s.core.WaitSnd() != 0 || len(s.pool.free) != 0 {
					t.Fatalf("%d segments wait, %d packets are free", s.core.WaitSnd(), len(s.pool.free))
				}
				carriesData(t, first.data, data)
				endBatch(s)
				if !slices.Equal(s.pool.free, []*packet{taken}) {
					t.Fatalf("%d packets free when the first was sent, want its own", len(s.pool.free))
				}
				carriesData(t, next.data, data)
				s.tx.beginBatch()
				endBatch(s)
				if !slices.Equal(s.pool.free, []*packet{taken, queued}) {
					t.Fatalf("%d packets free when both were sent", len(s.pool.free))
				}
				if s.tx.trim(); s.tx.inPlace.held[0] != nil || s.tx.inPlace.held[1] != nil {
					t.Error("idle, it keeps room for more")
				}
			})
		}
	}
}

// The packet of a segment that was copied is free when the segment is acknowledged, after any
// number of batches.
func TestSegmentCopied(t *testing.T) {
	for _, begun := range []uint32{0, math.MaxInt32 + 1, math.MaxUint32 - 1, math.MaxUint32} {
		s, _, data := inPlaceSessionAt(t, nil, begun)
		s.core.Send(data[:100])
		s.core.flush(1)
		copied := s.core.snd.at(1).p
		if lies(s.tx.queue[0], copied) {
			t.Fatal("a short segment was sent in place")
		}
		acknowledge(s, 2)
		if !slices.Equal(s.pool.free, []*packet{copied}) {
			t.Errorf("after %d batches: %d packets free", begun, len(s.pool.free))
		}
	}
}

// Sealing leaves the segment as it is: it may have to be sent again.
func TestInPlaceSegmentSealed(t *testing.T) {
	for name, newCrypt := range map[string]func([]byte) (BlockCrypt, error){
		"AEAD": NewAESGCMCrypt, "CFB": NewAESBlockCrypt, "stream": NewSalsa20BlockCrypt,
	} {
		t.Run(name, func(t *testing.T) {
			block, err := newCrypt(make([]byte, 16))
			if err != nil {
				t.Fatal(err)
			}
			s, first, data := inPlaceSession(t, block)
			segment := s.core.snd.at(0).p
			if !lies(first, segment) {
				t.Fatal("the segment was copied")
			}
			s.cfg.env.sealAll(s.tx.batch.list)
			first = s.tx.batch.list[0]
			if !bytes.Equal(segment.data, data) {
				t.Fatal("sealing changed the segment")
			}
			payload, ok := s.cfg.env.open(first.data)
			if !ok {
				t.Fatal("does not open")
			}
			carriesData(t, payload, data)
			endBatch(s)
		})
	}
}
