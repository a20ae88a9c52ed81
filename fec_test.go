package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/reedsolomon"
)

func mustFECCode(t testing.TB, data, parity int) *fecCode {
	t.Helper()
	code, err := newFECCode(data, parity)
	if err != nil || code == nil {
		t.Fatal(data, parity, code, err)
	}
	return code
}

// fecSender makes FEC datagrams of random payloads.
type fecSender struct {
	*testing.T
	enc  *fecEncoder
	rnd  *rand.Rand
	now  int64
	size func() int // of the next payload
	sent map[string]bool
}

func newFECSender(t *testing.T, data, parity int) *fecSender {
	s := &fecSender{
		T: t, enc: newFECEncoder(mustFECCode(t, data, parity), 0, new(packetPool)),
		rnd: seeded(uint64(data), uint64(parity)), sent: make(map[string]bool),
	}
	s.size = func() int { return 1 + s.rnd.IntN(200) }
	return s
}

// next returns the next data datagram with the parity that it completes.
func (s *fecSender) next() (all [][]byte) {
	b := make([]byte, fecHeaderSize+s.size())
	for i := range b[fecHeaderSize:] {
		b[fecHeaderSize+i] = byte(s.rnd.Uint32())
	}
	s.sent[string(b[fecHeaderSize:])] = true
	parity := s.enc.encode(b, s.now)
	all = append(all, b)
	for _, p := range parity {
		all = append(all, bytes.Clone(p.data))
		s.enc.pool.put(p)
	}
	return all
}

// group returns the datagrams of one whole group.
func (s *fecSender) group() (all [][]byte) {
	for range s.enc.code.data {
		all = append(all, s.next()...)
	}
	return all
}

// fecReceiver is a decoder and what it rebuilt.
type fecReceiver struct {
	*testing.T
	fecDecoder
	got map[string]int
}

// newFECReceiver returns one that expects these counts, 0 for nothing.
func newFECReceiver(t *testing.T, data, parity int) *fecReceiver {
	r := &fecReceiver{T: t, got: make(map[string]int)}
	var code *fecCode
	if data > 0 {
		code = mustFECCode(t, data, parity)
	}
	r.fecDecoder = *newFECDecoder(code, false, new(packetPool), new(Snmp))
	return r
}

// hear takes datagrams as a session does.
func (r *fecReceiver) hear(all ...[]byte) {
	r.Helper()
	for _, b := range all {
		h, ok := parseFEC(b)
		if !ok {
			r.Fatalf("not FEC: %x", b)
		}
		shard := b[fecShardStart:]
		if h.kind == fecTypeData {
			body, ok := h.body(b)
			if !ok {
				r.Fatalf("size field of %x", b)
			}
			shard = shard[:fecSizeField+len(body)]
		}
		r.add(h, shard, func(body []byte) { r.got[string(body)]++ })
		wantFECBounded(r, &r.fecDecoder)
	}
}

// prove carries whole groups until the decoder believes the sender's counts, which it must do soon,
// and rebuilds nothing.
func (r *fecReceiver) prove(s *fecSender) {
	r.Helper()
	rebuilt := r.count.FECRecovered
	for n := 0; !r.proven || !r.follows(s); n++ {
		if n == 5 {
			r.Fatalf("%d/%d is not proven after %d groups", s.enc.code.data, s.enc.code.parity, n)
		}
		r.hear(s.group()...)
	}
	if len(r.shape.left) > 0 || r.count.FECRecovered != rebuilt {
		r.Fatal("a proof without loss left something behind")
	}
}

// follows says whether the decoder has the sender's counts.
func (r *fecReceiver) follows(s *fecSender) bool {
	return r.counts == s.enc.code.fecCounts
}

// wantRebuilt checks that exactly these datagrams were rebuilt, once each.
func (r *fecReceiver) wantRebuilt(lost ...[]byte) {
	r.Helper()
	for _, b := range lost {
		if body := b[fecHeaderSize:]; r.got[string(body)] != 1 {
			r.Errorf("a datagram of %d bytes was rebuilt %d times", len(body), r.got[string(body)])
		}
	}
	if len(r.got) != len(lost) || int(r.count.FECRecovered) != len(lost) {
		r.Errorf("%d datagrams rebuilt, %d counted, want %d", len(r.got), r.count.FECRecovered, len(lost))
	}
	if r.Failed() {
		r.FailNow()
	}
}

