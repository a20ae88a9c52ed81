package kcp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/reedsolomon"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// These tests keep docs/protocol.md true. Its examples have to be what sessions send, and
// their comments what the code reads in them; its tables of numbers have to be the code's.

const protocolDoc = "docs/protocol.md"

// docExample is a block of the document with the info string "hex name=...".
type docExample struct {
	name   string
	data   []byte
	fields []docField // what its comments say, one a line
}

// docField is a field of a datagram: a number, or bytes.
type docField struct {
	name string
	num  uint64
	text string // bytes; the number then says nothing
}

func (f docField) String() string {
	if f.text != "" {
		return fmt.Sprintf("%s = %q", f.name, f.text)
	}
	return fmt.Sprintf("%s = %d", f.name, f.num)
}

// docTable is a table of the document, without its rule.
type docTable [][]string

// protocol is the document.
type protocol struct {
	*testing.T
	examples map[string]docExample
	tables   []docTable

	mu      sync.Mutex
	checked map[string]bool // examples that the code was seen to agree with
}

var docBlock = regexp.MustCompile("^```hex name=([a-z0-9-]+)$")

func readProtocol(t *testing.T) *protocol {
	t.Helper()
	text, err := os.ReadFile(protocolDoc)
	if err != nil {
		t.Fatal(err)
	}
	p := &protocol{T: t, examples: make(map[string]docExample), checked: make(map[string]bool)}
	var (
		example *docExample // that the line is in
		fenced  bool        // in a block of another kind
		table   docTable
	)
	for i, line := range strings.Split(string(text), "\n") {
		switch start := docBlock.FindStringSubmatch(line); {
		case example != nil && line == "```":
			p.examples[example.name] = *example
			example = nil
		case example != nil:
			if err := example.read(line); err != nil {
				t.Errorf("%s:%d: %v", protocolDoc, i+1, err)
			}
		case strings.HasPrefix(line, "```hex") && start == nil:
			t.Errorf("%s:%d: an example without a name", protocolDoc, i+1)
		case start != nil && !fenced:
			if _, ok := p.examples[start[1]]; ok {
				t.Errorf("%s:%d: there are two examples %s", protocolDoc, i+1, start[1])
			}
			example = &docExample{name: start[1]}
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		}
		if !fenced && strings.HasPrefix(line, "|") {
			if row := cells(line); strings.Trim(strings.Join(row, ""), "-: ") != "" {
				table = append(table, row)
			}
		} else if table != nil {
			p.tables, table = append(p.tables, table), nil
		}
	}
	if example != nil || fenced {
		t.Errorf("%s: a block does not end", protocolDoc)
	}
	return p
}

// cells returns what stands in a table's line.
func cells(line string) (row []string) {
	for _, s := range strings.Split(strings.Trim(line, "|"), "|") {
		row = append(row, strings.Trim(strings.TrimSpace(s), "`"))
	}
	return row
}

var docComment = regexp.MustCompile(`^([a-z]+) = ([0-9a-fx]+|"[^"]*")(,.*)?$`)

// read takes a line of an example: bytes in hex, and a comment. One of the form "field = value"
// or "field = value, and more" says what the bytes are, which is checked here; value is a
// number, or a text in quotes.
func (e *docExample) read(line string) error {
	digits, comment, _ := strings.Cut(line, "#")
	var b hexBytes
	if err := b.UnmarshalText([]byte(strings.ReplaceAll(digits, " ", ""))); err != nil {
		return err
	}
	e.data = append(e.data, b...)
	said := docComment.FindStringSubmatch(strings.TrimSpace(comment))
	if said == nil {
		return nil
	}
	f := docField{name: said[1]}
	if said[2][0] == '"' {
		f.text = strings.Trim(said[2], `"`)
		if f.text != string(b) {
			return fmt.Errorf("%s is %q", f, b)
		}
	} else {
		var err error
		if f.num, err = strconv.ParseUint(said[2], 0, 64); err != nil {
			return err
		}
		if got := littleEndian(b); got != f.num {
			return fmt.Errorf("%s is %d", f, got)
		}
	}
	e.fields = append(e.fields, f)
	return nil
}

