package unmarked

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tjfoc/gmsm/sm4"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/blowfish"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/cast5"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/tea"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/twofish"
	//lint:ignore SA1019 deployed peers use it
	"golang.org/x/crypto/xtea"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// capture is one session of a deployed client, as its datagrams and as what they say.
type capture struct {
	Cipher       string
	Key          hexBytes
	Conv         uint32
	DataShards   int
	ParityShards int
	Messages     []hexBytes
	Datagrams    []hexBytes
}

func (v *capture) config(t *testing.T) Config {
	t.Helper()
	return Config{Envelope: envelope(t, v.Cipher, v.Key), DataShards: v.DataShards, ParityShards: v.ParityShards}
}

// blocks are the block ciphers by name.
var blocks = map[string]func(key []byte) (cipher.Block, error){
	"aes-128": aes.NewCipher, "aes-192": aes.NewCipher, "aes-256": aes.NewCipher,
	"sm4":      sm4.NewCipher,
	"3des":     des.NewTripleDESCipher,
	"twofish":  func(key []byte) (cipher.Block, error) { return twofish.NewCipher(key) },
	"cast5":    func(key []byte) (cipher.Block, error) { return cast5.NewCipher(key) },
	"blowfish": func(key []byte) (cipher.Block, error) { return blowfish.NewCipher(key) },
	"tea":      func(key []byte) (cipher.Block, error) { return tea.NewCipherWithRounds(key, 16) },
	"xtea":     func(key []byte) (cipher.Block, error) { return xtea.NewCipher(key) },
}

