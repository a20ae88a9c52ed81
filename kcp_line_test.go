package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// The scenarios below are written in a small language. A line joins two cores, a and b, with a
// delay; time is a number that passes when the scenario says so. A core may also stand alone and
// hear segments that the scenario makes up.

const testConv = 0x11223344

// line is two cores and what is under way between them.
type line struct {
	*testing.T
	now      int64
	delay    int64
	a, b     *node   // where there are two
	nodes    []*node // all
	inFlight []flight
	cut      bool // everything is lost
}

// flight is a datagram under way.
type flight struct {
	at   int64
	to   *node
	data []byte
}

// node is one core with the record of what it sent.
type node struct {
	*KCP
	l       *line
	peer    *node // nil when it stands alone
	mem     [2 * mtuLimit]byte
	sent    []sentHeader
	grams   int            // datagrams sent
	longest int            // of them, in bytes
	drops   map[uint32]int // how often a PUSH of that sn is still to be lost
}

type sentHeader struct {
	header
	at   int64
	data []byte // of a control segment
}

// newLine returns a line on which a datagram takes delay.
func newLine(t *testing.T, delay time.Duration) *line {
	return newLineAt(t, int64(time.Hour), delay)
}

// newLineAt is newLine with a clock that starts at now.
func newLineAt(t *testing.T, now int64, delay time.Duration) *line {
	l := &line{T: t, now: now, delay: int64(delay)}
	l.a, l.b = l.node(), l.node()
	l.a.peer, l.b.peer = l.b, l.a
	return l
}

// alone returns a core that nothing answers.
func alone(t *testing.T) *node {
	l := &line{T: t, now: int64(time.Hour)}
	return l.node()
}

func (l *line) node() *node {
	n := &node{l: l, drops: make(map[uint32]int)}
	n.KCP = newCore(testConv, n, &packets, new(Snmp), l.now)
	n.NoDelay(1, 10, 0, 1)
	n.WndSize(128, 128)
	l.nodes = append(l.nodes, n)
	return n
}

// both does something to both cores.
func (l *line) both(f func(n *node)) { f(l.a); f(l.b) }

func (n *node) buffer(size int) []byte {
	if size > len(n.mem) {
		n.l.Fatalf("core asks for %d bytes", size)
	}
	return n.mem[:]
}

func (n *node) emit(_ int64, size int, _ bool) {
	lost := n.l.cut
	for b := n.mem[n.reserved:size]; len(b) > 0; {
		var h header
		h.parse(b)
		sent := sentHeader{header: h, at: n.l.now}
		if h.isControl() {
			sent.data = bytes.Clone(b[IKCP_OVERHEAD:][:h.len])
		}
		b = b[IKCP_OVERHEAD+h.len:]
		n.sent = append(n.sent, sent)
		if h.cmd == IKCP_CMD_PUSH && n.drops[h.sn] > 0 {
			n.drops[h.sn]--
			lost = true
		}
	}
	n.grams++
	n.longest = max(n.longest, size)
	if n.peer != nil && !lost {
		n.l.inFlight = append(n.l.inFlight, flight{n.l.now + n.l.delay, n.peer, bytes.Clone(n.mem[n.reserved:size])})
	}
}

// send sends a message from n.
func (l *line) send(n *node, msg string) {
	l.Helper()
	if code := n.Send([]byte(msg)); code != 0 {
		l.Fatalf("Send of %d bytes: %d", len(msg), code)
	}
	n.drive()
}

// recv reads the messages that have arrived at n.
func (l *line) recv(n *node) (msgs []string) {
	for n.PeekSize() >= 0 {
		b := make([]byte, n.PeekSize())
		msgs = append(msgs, string(b[:n.Recv(b)]))
	}
	n.drive()
	return msgs
}

// expect reads at n and wants these messages.
func (l *line) expect(n *node, want ...string) {
	l.Helper()
	if got := l.recv(n); fmt.Sprint(got) != fmt.Sprint(want) {
		l.Fatalf("received %.200q, want %.200q", got, want)
	}
}

// drop loses the next transmission of each of these segments of n.
func (l *line) drop(n *node, sns ...uint32) {
	for _, sn := range sns {
		n.drops[sn]++
	}
}

// drive does what a session does at any event: flush if there is reason to.
func (n *node) drive() {
	now := n.l.now
	if now-n.lastActive >= trimAfter {
		n.trim(now)
	}
	if now >= n.deadline() || n.flushDue(now) {
		n.lastActive = now
		n.flush(now)
	}
}

// advance lets time pass. Each core is driven at its own deadline and when a datagram arrives. One
// that stays due at the same moment would keep a session's timer spinning.
func (l *line) advance(d time.Duration) {
	l.Helper()
	until := l.now + int64(d)
	for spins := 0; ; spins++ {
		next := int64(never)
		for _, n := range l.nodes {
			n.drive()
			next = min(next, n.deadline())
		}
		for _, f := range l.inFlight {
			next = min(next, f.at)
		}
		if next > until {
			l.now = until
			return
		}
		if next > l.now {
			l.now, spins = next, 0
		}
		if spins > 100 {
			l.Fatalf("nothing comes to rest at %v", time.Duration(l.now))
		}
		for len(l.inFlight) > 0 && l.inFlight[0].at <= l.now {
			f := l.inFlight[0]
			l.inFlight = l.inFlight[1:]
			if code := f.to.input(l.now, f.data, true); code != 0 {
				l.Fatalf("Input: %d", code)
			}
		}
	}
}

// pass lets time pass for a core that stands alone.
func (n *node) pass(d time.Duration) {
	n.l.Helper()
	n.l.advance(d)
}