func littleEndian(b []byte) (n uint64) {
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	return n
}

// tablesWith returns the tables whose first columns have these names, without the headings.
func (p *protocol) tablesWith(columns ...string) (found []docTable) {
	p.Helper()
	for _, t := range p.tables {
		if len(t[0]) >= len(columns) && slices.Equal(t[0][:len(columns)], columns) {
			found = append(found, t[1:])
		}
	}
	if found == nil {
		p.Fatalf("%s has no table of %q", protocolDoc, columns)
	}
	return found
}

// produced compares what the code sent with the example of that name.
func (p *protocol) produced(name string, got []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Helper()
	want, ok := p.examples[name]
	p.checked[name] = true
	switch {
	case !ok:
		p.Errorf("%s lacks the example %s, which is\n%x", protocolDoc, name, got)
	case !bytes.Equal(got, want.data):
		p.Errorf("example %s is\n%x, but in the document\n%x", name, got, want.data)
	}
}

// plain is produced for a datagram without cipher, whose comments have to be all its fields.
func (p *protocol) plain(name string, got []byte) {
	p.Helper()
	p.produced(name, got)
	want := fieldsOf(got)
	if said := p.examples[name].fields; !slices.Equal(said, want) {
		p.Errorf("the comments of example %s say\n%v, the code reads\n%v", name, said, want)
	}
}

// tapped is what a network's tap has seen.
type tapped struct {
	p    *protocol
	seen [][]byte
}

// tap records what is sent in w from now on.
func (p *protocol) tap(w *world) *tapped {
	t := &tapped{p: p}
	w.watch(func(_, _ netip.AddrPort, b []byte) bool {
		t.seen = append(t.seen, bytes.Clone(b))
		return true
	})
	return t
}

// all returns what was sent since the last time.
func (t *tapped) all(w *world) (seen [][]byte) {
	synctest.Wait()
	w.watching.Lock()
	defer w.watching.Unlock()
	seen, t.seen = t.seen, nil
	return seen
}

// take is all, which has to be n datagrams.
func (t *tapped) take(w *world, n int) [][]byte {
	w.Helper()
	seen := t.all(w)
	if len(seen) != n {
		w.Fatalf("%d datagrams, want %d: %x", len(seen), n, seen)
	}
	return seen
}

// docConv and docStart are the conversation and the clock, in microseconds, of the examples,
// docDialled and docAccepted the numbers of their sessions.
const (
	docConv     = 0x11223344
	docStart    = 1_000_000
	docDialled  = 0xa1a2a3a4
	docAccepted = 0xb1b2b3b4
)

// setClock lets virtual time pass until what is sent has the time stamp ts.
func setClock(w *world, ts uint32) {
	var now uint32
	k := NewKCP(docConv, func(b []byte, _ int) { now = uint32(littleEndian(b[8:12])) })
	k.Send([]byte{0})
	k.Update()
	w.sleep(time.Duration(ts-now) * time.Microsecond)
}

// docDelay is the one-way delay in the examples.
const docDelay = 20 * time.Millisecond

func TestProtocolExamples(t *testing.T) {
	p := readProtocol(t)
	p.testSession(t)
	p.testProbe(t)
	p.testFragments(t)
	p.testFEC(t)
	p.testCiphers(t)
	for name := range p.examples {
		if !p.checked[name] {
			t.Errorf("example %s is unknown", name)
		}
	}
}