// wantGenuine checks that nothing was rebuilt that s did not send.
func (r *fecReceiver) wantGenuine(s *fecSender) {
	r.Helper()
	for body := range r.got {
		if !s.sent[body] {
			r.Fatalf("rebuilt %d bytes that were never sent", len(body))
		}
	}
}

// wantFECBounded checks what a decoder holds.
func wantFECBounded(t testing.TB, d *fecDecoder) {
	t.Helper()
	for i := range d.groups {
		g := &d.groups[i]
		if d.counts.data == 0 {
			if g.have > 0 {
				t.Fatalf("group %d: %d shards of no counts", i, g.have)
			}
			continue
		}
		have, data := 0, 0
		for pos, p := range g.shards {
			if p != nil {
				if have++; pos < d.counts.data {
					data++
				}
			}
		}
		if have != g.have || data != g.data || len(g.shards) > fecShardsMax ||
			have > 0 && (g.done || d.proven && have >= d.counts.data) {
			t.Fatalf("group %d: %d shards, %d counted, %d and %d of data", i, have, g.have, data, g.data)
		}
	}
}

// losses calls f with every choice of at most k of n numbers, or with many random ones where there
// are too many.
func losses(n, k int, f func(lost []int)) {
	if n <= 8 {
		for set := range 1 << n {
			var lost []int
			for i := range n {
				if set>>i&1 == 1 {
					lost = append(lost, i)
				}
			}
			if len(lost) <= k {
				f(lost)
			}
		}
		return
	}
	rnd := seeded(uint64(n), uint64(k))
	for i := range 6 {
		size := k
		if i > 0 {
			size = rnd.IntN(k + 1)
		}
		f(rnd.Perm(n)[:size])
	}
}

func TestFECRebuilds(t *testing.T) {
	for i, c := range [][2]int{
		{1, 1}, {1, 2}, {1, 7}, {2, 1}, {2, 2}, {3, 1}, {3, 2}, {3, 3}, {4, 4}, {5, 1}, {5, 3}, {7, 1},
		{10, 3}, {10, 10}, {20, 5}, {70, 30}, {128, 128}, {255, 1}, {1, 255},
	} {
		if i%lighter(1, 3) > 0 {
			continue
		}
		data, parity := c[0], c[1]
		t.Run(fmt.Sprintf("%d+%d", data, parity), func(t *testing.T) {
			s := newFECSender(t, data, parity)
			losses(data+parity, parity, func(lost []int) {
				r := newFECReceiver(t, data, parity)
				r.prove(s)
				group := s.group()
				var want [][]byte
				for _, i := range lost {
					if i < data {
						want = append(want, group[i])
					}
					group[i] = nil
				}
				for _, b := range group {
					if b != nil {
						r.hear(b)
					}
				}
				r.wantRebuilt(want...)
				if r.holding() {
					t.Error("shards are held of a group that is complete")
				}
				if int(s.enc.next)%(data+parity) != 0 {
					t.Errorf("next seqid %d", s.enc.next)
				}
			})
		})
	}
}

// One loss more than there is parity, and nothing is rebuilt.
func TestFECTooManyLosses(t *testing.T) {
	s, r := newFECSender(t, 4, 2), newFECReceiver(t, 4, 2)
	r.prove(s)
	r.hear(s.group()[3:]...)
	r.wantRebuilt()
	for range fecWindow {
		r.hear(s.group()...)
	}
	if r.count.FECShortShards != 1 {
		t.Errorf("%d groups given up, want 1", r.count.FECShortShards)
	}
}

func TestFECLengths(t *testing.T) {
	for _, sizes := range [][]int{
		{1, 1, 1}, {1, mtuLimit - fecHeaderSize, 1}, {mtuLimit - fecHeaderSize, 1, 700},
		{0, 0, 0}, {0, 1392, 25}, {1392, 1392, 1392}, {5, 4, 3}, {3, 4, 5},
	} {
		for lost := range 3 {
			s, r := newFECSender(t, 3, 1), newFECReceiver(t, 3, 1)
			r.prove(s)
			for range 2 { // the second one reuses buffers of the first
				i := 0
				s.size = func() int { i++; return sizes[i-1] }
				group := s.group()
				for i, b := range group {
					if want := fecHeaderSize + max(sizes[0], sizes[1], sizes[2]); i >= 3 && len(b) != want {
						t.Errorf("%v: parity of %d bytes, want %d", sizes, len(b), want)
					}
					if h, _ := parseFEC(b); i < 3 && int(h.size) != sizes[i]+fecSizeField {
						t.Errorf("%v: size field %d", sizes, h.size)
					}
				}
				clear(r.got)
				r.count.FECRecovered = 0
				r.hear(group[:lost]...)
				r.hear(group[lost+1:]...)
				r.wantRebuilt(group[lost])
			}
		}
	}
}

