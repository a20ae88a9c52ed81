package kcp

import "testing"

// The first byte of FuzzTimeWaitReply's input says what ended how.
const (
	fuzzOwnCaps  = 1 << iota // our session had extensions
	fuzzPeerCaps             // the peer's mark had arrived
	fuzzFIN                  // the peer's FIN had arrived
	fuzzReset                // data was lost with the session
)

// FuzzTimeWaitReply answers any datagram as a session that has ended does. An answer is made of
// whole segments, not longer than what it answers or than one segment, and says what the session
// can say.
func FuzzTimeWaitReply(f *testing.F) {
	const conv, una = 7, 100
	push := func(sn uint32) []byte { return segment(conv, IKCP_CMD_PUSH, sn, []byte("data")) }
	marked := encode(header{conv: conv, cmd: IKCP_CMD_WASK, frg: capMark | capFIN})
	fin := segment(conv, cmdFIN, una, nil)
	for mode := range byte(fuzzReset << 1) {
		for i, b := range [][]byte{
			push(una - 1), push(una), append(push(una-2), push(una-1)...), fin, append(marked, fin...), append(fin, marked...),
			append(fin, fin...), segment(conv, IKCP_CMD_ACK, 5, nil), segment(conv, cmdRST, una, nil),
			segment(conv+1, IKCP_CMD_PUSH, 0, nil), push(0)[:IKCP_OVERHEAD], framed(1, fecTypeParity, push(0)),
			framed(1, fecTypeData, push(0)), framed(oobSeqid, fecTypeOOB, push(0)),
		} {
			f.Add(mode, byte(i), uint32(una), b)
		}
	}
	var cfgs []*config
	for _, kind := range fuzzListeners {
		cfg, err := newConfig(newCrypt(f, kind.crypt), kind.data, kind.parity)
		if err != nil {
			f.Fatal(err)
		}
		cfgs = append(cfgs, cfg)
	}
	small, err := Settings{MTU: 70}.resolve()
	if err != nil {
		f.Fatal(err)
	}
	cfgs = append(cfgs, small)
	f.Fuzz(func(t *testing.T, mode, kind byte, una uint32, b []byte) {
		cfg := cfgs[int(kind)%len(cfgs)]
		c, ok := parseContents(b[:min(len(b), mtuLimit)])
		if !ok || !c.hasConv && c.kind() != fecTypeParity {
			return // whoever asks for an answer has found that out
		}
		end := timeWait{una: una, fin: mode&fuzzFIN != 0, reset: mode&fuzzReset != 0, ownNumber: 12345}
		if mode&fuzzOwnCaps != 0 {
			end.caps = capMark | capFIN
		}
		if mode&fuzzPeerCaps != 0 {
			end.peer = capMark | capFIN
		}
		was := end
		p := end.reply(cfg, c.conv, &c)
		wantTimeWait(t, was, end)
		if p != nil {
			wantReply(t, cfg, &c, p.data, end, was.caps != 0)
			packets.put(p)
		}
		if len(c.body) < IKCP_OVERHEAD {
			return
		}
		if p := cfg.probeReply(c.conv, c.body); p != nil {
			wantReply(t, cfg, &c, p.data, timeWait{caps: cfg.caps}, true)
			packets.put(p)
		}
	})
}

// wantTimeWait checks what an answer may change of what is remembered.
func wantTimeWait(t *testing.T, was, is timeWait) {
	t.Helper()
	if is.fin && !was.fin {
		was.una, was.fin = was.una+1, true
	}
	was.peer = is.peer
	if is != was || is.caps == 0 && is.fin && !was.fin {
		t.Fatalf("%+v became %+v", was, is)
	}
}

// wantReply checks an answer to a datagram with contents c.
func wantReply(t *testing.T, cfg *config, c *contents, reply []byte, end timeWait, answers bool) {
	t.Helper()
	if len(reply)+cfg.env.tail > cfg.mtu {
		t.Fatalf("%d bytes, the MTU is %d", len(reply)+cfg.env.tail, cfg.mtu)
	}
	payload := reply[cfg.env.head:]
	longest := max(len(c.body), IKCP_OVERHEAD)
	segments := segmentsOf(payload)
	reset := len(segments) > 0 && segments[len(segments)-1].cmd == cmdRST
	if reset { // behind the number
		longest = 2 * IKCP_OVERHEAD
	}
	if !answers || len(payload) == 0 || len(payload) > longest || !wellFormed(c.conv, payload) {
		t.Fatalf("%x is the answer to %x", payload, c.body)
	}
	for _, h := range segments {
		if h.cmd == IKCP_CMD_WINS && h.ts != end.ownNumber || h.cmd != IKCP_CMD_ACK && h.cmd != cmdRST && h.sn != 0 {
			t.Fatalf("tells number %d, want %d: %+v", h.ts, end.ownNumber, h)
		}
		switch h.cmd {
		case IKCP_CMD_ACK, IKCP_CMD_WINS:
			if before(end.una, h.una) {
				t.Fatalf("acknowledges up to %d of %d", h.una, end.una)
			}
		case cmdRST:
			if !takeFIN(end.caps, capMark|capFIN) || len(segments) != 2 || segments[0].cmd != IKCP_CMD_WINS ||
				h.una != end.una || h.sn != end.una {
				t.Fatalf("a reset: %+v", segments)
			}
		default:
			t.Fatalf("cmd %d", h.cmd)
		}
		if h.len != 0 || h.frg != end.caps {
			t.Fatalf("%+v", h)
		}
	}
}
