package kcp

import (
	"bytes"
	"testing"
)

// lentSession returns a session that nothing drives, with one full segment in flight that a
// driver has begun to send.
func lentSession(t *testing.T, block BlockCrypt) (s *UDPSession, sent outbound, data []byte) {
	cfg, err := newConfig(block, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	s = newSession(cfg, newSocket(hole{newPostOffices("hole")[0]}, true), nil, testConv, destination{})
	s.mu.Lock()
	t.Cleanup(s.mu.Unlock)
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
	s.core.flush(now + stallMost) // it bears with us if it was not asked in time
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

// A segment that is acknowledged while it is being sent is not used again before that ends.
func TestSegmentLentAndAcknowledged(t *testing.T) {
	s, first, data := lentSession(t, nil)
	var ack [IKCP_OVERHEAD]byte
	(&header{conv: testConv, cmd: IKCP_CMD_ACK, wnd: 32, una: 1}).put(ack[:])
	s.core.input(2, ack[:], true)
	if s.core.WaitSnd() != 0 || len(s.pool.free) != 0 {
		t.Fatalf("%d segments wait, %d packets are free", s.core.WaitSnd(), len(s.pool.free))
	}
	carriesData(t, first.data, data)
	s.putBackLocked()
	if len(s.pool.free) != 1 {
		t.Fatalf("%d packets free after sending", len(s.pool.free))
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