// Parity also comes before data, and what is complete is not looked at again.
func TestFECOrder(t *testing.T) {
	s := newFECSender(t, 3, 2)
	rnd := seeded(1, 2)
	for range 200 {
		r := newFECReceiver(t, 3, 2)
		r.prove(s)
		group := s.group()
		order := rnd.Perm(5)
		var want [][]byte
		early := map[int]bool{order[0]: true, order[1]: true, order[2]: true}
		for i := range 3 {
			if !early[i] {
				want = append(want, group[i])
			}
		}
		for _, i := range order {
			r.hear(group[i], group[i])
		}
		r.wantRebuilt(want...)
	}
}

// Groups may be mixed with up to three later ones.
func TestFECInterleaved(t *testing.T) {
	s, r := newFECSender(t, 3, 1), newFECReceiver(t, 3, 1)
	r.prove(s)
	var groups [fecWindow][][]byte
	for i := range groups {
		groups[i] = s.group()
	}
	var lost [][]byte
	for pos := range 4 {
		for _, i := range []int{2, 0, 3, 1} {
			if pos == i%3 {
				lost = append(lost, groups[i][pos])
				continue
			}
			r.hear(groups[i][pos])
		}
	}
	r.wantRebuilt(lost...)
}

func TestFECSeqidWraps(t *testing.T) {
	for _, c := range [][2]int{{10, 3}, {3, 2}, {1, 1}, {5, 5}, {100, 28}, {128, 128}, {3, 1}} {
		data, parity := c[0], c[1]
		n := uint32(data + parity)
		limit := 0xffffffff / n * n
		s, r := newFECSender(t, data, parity), newFECReceiver(t, data, parity)
		s.enc.next = limit - 10*n
		r.prove(s)
		s.enc.next = limit - 2*n
		var lost [][]byte
		for g := range uint32(6) {
			group := s.group()
			for i, b := range group {
				want := limit - 2*n + g*n + uint32(i)
				if g >= 2 {
					want = (g-2)*n + uint32(i)
				}
				if h, _ := parseFEC(b); h.seqid != want {
					t.Fatalf("%d+%d: seqid %d, want %d", data, parity, h.seqid, want)
				}
			}
			lost = append(lost, group[data-1])
			r.hear(group[:data-1]...)
			r.hear(group[data:]...)
		}
		r.wantRebuilt(lost...)

		// There is nothing at or above the limit.
		bad := s.next()[0]
		errs := r.count.FECErrs
		for _, seqid := range []uint32{limit, limit + 1, 0xfffffffe} {
			if seqid < limit {
				continue
			}
			binary.LittleEndian.PutUint32(bad, seqid)
			r.hear(bad)
			if errs++; r.count.FECErrs != errs {
				t.Errorf("%d+%d: seqid %d is not counted as an error", data, parity, seqid)
			}
		}
	}
}

// The wrap happens in a group without parity too.
func TestFECSparseSeqidWraps(t *testing.T) {
	s := newFECSender(t, 3, 2)
	s.enc.next = s.enc.code.limit - 5
	for _, want := range []uint32{s.enc.next, s.enc.next + 1, s.enc.next + 2, 0} {
		all := s.next()
		if h, _ := parseFEC(all[0]); len(all) != 1 || h.seqid != want {
			t.Fatalf("%d datagrams, seqid %d, want %d", len(all), h.seqid, want)
		}
		s.now += int64(time.Second)
	}
}

