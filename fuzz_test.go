package kcp

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// program reads a fuzz input as a sequence of choices. Past its end all are 0.
type program struct{ b []byte }

func (p *program) done() bool { return len(p.b) == 0 }

func (p *program) byte() (c byte) {
	if len(p.b) > 0 {
		c, p.b = p.b[0], p.b[1:]
	}
	return c
}

func (p *program) n(limit int) int { return int(p.byte()) % limit }

// offset is a small number, negative or positive.
func (p *program) offset() uint32 { return uint32(int32(int8(p.byte()))) }

func (p *program) bytes(n int) []byte {
	b := bytes.Clone(p.b[:min(n, len(p.b))])
	p.b = p.b[len(b):]
	return b
}

// checkedSink takes what a core emits and wants it to be well formed.
type checkedSink struct {
	testing.TB
	k   *KCP
	mem [2 * mtuLimit]byte
	at  []byte // the datagram that is being written
}

func (s *checkedSink) lend(p *packet) { s.at = p.mem[:] }

func (s *checkedSink) room(n int) []byte {
	if n > len(s.mem) {
		s.Fatalf("core asks for %d bytes", n)
	}
	s.at = s.mem[:]
	return s.at
}

func (s *checkedSink) emit(n int) {
	if n > mtuLimit {
		s.Fatalf("datagram of %d bytes", n)
	}
	b := s.at[s.k.reserved:n]
	for len(b) >= IKCP_OVERHEAD {
		var h header
		h.parse(b)
		if h.conv != testConv || h.cmd < IKCP_CMD_PUSH || h.cmd > IKCP_CMD_WINS || h.una != s.k.rcv.nxt ||
			(h.len > 0) != (h.cmd == IKCP_CMD_PUSH) {
			s.Fatalf("sent %+v", h)
		}
		b = b[IKCP_OVERHEAD+h.len:]
	}
	if len(b) > 0 {
		s.Fatalf("%d bytes behind the last segment", len(b))
	}
}

// wantCore checks everything that must always be true of a core.
func wantCore(t testing.TB, k *KCP, now int64) {
	t.Helper()
	wantWindow(t, &k.snd)
	owned := make(map[*packet]bool)
	for sn := k.snd.una; sn != k.snd.end; sn++ {
		owned[k.snd.at(sn).p] = true
	}
	r := &k.rcv
	held := 0
	for _, p := range r.ring {
		if p == nil {
			continue
		}
		if owned[p] {
			t.Fatal("a packet is owned twice")
		}
		owned[p] = true
		held++
	}
	if held != r.held || int(r.nxt-r.head) > held || len(r.ring) > wndLimit+1 {
		t.Fatalf("receive window: %d held of %d, in order %d, ring of %d", held, r.held, r.nxt-r.head, len(r.ring))
	}
	for sn := r.head; sn != r.nxt; sn++ {
		if *r.at(sn) == nil {
			t.Fatalf("segment %d of %d…%d is missing", sn, r.head, r.nxt)
		}
	}
	if len(r.ring) > held && *r.at(r.nxt) != nil {
		t.Fatalf("segment %d has arrived and is not in order", r.nxt)
	}
	if uint32(r.free()) > r.wnd {
		t.Fatalf("%d free of a window of %d", r.free(), r.wnd)
	}
	if k.sndWnd < 1 || k.rmtWnd > wndLimit || k.congestion().Window() < 1 {
		t.Fatalf("windows %d, %d, %d", k.sndWnd, k.rmtWnd, k.congestion().Window())
	}
	if rto := k.rtt.rto; rto < k.rtt.minRTO && rto != rtoDef && k.rtt.srtt == 0 || rto > rtoMax {
		t.Fatalf("RTO %v", time.Duration(rto))
	}
	if k.WaitSnd() > 0 && k.deadline() == never && !k.wantsFlush(now) {
		t.Fatal("something is to be delivered, and nothing will happen")
	}
}

