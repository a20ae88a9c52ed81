package kcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/reedsolomon"
)

// coded is a sender's and a receiver's side of the code, without anything between them.
type coded struct {
	t        testing.TB
	pool     packetPool
	rcv      recvWindow
	dec      *repairDecoder
	segments []codedSegment // by serial number
	index    uint8
	rebuilt  int
}

type codedSegment struct {
	cmd, frg uint8
	data     []byte
}

func newCoded(t testing.TB) *coded {
	c := &coded{t: t}
	c.rcv.wnd = 1024
	c.dec = newRepairDecoder(&c.pool)
	return c
}

// add makes the next segment.
func (c *coded) add(rnd *rand.Rand, size int) uint32 {
	s := codedSegment{IKCP_CMD_PUSH, uint8(rnd.IntN(3)), make([]byte, size)}
	for i := range s.data {
		s.data[i] = byte(rnd.Uint32())
	}
	c.segments = append(c.segments, s)
	return uint32(len(c.segments) - 1)
}

// repair returns the header and the body of the next repair of the given segments.
func (c *coded) repair(base uint32, members uint64) (h header, body []byte) {
	c.index++
	n := 0
	for i := range uint32(repairWindow) {
		if members>>i&1 != 0 {
			n = max(n, symbolHead+len(c.segments[base+i].data))
		}
	}
	body = make([]byte, repairBitmap+n)
	binary.LittleEndian.PutUint64(body, members)
	for i := range uint32(repairWindow) {
		if sn := base + i; members>>i&1 != 0 {
			s := c.segments[sn]
			addToRepair(body[repairBitmap:], c.index, sn, s.cmd, s.frg, s.data, symbolCheck(sn, s.data))
		}
	}
	return header{cmd: cmdREP, frg: c.index & repairIndexMax, sn: base, len: uint32(len(body))}, body
}

// arrive lets a segment arrive.
func (c *coded) arrive(sn uint32) {
	if s := c.segments[sn]; !c.rcv.has(sn) {
		h := header{cmd: s.cmd, frg: s.frg, sn: sn, len: uint32(len(s.data))}
		c.take(&h, s.data)
		c.solve()
	}
}

func (c *coded) take(h *header, data []byte) {
	c.dec.arrived(h, data)
	c.rcv.insert(h, data, &c.pool)
	for c.rcv.head != c.rcv.nxt {
		c.rcv.drop(&c.pool)
	}
}

// solve takes what is rebuilt, and fails if it is not what was sent.
func (c *coded) solve() {
	for {
		sn, _, p, n, ok := c.dec.solved()
		if !ok {
			return
		}
		h, data, ok := parseSymbol(sn, p.mem[:n])
		if s := c.segments[sn]; !ok || h.cmd != s.cmd || h.frg != s.frg || !bytes.Equal(data, s.data) {
			c.t.Fatalf("segment %d is rebuilt wrongly: %t, %+v", sn, ok, h)
		}
		if c.rcv.has(sn) {
			c.t.Fatalf("segment %d is rebuilt twice", sn)
		}
		c.rebuilt++
		c.take(&h, data)
		c.pool.put(p)
	}
}

// What a repair is to the byte, so that other implementations can be checked against it.
func TestRepairKnownAnswer(t *testing.T) {
	c := newCoded(t)
	c.segments = []codedSegment{{IKCP_CMD_PUSH, 0, []byte("hello")}, {IKCP_CMD_PUSH, 2, []byte("sliding window")}, {cmdFIN, 0, nil}}
	for _, want := range []string{
		"07000000000000009b0036566614a06825922b84d74b8847250a4ba55025",
		"0700000000000000b9003adb18c08e31a9a10889f632c7870a6132e02f0a",
	} {
		_, body := c.repair(0, 0b111)
		if got := hex.EncodeToString(body); got != want {
			t.Errorf("repair %d: %s, want %s", c.index, got, want)
		}
	}
	for a := range 256 {
		for b := range 256 {
			var out [1]byte
			gf.GalMulSlice(byte(a), []byte{byte(b)}, out[:])
			if out[0] != gfMul(byte(a), byte(b)) {
				t.Fatalf("%d times %d is %d and %d", a, b, out[0], gfMul(byte(a), byte(b)))
			}
		}
		if a > 0 && gfInverse(byte(a)) != reedsolomon.Inv(byte(a)) {
			t.Fatalf("inverse of %d", a)
		}
	}
}

