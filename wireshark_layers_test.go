package kcp

import (
	"bytes"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// fields returns those fields that fieldsOf has too.
func (d dissected) fields() (fields []docField) {
	for _, f := range d {
		name := f.name
		if other, ok := dissectedNames[name]; ok {
			name = other
		}
		switch name {
		case "data", "payload":
			b, _ := hex.DecodeString(f.value)
			fields = append(fields, docField{name: name, text: string(b)})
		case "conv", "cmd", "frg", "wnd", "ts", "sn", "una", "len", "seqid", "type", "size":
			n, _ := strconv.ParseUint(f.show, 0, 64)
			fields = append(fields, docField{name: name, num: n})
		}
	}
	return fields
}

// comparable returns what fieldsOf has and the dissector shows as such: not the frg of a REP, and the data
// of PUSH and DGRAM only.
func comparable(fields []docField) []docField {
	var cmd uint64
	return slices.DeleteFunc(slices.Clone(fields), func(f docField) bool {
		if f.name == "cmd" {
			cmd = f.num
		}
		return f.name == "frg" && cmd == cmdREP || f.name == "data" && cmd != IKCP_CMD_PUSH && cmd != cmdDGRAM
	})
}

// documentKeys are those of the examples in docs/protocol.md, where the dissector has the cipher.
func documentKeys() string {
	key := hex.EncodeToString([]byte{
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
	})
	var keys []string
	for _, c := range []struct {
		name string
		size int
	}{
		{"aes", 16}, {"aes", 24}, {"aes", 32}, {"sm4", 16}, {"tea", 16}, {"xtea", 16}, {"salsa20", 32}, {"none", 0},
		{"aes-gcm", 16}, {"chacha20-poly1305", 32},
	} {
		keys = append(keys, c.name+":"+key[:2*c.size])
	}
	return strings.Join(keys, " ")
}

// The dissector reads in the examples of docs/protocol.md what these say, under each cipher that it has.
func TestWiresharkExamples(t *testing.T) {
	p := readProtocol(t)
	names := slices.Sorted(maps.Keys(p.examples))
	var frames []frame
	for _, name := range names {
		frames = append(frames, testFrame(p.examples[name].data))
	}
	without := []string{"cipher-3des", "cipher-blowfish", "cipher-cast5", "cipher-twofish", "cipher-xor"}
	for i, d := range dissect(t, frames, "-o", "kcp.keys:"+documentKeys()) {
		want := p.examples[names[i]].fields
		switch {
		case slices.Contains(without, names[i]):
			if !d.has("unopened") {
				t.Errorf("%s was opened: %v", names[i], d)
			}
			continue
		case names[i] == "envelope", strings.HasPrefix(names[i], "cipher-"), strings.HasPrefix(names[i], "aead-"):
			want = p.examples["envelope"].fields
		}
		if got := d.fields(); !slices.Equal(got, comparable(want)) {
			t.Errorf("%s says\n%v, the dissector\n%v", names[i], want, got)
		}
	}
}

// captured collects what is sent in w.
func (w *world) captured(frames *[]frame) {
	start := time.Now()
	w.watch(func(from, to netip.AddrPort, b []byte) bool {
		*frames = append(*frames, frame{time.Since(start), from, to, bytes.Clone(b)})
		return true
	})
}

// plainCapture has all kinds of segments and of FEC datagrams, in the clear.
func plainCapture(t *testing.T, path netem.Path) (list []frame) {
	virtual(t, path, func(w *world) { // repairs, messages that expire, datagrams, and an end by RST
		w.captured(&list)
		c, s := w.pair(w.swift())
		w.check(exchange(c, s, 100_000))
		frames(w, c, s, 150, 1000, 2*time.Millisecond, 25*time.Millisecond)
		sendEvery(w, c, 5*time.Millisecond, 200*time.Millisecond, 500)
		w.check(c.CloseWrite())
		w.awaitIdle()
		s.Write([]byte("that nobody reads"))
		w.awaitIdle()
		closeAll(c, s)
	})
	virtual(t, path, func(w *world) { // groups, and a payload out of band
		w.captured(&list)
		c, s := w.pair(inGroups(w.config(nil, 4, 2)))
		w.check(exchange(c, s, 50_000))
		w.check(c.SendOOB([]byte("ping")))
		closeAll(c, s)
	})
	return list
}

// In the clear the dissector reads what the code reads, in all kinds of datagrams that sessions send. What
// it makes of several of them is true.
func TestWiresharkSessions(t *testing.T) {
	path := netem.Path{Delay: 20 * time.Millisecond, Loss: 0.1}
	frames := plainCapture(t, path)
	cmds, kinds := make(map[uint64]int), make(map[uint64]int)
	again, answers := 0, 0
	for i, d := range dissect(t, frames) {
		f := frames[i]
		want := comparable(fieldsOf(f.data))
		if got := d.fields(); !slices.Equal(got, want) {
			t.Fatalf("frame %d: %x\nsays %v, the dissector %v", i+1, f.data, want, got)
		}
		for _, field := range want {
			switch field.name {
			case "cmd":
				cmds[field.num]++
			case "type":
				kinds[field.num]++
			}
		}
		if d.has("rest") {
			t.Errorf("frame %d: %v", i+1, d)
		}
		again += len(d.get("retransmission"))
		for _, rtt := range d.get("rtt") {
			answers++
			if v, err := strconv.ParseFloat(rtt, 64); err != nil || v < path.Delay.Seconds() || v > 1 {
				t.Errorf("frame %d: a round trip of %s s", i+1, rtt)
			}
		}
	}
	t.Logf("%d frames: cmds %v, FEC %v, %d retransmissions, %d round trips", len(frames), cmds, kinds, again, answers)
	for cmd := uint64(IKCP_CMD_PUSH); cmd <= cmdSKIP; cmd++ {
		if cmds[cmd] == 0 {
			t.Errorf("no segment with cmd %d was sent", cmd)
		}
	}
	if len(kinds) != 3 || again == 0 || answers == 0 {
		t.Error("the capture has too little")
	}
}

// recordsFrame is a WINS with these records.
func recordsFrame(records []byte) frame {
	h := header{conv: docConv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN | capRecords, ts: docDialled}
	return testFrame(withRecords(h, records))
}

// want checks the values of all fields of that name.
func (d dissected) want(t *testing.T, name string, show ...string) {
	t.Helper()
	if got := d.get(name); !slices.Equal(got, show) {
		t.Errorf("%s is %q, want %q, in %v", name, got, show, d)
	}
}

// The records of WASK and WINS, alone and in a handshake.
func TestWiresharkRecords(t *testing.T) {
	list := appendParams(nil, &params{features: featureRanges | featureSkip, datagram: 1400, ackDelay: 20e6})
	list = appendPath(appendPath(list, recordPath, 0x1234), recordPathOK, 0x5678)
	list = append(list, record(recordEarly, append([]byte{7, 0, 0, 0}, random(1, 2*digestSize)...)...)...)
	list = append(list, record(8, 4, 3, 2, 1)...)
	list = append(list, record(200, 1, 2, 3)...)
	list = append(list, record(recordPad, 0, 0)...)
	frames := []frame{recordsFrame(list), recordsFrame(record(recordWelcome)), recordsFrame([]byte{recordPath, 8, 0, 1})}
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		key := PrivateKey{8}
		l := w.listen(w.settle(Settings{}, key), "10.0.0.2:4000")
		w.captured(&frames)
		c := w.dial(w.settle(Settings{ServerKey: key.Public()}, PrivateKey{}), l)
		c.Write([]byte("hello"))
		s, err := l.AcceptKCP()
		w.check(err)
		w.awaitIdle()
		closeAll(c, s, l)
	})
	all := dissect(t, frames)
	d := all[0]
	d.want(t, "record.type", "1", "6", "7", "10", "8", "200", "0")
	d.want(t, "features", "0x0000000a")
	d.want(t, "features.ranges", "1")
	d.want(t, "features.repairs", "0")
	d.want(t, "datagram", "1400")
	d.want(t, "ack_delay", "20")
	d.want(t, "path", "0x0000000000001234", "0x0000000000005678")
	d.want(t, "early.first", "7")
	d.want(t, "probe", "0x01020304")
	if n := len(d.get("early.digest")); n != 2 {
		t.Errorf("%d digests", n)
	}
	d.want(t, "record.body", "01:02:03", "00:00")
	all[1].want(t, "keys_differ", "")
	all[2].want(t, "bad_list", "")

	kinds := make(map[string]int)
	for _, d := range all[3:] {
		for _, kind := range d.get("record.type") {
			kinds[kind]++
		}
		if d.has("noise.pattern") {
			d.want(t, "noise.pattern", "1")
		}
	}
	for _, kind := range []int{recordHello, recordWelcome, recordRetry, recordToken} {
		if kinds[strconv.Itoa(kind)] == 0 {
			t.Errorf("no record of type %d was seen: %v", kind, kinds)
		}
	}
}