// FuzzInput drives a core with any sequence of calls and of segments, well formed or
// not.
func FuzzInput(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		p := program{in}
		now := int64(time.Hour)
		s := &checkedSink{TB: t}
		k := newCore(testConv, s, new(packetPool), now)
		s.k = k
		if p.byte()%2 == 1 { // near the wrap of everything
			start := -uint32(p.byte())
			k.snd.una, k.snd.nxt, k.snd.end = start, start, start
			k.rcv.head, k.rcv.nxt = start, start
		}
		buf := make([]byte, 2*mtuLimit)
		for !p.done() {
			switch p.n(8) {
			case 0:
				k.Send(make([]byte, 1+8*p.n(256)))
			case 1:
				if p.byte()%2 == 0 {
					k.Recv(buf)
				} else {
					k.read(buf[:p.n(256)], p.byte()%2 == 0)
				}
			case 2:
				now += int64(p.byte()) * int64(p.byte()) * int64(time.Millisecond)
			case 3:
				b := p.bytes(int(p.byte()) | p.n(8)<<8)
				if code := k.input(now, b, p.byte()%2 == 0); code < -3 || code > 0 {
					t.Fatalf("Input: %d", code)
				}
			case 4:
				fuzzSegment(k, &p, now)
			case 5:
				fuzzSetting(k, &p, now)
			case 6:
				k.flush(now)
			case 7:
				k.lastActive = now
				flushes := 0
				for ; now >= k.deadline() || k.wantsFlush(now); flushes++ {
					if flushes == 3 { // a second one resends early if the first sent all that was new
						t.Fatal("flushes leave something due")
					}
					k.flush(now)
				}
			}
			if p.byte()%16 == 0 {
				k.trim(now)
			}
			wantCore(t, k, now)
		}
		k.release()
		wantPoolSound(t, k.pool)
	})
}

// fuzzSegment feeds a segment whose numbers are near those that matter.
func fuzzSegment(k *KCP, p *program, now int64) {
	bases := [...]uint32{k.snd.una, k.snd.nxt, k.rcv.head, k.rcv.nxt, k.rcv.head + k.rcv.wnd, 0}
	h := header{
		conv: testConv,
		cmd:  uint8(IKCP_CMD_PUSH + p.n(4)),
		frg:  uint8(p.n(3)),
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

func fuzzSetting(k *KCP, p *program, now int64) {
	switch p.n(6) {
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
	}
}

// wantPoolSound empties a pool and wants no packet in it twice.
func wantPoolSound(t testing.TB, pool *packetPool) {
	t.Helper()
	seen := make(map[*packet]bool)
	for {
		p, ok := pool.pool.Get().(*packet)
		if !ok {
			return
		}
		if seen[p] {
			t.Fatal("a packet was put back twice")
		}
		seen[p] = true
	}
}

// FuzzFECDecode loses, repeats, delays and invents shards. What is rebuilt from
// genuine ones alone must be what was sent.
func FuzzFECDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		p := program{in}
		pool := new(packetPool)
		code := mustFECCode(t, 1+p.n(12), 1+p.n(4))
		enc := newFECEncoder(code, 0, pool)
		if p.byte()%4 == 0 {
			enc.next = code.limit - code.shards()*uint32(p.n(8))
			if enc.next == code.limit {
				enc.next = 0
			}
		}
		var count Snmp
		dec := fecDecoder{pool: pool, count: &count}
		genuine := true
		switch p.n(3) {
		case 0: // it learns the counts by itself
		case 1:
			dec.code = code
		case 2: // it expects others, most likely
			dec.code = mustFECCode(t, 1+p.n(12), 1+p.n(4))
		}
		known := make(map[string]bool)
		var late [][]byte
		now := int64(0)
		add := func(b []byte) {
			h, ok := parseFEC(b)
			if !ok {
				return
			}
			shard := b[fecShardStart:]
			if h.kind != fecTypeParity {
				body, ok := h.body(b)
				if !ok || h.kind == fecTypeOOB {
					return
				}
				shard = shard[:fecSizeField+len(body)]
			}
			dec.add(h, shard, func(got []byte) {
				if genuine && !known[string(got)] {
					t.Fatalf("rebuilt %x, which was never sent", got)
				}
			})
			wantFECBounded(t, &dec)
		}
		deliver := func(b []byte) {
			switch p.n(8) {
			case 0: // lost
			case 1:
				late = append(late, bytes.Clone(b))
			case 2:
				add(bytes.Clone(b))
				fallthrough
			default:
				add(bytes.Clone(b))
			}
		}
		for n := 0; !p.done(); n++ {
			switch p.n(8) {
			case 0:
				if len(late) > 0 {
					add(late[len(late)-1])
					late = late[:len(late)-1]
				}
				continue
			case 1:
				if p.byte()%4 == 0 {
					genuine = false
					add(p.bytes(p.n(64)))
					continue
				}
			case 2:
				now += int64(p.byte()) * int64(10*time.Millisecond)
			}
			b := make([]byte, fecHeaderSize+4+p.n(40))
			binary.LittleEndian.PutUint32(b[fecHeaderSize:], uint32(n)+1)
			copy(b[fecHeaderSize+4:], random(uint64(n), len(b)))
			known[string(b[fecHeaderSize:])] = true
			parity := enc.encode(b, now)
			deliver(b)
			for _, q := range parity {
				deliver(q.data)
				pool.put(q)
			}
		}
		dec.release()
		enc.skip()
		wantPoolSound(t, pool)
	})
}