// As many repairs as segments are missing bring all of them, whichever they are and in whatever order
// segments and repairs arrive.
func TestRepairsRebuild(t *testing.T) {
	for losses := 1; losses <= repairRows; losses++ {
		rnd := seeded(testSeed, uint64(losses))
		c := newCoded(t)
		for range repairWindow {
			c.add(rnd, rnd.IntN(1200))
		}
		order := rnd.Perm(repairWindow)
		repairs, late := losses, order[losses:]
		for repairs > 0 || len(late) > 0 {
			if n := len(late); n > 0 && rnd.IntN(n+repairs) < n {
				c.arrive(uint32(late[0]))
				late = late[1:]
				continue
			}
			repairs--
			h, body := c.repair(0, ^uint64(0))
			c.dec.work = repairWork
			c.dec.repair(&h, body, &c.rcv)
			c.solve()
		}
		if c.rcv.nxt != repairWindow || c.rebuilt != losses {
			t.Errorf("%d of %d rebuilt", c.rebuilt, losses)
		}
		if len(c.dec.rows) > 0 {
			t.Errorf("%d rows are left", len(c.dec.rows))
		}
	}
}

// A stream over a path that loses, with repairs over all that is not acknowledged, arrives as it was sent.
func TestRepairsOfAStream(t *testing.T) {
	for _, loss := range []float64{0.01, 0.1, 0.3} {
		t.Run(fmt.Sprintf("loss=%v", loss), func(t *testing.T) {
			rnd := seeded(testSeed, 9)
			c := newCoded(t)
			rows := 0
			for range lighter(20000, 4000) {
				if sn := c.add(rnd, 1+rnd.IntN(300)); rnd.Float64() >= loss {
					c.arrive(sn)
				}
				next := uint32(len(c.segments))
				if next-c.rcv.nxt > 40 { // as a retransmission does
					c.arrive(c.rcv.nxt)
				}
				if rnd.IntN(2) == 0 && rnd.Float64() >= loss {
					base := c.rcv.nxt - min(c.rcv.nxt, 4)
					var members uint64
					for sn := base; sn != next; sn++ {
						if !c.rcv.has(sn) || rnd.IntN(2) == 0 {
							members |= 1 << (sn - base)
						}
					}
					h, body := c.repair(base, members)
					c.dec.repair(&h, body, &c.rcv)
					c.solve()
				}
				rows = max(rows, len(c.dec.rows))
			}
			t.Logf("%d of %d rebuilt, up to %d rows", c.rebuilt, len(c.segments), rows)
			if lost := loss * float64(len(c.segments)); float64(c.rebuilt) < lost*lighter(0.9, 0.7) {
				t.Errorf("%d of some %.0f rebuilt", c.rebuilt, lost)
			}
		})
	}
}

// What is forged or damaged is no segment, and what is in flight costs bounded work.
func TestForgedRepairs(t *testing.T) {
	rnd := seeded(testSeed, 3)
	c := newCoded(t)
	for range repairWindow {
		c.add(rnd, 100)
	}
	for sn := uint32(2); sn < repairWindow; sn++ {
		c.arrive(sn)
	}
	h, body := c.repair(0, ^uint64(0)-2)
	body[20] ^= 1
	if !c.dec.repair(&h, body, &c.rcv) {
		t.Fatal("not taken")
	}
	sn, _, p, n, ok := c.dec.solved()
	if _, _, good := parseSymbol(sn, p.mem[:n]); !ok || good || sn != 0 {
		t.Errorf("segment %d: solved %t, good %t", sn, ok, good)
	}
	for range 1000 {
		h, body = c.repair(0, ^uint64(0))
		c.dec.repair(&h, body, &c.rcv)
		for i := range c.dec.rows {
			c.dec.rows[i].c[1] ^= 1 // never solved
		}
	}
	if c.dec.work < -4*repairWindow || c.dec.work > repairWork {
		t.Errorf("credit for work: %d", c.dec.work)
	}
}

