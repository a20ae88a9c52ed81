package kcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// sealWorld is a listener's side of handshakes and one dialler, without sockets or sessions.
type sealWorld struct {
	t     *testing.T
	l     *sealListener
	d     sealDialler
	now   int64
	wall  time.Time
	next  uint32
	known map[[2]uint32]bool
}

func newSealWorld(t *testing.T, hasCipher bool, p pattern) *sealWorld {
	w := &sealWorld{t: t, wall: time.Unix(1700000000, 0), known: make(map[[2]uint32]bool)}
	shared := &psk{7}
	if !hasCipher {
		shared = nil
	}
	private := PrivateKey{1, 2, 3}
	own := params{features: ownFeatures, datagram: mtuLimit, ackDelay: 1e7}
	w.l = newSealListener(shared, private, own)
	w.d = sealDialler{id: identity{pattern: p}, conv: 5, index: 77, params: own}
	if hasCipher {
		w.d.id.psk = *shared
	}
	if p == patternKey {
		w.d.id.server = private.Public()
	}
	w.d.head = headCipher(&w.d.id)
	return w
}

// from is the n-th address.
func sealAddr(n int) peerAddr {
	return peerAddr{udp: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 4000)}
}

func (w *sealWorld) make(ticket [ticketSize]byte, digests ...digest) {
	if err := w.d.makeHello(w.wall, ticket, digests); err != nil {
		w.t.Fatal(err)
	}
}

// hello passes the dialler's HELLO to the listener.
func (w *sealWorld) hello(from peerAddr) helloOut { return w.records(from, w.d.records(nil)) }

func (w *sealWorld) records(from peerAddr, list []byte) helloOut {
	b := make([]byte, IKCP_OVERHEAD, IKCP_OVERHEAD+len(list))
	h := header{conv: w.d.conv, cmd: IKCP_CMD_WINS, len: uint32(len(list))}
	h.put(b)
	r := findHandshake(w.d.conv, append(b, list...))
	return w.l.hello(&helloIn{from, w.d.conv, &r, w.now, w.wall}, func() uint32 { w.next++; return w.next },
		func(own, peer uint32) bool { return w.known[[2]uint32{own, peer}] })
}

// Both patterns lead to keys with which each end opens what the other seals; HELLO's copies, from other
// addresses too, have the same answer.
func TestSealHandshake(t *testing.T) {
	for _, p := range []pattern{patternPSK, patternKey} {
		w := newSealWorld(t, true, p)
		list := []digest{digestOf(IKCP_CMD_PUSH, 0, 0, []byte("a")), digestOf(cmdFIN, 0, 1, nil)}
		w.make([ticketSize]byte{}, list...)
		out := w.hello(sealAddr(1))
		if out.result != helloTaken || !out.isNew || out.shake.taken {
			t.Fatalf("%+v", out)
		}
		for n := range 3 {
			again := w.hello(sealAddr(n))
			if again.isNew || again.shake != out.shake || !bytes.Equal(again.body, out.body) {
				t.Fatalf("%+v", again)
			}
		}
		if h := w.l.table.byAddr[sessionKey{sealAddr(2), 5}]; h != out.shake {
			t.Error("not known by the address of a copy")
		}
		if _, _, _, ok := w.d.welcome(nil); ok || !w.d.differs {
			t.Error("an empty WELCOME does not say that the key differs")
		}
		welcome, sealer, opener, ok := w.d.welcome(out.body)
		if !ok || welcome.index != 1 || welcome.early || welcome.seen != sealAddr(1).udp || !welcome.params.known {
			t.Fatalf("%+v, %t", welcome, ok)
		}
		if payload, r := openTest(sealer, out.shake.opener, sealTest(sealer, []byte("up"))); r != sealedOpened || string(payload) != "up" {
			t.Errorf("%d, %q", r, payload)
		}
		back := out.shake.sealer
		if payload, r := openTest(back, opener, sealTest(back, []byte("down"))); r != sealedOpened || string(payload) != "down" {
			t.Errorf("%d, %q", r, payload)
		}
	}
}