// FuzzEnvelope opens any datagram with any cipher, and what it sealed itself.
func FuzzEnvelope(f *testing.F) {
	key := random(4, 32)
	ciphers := []struct {
		make func([]byte) (BlockCrypt, error)
		size int
	}{
		{func([]byte) (BlockCrypt, error) { return nil, nil }, 0},
		{NewNoneBlockCrypt, 32}, {NewSimpleXORBlockCrypt, 32}, {NewSalsa20BlockCrypt, 32},
		{NewAESBlockCrypt, 16}, {NewSM4BlockCrypt, 16}, {NewTwofishBlockCrypt, 32}, {NewTripleDESBlockCrypt, 24},
		{NewCast5BlockCrypt, 16}, {NewBlowfishBlockCrypt, 32}, {NewTEABlockCrypt, 16}, {NewXTEABlockCrypt, 16},
		{NewAESGCMCrypt, 32},
	}
	var envelopes []envelope
	for _, c := range ciphers {
		block, err := c.make(key[:c.size])
		if err != nil {
			f.Fatal(err)
		}
		env, err := newEnvelope(block)
		if err != nil {
			f.Fatal(err)
		}
		envelopes = append(envelopes, env)
	}
	f.Fuzz(func(t *testing.T, kind uint8, in []byte) {
		env := envelopes[int(kind)%len(envelopes)]
		if payload, ok := env.open(bytes.Clone(in)); ok && len(payload) != len(in)-env.head-env.tail {
			t.Fatalf("%d bytes opened to %d", len(in), len(payload))
		}
		want := in[:min(len(in), mtuLimit-env.head-env.tail)]
		b := make([]byte, env.head, mtuLimit)
		sealed := env.seal(append(b, want...))
		if len(sealed) != env.head+len(want)+env.tail {
			t.Fatalf("%d bytes sealed to %d", len(want), len(sealed))
		}
		again := env.seal(append(bytes.Clone(b), want...))
		if env.head > 0 && bytes.Equal(sealed, again) {
			t.Fatal("two datagrams are sealed alike")
		}
		if len(sealed) > 0 {
			broken := bytes.Clone(sealed)
			broken[len(broken)-1] ^= 0x10 // the nonce's own bytes are not covered by the CRC
			if _, ok := env.open(broken); ok && env.head > 0 {
				t.Fatal("a changed datagram opens")
			}
		}
		if got, ok := env.open(sealed); !ok || !bytes.Equal(got, want) {
			t.Fatalf("%x opens to %x, %v", want, got, ok)
		}
	})
}
