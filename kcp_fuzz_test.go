package kcp

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// checkedSink takes what a core emits, wants it to be well formed, and sends it in batches that
// begin and end when the test says so.
type checkedSink struct {
	testing.TB
	k       *KCP
	mem     [2 * mtuLimit]byte
	at      []byte  // the datagram that is being written
	segment *packet // that it lies in, nil for none

	queued      int               // datagrams written, not in a batch yet
	busy        bool              // a batch is being sent
	next, batch []inPlaceDatagram // those that lie in segments: of what is queued, and of the batch
	sent        inPlaceBatches

	finQueued bool // the core was told to send a FIN
	resetting bool // the core was told to send a RST
}

// inPlaceDatagram is a datagram that lies in a segment, and what it is to be when it is sent.
type inPlaceDatagram struct {
	segment    *packet
	data, want []byte
}

var _ inPlaceSink = (*checkedSink)(nil)

func (s *checkedSink) batches() *inPlaceBatches { return &s.sent }

func (s *checkedSink) full() bool { return false }

func (s *checkedSink) dataRoom() int       { return mtuLimit }
func (s *checkedSink) challengeFits() bool { return true }

func (s *checkedSink) probe(n int) []byte { return make([]byte, n-s.k.reserved) }
func (s *checkedSink) emitProbe(int)      {}

func (s *checkedSink) sendInPlace(p *packet) {
	for _, d := range s.unsent() {
		if d.segment == p {
			s.Fatal("a segment is sent in place that is still to be sent")
		}
	}
	s.at, s.segment = p.mem[:], p
}

func (s *checkedSink) buffer(n int) []byte {
	if n > len(s.mem) {
		s.Fatalf("core asks for %d bytes", n)
	}
	s.at, s.segment = s.mem[:], nil
	return s.at
}

func (s *checkedSink) emit(_ int64, n int, hasData bool) {
	if n > mtuLimit {
		s.Fatalf("datagram of %d bytes", n)
	}
	b, data := s.at[s.k.reserved:n], false
	for len(b) >= IKCP_OVERHEAD {
		var h header
		h.parse(b)
		if h.conv != testConv || h.una != s.k.rcv.una() || !s.allowed(&h) {
			s.Fatalf("sent %+v", h)
		}
		data = data || h.cmd == IKCP_CMD_PUSH || h.cmd == cmdFIN || h.cmd == cmdSKIP || h.cmd == cmdDGRAM || h.cmd == cmdREP
		b = b[IKCP_OVERHEAD+h.len:]
	}
	if len(b) > 0 {
		s.Fatalf("%d bytes behind the last segment", len(b))
	}
	if data != hasData {
		s.Fatalf("a datagram with data %t is told to have some %t", data, hasData)
	}
	s.queued++
	if s.segment != nil {
		s.next = append(s.next, inPlaceDatagram{s.segment, s.at[:n], bytes.Clone(s.at[:n])})
	}
}

// allowed says whether a core sends segments with that cmd, frg and len.
func (s *checkedSink) allowed(h *header) bool {
	switch h.cmd {
	case IKCP_CMD_PUSH:
		return h.len > 0
	case cmdSKIP:
		return s.k.peerSkips() && len(s.k.expiries) > 0 && h.len == 0
	case cmdFIN:
		return s.finQueued && h.len == 0 && h.frg == 0
	case cmdDGRAM:
		return s.k.dgramsTaken() && h.frg == 0 && int(h.len) <= s.k.mss
	case cmdREP:
		return s.k.takesRepairs() && h.len >= repairOverhead && IKCP_OVERHEAD+int(h.len) <= s.k.mtu-s.k.reserved
	case cmdREPORT:
		return s.k.dgrams != nil && h.frg == 0 && h.len == 0 && h.sn == s.k.segmentsArrived
	case cmdRST:
		return s.resetting && h.len == 0 && h.frg == s.k.caps.own && h.sn == h.una
	}
	switch {
	case !h.isControl() || h.frg != s.k.caps.own && (h.cmd != IKCP_CMD_ACK || h.frg != s.k.caps.own|capRebuilt):
		return false
	case h.cmd == IKCP_CMD_ACK && s.k.tellsRanges():
		return h.len%ackRangeSize == 0 && h.len <= ackRangesMax*ackRangeSize
	}
	return h.len == 0 || h.cmd != IKCP_CMD_ACK && h.len == paramsSize
}

// begin begins to send what is queued, as a session's sender does.
func (s *checkedSink) begin() {
	if s.busy || s.queued == 0 {
		return
	}
	s.sent.begin()
	s.busy, s.queued = true, 0
	s.batch, s.next = s.next, nil
}