// What HELLO lists is taken at once only with the ticket of its address at this listener, the right time,
// and once.
func TestSealEarlyConditions(t *testing.T) {
	ticket := func(w *sealWorld) [ticketSize]byte { return w.l.tickets.ticket(sealAddr(1)) }
	for name, c := range map[string]struct {
		spoil func(w *sealWorld) (ticket [ticketSize]byte, from peerAddr)
		taken bool
	}{
		"all right": {func(w *sealWorld) ([ticketSize]byte, peerAddr) { return ticket(w), sealAddr(1) }, true},
		"another port": {func(w *sealWorld) ([ticketSize]byte, peerAddr) {
			a := sealAddr(1)
			a.udp = netip.AddrPortFrom(a.udp.Addr(), 9)
			return ticket(w), a
		}, true},
		"no ticket":       {func(w *sealWorld) ([ticketSize]byte, peerAddr) { return [ticketSize]byte{}, sealAddr(1) }, false},
		"another address": {func(w *sealWorld) ([ticketSize]byte, peerAddr) { return ticket(w), sealAddr(2) }, false},
		"another listener": {func(w *sealWorld) ([ticketSize]byte, peerAddr) {
			return newSealWorld(w.t, true, patternPSK).l.tickets.ticket(sealAddr(1)), sealAddr(1)
		}, false},
		"clock 9 s behind": {func(w *sealWorld) ([ticketSize]byte, peerAddr) {
			w.wall = w.wall.Add(-9 * time.Second)
			return ticket(w), sealAddr(1)
		}, true},
		"clock 11 s behind": {func(w *sealWorld) ([ticketSize]byte, peerAddr) {
			w.wall = w.wall.Add(-11 * time.Second)
			return ticket(w), sealAddr(1)
		}, false},
		"clock 11 s ahead": {func(w *sealWorld) ([ticketSize]byte, peerAddr) {
			w.wall = w.wall.Add(11 * time.Second)
			return ticket(w), sealAddr(1)
		}, false},
		"clock an hour ahead": {func(w *sealWorld) ([ticketSize]byte, peerAddr) {
			w.wall = w.wall.Add(-time.Hour)
			return ticket(w), sealAddr(1)
		}, false},
		"the set is full": {func(w *sealWorld) ([ticketSize]byte, peerAddr) {
			for n := range seenMax {
				w.l.seen.first(ephemeral{1, byte(n), byte(n >> 8)}, 0, w.now)
			}
			return ticket(w), sealAddr(1)
		}, false},
	} {
		w := newSealWorld(t, true, patternPSK)
		at := w.wall
		given, from := c.spoil(w)
		listener := w.wall
		w.wall = at
		w.make(given, digest{})
		w.wall = listener
		out := w.hello(from)
		if out.result != helloTaken || out.shake.taken != c.taken {
			t.Errorf("%s: %+v", name, out)
			continue
		}
		// After it was finished and has ended, a copy makes a handshake that takes nothing at once.
		for _, later := range []int64{0, earlySkew, earlySkew, seenLife, seenLife, int64(time.Hour)} {
			w.l.table.remove(out.shake)
			w.now += later
			w.wall = w.wall.Add(time.Duration(later))
			if out = w.hello(from); out.result != helloTaken || out.shake.taken {
				t.Errorf("%s: a copy after %v: %+v", name, time.Duration(later), out)
			}
		}
	}
}

// Early data is taken at once only where there is room to remember it in case its client never comes back: else
// a late copy would have it taken again. What is finished gives its place back.
func TestSealEarlyRoom(t *testing.T) {
	w := newSealWorld(t, true, patternPSK)
	for n := range seenMax - 1 {
		w.l.spent.add(ephemeral{1, byte(n), byte(n >> 8)}, w.now)
	}
	for _, want := range []bool{true, false, true} {
		w.make(w.l.tickets.ticket(sealAddr(1)), digest{})
		out := w.hello(sealAddr(1))
		if out.result != helloTaken || out.shake.taken != want {
			t.Fatalf("%+v, want taken %t", out, want)
		}
		if !want {
			for _, h := range w.l.table.byKey {
				w.l.finish(h, w.now)
			}
		}
	}
	w.l.expire(w.now + halfOpenLife)
	if !w.l.spent.has(w.d.shake.ephemeral(), w.now+halfOpenLife) {
		t.Error("what was taken is not remembered")
	}
}

