package kcp

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// sealedPair returns the two ends of one direction.
func sealedPair(cipher uint8, first uint64) (*datagramSealer, *datagramOpener) {
	id := testIdentities()[0]
	s := &datagramSealer{head: headCipher(&id), index: 0x01020304, cipher: cipher, secret: secret{5}}
	o := newDatagramOpener(cipher, secret{5})
	for e := uint64(0); e < epochOf(first); e++ {
		s.secret = nextSecret(&s.secret)
	}
	s.number, o.newest = first, epochOf(first)
	at := secret{5}
	for e := uint64(0); e <= o.newest+1; e++ {
		o.secrets[e%3] = at
		at = nextSecret(&at)
	}
	return s, o
}

// sealTest seals payload as a new datagram.
func sealTest(s *datagramSealer, payload []byte) []byte {
	b := make([]byte, sealedHead+len(payload), sealedSize+len(payload))
	copy(b[sealedHead:], payload)
	return s.seal(b[:sealedHead], b[sealedHead:])
}

// openTest opens a copy of datagram b.
func openTest(s *datagramSealer, o *datagramOpener, b []byte) (payload []byte, result openResult) {
	b = bytes.Clone(b)
	var mask [16]byte
	index, number, ok := unmask(s.head, b, &mask)
	if !ok || index != s.index {
		return nil, sealedOther
	}
	return o.open(b, index, number)
}

// A datagram opens once, whatever its length, in any order within the window; one of which a bit was
// changed never does.
func TestSealedDatagram(t *testing.T) {
	for _, kind := range []uint8{sealGCM, sealChaCha} {
		s, o := sealedPair(kind, 0)
		r := rand.New(testRandom(1))
		var sent [][]byte
		for n := range 300 {
			payload := bytes.Repeat([]byte{byte(n)}, n)
			b := sealTest(s, payload)
			if len(b) != sealedSize+n {
				t.Fatalf("%d bytes for %d", len(b), n)
			}
			sent = append(sent, b)
		}
		for i, n := range r.Perm(len(sent)) {
			forged := bytes.Clone(sent[n])
			bit := r.IntN(8 * len(forged))
			forged[bit/8] ^= 1 << (bit % 8)
			if _, result := openTest(s, o, forged); result == sealedOpened {
				t.Fatalf("opens with bit %d of %d changed", bit, 8*len(forged))
			}
			for again := range 2 {
				payload, result := openTest(s, o, sent[n])
				want := sealedOpened
				if again > 0 {
					want = sealedRepeat
				}
				if result != want || again == 0 && !bytes.Equal(payload, bytes.Repeat([]byte{byte(n)}, n)) {
					t.Fatalf("%d: %d, %q", i, result, payload)
				}
			}
		}
		if _, repeats := o.seen(); repeats < uint64(len(sent)) {
			t.Errorf("%d repeats counted", repeats)
		}
	}
}

// Keys change with the number, and nothing announces it; what was overtaken by a change still opens, and
// what is two changes away does not.
func TestSealedEpochs(t *testing.T) {
	const each = 1 << epochShift
	s, o := sealedPair(sealGCM, each-2)
	if epochOf(s.number) != 0 {
		t.Fatal(s.number)
	}
	var sent [][]byte
	for range 4 {
		sent = append(sent, sealTest(s, []byte("x")))
	}
	for _, n := range []int{2, 1, 3, 0} {
		if payload, result := openTest(s, o, sent[n]); result != sealedOpened || string(payload) != "x" {
			t.Fatalf("%d: %d, %q", n, result, payload)
		}
	}
	if epoch, _ := o.seen(); epoch != 1 {
		t.Errorf("epoch %d", epoch)
	}
	s.number = 2*each - 1
	late := sealTest(s, nil)
	openTest(s, o, sealTest(s, nil))
	if epoch, _ := o.seen(); epoch != 2 {
		t.Errorf("epoch %d", epoch)
	}
	if _, result := openTest(s, o, late); result != sealedOpened {
		t.Errorf("the one before the change: %d", result)
	}
	if _, result := openTest(s, o, sent[0]); result != sealedOther {
		t.Errorf("two changes ago: %d", result)
	}
	far, _ := sealedPair(sealGCM, 4*each)
	if _, result := openTest(far, o, sealTest(far, nil)); result != sealedOther {
		t.Errorf("two changes ahead: %d", result)
	}
	s.trim()
	o.trim()
	if _, result := openTest(s, o, sealTest(s, nil)); result != sealedOpened {
		t.Errorf("after a pause: %d", result)
	}
}

// The window takes each number once, however far it jumps, and none that is too far behind.
func TestReplayWindow(t *testing.T) {
	r := rand.New(testRandom(3))
	for range 20 {
		var w replayWindow
		seen := make(map[uint64]bool)
		top := uint64(0)
		for range 5000 {
			number := uint64(0)
			switch r.IntN(20) {
			case 0:
				number = top + r.Uint64N(3*replayNumbers)
			case 1, 2, 3:
				number = top - min(top, r.Uint64N(2*replayNumbers))
			default:
				number = top + r.Uint64N(70) - min(top, 35)
			}
			behind := top > number && top-1-number >= replayNumbers
			if fresh := w.fresh(number); fresh != (!behind && !seen[number]) {
				t.Fatalf("number %d below %d: fresh is %t, seen %t", number, top, fresh, seen[number])
			} else if fresh {
				w.note(number)
				seen[number], top = true, max(top, number+1)
			}
		}
	}
}

// No memory is taken for a datagram, sealed in place or from elsewhere.
func TestSealedAllocs(t *testing.T) {
	s, o := sealedPair(sealGCM, 1<<20)
	b, elsewhere := make([]byte, mtuLimit), make([]byte, 1300)
	var mask [16]byte
	openTest(s, o, sealTest(s, nil))
	allocs := testing.AllocsPerRun(100, func() {
		s.seal(b[:sealedHead], b[sealedHead:1400])
		sealed := s.seal(b[:sealedHead], elsewhere)
		index, number, _ := unmask(s.head, sealed, &mask)
		if _, result := o.open(sealed, index, number); result != sealedOpened {
			t.Fatal(result)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// No byte of a datagram is constant, counts, or is linked to another: of each position, each value is as
// frequent as chance has it. The bound of chi-square with 255 degrees of freedom is exceeded once in
// 10^9 times, and with so many positions once in 10^7 runs.
func TestSealedEntropy(t *testing.T) {
	const (
		count = 10000
		most  = 255 + 6.5*22.6
	)
	for _, kind := range []uint8{sealGCM, sealChaCha} {
		s, _ := sealedPair(kind, 0)
		payload := make([]byte, 60)
		counts := make([][256]int, sealedSize+len(payload))
		linked := make([][256]int, len(counts))
		var last []byte
		for range count {
			b := sealTest(s, payload)
			for i, c := range b {
				counts[i][c]++
				if last != nil {
					linked[i][c^last[i]]++
				}
			}
			last = b
		}
		worst := 0.0
		for i := range counts {
			worst = max(worst, chiSquare(&counts[i]), chiSquare(&linked[i]))
		}
		if worst > most {
			t.Errorf("chi-square %.0f", worst)
		}
		t.Logf("cipher %d: the largest chi-square of %d positions is %.0f, with 255 expected", kind, len(counts), worst)
	}
}

func chiSquare(counts *[256]int) (x float64) {
	n := 0
	for _, c := range counts {
		n += c
	}
	want := float64(n) / 256
	for _, c := range counts {
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return x
}