// envelope returns that of a cipher, nil for none.
func envelope(t *testing.T, name string, key []byte) (e Envelope) {
	t.Helper()
	var err error
	switch name {
	case "":
	case "none":
		e = None()
	case "salsa20":
		e = Salsa20(key)
	case "xor":
		e, err = XOR(key)
	case "aes-128-gcm":
		e, err = GCM(key)
	default:
		var block cipher.Block
		if block, err = blocks[name](key); err == nil {
			e = CFB(block)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func load[T any](t *testing.T, file string) []T {
	t.Helper()
	b, err := os.ReadFile("../../testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Vectors []T }
	if err := json.Unmarshal(b, &all); err != nil || len(all.Vectors) == 0 {
		t.Fatal(err)
	}
	return all.Vectors
}

// eachCapture runs f in virtual time for each captured session.
func eachCapture(t *testing.T, f func(t *testing.T, v *capture, n *netem.Network)) {
	for _, v := range load[capture](t, "sessions.json") {
		t.Run(fmt.Sprintf("%s/%d+%d", v.Cipher, v.DataShards, v.ParityShards), func(t *testing.T) {
			virtual(t, netem.Path{Delay: time.Millisecond}, func(n *netem.Network) { f(t, &v, n) })
		})
	}
}

func virtual(t *testing.T, path netem.Path, f func(n *netem.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := netem.New(1)
		defer n.Close()
		if err := n.SetDefault(path); err != nil {
			t.Fatal(err)
		}
		f(n)
	})
}

func bind(t *testing.T, n *netem.Network, addr string) *netem.Conn {
	t.Helper()
	c, err := n.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Each cipher's known answers, over whole datagrams.
func TestCipherVectors(t *testing.T) {
	type vector struct {
		Cipher string
		Key    hexBytes
		Cases  []struct{ Plaintext, Ciphertext hexBytes }
	}
	for _, v := range load[vector](t, "ciphers.json") {
		t.Run(v.Cipher, func(t *testing.T) {
			e := envelope(t, v.Cipher, v.Key).(stream)
			for _, c := range v.Cases {
				sealed, opened := make([]byte, len(c.Plaintext)), make([]byte, len(c.Plaintext))
				if e.encrypt(sealed, c.Plaintext); !bytes.Equal(sealed, c.Ciphertext) {
					t.Errorf("%d bytes: sealed %x, want %x", len(sealed), sealed, c.Ciphertext)
				}
				if e.decrypt(opened, c.Ciphertext); !bytes.Equal(opened, c.Plaintext) {
					t.Errorf("%d bytes: opened %x, want %x", len(opened), opened, c.Plaintext)
				}
			}
		})
	}
}

// A listener reads each captured session. Where there is FEC, any two datagrams of the first group
// may be missing, and the counts need not be known.
func TestReadsCaptures(t *testing.T) {
	eachCapture(t, func(t *testing.T, v *capture, n *netem.Network) {
		replay := func(cfg Config, without ...int) {
			t.Helper()
			l := Listen(cfg, bind(t, n, "10.0.0.2:2000"))
			from := bind(t, n, "10.0.0.1:1000")
			for i, d := range v.Datagrams {
				if len(without) == 0 || i != without[0] && i != without[1] {
					from.WriteTo(d, l.Addr())
				}
			}
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if s.Conv() != v.Conv {
				t.Errorf("conv %#x, want %#x", s.Conv(), v.Conv)
			}
			s.SetDeadline(time.Now().Add(time.Second))
			b := make([]byte, mtuMax)
			for i, want := range v.Messages {
				if m, err := s.Read(b); err != nil || !bytes.Equal(b[:m], want) {
					t.Errorf("without %v: message %d is %x, %v, want %x", without, i, b[:m], err, want)
				}
			}
			if m, err := s.Read(b); err == nil {
				t.Errorf("%x as well", b[:m])
			}
			if c := s.Counts(); c.Rejected > 0 {
				t.Errorf("%d datagrams rejected", c.Rejected)
			}
			l.Kill()
			from.Close()
		}
		replay(v.config(t))
		plain := v.config(t)
		plain.DataShards, plain.ParityShards = 0, 0
		replay(plain)
		for i := range v.DataShards + v.ParityShards {
			for j := range i {
				replay(v.config(t), j, i)
			}
		}
	})
}

// shown is a datagram, field by field, without what differs from run to run: nonce, CRC and ts.
func (v *capture) shown(t *testing.T, e Envelope, d []byte) (fields string) {
	t.Helper()
	if e != nil {
		payload, err := e.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		fields, d = fmt.Sprintf("%d bytes of envelope, ", len(d)-len(payload)), payload
	}
	if v.DataShards > 0 {
		le := binary.LittleEndian
		fields += fmt.Sprintf("seqid %d type %x ", le.Uint32(d), le.Uint16(d[4:]))
		if le.Uint16(d[4:]) == fecParity {
			return fields + fmt.Sprintf("%d bytes", len(d))
		}
		fields += fmt.Sprintf("size %d ", le.Uint16(d[6:]))
		d = d[fecOverhead:]
	}
	for len(d) > 0 {
		var s segment
		rest, ok := s.parse(d)
		if !ok {
			t.Fatalf("%x is no segment", d)
		}
		d, s.ts = rest, 0
		fields += fmt.Sprintf("%+v ", s)
	}
	return fields
}

// The peer sends what the captured client sent.
func TestSendsAsCaptured(t *testing.T) {
	eachCapture(t, func(t *testing.T, v *capture, n *netem.Network) {
		cfg := v.config(t)
		var got [][]byte
		n.SetTap(func(_, _ netip.AddrPort, b []byte) bool {
			got = append(got, bytes.Clone(b))
			return false
		})
		s := Dial(cfg, bind(t, n, "10.0.0.1:1000"), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2000}, v.Conv)
		for _, m := range v.Messages {
			if _, err := s.Write(m); err != nil {
				t.Fatal(err)
			}
		}
		s.Kill()
		if len(got) != len(v.Datagrams) {
			t.Fatalf("%d datagrams, want %d", len(got), len(v.Datagrams))
		}
		for i, want := range v.Datagrams {
			if g, w := v.shown(t, cfg.Envelope, got[i]), v.shown(t, cfg.Envelope, want); g != w || len(got[i]) != len(want) {
				t.Errorf("datagram %d, %d bytes:\n%s\nwant %d:\n%s", i, len(got[i]), g, len(want), w)
			}
		}
	})
}

// Sealing a captured datagram's payload again under its nonce gives the datagram, and the parity of
// the captured groups is theirs.
func TestSealsAsCaptured(t *testing.T) {
	eachCapture(t, func(t *testing.T, v *capture, _ *netem.Network) {
		e := envelope(t, v.Cipher, v.Key)
		var payloads [][]byte
		for i, d := range v.Datagrams {
			if e == nil {
				payloads = append(payloads, d)
				continue
			}
			payload, err := e.Open(d)
			if err != nil {
				t.Fatal(err)
			}
			payloads = append(payloads, payload)
			nonce := d[:e.NonceSize()]
			if s, ok := e.(stream); ok {
				nonce = make([]byte, len(d))
				s.decrypt(nonce, d)
				nonce = nonce[:nonceSize]
			}
			if again := e.Seal(nonce, payload); !bytes.Equal(again, d) {
				t.Errorf("datagram %d: %x, want %x", i, again, d)
			}
		}
		if v.DataShards == 0 {
			return
		}
		enc := newEncoder(v.DataShards, v.ParityShards)
		var made [][]byte
		for _, p := range payloads {
			if kind, _, body := peel(p); kind == fecData {
				made = append(made, enc.encode(body[2:])...)
			}
		}
		for i := range payloads {
			if !bytes.Equal(made[i], payloads[i]) {
				t.Errorf("shard %d: %x, want %x", i, made[i], payloads[i])
			}
		}
	})
}

// carry writes size bytes in messages of at most chunk to a, and expects them from b.
func carry(t *testing.T, a io.Writer, b io.Reader, size, chunk int) {
	t.Helper()
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	go func() {
		for rest := data; len(rest) > 0; {
			n := min(chunk, len(rest))
			if _, err := a.Write(rest[:n]); err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
	}()
	got := make([]byte, size)
	if n, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes arrived: %v", n, size, err)
	}
}

// Two of them understand each other, over a path that loses and reorders, at all settings.
func TestBothEnds(t *testing.T) {
	for i, cfg := range []Config{
		{},
		{Stream: true, NoDelay: true, Resend: 2, SendWindow: 256, ReceiveWindow: 256},
		{Fragments: true, Interval: 30 * time.Millisecond, SendWindow: 64, ReceiveWindow: 64},
		{DataShards: 10, ParityShards: 3, NoDelay: true, Resend: 2},
		{DataShards: 2, ParityShards: 1, FixedFEC: true, ACKNoDelay: true, Envelope: Salsa20([]byte("key"))},
		{WriteDelay: true, MTU: 200},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.05, Reorder: 0.05}, func(n *netem.Network) {
				l := Listen(cfg, bind(t, n, "10.0.0.2:2000"))
				a := Dial(cfg, bind(t, n, "10.0.0.1:1000"), l.Addr(), 7)
				a.SetDeadline(time.Now().Add(time.Hour))
				a.Write([]byte("hello"))
				b, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				b.SetDeadline(time.Now().Add(time.Hour))
				io.ReadFull(b, make([]byte, 5))
				carry(t, a, b, 100_000, 3000)
				carry(t, b, a, 100_000, 300)
				if r := a.Counts().Rejected + b.Counts().Rejected; r > 0 {
					t.Errorf("%d rejected", r)
				}
				if (a.Counts().Rebuilt+b.Counts().Rebuilt > 0) != cfg.hasFEC() {
					t.Errorf("rebuilt %d and %d", a.Counts().Rebuilt, b.Counts().Rebuilt)
				}
				a.Close()
				l.Kill()
			})
		})
	}
}