// A clock that is set, or stood still, makes no HELLO one that is in time once more.
func TestSealClockSet(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour, -5 * time.Second} {
		w := newSealWorld(t, true, patternPSK)
		w.make(w.l.tickets.ticket(sealAddr(1)), digest{})
		made := w.d.shake
		if out := w.hello(sealAddr(1)); !out.shake.taken {
			t.Fatalf("%+v", out)
		}
		w.wall = w.wall.Add(by)
		w.make(w.l.tickets.ticket(sealAddr(1)), digest{})
		if out := w.hello(sealAddr(1)); out.shake.taken {
			t.Errorf("by %v: a ticket from before is good", by)
		}
		w.d.shake = made
		for range 60 {
			w.l.table.expire(w.now + int64(time.Hour))
			if out := w.hello(sealAddr(1)); out.shake.taken {
				t.Fatalf("by %v: a copy is taken %v later", by, time.Duration(w.now))
			}
			w.now += int64(time.Minute)
			w.wall = w.wall.Add(time.Minute)
		}
		w.make(w.l.tickets.ticket(sealAddr(1)), digest{})
		if out := w.hello(sealAddr(1)); !out.shake.taken {
			t.Errorf("by %v: a ticket from afterwards is not good", by)
		}
	}
}

// Where HELLOs are ahead of the clock in numbers that cannot be remembered, tickets become invalid.
func TestSealAheadFlood(t *testing.T) {
	w := newSealWorld(t, true, patternPSK)
	ticket := w.l.tickets.ticket(sealAddr(1))
	for n := range seenMax {
		w.l.seen.first(ephemeral{1, byte(n), byte(n >> 8)}, int64(time.Hour), w.now)
	}
	w.wall = w.wall.Add(time.Hour)
	w.make(ticket, digest{})
	w.wall = w.wall.Add(-time.Hour)
	if out := w.hello(sealAddr(1)); out.shake.taken {
		t.Error("taken, an hour ahead")
	}
	if w.l.tickets.valid(&ticket, sealAddr(1)) || len(w.l.seen.ahead) != 0 {
		t.Error("the ticket is still good")
	}
}

// Beyond what is kept without asking, HELLO has to come with a token, which is good for its address, for
// two to four minutes; and there is an end to those, too.
func TestSealFlood(t *testing.T) {
	w := newSealWorld(t, true, patternPSK)
	for n := range halfOpenFree {
		w.make([ticketSize]byte{})
		if out := w.hello(sealAddr(n)); out.result != helloTaken {
			t.Fatalf("%d: %+v", n, out)
		}
	}
	w.make([ticketSize]byte{})
	out := w.hello(sealAddr(1000))
	if out.result != helloRetried || len(w.l.table.byKey) != halfOpenFree {
		t.Fatalf("%+v", out)
	}
	for _, want := range []bool{true, false} {
		if taken, atOnce := w.d.retry(out.body); taken != want || atOnce != want {
			t.Error("a token is not taken once")
		}
	}
	if again := w.hello(sealAddr(1001)); again.result != helloRetried {
		t.Errorf("another's token: %+v", again)
	}
	w.now += 4 * int64(time.Minute)
	w.l.table.expire(w.now)
	if len(w.l.table.byKey) != 0 || len(w.l.table.byAddr) != 0 || len(w.l.table.from) != 0 || len(w.l.table.order) != 0 {
		t.Errorf("%+v", w.l.table)
	}
	for range halfOpenFree {
		w.make([ticketSize]byte{})
		w.d.token = nil
		w.hello(sealAddr(1000)) // forged, as they may be without a token: they do not count against the address
	}
	for n := range 2 * halfOpenPerPrefix {
		w.make([ticketSize]byte{})
		w.d.token = w.l.tokens.token(sealAddr(1000), w.now)
		want := helloTaken
		if n >= halfOpenPerPrefix {
			want = helloDropped
		}
		if out := w.hello(sealAddr(1000)); out.result != want {
			t.Fatalf("%d: %+v", n, out)
		}
	}
	for at, ok := range map[time.Duration]bool{0: true, 2 * time.Minute: true, 4 * time.Minute: false} {
		token := w.l.tokens.token(sealAddr(1), w.now)
		if w.l.tokens.tokenValid(token, sealAddr(1), w.now+int64(at)) != ok {
			t.Errorf("after %v", at)
		}
	}
}

// Without a cipher nothing is computed for who has not shown that he receives.
func TestSealRetryWithoutCipher(t *testing.T) {
	w := newSealWorld(t, false, patternKey)
	w.l.tickets.ticket(sealAddr(1))
	w.make(w.l.tickets.ticket(sealAddr(1)), digest{})
	out := w.hello(sealAddr(1))
	if out.result != helloRetried || len(out.body) > tokenMax {
		t.Fatalf("%+v", out)
	}
	w.d.retry(out.body)
	if out = w.hello(sealAddr(1)); out.result != helloTaken || out.shake.taken {
		t.Errorf("%+v", out)
	}
	w.d.id.pattern = patternPSK
	w.make([ticketSize]byte{})
	if out = w.hello(sealAddr(1)); out.result != helloOther {
		t.Errorf("without a pre-shared key: %+v", out)
	}
}

