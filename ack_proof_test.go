package kcp

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// proving is a core whose peer has to echo what it acknowledges, with count segments written.
func proving(t *testing.T, count int) *node {
	n := alone(t)
	n.NoDelay(1, 10, 2, 1)
	n.proof.required = true
	n.write(count)
	n.want("nxt", unprovenWindow)
	return n
}

// unaOnly is an acknowledgement of everything below una that echoes nothing.
func (n *node) unaOnly(una uint32) header {
	h := n.fromPeer(header{cmd: IKCP_CMD_WINS})
	h.una = una
	return h
}

// Una alone frees what it acknowledges, and draws one segment a RTO, which backs off.
func TestUnaAloneOpensNothing(t *testing.T) {
	n := proving(t, 200)
	for i := range 100 { // for 10 s
		n.hear(n.unaOnly(n.snd.nxt))
		n.drive()
		if n.want("waiting", 200-int(n.snd.una)); int(n.snd.nxt) > unprovenWindow+9 {
			t.Fatalf("%d segments beyond the window after %d ms", int(n.snd.nxt)-unprovenWindow, 100*i)
		}
		n.pass(100 * millisecond)
	}
	if n.snd.nxt < unprovenWindow+3 {
		t.Errorf("%d segments beyond the window after 10 s", int(n.snd.nxt)-unprovenWindow)
	}
	n.hear(n.ackOf(n.snd.nxt - 1)) // of a probe that is on its way, or was acknowledged
	n.drive()
	n.want("flight", min(IKCP_WND_SND, 200-int(n.snd.una)))
}

// An honest peer whose acknowledgements of a whole window were lost, all but una, answers the
// segment that is sent at once.
func TestUnaAloneCostsARoundTrip(t *testing.T) {
	n := proving(t, 200)
	n.hear(n.unaOnly(unprovenWindow))
	n.drive()
	n.want("flight", 1)
	n.pass(20 * millisecond)
	n.hear(n.ackOf(unprovenWindow))
	n.drive()
	n.want("flight", IKCP_WND_SND)
}

// An acknowledgement that una has overtaken counts as an echo, one with another ts does not.
func TestOvertakenEcho(t *testing.T) {
	for _, off := range []uint32{0, 1} {
		n := proving(t, 200)
		echo := n.ackOf(20)
		echo.ts += off
		n.hear(n.unaOnly(unprovenWindow))
		n.hear(echo)
		n.drive()
		n.want("nxt", map[uint32]int{0: 21 + IKCP_WND_SND, 1: unprovenWindow + 1}[off])
	}
}

// Any ts but those that the segment was sent with proves nothing.
func TestForgedEcho(t *testing.T) {
	for _, off := range []uint32{1, ^uint32(0), 1 << 31, 1000} {
		n := proving(t, 200)
		for sn := range uint32(unprovenWindow) {
			h := n.ackOf(sn)
			h.ts += off
			h.una = sn + 1
			n.hear(h)
		}
		n.drive()
		n.want("nxt", unprovenWindow+1)
		if n.proof.heard || n.rate.sample.Rate != 0 {
			t.Errorf("off by %d: proof %+v, rate %d", off, n.proof, n.rate.sample.Rate)
		}
	}
}

// Serial numbers wrap.
func TestEchoWraps(t *testing.T) {
	n := alone(t)
	start := ^uint32(0) - 20
	n.snd.una, n.snd.nxt, n.snd.end = start, start, start
	n.proof = ackProof{required: true, edge: start}
	n.write(400)
	for range 10 {
		sent := n.snd.nxt
		n.hear(n.unaOnly(sent-1), n.ackOf(sent-1))
		n.drive()
		n.want("flight", IKCP_WND_SND)
	}
}

// Two sessions do not start their clocks alike.
func TestClockStartsAtRandom(t *testing.T) {
	cfg := standalone(t, nil, 0, 0)
	seen := make(map[uint32]bool)
	for range 20 {
		k := newCore(1, new(callbackSink), new(packetPool), new(Snmp), 0)
		k.configure(cfg, true)
		seen[k.tsBase] = true
	}
	if len(seen) < 19 {
		t.Errorf("%d clocks of 20 sessions", len(seen))
	}
}

// Where echoes are lost and una gets through, a server without a cipher is as fast as without the
// proof. Single transfers differ by what happens to be lost.
func TestLostEchoesCostNothing(t *testing.T) {
	seeds := uint64(lighter(12, 2))
	for _, lost := range []int{0, 1, 2} { // of five datagrams with acknowledgements
		for _, nc := range []int{0, 1} {
			var took [2]time.Duration
			for seed := range seeds {
				for i, required := range []bool{false, true} {
					virtualSeed(t, seed, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.02}, func(w *world) {
						took[i] += carryWithoutEchoes(w, nc, lost, required) / time.Duration(seeds)
					})
				}
			}
			t.Logf("nc=%d, %d of 5 echoes lost: %v with the proof, %v without", nc, lost, took[1], took[0])
			if took[1] > took[0]*lighter[time.Duration](2, 3) { // over 100 seeds they differ by 1%
				t.Errorf("nc=%d, %d of 5 echoes lost: %v with the proof, %v without", nc, lost, took[1], took[0])
			}
		}
	}
}

// carryWithoutEchoes returns how long 4 MB take from a server whose client's acknowledgements are
// all but una lost in so many of five datagrams.
func carryWithoutEchoes(w *world, nc, lost int, required bool) time.Duration {
	client, server := w.pair(w.config(nil, 0, 0))
	for _, s := range []*UDPSession{client, server} {
		s.SetNoDelay(1, 10, 2, nc)
		s.SetWindowSize(512, 512)
	}
	if !server.needsProof(required) || client.needsProof(false) {
		w.Fatal("of a session without a cipher, the accepting end needs proof")
	}
	n := 0
	w.watch(func(from, _ netip.AddrPort, b []byte) bool {
		if from.Addr() != netip.MustParseAddr("10.0.0.1") {
			return true
		}
		if n++; n%5 < lost {
			for at := 0; at+IKCP_OVERHEAD <= len(b); at += IKCP_OVERHEAD + int(binary.LittleEndian.Uint32(b[at+20:])) {
				if b[at+4] == IKCP_CMD_ACK {
					b[at+4] = IKCP_CMD_WINS
				}
			}
		}
		return true
	})
	start := time.Now()
	w.check(carry(server, client, 4<<20))
	took := time.Since(start)
	closeAll(client, server)
	return took
}

// needsProof says whether s needs proof that its peer receives, and sets that.
func (s *UDPSession) needsProof(on bool) (was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, s.core.proof.required = s.core.proof.required, on
	return was
}