// FuzzRepairDecoder lets any repairs and segments arrive. Nothing that passes the check is wrong, and
// memory is bounded.
func FuzzRepairDecoder(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 2, 3, 250, 251, 5, 252})
	f.Add(uint64(2), bytes.Repeat([]byte{7, 255, 9, 200}, 40))
	f.Fuzz(func(t *testing.T, seed uint64, events []byte) {
		rnd := seeded(seed, 1)
		c := newCoded(t)
		for range 256 {
			c.add(rnd, rnd.IntN(64))
		}
		for _, e := range events[:min(len(events), 1000)] {
			base := c.rcv.nxt + uint32(e%64) - min(c.rcv.nxt, 32)
			switch {
			case base+repairWindow > 256:
				return
			case e < 128:
				c.arrive(base)
				continue
			}
			h, body := c.repair(base, rnd.Uint64()&rnd.Uint64())
			if e > 250 { // forged
				h.sn += uint32(rnd.IntN(300)) - 150
				body[rnd.IntN(len(body))] ^= byte(e)
				h.frg = uint8(rnd.Uint32())
				d := newRepairDecoder(&c.pool)
				d.repair(&h, body, &c.rcv)
				d.release()
				continue
			}
			c.dec.repair(&h, body, &c.rcv)
			c.solve()
			if n := len(c.dec.rows); n > repairRows || n+len(c.dec.spare) > repairRows+2 {
				t.Fatalf("%d rows and %d spare ones", n, len(c.dec.spare))
			}
		}
		c.dec.release()
	})
}

// BenchmarkRepair makes a repair over so many segments, and rebuilds one of them from it.
func BenchmarkRepair(b *testing.B) {
	for _, members := range []int{4, 16, 64} {
		b.Run(fmt.Sprintf("%d", members), func(b *testing.B) {
			c := newCoded(b)
			rnd := seeded(1, 1)
			for range members {
				c.add(rnd, 1400)
			}
			for sn := range uint32(members - 1) {
				c.arrive(sn)
			}
			h, body := c.repair(0, 1<<members-1)
			b.ReportAllocs()
			for b.Loop() {
				c.dec.work = repairWork
				if !c.dec.repair(&h, body, &c.rcv) {
					b.Fatal("useless")
				}
				_, _, p, _, _ := c.dec.solved()
				c.pool.put(p)
			}
		})
	}
}

// BenchmarkRepairSum sums up a repair over so many segments.
func BenchmarkRepairSum(b *testing.B) {
	for _, members := range []int{4, 16, 64} {
		b.Run(fmt.Sprintf("%d", members), func(b *testing.B) {
			data, sum := make([]byte, 1400), make([]byte, 1400+symbolHead)
			b.ReportAllocs()
			for b.Loop() {
				for sn := range uint32(members) {
					addToRepair(sum, 7, sn, IKCP_CMD_PUSH, 0, data, 1)
				}
			}
		})
	}
}

// The check of a symbol is CRC-32 over its number and its data, and takes no memory of the heap.
func TestSymbolCheck(t *testing.T) {
	data := random(1, 1000)
	if n := testing.AllocsPerRun(100, func() { symbolCheck(7, data) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	for _, sn := range []uint32{0, 1, 0x01020304, 1<<32 - 1} {
		whole := append(binary.LittleEndian.AppendUint32(nil, sn), data...)
		if got, want := symbolCheck(sn, data), crc32.ChecksumIEEE(whole); got != want {
			t.Errorf("segment %d: %08x, want %08x", sn, got, want)
		}
	}
}