// end sends what was begun.
func (s *checkedSink) end() {
	if !s.busy {
		return
	}
	for _, d := range s.batch {
		if !bytes.Equal(d.data, d.want) {
			s.Fatal("a datagram was changed before it was sent")
		}
	}
	s.busy, s.batch = false, nil
	s.sent.end(s.k.pool)
}

// unsent returns the datagrams in segments that are still to be sent.
func (s *checkedSink) unsent() []inPlaceDatagram { return slices.Concat(s.batch, s.next) }

// wantOwners checks that each packet of a core has one owner, and none is free that is still to be
// sent.
func (s *checkedSink) wantOwners() {
	s.Helper()
	k := s.k
	owner := make(map[*packet]string)
	own := func(by string, p *packet) {
		if p == nil {
			return
		}
		if owner[p] != "" {
			s.Fatalf("a packet is owned twice: %s and %s", owner[p], by)
		}
		owner[p] = by
	}
	for sn := k.snd.una; sn != k.snd.end; sn++ {
		own("send window", k.snd.at(sn).p)
	}
	if d := k.dgrams; d != nil {
		for _, p := range d.out.ring {
			own("datagrams", p)
		}
	}
	if d := k.decoder; d != nil {
		for i := range d.known {
			own("known symbols", d.known[i].p)
		}
		for _, r := range d.rows {
			own("equations", r.p)
		}
	}
	shared := make(map[*packet]uint16)
	for _, r := range k.rcv.ring {
		if r.kind != recvSmall || r.p != nil && shared[r.p] == 0 {
			own("receive window", r.p)
		}
		if r.kind == recvSmall && r.p != nil {
			shared[r.p]++
		}
	}
	for p, n := range shared {
		if p.shared != n {
			s.Fatalf("a packet is shared by %d segments, and counts %d", n, p.shared)
		}
	}
	if p := k.rcv.small; p != nil && shared[p] == 0 {
		s.Fatal("the packet for small segments has none")
	}
	for _, held := range s.sent.held {
		for _, p := range held {
			own("held back", p)
		}
	}
	for _, p := range k.pool.free {
		own("pool", p)
	}
	for _, d := range s.unsent() {
		if by := owner[d.segment]; by != "send window" && by != "held back" {
			s.Fatalf("a segment that is still to be sent is with %q", by)
		}
	}
}

// wantCore checks everything that must always be true of a core.
func wantCore(t testing.TB, k *KCP, now int64) {
	t.Helper()
	wantWindow(t, &k.snd)
	r := &k.rcv
	held := 0
	for _, s := range r.ring {
		if s.kind != recvNothing {
			held++
		}
	}
	if held != r.held || int(r.nxt-r.head) > held || len(r.ring) > wndLimit+1 {
		t.Fatalf("receive window: %d held of %d, in order %d, ring of %d", held, r.held, r.nxt-r.head, len(r.ring))
	}
	if before(r.nxt, r.begun) {
		t.Fatalf("receive window: a message begins at %d, beyond %d", r.begun, r.nxt)
	}
	if r.fin && int(r.nxt-r.head) != held {
		t.Fatalf("%d segments are held behind the FIN", held-int(r.nxt-r.head))
	}
	whole := 0
	for sn := r.head; sn != r.nxt; sn++ {
		s := r.at(sn)
		if s.kind == recvSkipped && sn != r.head {
			continue
		}
		if s.kind != recvWhole && s.kind != recvSmall {
			t.Fatalf("segment %d of %d…%d is missing", sn, r.head, r.nxt)
		}
		if s.frg == 0 {
			whole++
		}
	}
	if whole != r.whole {
		t.Fatalf("%d messages are counted of %d", r.whole, whole)
	}
	if len(r.ring) > held && r.at(r.nxt).kind != recvNothing {
		t.Fatalf("segment %d has arrived and is not in order", r.nxt)
	}
	if uint32(r.free()) > r.wnd {
		t.Fatalf("%d free of a window of %d", r.free(), r.wnd)
	}
	if k.flow.sendWnd < 1 || k.flow.peerWnd > wndLimit || k.cc != nil && k.cc.Window() < 1 {
		t.Fatalf("windows %d, %d, %v", k.flow.sendWnd, k.flow.peerWnd, k.cc)
	}
	if rto := k.rtt.rto; rto < k.rtt.minRTO && rto != rtoDef && k.rtt.srtt == 0 || rto > rtoMax {
		t.Fatalf("RTO %v", time.Duration(rto))
	}
	if k.WaitSnd() > 0 && k.deadline() == never && !k.flushDue(now) && !k.corked { // else its session flushes
		t.Fatal("something is to be delivered, and nothing will happen")
	}
	if d := k.dgrams; d != nil {
		h := &d.history
		inFlight := 0
		for i := h.n - h.open; i < h.n; i++ {
			inFlight += h.at(i).bytes
		}
		if h.inFlight != inFlight || h.open > h.n || h.n > sentMax || max(d.out.n, d.in.n) > k.dgramsMax {
			t.Fatalf("%+v of %d bytes in flight", d, inFlight)
		}
		if k.dgramsWait() && k.deadline() == never && !k.flushDue(now) {
			t.Fatal("a datagram is to be sent, and nothing will happen")
		}
	}
	if k.caps.own == 0 && (r.fin || k.caps.reset) {
		t.Fatal("without extensions a FIN or RST is taken")
	}
}