// Whatever a datagram says, the dissector shows something.
func TestWiresharkMalformed(t *testing.T) {
	noteSeed(t)
	rng := rand.New(rand.NewPCG(testSeed, 0))
	p := readProtocol(t)
	seeds := plainCapture(t, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.05})
	for _, name := range slices.Sorted(maps.Keys(p.examples)) {
		seeds = append(seeds, testFrame(p.examples[name].data))
	}
	frames := []frame{testFrame(nil)}
	for range lighter(500, 200) {
		b := slices.Clone(seeds[rng.IntN(len(seeds))].data)
		for range 1 + rng.IntN(4) {
			switch rng.IntN(4) {
			case 0:
				b = b[:rng.IntN(len(b)+1)]
			case 1:
				b = append(b, random(rng.Uint64(), rng.IntN(40))...)
			default: // in a header, mostly
				if n := min(len(b), 80); n > 0 {
					b[rng.IntN(n)] = []byte{0, 1, 0x7f, 0x80, 0xff, byte(rng.IntN(256))}[rng.IntN(6)]
				}
			}
		}
		frames = append(frames, testFrame(b))
	}
	out := tshark(t, frames, "-o", "kcp.keys:none aes:"+strings.Repeat("00", 16), "-V")
	if at := strings.Index(string(out), "Lua Error"); at >= 0 {
		t.Errorf("%.400s", out[max(0, at-200):])
	}
	if n := strings.Count(string(out), "\nKCP, "); n < len(frames)*9/10 {
		t.Errorf("%d of %d frames were dissected", n, len(frames))
	}
}