// Operations on the curve before the sender is known are limited.
func TestSealCurveLimit(t *testing.T) {
	w := newSealWorld(t, true, patternKey)
	results := make(map[helloResult]int)
	forged := appendHello(nil, patternKey, bytes.Repeat([]byte{9}, noiseOverhead+helloFixedSize), nil)
	for range 2 * curveBurst {
		results[w.records(sealAddr(1), forged).result]++
	}
	if results[helloOther] != curveBurst || results[helloRetried] != curveBurst {
		t.Error(results)
	}
	w.now += int64(time.Second) / curveRate
	if out := w.records(sealAddr(1), forged); out.result != helloOther {
		t.Errorf("a millisecond later: %+v", out)
	}
}

// A listener says whether it knows a session, by its indices alone.
func TestSealStillKnown(t *testing.T) {
	w := newSealWorld(t, true, patternPSK)
	w.make([ticketSize]byte{})
	out := w.hello(sealAddr(1))
	if _, _, _, ok := w.d.welcome(out.body); !ok {
		t.Fatal("no welcome")
	}
	for _, known := range []bool{true, false} {
		w.known[[2]uint32{1, 77}] = known
		records, err := w.d.ask(w.wall)
		if err != nil {
			t.Fatal(err)
		}
		before := len(w.l.table.byKey)
		out := w.records(sealAddr(9), records)
		if out.result != helloAnswered || len(w.l.table.byKey) != before {
			t.Fatalf("%+v", out)
		}
		if answer, gone := w.d.unknown(out.body); !answer || gone == known {
			t.Errorf("known %t: answer %t, gone %t", known, answer, gone)
		}
		if answer, _ := w.d.unknown(out.body); answer {
			t.Error("an answer is taken twice")
		}
	}
}

// The phases, all inputs in each. docs/protocol.md has the same table.
func TestSealPhases(t *testing.T) {
	names := []string{"own HELLO", "WELCOME", "RETRY", "unsealed", "unsealed, proves", "sealed"}
	want := map[sealPhase][]string{
		sealUnsealed: {"-", "take", "take", "take", "take", "take"},
		sealOffered:  {"-", "seal > welcomed", "HELLO", "take", "take > unsealed", "-"},
		sealWelcomed: {"-", "-", "-", "-", "-", "take > proven"},
		sealProven:   {"-", "-", "-", "-", "-", "take"},
	}
	states := []string{"unsealed", "offered", "welcomed", "proven"}
	describe := func(p sealPhase, in sealInput, required bool) string {
		next, act := p.onDatagram(in, required)
		s := map[sealAction]string{0: "-", doTake: "take", doHello: "HELLO", doSeal: "seal"}[act]
		if next != p {
			s += " > " + states[next]
		}
		return s
	}
	for p := range sealPhase(len(states)) {
		for in := range sealInputs {
			if got := describe(p, in, false); got != want[p][in] {
				t.Errorf("%s, %s: %s, want %s", states[p], names[in], got, want[p][in])
			}
			if next, act := p.onDatagram(in, true); p == sealOffered && (next == sealUnsealed || act&doTake != 0) {
				t.Errorf("required, %s: %s", names[in], fmt.Sprint(next, act))
			}
		}
	}
}

// Early data is kept until a list names it, and only if it is as it was.
func TestEarlyData(t *testing.T) {
	var e earlyData
	var pool packetPool
	segments := [][]byte{[]byte("zero"), []byte("one"), []byte("two")}
	var digests []digest
	for sn, b := range segments {
		digests = append(digests, digestOf(IKCP_CMD_PUSH, 0, uint32(sn), b))
	}
	forged := []byte("zerO")
	e.keep(&header{cmd: IKCP_CMD_PUSH, sn: 0}, forged, &pool)
	for range 2 {
		for sn, b := range segments {
			e.keep(&header{cmd: IKCP_CMD_PUSH, sn: uint32(sn)}, b, &pool)
		}
	}
	if len(e.list) != 4 {
		t.Fatalf("%d segments", len(e.list))
	}
	var got []string
	take := func(h *header, body []byte) { got = append(got, fmt.Sprint(h.sn, string(body))) }
	e.take(0, digests[:1], &pool, take)
	e.take(1, digests[1:2], &pool, take)
	e.take(0, digests[2:], &pool, take) // of other serial numbers
	if fmt.Sprint(got) != "[0zero 1one]" || len(e.list) != 2 {
		t.Errorf("%v, %d left", got, len(e.list))
	}
	e.discard(&pool)
	for sn := range 2 * earlySegmentsMax {
		e.keep(&header{cmd: IKCP_CMD_PUSH, sn: uint32(sn)}, make([]byte, 1300), &pool)
	}
	if len(e.list)*mtuLimit > earlyDataMax || len(e.list) > earlySegmentsMax {
		t.Errorf("%d bytes, %d segments", len(e.list)*mtuLimit, len(e.list))
	}
}