// write queues count segments of one byte each and sends what may be sent.
func (n *node) write(count int) {
	for range count {
		n.Send([]byte{1})
	}
	n.flush(n.l.now)
}

// ackOf is the acknowledgement of the last transmission of segment sn.
func (n *node) ackOf(sn uint32) header {
	sent := n.pushes(sn)
	return n.fromPeer(header{cmd: IKCP_CMD_ACK, sn: sn, ts: sent[len(sent)-1].ts})
}

// fromPeer completes a segment of a peer that has announced no change.
func (n *node) fromPeer(h header) header {
	h.conv, h.wnd, h.una = testConv, uint16(n.flow.peerWnd), n.snd.una
	return h
}

// hear feeds segments to the core in one datagram, each followed by len zeros.
func (n *node) hear(hs ...header) int { return n.input(n.l.now, encode(hs...), true) }

func encode(hs ...header) (b []byte) {
	for _, h := range hs {
		at := len(b)
		b = append(b, make([]byte, IKCP_OVERHEAD+h.len)...)
		h.put(b[at:])
	}
	return b
}

// pushes returns the transmissions of segment sn.
func (n *node) pushes(sn uint32) (all []sentHeader) {
	for _, h := range n.sent {
		if h.cmd == IKCP_CMD_PUSH && h.sn == sn {
			all = append(all, h)
		}
	}
	return all
}

// commands returns what was sent with cmd.
func (n *node) commands(cmd uint8) (all []sentHeader) {
	for _, h := range n.sent {
		if h.cmd == cmd {
			all = append(all, h)
		}
	}
	return all
}

// want checks a quantity of the core by name.
func (n *node) want(name string, want any) {
	n.l.Helper()
	var got any
	switch name {
	case "srtt":
		got = time.Duration(n.rtt.srtt)
	case "rttvar":
		got = time.Duration(n.rtt.rttvar)
	case "rto":
		got = time.Duration(n.rtt.rto)
	case "una":
		got = int(n.snd.una)
	case "nxt":
		got = int(n.snd.nxt)
	case "flight":
		got = n.snd.inFlight.n
	case "lost":
		got = n.snd.lost.n
	case "waiting":
		got = n.WaitSnd()
	case "peer window":
		got = int(n.flow.peerWnd)
	case "cwnd":
		n.startControl()
		got = n.cc.Window()
	case "free":
		got = int(n.rcv.free())
	case "acks due":
		got = len(n.acks.pending)
	case "fast":
		got = int(n.count.FastRetransSegs)
	case "early":
		got = int(n.count.EarlyRetransSegs)
	case "timeouts":
		got = int(n.count.LostSegs)
	default:
		n.l.Fatalf("no quantity %q", name)
	}
	if got != want {
		n.l.Fatalf("%s = %v, want %v", name, got, want)
	}
}

// wantSent checks how often segment sn was sent.
func (n *node) wantSent(sn uint32, times int) {
	n.l.Helper()
	if got := len(n.pushes(sn)); got != times {
		n.l.Fatalf("segment %d was sent %d times, want %d", sn, got, times)
	}
}

const (
	millisecond = time.Millisecond
	second      = time.Second
)

// segment returns a segment with the given header fields.
func segment(conv uint32, cmd uint8, sn uint32, data []byte) []byte {
	b := make([]byte, IKCP_OVERHEAD, IKCP_OVERHEAD+len(data))
	h := header{conv: conv, cmd: cmd, wnd: 32, sn: sn, len: uint32(len(data))}
	h.put(b)
	return append(b, data...)
}

// framed puts a FEC header in front of body.
func framed(seqid uint32, kind uint16, body []byte) []byte {
	b := make([]byte, fecHeaderSize, fecHeaderSize+len(body))
	putFECHeader(b, seqid, kind)
	binary.LittleEndian.PutUint16(b[fecShardStart:], uint16(fecSizeField+len(body)))
	return append(b, body...)
}

func segmentOf(h header) []byte {
	b := make([]byte, IKCP_OVERHEAD)
	h.put(b)
	return b
}

// segmentsOf returns the headers of a plain datagram's segments.
func segmentsOf(b []byte) (headers []header) {
	for len(b) >= IKCP_OVERHEAD {
		var h header
		h.parse(b)
		headers = append(headers, h)
		b = b[min(IKCP_OVERHEAD+int(h.len), len(b)):]
	}
	return headers
}

// carries says whether a plain datagram carries a segment with that cmd.
func carries(b []byte, cmd uint8) bool {
	for _, h := range segmentsOf(b) {
		if h.cmd == cmd {
			return true
		}
	}
	return false
}

// pathLine is a line of 60 ms whose ends know their round trip and each other.
func pathLine(t *testing.T, resend int) *line {
	l := newLine(t, 30*millisecond)
	l.both(func(n *node) {
		n.NoDelay(1, 10, resend, 1)
		n.ackNoDelay = true
	})
	l.chat(20)
	return l
}

// chat sends count messages from a, one every 10 ms, and reads them.
func (l *line) chat(count int) {
	l.Helper()
	for range count {
		l.send(l.a, "message")
		for range 10 {
			l.advance(millisecond)
			l.drive()
		}
		l.recv(l.b)
	}
}

// drive acknowledges at once, as a session with SetACKNoDelay does.
func (l *line) drive() {
	if len(l.b.acks.pending) > 0 {
		l.b.flush(l.now)
	}
}

// gaps returns the times between the transmissions of segment sn.
func (n *node) gaps(sn uint32) (all []time.Duration) {
	sent := n.pushes(sn)
	for i := range sent[1:] {
		all = append(all, time.Duration(sent[i+1].at-sent[i].at))
	}
	return all
}
