package kcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// announced is what the session's peer has announced.
func (s *UDPSession) announced() params {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.params.peer
}

// record returns a record of that type.
func record(kind uint8, body ...byte) []byte {
	return append(binary.LittleEndian.AppendUint16([]byte{kind}, uint16(len(body))), body...)
}

// withRecords returns a control segment with that data.
func withRecords(h header, b []byte) []byte {
	h.len = uint32(len(b))
	return append(segmentOf(h), b...)
}

func TestParams(t *testing.T) {
	none := params{known: true, datagram: 1500, ackDelay: -1}
	with := func(change func(*params)) params { p := none; change(&p); return p }
	for _, c := range []struct {
		what string
		body []byte
		want params
		ok   bool
	}{
		{"nothing", nil, none, true},
		{"features", []byte{1, 4, 6, 0, 0, 0x80}, with(func(p *params) { p.features = 0x80000006 }), true},
		{"datagram", []byte{2, 2, 0x28, 0x23}, with(func(p *params) { p.datagram = 9000 }), true},
		{"short datagram", []byte{2, 2, 100, 0}, with(func(p *params) { p.datagram = 1200 }), true},
		{"delay", []byte{3, 2, 25, 0}, with(func(p *params) { p.ackDelay = 25e6 }), true},
		{"long delay", []byte{3, 2, 0xff, 0xff}, with(func(p *params) { p.ackDelay = 100e6 }), true},
		{"unknown", []byte{9, 3, 1, 2, 3, 0, 0, 3, 2, 7, 0}, with(func(p *params) { p.ackDelay = 7e6 }), true},
		{"cut off in the value", []byte{3, 2, 7, 0, 1, 4, 1}, with(func(p *params) { p.ackDelay = 7e6 }), false},
		{"cut off in the length", []byte{3, 2, 7, 0, 1}, with(func(p *params) { p.ackDelay = 7e6 }), false},
		{"length of features", []byte{1, 2, 6, 0, 3, 2, 7, 0}, none, false},
		{"length of delay", []byte{3, 4, 6, 0, 0, 0}, none, false},
	} {
		if p, ok := parseParams(c.body); p != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %t, want %+v, %t", c.what, p, ok, c.want, c.ok)
		}
	}
	p := params{known: true, features: 0xdeadbeef, datagram: 1500, ackDelay: 15e6}
	kind, body, rest, ok := cutRecord(appendParams(nil, &p))
	if got, parsed := parseParams(body); kind != recordParams || len(rest) > 0 || !ok || !parsed || got != p {
		t.Errorf("%+v came back as %+v", p, got)
	}
}

// A list of records ends where it does not parse, and is counted. What stands before that counts, and
// unknown types are skipped.
func TestRecordLists(t *testing.T) {
	delay := record(recordParams, paramAckDelay, 2, 9, 0)
	for _, c := range []struct {
		what    string
		list    []byte
		known   bool
		errors  uint64
		answers int
	}{
		{"PARAMS", delay, true, 0, 1},
		{"padding and an unknown type before", append(append(record(0, make([]byte, 300)...), record(200, 1)...), delay...), true, 0, 1},
		{"rubbish behind", append(append([]byte{}, delay...), 7, 0xff, 0xff, 1), true, 1, 1},
		{"a header cut off behind", append(append([]byte{}, delay...), 7), true, 1, 1},
		{"rubbish before", append([]byte{7, 0xff, 0xff}, delay...), false, 1, 0},
		{"PARAMS cut off", delay[:len(delay)-1], false, 1, 0},
		{"PARAMS with a wrong list", record(recordParams, paramAckDelay, 2, 9), true, 1, 1},
	} {
		for _, mark := range []uint8{capMark | capRecords, capMark, capRecords, 0} {
			n := alone(t)
			n.caps.own = capMark | capFIN | capRecords
			if code := n.input(n.l.now, withRecords(n.fromPeer(header{cmd: IKCP_CMD_WASK, frg: mark}), c.list), true); code != 0 {
				t.Fatalf("%s: %d", c.what, code)
			}
			n.drive()
			known, errors, answers := c.known, c.errors, c.answers
			if mark != capMark|capRecords {
				known, errors, answers = false, 0, 0
			}
			wins := n.commands(IKCP_CMD_WINS)
			if len(wins) != 1 || int(wins[0].len) != answers*paramsSize {
				t.Errorf("%s, mark %#x: answered by %+v", c.what, mark, wins)
			}
			if n.params.peer.known != known || n.count.KCPInErrors != errors {
				t.Errorf("%s, mark %#x: known %t, %d errors", c.what, mark, n.params.peer.known, n.count.KCPInErrors)
			}
		}
	}
}

// Two ends of ours know each other's parameters after some segments, one way or both, with and
// without a cipher, whatever questions and answers are lost; when settings change they are told anew.
func TestParamsAreExchanged(t *testing.T) {
	for _, cipher := range []string{"plain", "aes"} {
		for _, dialled := range []bool{true, false} {
			for _, loss := range []float64{0, 0.3} {
				t.Run(fmt.Sprintf("%s/dialled=%t/loss=%v", cipher, dialled, loss), func(t *testing.T) {
					virtual(t, netem.Path{Delay: 20 * time.Millisecond, Loss: loss}, func(w *world) {
						client, server := w.pair(w.config(newCrypt(t, cipher), 0, 0))
						from, to := client, server
						if !dialled {
							from, to = server, client
						}
						from.SetNoDelay(1, 10, 2, 1)
						to.SetNoDelay(1, 20, 2, 1)
						wantDelays := func(when string, atFrom, atTo time.Duration) {
							if a, b := from.announced(), to.announced(); !a.known || !b.known ||
								a.ackDelay != int64(atFrom) || b.ackDelay != int64(atTo) || a.datagram != 1500 {
								t.Errorf("%s: %+v and %+v, want %v and %v", when, a, b, atFrom, atTo)
							}
						}
						size := 300_000 + int(loss*1e7) // for questions that are lost
						w.check(carry(from, to, size))
						w.awaitIdle()
						wantDelays("at first", 20*time.Millisecond, 10*time.Millisecond)
						from.SetACKNoDelay(true)
						to.SetNoDelay(1, 15, 2, 1)
						w.check(carry(from, to, size))
						w.awaitIdle()
						wantDelays("later", 15*time.Millisecond, time.Millisecond)
						closeAll(client, server)
					})
				})
			}
		}
	}
}