func TestFECSparse(t *testing.T) {
	for _, c := range []struct {
		pauses [3]time.Duration // before each data shard of a group of three
		parity bool
	}{
		{[3]time.Duration{0, 0, 0}, true},
		{[3]time.Duration{0, 500 * time.Millisecond, 500 * time.Millisecond}, true},
		{[3]time.Duration{time.Hour, 0, 0}, true}, // before the group
		{[3]time.Duration{0, 501 * time.Millisecond, 0}, false},
		{[3]time.Duration{0, 0, 501 * time.Millisecond}, false},
	} {
		s, r := newFECSender(t, 3, 2), newFECReceiver(t, 3, 2)
		r.prove(s)
		for range 4 {
			first := s.enc.next
			var all [][]byte
			for _, pause := range c.pauses {
				s.now += int64(pause)
				all = append(all, s.next()...)
			}
			if want := map[bool]int{true: 5, false: 3}[c.parity]; len(all) != want {
				t.Errorf("%v: %d datagrams, want %d", c.pauses, len(all), want)
			}
			if s.enc.next != first+5 {
				t.Errorf("%v: %d seqids used up, want 5", c.pauses, s.enc.next-first)
			}
			r.hear(all...)
		}
		r.wantRebuilt()
		if !r.proven || r.holding() || r.count.FECShortShards != 0 {
			t.Errorf("%v: the decoder was put out", c.pauses)
		}
		// What is lost in the next group that has parity is found.
		s.now += int64(c.pauses[0])
		group := s.group()
		r.hear(group[1:]...)
		r.wantRebuilt(group[0])
	}
}

// A pause gives the parity's buffers back, and the group its parity up.
func TestFECEncoderTrim(t *testing.T) {
	s := newFECSender(t, 3, 2)
	s.next()
	s.enc.trim(s.now + int64(500*time.Millisecond))
	if len(s.enc.parity) != 2 {
		t.Error("trimmed too early")
	}
	s.enc.trim(s.now + int64(501*time.Millisecond))
	if len(s.enc.parity) != 0 {
		t.Error("not trimmed")
	}
	if n := len(s.next()) + len(s.next()); n != 2 {
		t.Errorf("%d datagrams, want 2: part of the group is not in its parity", n)
	}
	if got := len(s.group()); got != 5 {
		t.Errorf("%d datagrams in the next group, want 5", got)
	}
}

func TestFECCounts(t *testing.T) {
	for _, c := range []struct {
		data, parity int
		on           bool
		err          string
	}{
		{10, 3, true, ""}, {1, 1, true, ""}, {255, 1, true, ""}, {1, 255, true, ""}, {128, 128, true, ""},
		{0, 0, false, ""}, {10, 0, false, ""}, {0, 3, false, ""},
		{-1, 3, false, "negative"}, {10, -1, false, "negative"}, {-1, 0, false, "negative"}, {0, -1, false, "negative"},
		{256, 1, false, "256"}, {200, 57, false, "256"}, {math.MaxInt, math.MaxInt, false, "256"},
	} {
		code, err := newFECCode(c.data, c.parity)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%d+%d: error %v", c.data, c.parity, err)
		}
		if (code != nil) != c.on {
			t.Errorf("%d+%d: on is %v", c.data, c.parity, code != nil)
		}
		if again, _ := newFECCode(c.data, c.parity); again != code {
			t.Errorf("%d+%d: not shared", c.data, c.parity)
		}
	}
}

func TestFECHeaders(t *testing.T) {
	fec := func(kind uint16, size uint16, body int) []byte {
		b := make([]byte, fecHeaderSize+body)
		putFECHeader(b, 77, kind)
		binary.LittleEndian.PutUint16(b[fecShardStart:], size)
		return b
	}
	for _, c := range []struct {
		b      []byte
		ok     bool
		body   int // -1 for a size field that does not fit
		reason string
	}{
		{nil, false, 0, "empty"},
		{fec(fecTypeData, 2, 0)[:7], false, 0, "less than a header"},
		{fec(fecTypeData, 2, 0), true, 0, "an empty one"},
		{fec(fecTypeData, 12, 10), true, 10, "data"},
		{fec(fecTypeOOB, 12, 10), true, 10, "out of band"},
		{fec(fecTypeParity, 0xffff, 10), true, -1, "parity has no size"},
		{fec(fecTypeData, 0, 10), true, -1, "no room for the size itself"},
		{fec(fecTypeData, 1, 10), true, -1, "no room for the size itself"},
		{fec(fecTypeData, 11, 10), true, 9, "junk behind"},
		{fec(fecTypeData, 13, 10), true, -1, "longer than there is"},
		{fec(fecTypeData, 0xffff, 10), true, -1, "longer than anything"},
		{fec(0x00f0, 12, 10), false, 0, "another type"},
		{fec(0x00f4, 12, 10), false, 0, "another type"},
		{fec(0x01f1, 12, 10), false, 0, "another type"},
		{encode(header{conv: 1, cmd: IKCP_CMD_PUSH, frg: 0xf1}), false, 0, "a segment"},
		{encode(header{conv: 1, cmd: IKCP_CMD_WINS}), false, 0, "a segment"},
	} {
		h, ok := parseFEC(c.b)
		if ok != c.ok {
			t.Errorf("%s: FEC is %v", c.reason, ok)
		}
		if !ok {
			continue
		}
		if h.seqid != 77 {
			t.Errorf("%s: seqid %d", c.reason, h.seqid)
		}
		if body, ok := h.body(c.b); ok != (c.body >= 0) || ok && len(body) != c.body {
			t.Errorf("%s: body of %d bytes, %v", c.reason, len(body), ok)
		}
	}
}