// The first byte of FuzzInput's program says what core it drives.
const (
	fuzzWraps     = 1 << iota // near the wrap of everything
	fuzzExtended              // with extensions
	fuzzAnnounces             // and it announces them
	fuzzCopies                // its sink sends nothing in place
	fuzzAutomatic             // it chooses its windows by itself
)

// FuzzInput drives a core with any sequence of calls and of segments, well formed or not.
func FuzzInput(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		p := program{in}
		now := int64(time.Hour)
		s := &checkedSink{TB: t}
		k := newCore(testConv, s, &packetPool{parent: new(packetPool)}, new(Snmp), now)
		s.k = k
		mode := p.byte()
		if mode&fuzzWraps != 0 {
			start := -uint32(p.byte())
			k.snd.una, k.snd.nxt, k.snd.end = start, start, start
			k.rcv.head, k.rcv.nxt, k.rcv.begun = start, start, start
		}
		if mode&fuzzExtended != 0 {
			k.caps.own = capMark | capFIN | capRecords
			k.caps.announcing = mode&fuzzAnnounces != 0
			if mode&fuzzCopies != 0 {
				k.params.peer = params{known: true, features: ownFeatures}
			}
		}
		if mode&fuzzCopies != 0 {
			k.out.inPlace = nil
		}
		if mode&fuzzAutomatic != 0 {
			k.autotune()
		}
		for closed := false; !closed && !p.done(); {
			closed = fuzzStep(t, &p, s, &now)
			if p.byte()%16 == 0 {
				k.trim(now)
				s.sent.trim()
			}
			wantCore(t, k, now)
			s.wantOwners()
		}
		k.release()
		s.wantOwners()
		for range 2 { // what was begun, and what was queued behind it
			s.begin()
			s.end()
		}
		s.wantOwners()
		if len(s.sent.held[0])+len(s.sent.held[1]) > 0 {
			t.Fatal("packets are held back, and everything is sent")
		}
		wantPoolSound(t, k.pool)
	})
}

// fuzzStep makes one call of a core, as its program says, and returns whether that has closed it.
func fuzzStep(t *testing.T, p *program, s *checkedSink, now *int64) (closed bool) {
	k := s.k
	switch p.n(16) {
	case 0:
		if n := 1 + 8*p.n(256); !s.finQueued && k.stream {
			k.Send(make([]byte, n))
		} else if !s.finQueued {
			k.sendMessage(make([]byte, n), [...]int64{never, *now}[p.n(2)])
		}
	case 1:
		buf := make([]byte, 2*mtuLimit)
		if p.byte()%2 == 0 {
			k.Recv(buf)
		} else {
			n := p.n(256)
			k.SetStreamMode(p.byte()%2 == 0)
			k.read(buf[:n])
		}
	case 2:
		*now += int64(p.byte()) * int64(p.byte()) * int64(time.Millisecond)
	case 3:
		b := p.bytes(int(p.byte()) | p.n(8)<<8)
		if code := k.input(*now, b, p.byte()%2 == 0); code < -3 || code > 0 {
			t.Fatalf("Input: %d", code)
		}
	case 4:
		fuzzSegment(k, p, *now)
	case 5:
		fuzzSetting(k, p, *now)
	case 6:
		k.flush(*now)
	case 7:
		k.lastActive = *now
		flushes := 0
		for ; *now >= k.deadline() || k.flushDue(*now); flushes++ {
			if flushes == 3 { // a second one resends early if the first sent all that was new
				t.Fatal("flushes leave something due")
			}
			k.flush(*now)
		}
	case 8:
		s.begin()
	case 9:
		s.end()
	case 10: // a session does so once, and when the peer is known to take it
		if k.peerTakesFIN() && !s.finQueued {
			s.finQueued = true
			k.sendFIN()
		}
	case 11:
		fuzzDirectRead(t, k, p, *now)
	case 12:
		to := make([]*packet, 1+p.n(24))
		for _, p := range to[:k.take(to)] {
			k.pool.put(p)
		}
	case 13:
		if n, limit := p.n(256)*16, 1+p.n(32); !s.finQueued {
			k.cork(p.byte()%2 == 0)
			if got := k.queue(make([]byte, n), limit); got > n || got > limit*k.segmentSize() {
				t.Fatalf("%d of %d bytes are queued, at most %d segments", got, n, limit)
			}
		}
	case 14:
		switch p.n(3) {
		case 0:
			k.probeWindow()
		case 1:
			k.discard()
		case 2:
			k.setClosing(closingMaxRTO)
		}
	case 15:
		reset := p.byte()%2 == 0 && k.peerTakesFIN()
		if p.byte()%4 == 0 {
			s.resetting = reset
			k.writeClosing(*now, reset)
			return true
		}
	}
	return false
}