// The decoder finds the peer's counts, unless it was told not to.
func TestAdapts(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		enc, dec := newEncoder(5, 2), newDecoder(10, 3, fixed)
		rebuilt := 0
		for i := range 100 {
			for j, d := range enc.encode(fmt.Appendf(nil, "datagram %d", i)) {
				if i%5 == 3 && i > 20 && j == 0 {
					continue // lost
				}
				kind, seqid, body := peel(d)
				for _, r := range dec.add(seqid, kind == fecData, body) {
					if bytes.HasPrefix(r, []byte("datagram ")) {
						rebuilt++
					}
				}
			}
		}
		if want := 16; !fixed && rebuilt != want || fixed && rebuilt > 0 {
			t.Errorf("fixed %t: %d rebuilt, want %d if not", fixed, rebuilt, want)
		}
	}
}

// A closed window is probed after 7 s, then at waits that grow by half; a WASK is answered.
func TestProbes(t *testing.T) {
	virtual(t, netem.Path{}, func(n *netem.Network) {
		l := Listen(Config{}, bind(t, n, "10.0.0.2:2000"))
		a := Dial(Config{SendWindow: 100}, bind(t, n, "10.0.0.1:1000"), l.Addr(), 7)
		a.Write(make([]byte, 50*1376))
		b, _ := l.Accept()
		time.Sleep(18 * time.Second)
		if got := b.Counts().Asked; got != 2 { // after 7 and 17.5 s
			t.Errorf("%d probes", got)
		}
		if got := a.Counts().Told; got != 2 {
			t.Errorf("%d answers", got)
		}
		b.SetDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(b, make([]byte, 50*1376)); err != nil {
			t.Error(err)
		}
		a.Close()
		l.Kill()
	})
}