// testSession is a session from the first datagram to the reset.
func (p *protocol) testSession(t *testing.T) {
	virtual(t, netem.Path{Delay: docDelay}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.dialConv(cfg, docConv, l)
		client.plainClock()
		setClock(w, docStart)
		tap := p.tap(w)

		client.Write([]byte("hi"))
		p.plain("first", tap.take(w, 1)[0])
		server, err := l.AcceptKCP()
		w.check(err)
		server.setNumber(docAccepted)
		buf := make([]byte, 10)
		server.plainClock()
		n, err := server.Read(buf)
		if string(buf[:n]) != "hi" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		server.Write([]byte("yes"))
		p.plain("push", tap.take(w, 1)[0])
		n, err = client.Read(buf)
		if string(buf[:n]) != "yes" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		w.sleep(2 * docDelay)
		p.plain("ack", tap.take(w, 1)[0])

		setClock(w, 2*docStart)
		w.check(client.CloseWrite())
		p.plain("fin", tap.take(w, 1)[0])
		if _, err := server.Read(buf); err != io.EOF {
			t.Errorf("behind the FIN: %v", err)
		}
		w.sleep(2 * docDelay)
		p.plain("fin-ack", tap.take(w, 1)[0])

		server.SetLinger(0)
		w.check(server.Close())
		p.plain("rst", tap.take(w, 1)[0])
		_, err = client.Read(buf)
		wantError(t, "read", err, syscall.ECONNRESET)
		w.sleep(time.Second)
		tap.take(w, 0)
		closeAll(client, l)
	})
}

// testProbe is a window probe for a session that does not exist yet, and its answer; and probes for
// one that does, before and after its listener was restarted.
func (p *protocol) testProbe(t *testing.T) {
	virtual(t, netem.Path{Delay: docDelay}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.dialConv(cfg, docConv, l)
		client.plainClock()
		tap := p.tap(w)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		w.check(client.awaitPeer(ctx))
		seen := tap.take(w, 2)
		p.plain("wask", seen[0])
		p.plain("no-session", seen[1])
		closeAll(client, l)
	})
	virtual(t, netem.Path{Delay: docDelay}, func(w *world) {
		h := w.host(w.config(nil, 0, 0), "10.0.0.2:2000")
		cfg := w.config(nil, 0, 0)
		cfg.keepAlive = int64(time.Second)
		client := w.dialConv(cfg, docConv, h.Listener)
		client.Write([]byte("hi"))
		server, err := h.AcceptKCP()
		w.check(err)
		server.setNumber(docAccepted)
		_, err = server.Read(make([]byte, 10))
		w.check(err)
		w.sleep(time.Second / 2)
		tap := p.tap(w)
		w.sleep(time.Second)
		seen := tap.take(w, 2)
		p.plain("probe", seen[0])
		p.plain("wins", seen[1])

		h.kill()
		h = w.host(w.config(nil, 0, 0), "10.0.0.2:2000")
		_, err = client.Read(make([]byte, 10))
		wantError(t, "read", err, syscall.ECONNRESET)
		seen = tap.all(w)
		if len(seen) < 8 || len(seen)%2 != 0 {
			t.Errorf("%d datagrams before the reset", len(seen))
		}
		for pair := range slices.Chunk(seen, 2) {
			p.plain("probe", pair[0])
			p.plain("no-session", pair[1])
		}
		closeAll(client, h)
	})
}

// testFragments is a message of two segments.
func (p *protocol) testFragments(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		var sent [][]byte
		k := NewKCP(docConv, func(b []byte, size int) { sent = append(sent, bytes.Clone(b[:size])) })
		if k.SetMtu(50) != 0 {
			t.Fatal("an MTU of 50 is refused")
		}
		message := "twenty-seven bytes of text!"
		k.Send([]byte(message))
		setClock(w, docStart)
		k.Update()
		if len(sent) != 2 {
			t.Fatalf("%d datagrams", len(sent))
		}
		p.plain("fragment-1", sent[0])
		p.plain("fragment-0", sent[1])

		peer := NewKCP(docConv, func([]byte, int) {})
		for _, b := range slices.Backward(sent) {
			if code := peer.Input(b, true, false); code != 0 {
				t.Errorf("input: %d", code)
			}
		}
		buf := make([]byte, 100)
		if n := peer.Recv(buf); n < 0 || string(buf[:n]) != message {
			t.Errorf("received %d", n)
		}
	})
}