// Peers that do not take records are sent none, nor any other segment than before.
func TestNoRecordsToOthers(t *testing.T) {
	for _, caps := range []uint8{0, capMark | capFIN} {
		for _, dialled := range []bool{true, false} {
			virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
				ours, theirs := w.config(nil, 0, 0), w.config(nil, 0, 0)
				theirs.caps = caps
				var client, server *UDPSession
				if dialled {
					client, server = w.join(ours, theirs)
				} else {
					client, server = w.join(theirs, ours)
				}
				w.carriedSegments(func(_ netip.Addr, h *header, _ []byte) bool {
					if h.cmd == IKCP_CMD_WASK || h.cmd != IKCP_CMD_PUSH && h.len > 0 {
						w.Errorf("caps %#x: sent %+v", caps, *h)
					}
					return true
				})
				w.check(exchange(client, server, 100_000))
				w.awaitIdle()
				w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return true })
				closeAll(client, server)
			})
		}
	}
}

// A peer that answers no question is asked a few times, a RTO apart at least, and then rarely; and
// never while nothing moves.
func TestUnansweredParams(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		var asked []time.Time
		moving, datagrams := true, 0
		w.watch(func(_, _ netip.AddrPort, b []byte) bool {
			datagrams++
			for at := 0; at+IKCP_OVERHEAD <= len(b); at += IKCP_OVERHEAD + int(binary.LittleEndian.Uint32(b[at+20:])) {
				if length := binary.LittleEndian.Uint32(b[at+20:]); b[at+4] == IKCP_CMD_WASK && length > 0 {
					asked = append(asked, time.Now())
					b[at+IKCP_OVERHEAD] = 99 // of an unknown type
					if !moving {
						w.Error("asked while nothing moves")
					}
				}
			}
			return true
		})
		w.check(carry(client, server, 10<<20))
		w.awaitIdle()
		if n := len(asked); n < 2 || n > 2*paramsQuestions {
			w.Errorf("%d questions", n)
		}
		moving, datagrams = false, 0
		w.sleep(10 * time.Minute)
		if datagrams > 0 {
			w.Errorf("%d datagrams of an idle session", datagrams)
		}
		moving, asked = true, nil
		w.check(carry(client, server, 100_000))
		w.awaitIdle()
		if n := len(asked); n < 1 || n > 2 {
			w.Errorf("%d questions after the pause", n)
		}
		closeAll(client, server)
	})
}

// FuzzRecords lets any list of records come in a WASK or WINS. The core answers with one segment at
// most, and what it knows then is within bounds.
func FuzzRecords(f *testing.F) {
	good := appendParams(nil, &params{features: 7, datagram: 1500, ackDelay: 20e6})
	f.Add(true, good)
	f.Add(false, good)
	f.Add(true, append(record(0, make([]byte, 20)...), good...))
	f.Add(true, record(recordParams, paramFeatures, 4, 1, 2, 3))
	f.Add(false, []byte{recordParams, 0xff, 0xff})
	f.Add(true, append(appendPath(nil, recordPath, 1), appendPath(nil, recordPathOK, 1)...))
	f.Add(false, record(recordPathOK, 1, 2, 3))
	f.Add(true, append(appendProbe(nil, recordProbe, 1), appendProbe(nil, recordProbeOK, 1)...))
	f.Add(false, record(recordProbe, 1, 2, 3))
	f.Add(false, append(record(recordParams, paramAckDelay, 2, 0xff, 0xff, paramDatagram, 2, 0, 0), 1))
	f.Fuzz(func(t *testing.T, ask bool, list []byte) {
		n := alone(t)
		n.caps.own = capMark | capFIN | capRecords
		cmd := uint8(IKCP_CMD_WINS)
		if ask {
			cmd = IKCP_CMD_WASK
		}
		list = list[:min(len(list), mtuLimit)]
		n.input(n.l.now, withRecords(n.fromPeer(header{cmd: cmd, frg: n.caps.own}), list), true)
		n.drive()
		p := n.params.peer
		if p.known && (p.datagram < datagramMin || p.ackDelay > peerAckDelayMax) || !p.known && p != (params{}) {
			t.Errorf("%+v", p)
		}
		if len(n.sent) > 1 || ask && len(n.sent) < 1 || n.count.KCPInErrors > 1 {
			t.Errorf("%d segments sent, %d errors", len(n.sent), n.count.KCPInErrors)
		}
	})
}

// A peer that has announced parameters, but not its delay of acknowledgements, is taken for one with our
// settings, as it would be without.
func TestUnknownAckDelay(t *testing.T) {
	n := alone(t)
	n.takesRanges()
	n.params.peer.ackDelay = -1
	for _, noDelay := range []bool{false, true} {
		want := ackDelay(n.interval)
		if n.setACKNoDelay(noDelay); noDelay {
			want = 0
		}
		if got := n.ackDelaySlack(); got != want {
			t.Errorf("without delay %t: %v, want %v", noDelay, time.Duration(got), time.Duration(want))
		}
	}
}