// A listener tells sessions apart by address alone, and a new conversation replaces the old one.
func TestReplaces(t *testing.T) {
	virtual(t, netem.Path{}, func(n *netem.Network) {
		l := Listen(Config{}, bind(t, n, "10.0.0.2:2000"))
		c := bind(t, n, "10.0.0.1:1000")
		send := func(conv, sn uint32, cmd uint8) {
			c.WriteTo((&segment{conv: conv, cmd: cmd, sn: sn}).append(nil), l.Addr())
			synctest.Wait()
		}
		accept := func(conv uint32) *Session {
			t.Helper()
			s, err := l.Accept()
			if err != nil || s.Conv() != conv {
				t.Fatal(s, err)
			}
			return s
		}
		send(1, 5, cmdAsk) // whatever comes first
		first := accept(1)
		send(2, 5, cmdPush)
		if r := first.Counts().Rejected; r != 1 || l.Sessions() != 1 {
			t.Errorf("%d rejected, %d sessions", r, l.Sessions())
		}
		send(2, 0, cmdPush)
		accept(2)
		if _, err := first.Read(make([]byte, 1)); err != ErrClosed || l.Sessions() != 1 {
			t.Errorf("%v, %d sessions", err, l.Sessions())
		}
		l.Kill()
	})
}

// What comes before a segment that is not taken has effect, and what follows has none.
func TestRejects(t *testing.T) {
	push := func(conv, sn uint32) []byte {
		return (&segment{conv: conv, cmd: cmdPush, sn: sn, data: []byte{byte(sn)}}).append(nil)
	}
	long := push(7, 1)[:overhead]
	binary.LittleEndian.PutUint32(long[20:], 1000)
	for name, bad := range map[string][]byte{
		"conv": push(8, 1),
		"cmd":  (&segment{conv: 7, cmd: 85, sn: 1}).append(nil),
		"len":  long,
	} {
		c := newCore(Config{}.complete(), 7)
		c.input(append(append(push(7, 0), bad...), push(7, 1)...), 0, false)
		if c.rejected != 1 || c.rcvNext != 1 || len(c.acks) != 1 {
			t.Errorf("%s: %d rejected, next %d, %d acknowledgements", name, c.rejected, c.rcvNext, len(c.acks))
		}
	}
}

// Timeouts grow by half with NoDelay, else they double; skipped acknowledgements repeat a segment.
func TestRetransmits(t *testing.T) {
	for noDelay, want := range map[bool][]uint32{false: {200, 600, 1400}, true: {200, 500, 950}} {
		c := newCore(Config{NoDelay: noDelay}.complete(), 7)
		c.write([]byte("x"))
		var at []uint32
		for now := range uint32(1500) {
			c.flush(now, false, func([]byte) { at = append(at, now) })
		}
		if fmt.Sprint(at[1:4]) != fmt.Sprint(want) {
			t.Errorf("NoDelay %t: sent again at %v, want %v", noDelay, at[1:4], want)
		}
	}
	c := newCore(Config{Resend: 2}.complete(), 7)
	var sent int
	flush := func() { c.flush(10, false, func([]byte) { sent++ }) }
	for range 3 {
		c.write(make([]byte, 1376))
	}
	flush()
	for sn := range uint32(3) {
		if sn > 0 {
			c.input((&segment{conv: 7, cmd: cmdAck, ts: 10, sn: sn, wnd: 32}).append(nil), 10, false)
			flush()
		}
	}
	if sent != 4 {
		t.Errorf("%d datagrams, want 4", sent)
	}
}