// A shard longer than any datagram, and a rebuilt one whose size is a lie.
func TestFECLies(t *testing.T) {
	r := newFECReceiver(t, 2, 1)
	r.add(fecHeader{seqid: 0, kind: fecTypeData}, make([]byte, mtuLimit+1), nil)
	if r.count.FECErrs != 1 {
		t.Error("a shard that is too long is not counted")
	}
	for _, size := range []uint16{0, 1, 9, 0xffff} { // of the shard that is rebuilt
		s, r := newFECSender(t, 1, 1), newFECReceiver(t, 1, 1)
		r.prove(s)
		s.size = func() int { return 6 }
		group := s.group() // of which the second is a copy of the first, as parity of one is
		binary.LittleEndian.PutUint16(group[1][fecShardStart:], size)
		errs := r.count.FECErrs
		r.hear(group[1:]...)
		if r.count.FECErrs != errs+1 || len(r.got) != 0 {
			t.Errorf("size %d: %d errors, %d rebuilt", size, r.count.FECErrs-errs, len(r.got))
		}
	}
}

// An encoder behind an envelope leaves its bytes alone.
func TestFECOffset(t *testing.T) {
	r := newFECReceiver(t, 2, 1)
	proof := newFECSender(t, 2, 1)
	r.prove(proof)
	enc := newFECEncoder(mustFECCode(t, 2, 1), 20, new(packetPool))
	enc.next = proof.enc.next
	var b [2][]byte
	var parity []*packet
	for i := range b {
		b[i] = random(uint64(i), 100)
		want := bytes.Clone(b[i])
		parity = enc.encode(b[i], 0)
		if !bytes.Equal(b[i][:20], want[:20]) || !bytes.Equal(b[i][28:], want[28:]) {
			t.Error("bytes outside the header changed")
		}
	}
	if len(parity) != 1 || len(parity[0].data) != 100 {
		t.Fatal(parity)
	}
	r.hear(b[1][20:], parity[0].data[20:])
	r.wantRebuilt(b[0][20:])
}

// madeOnce says whether a code that is asked for twice is the same one.
func madeOnce(t *testing.T, data, parity int) bool {
	first, second := mustFECCode(t, data, parity), mustFECCode(t, data, parity)
	return first == second
}

// However many counts were asked for, codes in use are kept.
func TestFECCacheEvicts(t *testing.T) {
	for data := 1; data <= 10; data++ {
		for parity := 11; parity <= 20; parity++ {
			fecCodes.request(fecCounts{data, parity})
		}
	}
	for _, c := range [][2]int{{10, 3}, {11, 4}, {21, 6}, {31, 7}} {
		if !madeOnce(t, c[0], c[1]) {
			t.Errorf("%v is made again each time", c)
		}
	}
}

// A large code, which takes milliseconds to make, is not made by who asks for it under the lock of a
// session.
func TestFECLargeCode(t *testing.T) {
	large := fecCounts{131, 117}
	if fecCodes.find(large) == nil && fecCodes.request(large) != nil {
		t.Error("it was made at once")
	}
	for end := time.Now().Add(patience()); fecCodes.find(large) == nil; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it was never made")
		}
	}
}

// A decoder makes no code: which it would have to be is the peer's choice.
func TestFECDecoderMakesNoCode(t *testing.T) {
	large := fecCounts{129, 119}
	rs, err := reedsolomon.New(large.data, large.parity)
	if err != nil {
		t.Fatal(err)
	}
	s, r := newFECSender(t, 10, 3), newFECReceiver(t, 0, 0)
	s.enc = newFECEncoder(&fecCode{fecCounts: large, limit: large.limit(), rs: rs}, 0, new(packetPool))
	r.prove(s)
	group := s.group()
	r.hear(group[1:]...)
	r.wantRebuilt(group[0])
	if fecCodes.find(large) != nil {
		t.Error("a decoder made it")
	}
}