// testFEC is a group of two data shards and a parity shard, and a datagram out of band.
func (p *protocol) testFEC(t *testing.T) {
	virtual(t, netem.Path{Delay: docDelay}, func(w *world) {
		cfg := w.config(nil, 2, 1)
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.dialConv(cfg, docConv, l)
		client.plainClock()
		setClock(w, docStart)
		tap := p.tap(w)
		client.Write([]byte("hi"))
		client.Write([]byte("again"))
		seen := tap.take(w, 3)
		p.plain("fec-data-0", seen[0])
		p.plain("fec-data-1", seen[1])
		p.plain("fec-parity", seen[2])

		// The document's construction of the code gives this parity, and any other.
		const shard = 6 // where it begins
		data := [][]byte{seen[0][shard:], seen[1][shard:]}
		if want := docParity(data, 1)[0]; !bytes.Equal(seen[2][shard:], want) {
			t.Errorf("parity is\n%x, by the document\n%x", seen[2][shard:], want)
		}

		server, err := l.AcceptKCP()
		w.check(err)
		heard := make(chan []byte, 1)
		w.check(server.SetOOBHandler(func(b []byte) { heard <- bytes.Clone(b) }))
		w.awaitIdle()
		w.watch(func(_, _ netip.AddrPort, b []byte) bool {
			if uint32(littleEndian(b[:4])) == 0xffffffff {
				p.plain("oob", b)
			}
			return true
		})
		w.check(client.SendOOB([]byte("ping")))
		if b := <-heard; string(b) != "ping" {
			t.Errorf("out of band: %q", b)
		}
		closeAll(client, server, l)
	})
}

// testCiphers is the probe under each cipher: as a session sends it, as the cipher decrypts it,
// and as a listener answers it.
func (p *protocol) testCiphers(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	nonce := make([]byte, 16)
	countingEntropy{}.Fill(nonce)
	wask := p.examples["wask"].data
	sum := crc32.ChecksumIEEE(wask)
	envelope := slices.Concat(nonce, []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)}, wask)
	p.produced("envelope", envelope)

	for _, spec := range cipherSpecs {
		sealed := p.probeUnder(t, "cipher-"+spec.name, mustCrypt(t, spec, key[:spec.keySize]))
		opened := make([]byte, len(sealed))
		mustCrypt(t, spec, key[:spec.keySize]).Decrypt(opened, sealed)
		if !bytes.Equal(opened, envelope) {
			t.Errorf("%s opens as\n%x, want\n%x", spec.name, opened, envelope)
		}
	}

	block, err := aes.NewCipher(key[:16])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	chacha, err := chacha20poly1305.New(key)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := NewAESGCMCrypt(key[:16])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		crypt BlockCrypt
		aead  cipher.AEAD
	}{
		{"aead-aes-128-gcm", ours, gcm},
		{"aead-chacha20-poly1305", NewAEADCrypt(chacha), chacha},
	} {
		sealed := p.probeUnder(t, c.name, c.crypt)
		at := c.aead.NonceSize()
		opened, err := c.aead.Open(nil, sealed[:at], sealed[at:], nil)
		if err != nil || !bytes.Equal(opened, wask) || !bytes.Equal(sealed[:at], nonce[:at]) {
			t.Errorf("%s opens as %x, %v", c.name, opened, err)
		}
	}
}

// countingEntropy fills nonces with f0, f1, f2 and so on.
type countingEntropy struct{}

func (countingEntropy) Init() {}
func (countingEntropy) Fill(nonce []byte) {
	for i := range nonce {
		nonce[i] = 0xf0 + byte(i)
	}
}

