package kcp

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// fuzzListeners are the configurations that FuzzListener tells apart by its first byte.
var fuzzListeners = []struct {
	crypt        string
	data, parity int
}{{"plain", 0, 0}, {"aes", 0, 0}, {"plain", 3, 2}, {"gcm", 3, 2}}

// Datagrams from a few addresses, in batches: no panic, and exactly the sessions whose first
// datagram a core takes data from. The input is one byte for the configuration, then for each
// datagram one for what is done with it, two for its length, and itself.
func FuzzListener(f *testing.F) {
	const (
		fromMask = 3      // of the address
		sealed   = 1 << 2 // encrypt it, so that it opens
		last     = 1 << 3 // of its batch
		accept   = 1 << 4 // take a session from the backlog, and close it
	)
	add := func(mode byte, datagrams ...[]byte) {
		in := []byte{mode}
		for i, d := range datagrams {
			in = append(in, byte(i&fromMask)|sealed|byte(i%2)*last)
			in = binary.LittleEndian.AppendUint16(in, uint16(len(d)))
			in = append(in, d...)
		}
		f.Add(in)
	}
	push := segment(1, IKCP_CMD_PUSH, 0, []byte("hello"))
	for mode := range fuzzListeners {
		add(byte(mode), push, segment(1, IKCP_CMD_ACK, 0, nil), framed(0, fecTypeData, push),
			append(segment(1, IKCP_CMD_WASK, 0, nil), push...), segment(2, IKCP_CMD_PUSH, 31, nil),
			framed(3, fecTypeParity, push), framed(oobSeqid, fecTypeOOB, push), push[:20])
	}
	var crypts []BlockCrypt
	for _, m := range fuzzListeners {
		crypts = append(crypts, newCrypt(f, m.crypt))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 || len(in) > 64<<10 {
			return
		}
		mode := int(in[0]) % len(fuzzListeners)
		in = in[1:]
		cfg := standalone(t, crypts[mode], fuzzListeners[mode].data, fuzzListeners[mode].parity)
		l := newListener(cfg, newSocket(hole{newPostOffices("hole")[0]}, true))
		reader := newTransportReader(l.t, l.t.socks[0])

		want := make(map[sessionKey]bool) // and whether it was accepted and closed
		waiting := 0                      // for Accept
		var batch []inbound
		for len(in) >= 3 {
			how, n := in[0], int(binary.LittleEndian.Uint16(in[1:]))
			in = in[3:]
			n = min(n, len(in), mtuLimit+1)
			payload := append([]byte(nil), in[:n]...)
			in = in[n:]
			from := peerAddr{udp: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, how & fromMask}), 1)}
			d := payload
			if how&sealed != 0 {
				room := make([]byte, cfg.env.head+n, cfg.env.head+n+cfg.env.tail)
				copy(room[cfg.env.head:], payload)
				d = cfg.env.seal(room)
			} else if cfg.env.head > 0 {
				payload = nil // it does not open
			}
			if conv, ok := fuzzTakes(cfg, payload); ok && waiting < acceptBacklog {
				key := sessionKey{from, conv}
				if _, known := want[key]; !known {
					want[key] = false
					waiting++
				}
			}
			batch = append(batch, inbound{data: d, from: from})
			if how&(last|accept) == 0 && len(batch) < 64 {
				continue
			}
			reader.receive(batch, clock())
			batch = batch[:0]
			if how&accept != 0 && l.waiting() > 0 {
				s, err := l.AcceptKCP()
				if err != nil {
					t.Fatal(err)
				}
				s.SetLinger(0)
				s.Close()
				waiting--
				want[sessionKey{s.path().peerAddr, s.conv}] = true
			}
		}
		reader.receive(batch, clock())
		open := 0
		for key, closed := range want {
			if closed {
				continue
			}
			open++
			if s := l.known()[key]; s == nil {
				t.Errorf("no session %v", key)
			} else if s.received() == 0 && s.core.rcv.nxt == 0 && cfg.fec == nil { // else it may have begun out of band
				t.Errorf("session %v has received nothing", key)
			}
		}
		if len(l.known()) != open {
			t.Errorf("%d sessions, want %d", len(l.known()), open)
		}
		for _, s := range l.known() {
			s.SetLinger(0)
		}
		l.Close()
		if n := cfg.sched.timers(); n > 0 || len(l.known()) > 0 {
			t.Errorf("%d timers and %d sessions are left", n, len(l.known()))
		}
	})
}

// fuzzTakes says whether a new session takes data from a datagram's payload, or it is out-of-band, and
// for which conv.
func fuzzTakes(cfg *config, payload []byte) (conv uint32, ok bool) {
	if h, isFEC := parseFEC(payload); isFEC {
		body, ok := h.body(payload)
		if ok && h.kind == fecTypeOOB && h.seqid == oobSeqid && len(body) >= convSize && cfg.fec != nil {
			return segmentConv(body), true
		}
		if !ok || h.kind != fecTypeData {
			return 0, false
		}
		payload = body
	}
	if len(payload) < IKCP_OVERHEAD {
		return 0, false
	}
	begins := false
	for b := payload; len(b) >= IKCP_OVERHEAD; {
		var h header
		h.parse(b)
		if b = b[IKCP_OVERHEAD:]; !h.valid(segmentConv(payload), b) {
			break
		}
		b = b[h.len:]
		begins = begins || h.cmd == IKCP_CMD_PUSH && h.una == 0 && h.sn < IKCP_WND_RCV
	}
	k := newCore(segmentConv(payload), &callbackSink{output: func([]byte, int) {}}, &packets, new(Snmp), 0)
	k.caps.own = cfg.caps
	k.autotune()
	k.input(0, payload, true)
	defer k.release()
	return k.conv, begins && (k.rcv.held > 0 || k.rcv.nxt > 0) // SKIP leaves nothing of it
}