// HELLO is as long as any answer to it.
func TestHelloLength(t *testing.T) {
	w := newSealWorld(t, true, patternPSK)
	for n := range helloDigestsMax + 1 {
		w.make([ticketSize]byte{}, make([]digest, n)...)
		list := w.d.records(nil)
		out := w.hello(sealAddr(n))
		if answer := appendRecord(nil, recordWelcome, out.body); len(answer) != welcomeSize || len(list) < welcomeSize {
			t.Errorf("%d digests: HELLO has %d bytes, WELCOME %d", n, len(list), len(answer))
		}
		w.d.token = make([]byte, tokenMax)
		if list := w.d.records(nil); len(list) > helloMax || n == helloDigestsMax && len(list) != helloMax {
			t.Errorf("%d digests: HELLO has %d bytes with a token, at most %d", n, len(list), helloMax)
		}
		w.d.token = nil
	}
}

// FuzzSealRecords: whatever the records of a datagram are, they are read without a panic, and what is
// read is what they would be written as.
func FuzzSealRecords(f *testing.F) {
	w := newSealWorld(&testing.T{}, true, patternPSK)
	w.d.id.psk = psk{8}
	w.make([ticketSize]byte{}, digest{1})
	f.Add(w.d.records(nil))
	f.Add(appendEarly(nil, 3, []digest{{1}, {2}}))
	f.Add(appendRecord(nil, recordRetry, make([]byte, tokenSize)))
	f.Add(appendRecord(nil, recordWelcome))
	f.Fuzz(func(t *testing.T, list []byte) {
		if len(list) > mtuLimit {
			return
		}
		b := make([]byte, IKCP_OVERHEAD, IKCP_OVERHEAD+len(list))
		h := header{conv: 5, cmd: IKCP_CMD_WASK, len: uint32(len(list))}
		h.put(b)
		r := findHandshake(5, append(b, list...))
		if first, digests, ok := parseEarly(r.early); ok {
			if again := appendEarly(nil, first, digests); !bytes.Equal(again[recordHeaderSize:], r.early) {
				t.Errorf("%x, then %x", r.early, again)
			}
		}
		if r.hello != nil {
			w := newSealWorld(t, true, patternPSK)
			if out := w.records(sealAddr(1), list); out.result == helloTaken {
				t.Error("a HELLO that nobody made is taken")
			}
		}
	})
}

// FuzzSealPayloads: HELLO's and WELCOME's payloads come from who has the key, and may be anything.
func FuzzSealPayloads(f *testing.F) {
	p := params{known: true, features: 7, datagram: 1400, ackDelay: 1e7}
	f.Add((&hello{digests: []digest{{1}}, params: p}).append(nil))
	f.Add((&welcome{cipher: sealGCM, params: p}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := parseHello(b); ok {
			if again, ok := parseHello(h.append(nil)); !ok || again.index != h.index || len(again.digests) != len(h.digests) {
				t.Errorf("%+v, then %+v", h, again)
			}
		}
		if w, ok := parseWelcome(b); ok {
			if again, ok := parseWelcome(w.append(nil)); !ok || again != w && again.params.ackDelay >= 0 && w.params.ackDelay >= 0 {
				t.Errorf("%+v, then %+v", w, again)
			}
		}
	})
}

// FuzzSealedDatagram: nothing opens but what was sealed.
func FuzzSealedDatagram(f *testing.F) {
	s, _ := sealedPair(sealGCM, 0)
	f.Add(sealTest(s, []byte("x")))
	f.Add(sealTest(s, nil)[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, o := sealedPair(sealGCM, 0)
		genuine := [][]byte{sealTest(s, []byte("x")), sealTest(s, nil)}
		if _, result := openTest(s, o, b); result == sealedOpened && !bytes.Equal(b, genuine[0]) && !bytes.Equal(b, genuine[1]) {
			t.Error("a forged datagram opens")
		}
	})
}