// fuzzDirectRead lets segments arrive while a Read waits.
func fuzzDirectRead(t *testing.T, k *KCP, p *program, now int64) {
	b := make([]byte, 8*p.n(256))
	if k.readable() || !k.startDirectRead(b) {
		return
	}
	for range 1 + p.n(4) {
		fuzzSegment(k, p, now)
	}
	if n := k.endDirectRead(); n > len(b) {
		t.Fatalf("%d bytes are read to room for %d", n, len(b))
	}
}

// fuzzSegment feeds a segment whose numbers are near those that matter.
func fuzzSegment(k *KCP, p *program, now int64) {
	bases := [...]uint32{k.snd.una, k.snd.nxt, k.rcv.head, k.rcv.nxt, k.rcv.head + k.rcv.wnd, 0}
	frgs := [...]uint8{0, 1, 2, capMark, capMark | capFIN | capRecords, 0xff, capFIN, 0}
	if p.n(8) == 0 {
		fuzzRepair(k, p, now)
		return
	}
	h := header{
		conv: testConv,
		cmd:  uint8(IKCP_CMD_PUSH + p.n(cmdLast-IKCP_CMD_PUSH+1)),
		frg:  frgs[p.n(len(frgs))],
		wnd:  uint16(p.n(256)) * uint16(p.n(256)),
		sn:   bases[p.n(len(bases))] + p.offset(),
		una:  k.snd.una + p.offset(),
		len:  uint32(p.n(64)),
	}
	if k.snd.ring != nil && p.byte()%4 != 0 {
		h.ts = k.snd.at(h.sn).ts
	}
	k.input(now, encode(h), p.byte()%8 != 0)
}

// fuzzRepair feeds a repair of segments near those that are missing, which mostly fits those that
// fuzzSegment sends.
func fuzzRepair(k *KCP, p *program, now int64) {
	base, members, index := k.rcv.nxt+p.offset(), uint64(p.byte())<<p.n(57), p.byte()
	n := symbolHead + p.n(64)
	body := binary.LittleEndian.AppendUint64(nil, members)
	body = append(body, make([]byte, n)...)
	for i := range uint32(repairWindow) {
		if members>>i&1 != 0 && n >= symbolHead {
			data := make([]byte, n-symbolHead)
			addToRepair(body[repairBitmap:], index, base+i, IKCP_CMD_PUSH, 0, data, symbolCheck(base+i, data))
		}
	}
	h := header{conv: testConv, cmd: cmdREP, frg: index, sn: base, una: k.snd.una, len: uint32(len(body))}
	k.input(now, append(segmentOf(h), body...), true)
}

func fuzzSetting(k *KCP, p *program, now int64) {
	switch p.n(11) {
	case 0:
		k.NoDelay(p.n(3)-1, int(p.offset()), p.n(6)-1, p.n(3)-1)
	case 1:
		k.WndSize(p.n(256)-1, p.n(256)-1)
	case 2:
		k.SetMtu(p.n(256) * 8)
	case 3:
		k.SetStreamMode(p.byte()%2 == 0)
	case 4:
		k.limitPacer.setRate(int64(p.n(256))*int64(p.n(256))*100, now)
	case 5:
		if len(k.snd.ring) == 0 { // as a program does before it sends
			k.ReserveBytes(p.n(64))
		}
	case 6:
		k.setRedundancy(p.n(101))
	case 7:
		k.resetRTO(now)
	case 8:
		k.setBucket(p.byte()%4 != 0)
		k.bucketDelay(now, time.Duration(p.n(1000))*millisecond)
	case 9:
		if b := make([]byte, 8*p.n(256)); len(b) <= k.dgramSize() {
			k.sendDgram(now, b)
		} else if k.dgramArrived() {
			k.receiveDgram()
		}
	case 10:
		k.setRepairs(float64(p.n(5))/2, float64(p.n(3))/2)
		k.repairing()
		k.loss.lossRate = p.n(256) * lossRateOne / 255
	}
}
