package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// end is either end of a connection.
type end interface {
	io.ReadWriter
	SetDeadline(time.Time) error
}

var (
	_ end = (*UDPSession)(nil)
	_ end = (*unmarked.Session)(nil)
)

// meet makes a session of ours and its peer, which speak: dialled says that ours is the one that
// dials. The peer's counts and cipher are those of cfg.
func (w *world) meet(cfg *config, conv uint32, dialled bool, theirs unmarked.Config) (s *UDPSession, peer *unmarked.Session) {
	w.Helper()
	hello := []byte("hello")
	say := func(a, b end) error {
		_, err := a.Write(hello)
		if err == nil {
			_, err = io.ReadFull(b, make([]byte, len(hello)))
		}
		return err
	}
	if dialled {
		l := unmarked.Listen(theirs, w.bind("10.0.0.2:0"))
		s = cfg.dial(conv, l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
		s.Write(hello)
		var err error
		peer, err = l.Accept()
		w.check(err)
		w.Cleanup(l.Kill)
		_, err = io.ReadFull(peer, make([]byte, len(hello)))
		w.check(err)
		w.check(say(peer, s))
		return s, peer
	}
	l := w.listen(cfg, "10.0.0.2:2000")
	peer = unmarked.Dial(theirs, w.bind("10.0.0.1:0"), l.Addr(), conv)
	peer.Write(hello)
	s, err := l.AcceptKCP()
	w.check(err)
	w.check(l.Close())
	_, err = io.ReadFull(s, make([]byte, len(hello)))
	w.check(err)
	w.check(say(s, peer))
	return s, peer
}

// envelopeOf returns the peer's form of a cipher that newCrypt knows.
func envelopeOf(t *testing.T, name string) (e unmarked.Envelope) {
	t.Helper()
	var err error
	switch key := random(1, 16); name {
	case "aes":
		e, err = unmarked.AES(key)
	case "gcm":
		e, err = unmarked.GCM(key)
	case "salsa20":
		e = unmarked.Salsa20(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// carryMessages sends n messages of up to longest bytes, numbered, and expects each as it was sent.
func carryMessages(from, to end, n, longest int) error {
	rnd := seeded(uint64(n), uint64(longest))
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 4 + rnd.IntN(longest-3)
	}
	message := func(i int) []byte {
		b := random(uint64(i), sizes[i])
		binary.LittleEndian.PutUint32(b, uint32(i))
		return b
	}
	failed := make(chan error, 1)
	go func() {
		for i := range n {
			if _, err := from.Write(message(i)); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	b := make([]byte, longest+1)
	for i := range n {
		m, err := to.Read(b)
		if err != nil {
			return fmt.Errorf("message %d of %d: %w", i, n, err)
		}
		if want := message(i); !bytes.Equal(b[:m], want) {
			return fmt.Errorf("message %d is %d bytes from number %d, want %d bytes", i, m, binary.LittleEndian.Uint32(b), len(want))
		}
	}
	return <-failed
}

// pingPong sends a message to and fro.
func pingPong(a, b end, rounds int) error {
	for i := range rounds {
		for _, dir := range [][2]end{{a, b}, {b, a}} {
			msg := fmt.Sprintf("message %d", i)
			if _, err := io.WriteString(dir[0], msg); err != nil {
				return err
			}
			got := make([]byte, len(msg))
			if _, err := io.ReadFull(dir[1], got); err != nil || string(got) != msg {
				return fmt.Errorf("%q for %q: %w", got, msg, err)
			}
		}
	}
	return nil
}

// Everything arrives once and in order, both ways, at a peer that shares no code with this package.
func TestInterop(t *testing.T) {
	virtualOnly(t)
	const ms = time.Millisecond
	paths := []struct {
		name string
		netem.Path
	}{
		{"clean", netem.Path{}},
		{"1% loss", netem.Path{Delay: 20 * ms, Loss: 0.01}},
		{"5% loss and reordering", netem.Path{Delay: 10 * ms, Jitter: 2 * ms, Loss: 0.05, Reorder: 0.05}},
	}
	row := 0
	rebuilt := make(map[[2]int]*[2]int) // by shard counts: datagrams here and at the peer
	for _, dialled := range []bool{true, false} {
		for _, crypt := range []string{"plain", "aes", "gcm", "salsa20"} {
			for _, fec := range [][2]int{{0, 0}, {10, 3}, {2, 1}} {
				for i, path := range paths {
					for _, stream := range []bool{true, false} {
						row++
						if rebuilt[fec] == nil {
							rebuilt[fec] = new([2]int)
						}
						in := interop{
							crypt: crypt, fec: fec, dialled: dialled, row: row, rebuilt: rebuilt[fec],
							theirs: unmarked.Config{
								Envelope: envelopeOf(t, crypt), DataShards: fec[0], ParityShards: fec[1],
								FixedFEC: row%4 < 2, Stream: stream, Fragments: !stream && row%3 == 0,
								SendWindow: 32 << (row % 6), ReceiveWindow: 1024 >> (row / 2 % 6),
								Interval: time.Duration(10*(1+i)) * ms,
								NoDelay:  row%5 < 3, Resend: 2,
							},
						}
						name := fmt.Sprintf("dialled=%t/%s/fec=%d+%d/%s/stream=%t", dialled, crypt, fec[0], fec[1], path.name, stream)
						t.Run(name, func(t *testing.T) { virtual(t, path.Path, in.run) })
					}
				}
			}
		}
	}
	for fec, n := range rebuilt {
		if fec[0] > 0 && (n[0] == 0 || n[1] == 0) {
			t.Errorf("FEC %v: %d datagrams rebuilt here, %d at the peers", fec, n[0], n[1])
		}
	}
}

// interop is a row of TestInterop.
type interop struct {
	crypt   string
	fec     [2]int
	dialled bool
	row     int
	theirs  unmarked.Config
	rebuilt *[2]int
}

// oursOf are the settings that programs choose, in turn.
var oursOf = []func(s *UDPSession){
	func(s *UDPSession) {},
	func(s *UDPSession) { s.SetNoDelay(1, 10, 2, 1); s.SetWindowSize(1024, 1024) },
	func(s *UDPSession) { s.SetNoDelay(0, 30, 2, 1); s.SetWindowSize(1024, 512) },
	func(s *UDPSession) { s.SetNoDelay(1, 20, 2, 0); s.SetWindowSize(32, 32); s.SetACKNoDelay(true) },
	func(s *UDPSession) { s.SetNoDelay(0, 40, 0, 0); s.SetWriteDelay(true) },
}

func (in *interop) run(w *world) {
	s, peer := w.meet(w.config(newCrypt(w.T, in.crypt), in.fec[0], in.fec[1]), w.convs.next(), in.dialled, in.theirs)
	unknown := w.snmp.Copy().InErrs // parity that was there before the data that made the session
	oursOf[in.row%len(oursOf)](s)
	s.SetStreamMode(in.theirs.Stream)
	for _, e := range []end{s, peer} {
		e.SetDeadline(time.Now().Add(patience()))
	}
	bulk := func(from, to end) error { return carry(from, to, 100_000) }
	if !in.theirs.Stream {
		bulk = func(from, to end) error {
			longest := 1300
			if from == end(peer) && in.theirs.Fragments {
				longest *= 4
			}
			return carryMessages(from, to, 100, longest)
		}
	}
	w.check(pingPong(s, peer, 10))
	back := make(chan error, 1)
	go func() { back <- bulk(peer, s) }()
	err := bulk(s, peer)
	w.check(errors.Join(err, <-back))
	w.check(pingPong(peer, s, 10))
	w.sleep(10 * time.Second)
	if ours, theirs := s.Stats().Unacknowledged, peer.Waiting(); ours+theirs > 0 {
		w.Errorf("%d and %d segments are left", ours, theirs)
	}
	if n := peer.Counts().Rejected; n > 0 {
		w.Errorf("the peer has rejected %d datagrams", n)
	}
	if n := w.snmp.Copy(); n.InErrs-unknown+n.InCsumErrors+n.KCPInErrors+n.FECErrs > 0 {
		w.Errorf("rejected: %+v", n)
	}
	in.rebuilt[0] += int(w.snmp.Copy().FECRecovered)
	in.rebuilt[1] += peer.Counts().Rebuilt
	closeAll(s, peer)
}

// A reader that pauses until the window is full, and longer than a probe takes, gets the rest when it
// goes on. The window update is lost, so that only a probe finds out.
func TestInteropPause(t *testing.T) {
	for _, reader := range []string{"ours", "peer"} {
		for _, dialled := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s pauses, dialled=%t", reader, dialled), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					s, peer := w.meet(w.config(nil, 0, 0), 7, dialled, unmarked.Config{SendWindow: 256})
					s.SetWindowSize(256, 32)
					var from, to end = peer, s
					if reader == "peer" {
						from, to = s, peer
					}
					data := random(1, 100*plainMSS)
					failed := make(chan error, 1)
					go func() {
						_, err := from.Write(data)
						failed <- err
					}()
					start := time.Now()
					w.sleep(60 * time.Second) // the sender has probed at 7, 17.5 and 33 s
					w.watch(func(_, _ netip.AddrPort, b []byte) bool {
						h := segmentsOf(b)
						return h[0].cmd != IKCP_CMD_WINS || time.Since(start) > 75*time.Second
					})
					to.SetDeadline(time.Now().Add(patience()))
					got := make([]byte, len(data))
					if n, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
						t.Errorf("%d of %d bytes: %v", n, len(data), err)
					}
					w.check(<-failed)
					if c := peer.Counts(); c.Rejected > 0 || reader == "ours" && c.Told < 4 || reader == "peer" && c.Asked < 4 {
						t.Errorf("%+v", c)
					}
					closeAll(s, peer)
				})
			})
		}
	}
}

// The first datagram may be an out-of-band one: peers' listeners make a session of it.
func TestInteropOOBFirst(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		heard := make(chan string, 1)
		theirs := unmarked.Config{DataShards: 1, ParityShards: 1, OOB: func(b []byte) { heard <- string(b) }}
		l := unmarked.Listen(theirs, w.bind("10.0.0.2:2000"))
		s := w.config(nil, 1, 1).dial(7, l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
		w.check(s.SendOOB([]byte("first")))
		peer, err := l.Accept()
		w.check(err)
		if got := <-heard; got != "first" {
			t.Errorf("heard %q", got)
		}
		w.check(exchange(s, peer, 50_000))
		s.Close()
		l.Kill()
	})
}