// probeUnder returns the probe as a session with that cipher sends it. A listener answers it.
func (p *protocol) probeUnder(t *testing.T, name string, crypt BlockCrypt) (sealed []byte) {
	t.Helper()
	virtual(t, netem.Path{Delay: docDelay}, func(w *world) {
		cfg := unsealed(w.config(crypt, 0, 0)) // of which the document shows what is sealed under the cipher
		cfg.env.entropy = countingEntropy{}
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.dialConv(cfg, docConv, l)
		client.plainClock()
		tap := p.tap(w)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		w.check(client.awaitPeer(ctx))
		sealed = tap.take(w, 2)[0]
		p.produced(name, sealed)
		closeAll(client, l)
	})
	return sealed
}

// The document's construction of the Reed-Solomon code is the one that is used.
func TestProtocolCode(t *testing.T) {
	for _, n := range [][2]int{{1, 1}, {1, 3}, {2, 1}, {2, 3}, {3, 2}, {10, 3}, {17, 5}, {40, 20}} {
		shards := make([][]byte, n[0]+n[1])
		for i := range shards {
			shards[i] = random(uint64(i), 50)
		}
		rs, err := reedsolomon.New(n[0], n[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := rs.Encode(shards); err != nil {
			t.Fatal(err)
		}
		for i, want := range docParity(shards[:n[0]], n[1]) {
			if !bytes.Equal(shards[n[0]+i], want) {
				t.Errorf("%d/%d: parity shard %d differs", n[0], n[1], i)
			}
		}
	}
}

// docParity computes parity as the document describes it: in GF(2^8) with the polynomial 0x11d,
// by the Vandermonde matrix made systematic.
func docParity(data [][]byte, parity int) (shards [][]byte) {
	n, length := len(data), 0
	for _, d := range data {
		length = max(length, len(d))
	}
	v := make([][]byte, n+parity)
	for r := range v {
		v[r] = make([]byte, n)
		power := byte(1)
		for c := range v[r] {
			v[r][c] = power
			power = fieldMul(power, byte(r))
		}
	}
	// Column operations that make the top the identity are what its inverse does.
	for i := range n {
		if v[i][i] == 0 {
			for j := i + 1; j < n; j++ {
				if v[i][j] != 0 {
					for r := range v {
						v[r][i], v[r][j] = v[r][j], v[r][i]
					}
					break
				}
			}
		}
		inverse := fieldInverse(v[i][i])
		for r := range v {
			v[r][i] = fieldMul(v[r][i], inverse)
		}
		for j := range n {
			if factor := v[i][j]; j != i && factor != 0 {
				for r := range v {
					v[r][j] ^= fieldMul(factor, v[r][i])
				}
			}
		}
	}
	for _, row := range v[n:] {
		p := make([]byte, length)
		for i, d := range data {
			for at, b := range d {
				p[at] ^= fieldMul(row[i], b)
			}
		}
		shards = append(shards, p)
	}
	return shards
}

func fieldMul(a, b byte) (product byte) {
	for ; b > 0; b >>= 1 {
		if b&1 != 0 {
			product ^= a
		}
		overflow := a&0x80 != 0
		if a <<= 1; overflow {
			a ^= 0x1d
		}
	}
	return product
}

func fieldInverse(a byte) byte {
	for b := 1; b < 256; b++ {
		if fieldMul(a, byte(b)) == 1 {
			return byte(b)
		}
	}
	panic("0 has no inverse")
}

// The document's constants are the code's, all of them.
func TestProtocolConstants(t *testing.T) {
	p := readProtocol(t)
	want := protocolConstants()
	for _, row := range p.tablesWith("cmd", "name")[0] {
		if row[0] != strconv.FormatUint(want[row[1]], 10) {
			t.Errorf("%s is %d, in the table of segments %s", row[1], want[row[1]], row[0])
		}
	}
	for _, table := range p.tablesWith("constant", "value") {
		for _, row := range table {
			n, err := strconv.ParseUint(row[1], 0, 64)
			have, known := want[row[0]]
			switch {
			case err != nil:
				t.Errorf("%s: %v", row[0], err)
			case !known:
				t.Errorf("%s is unknown, or there twice", row[0])
			case n != have:
				t.Errorf("%s is %d, in the document %d", row[0], have, n)
			}
			delete(want, row[0])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		t.Errorf("the document does not have %s, which is %d", name, want[name])
	}
}

// The document's fields are where the code has them.
func TestProtocolFields(t *testing.T) {
	p := readProtocol(t)
	tables := p.tablesWith("offset", "size", "field")
	layouts := protocolLayouts()
	if len(tables) != len(layouts) {
		t.Fatalf("%d tables of fields, want %d", len(tables), len(layouts))
	}
	for i, b := range layouts {
		at := 0
		for _, row := range tables[i] {
			offset, err1 := strconv.Atoi(row[0])
			size, err2 := strconv.Atoi(row[1])
			if err := errors.Join(err1, err2); err != nil || offset != at {
				t.Fatalf("field %s at %s: want it at %d, %v", row[2], row[0], at, err)
			}
			at += size
			if at > len(b.data) || littleEndian(b.data[offset:at]) != b.fields[row[2]] {
				t.Errorf("field %s is not at %d, or has another size", row[2], offset)
			}
		}
		if at != len(b.data) {
			t.Errorf("the fields have %d bytes, want %d", at, len(b.data))
		}
	}
}

// The document's sizes of segments and of what goes out of band are those of sessions.
func TestProtocolSizes(t *testing.T) {
	p := readProtocol(t)
	gcm, err := NewAESGCMCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	aes, err := NewAESBlockCrypt(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	ciphers := map[string]BlockCrypt{"none": nil, "BlockCrypt": aes, "AES-GCM": gcm}
	tables := p.tablesWith("cipher", "FEC", "data of a segment", "out-of-band payload")
	if len(tables) != 1 || len(tables[0]) != 6 {
		t.Fatalf("tables of sizes: %v", tables)
	}
	for _, row := range tables[0] {
		block, ok := ciphers[row[0]]
		if !ok || row[1] != "off" && row[1] != "on" {
			t.Fatalf("unknown: %v", row)
		}
		shards := 0
		if row[1] == "on" {
			shards = 3
		}
		full, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		virtual(t, netem.Path{}, func(w *world) {
			cfg := unsealed(w.config(block, shards, shards))
			l := w.listen(cfg, "10.0.0.2:2000")
			client := w.dialConv(cfg, docConv, l)
			if n := client.GetOOBMaxSize(); strconv.Itoa(n) != cmp.Or(strings.Trim(row[3], "-"), "0") {
				t.Errorf("%s: out of band %d", row, n)
			}
			tap := p.tap(w)
			client.Write(make([]byte, full)) // one message, in two segments
			server, err := l.AcceptKCP()
			w.check(err)
			for _, step := range []struct {
				write int
				read  []int
			}{
				{0, []int{full}},
				{1400, []int{full, 1400 - full}},
				{full, []int{full}},
			} {
				if step.write > 0 {
					w.awaitIdle() // until the peer has acknowledged what was sent
					client.wantSettled(t)
					tap.all(w)
					client.Write(make([]byte, step.write))
				}
				for _, want := range step.read {
					if n, err := server.Read(make([]byte, 1500)); n != want || err != nil {
						t.Errorf("%s: read %d, %v, want %d", row, n, err, want)
					}
				}
				if sent := tap.all(w); len(sent[0]) != 1400 {
					t.Errorf("%s: a full datagram has %d bytes", row, len(sent[0]))
				}
			}
			closeAll(client, server, l)
		})
		virtual(t, netem.Path{}, func(w *world) { // the first segments are shorter
			cfg := unsealed(w.config(block, shards, shards))
			l := w.listen(cfg, "10.0.0.2:2000")
			client := w.dialConv(cfg, docConv, l)
			client.plainClock()
			client.Write(make([]byte, 1400))
			server, err := l.AcceptKCP()
			w.check(err)
			if n, err := server.Read(make([]byte, 1500)); n != full-IKCP_OVERHEAD || err != nil {
				t.Errorf("%s: the first segment has %d, %v", row, n, err)
			}
			closeAll(client, server, l)
		})
	}
}

// All below is what these tests know of the package's inside.

// dialConv is dial with a given conversation, and session number.
func (w *world) dialConv(cfg *config, conv uint32, l *Listener) *UDPSession {
	s := cfg.dial(conv, l.Addr(), newSocket(w.bind("10.0.0.1:1000"), true))
	s.setNumber(docDialled)
	return s
}

// setNumber sets the session's number, before it has sent anything.
func (s *UDPSession) setNumber(number uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.peer.own = number
}

// wantSettled wants the peer to have acknowledged something, and everything.
func (s *UDPSession) wantSettled(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.core.caps.announcing || s.core.WaitSnd() != 0 {
		t.Errorf("%d segments wait, announcing: %t", s.core.WaitSnd(), s.core.caps.announcing)
	}
}

// fieldsOf reads a plain datagram.
func fieldsOf(b []byte) (fields []docField) {
	num := func(name string, v uint64) { fields = append(fields, docField{name: name, num: v}) }
	text := func(name string, b []byte) {
		if len(b) > 0 {
			fields = append(fields, docField{name: name, text: string(b)})
		}
	}
	if h, ok := parseFEC(b); ok {
		num("seqid", uint64(h.seqid))
		num("type", uint64(h.kind))
		if h.kind == fecTypeParity {
			return fields
		}
		num("size", uint64(h.size))
		if b, ok = h.body(b); !ok {
			return fields
		}
		if h.kind == fecTypeOOB {
			num("conv", uint64(segmentConv(b)))
			text("payload", b[convSize:])
			return fields
		}
	}
	for len(b) >= IKCP_OVERHEAD {
		var h header
		h.parse(b)
		b = b[IKCP_OVERHEAD:]
		num("conv", uint64(h.conv))
		num("cmd", uint64(h.cmd))
		num("frg", uint64(h.frg))
		num("wnd", uint64(h.wnd))
		num("ts", uint64(h.ts))
		num("sn", uint64(h.sn))
		num("una", uint64(h.una))
		num("len", uint64(h.len))
		text("data", b[:h.len])
		b = b[h.len:]
	}
	return fields
}

// layout is a header whose fields all differ.
type layout struct {
	data   []byte
	fields map[string]uint64
}

// protocolLayouts returns the headers that the document has a table of, in its order.
func protocolLayouts() []layout {
	h := header{conv: 0x01020304, cmd: 0x05, frg: 0x06, wnd: 0x0708, ts: 0x090a0b0c, sn: 0x0d0e0f10, una: 0x11121314, len: 0x15161718}
	segment := layout{make([]byte, IKCP_OVERHEAD), map[string]uint64{
		"conv": uint64(h.conv), "cmd": uint64(h.cmd), "frg": uint64(h.frg), "wnd": uint64(h.wnd),
		"ts": uint64(h.ts), "sn": uint64(h.sn), "una": uint64(h.una), "len": uint64(h.len),
	}}
	h.put(segment.data)
	fec := layout{[]byte{1, 2, 3, 4, 0xf2, 0, 7, 8}, nil}
	f, _ := parseFEC(fec.data)
	fec.fields = map[string]uint64{"seqid": uint64(f.seqid), "type": uint64(f.kind), "size": uint64(f.size)}
	return []layout{segment, fec}
}

// protocolConstants returns the constants by their names in the document.
func protocolConstants() map[string]uint64 {
	ms := func(d time.Duration) uint64 { return uint64(d / time.Millisecond) }
	return map[string]uint64{
		"PUSH": IKCP_CMD_PUSH, "ACK": IKCP_CMD_ACK, "WASK": IKCP_CMD_WASK, "WINS": IKCP_CMD_WINS,
		"FIN": cmdFIN, "RST": cmdRST, "DGRAM": cmdDGRAM, "REP": cmdREP, "REPORT": cmdREPORT, "SKIP": cmdSKIP,
		"capability mark": capMark, "capability FIN": capFIN, "capability RECORDS": capRecords, "record PARAMS": recordParams,
		"record PATH": recordPath, "record PATH OK": recordPathOK, "record PROBE": recordProbe, "record PROBE OK": recordProbeOK, "feature datagrams": featureDgram, "feature ranges": featureRanges, "feature expiry": featureSkip, "message that may expire": messageMax, "DGRAMs that are remembered": dgramRepeatsMax,
		"rebuilt": capRebuilt, "feature repairs": featureRepairs, "members of a REP": repairWindow, "members field of a REP": repairBitmap,
		"head of a symbol": symbolHead, "equations of repairs": repairRows, "span of equations": repairSpan,
		"ranges of an ACK": ackRangesMax,

		"segment header": IKCP_OVERHEAD, "longest datagram": mtuLimit, "longest jumbo datagram": jumboLimit, "default MTU": IKCP_MTU_DEF, "least MTU": mtuMin,
		"segments of a message": maxFragments, "largest window": wndLimit, "assumed window": IKCP_WND_RCV,
		"window of an ended session": timeWaitWindow,

		"BlockCrypt nonce": nonceSize, "BlockCrypt CRC": crcSize,
		"FEC data": fecTypeData, "FEC parity": fecTypeParity, "FEC out-of-band": fecTypeOOB,
		"FEC header": fecHeaderSize, "FEC size field": fecSizeField, "FEC shards of a group": fecShardsMax,
		"out-of-band seqid": oobSeqid, "out-of-band conv": convSize,
		"FEC pause": ms(fecSparse), "FEC reordering": fecStraggler, "FEC skip": 2 * fecStraggler, "FEC open groups": fecWindow,
		"FEC dwell": ms(time.Duration(fecResizeInterval)),

		"initial RTO": IKCP_RTO_DEF, "least RTO": IKCP_RTO_MIN, "least RTO, low latency": IKCP_RTO_NDL, "longest RTO": IKCP_RTO_MAX,
		"initial window": autoWindow, "largest automatic window": autoWindowMax,
		"unanswered window probe": IKCP_PROBE_INIT, "longest window probe": IKCP_PROBE_LIMIT,
		"ACK delay": ms(time.Duration(ackDelayMax)), "ACK batch": ackEvery, "ACK batch of a stream": thinMax, "ACK delay of a stream": ms(time.Duration(thinDelayMax)),
		"user timeout": ms(userTimeout), "keepalive probes": keepAliveProbes,
		"linger time": ms(closeTimeout), "drain": ms(time.Duration(closingMaxRTO)),
		"memory of ended sessions": ms(time.Duration(timeWaitLife)), "ended sessions": timeWaitMax * demuxShards,
		"restart": ms(time.Duration(reconnectAfter)), "accept backlog": acceptBacklog,
		"answers": restartAnswers, "most answers": restartAnswersMax, "time of answers": ms(time.Duration(restartTime)),
		"questions": restartQuestions, "datagrams kept back": keptBackMax, "remembered numbers": peerNumbersKept,
		"bound toward an unproven peer": unprovenFlights * initialWindow, "address challenges": ms(time.Duration(challengeMax)),
		"unproven sessions": unprovenMax, "unproven sessions of an address": unprovenPerPrefix,
		"grace of unproven sessions": ms(time.Duration(unprovenGrace)),
	}
}
