package explain

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A situation is a session that something bounds, over an emulated link in virtual time.
type situation struct {
	name   string
	want   string // the bound
	path   netem.Path
	ends   func(sender, receiver *kcp.Settings)
	write  func(io.Writer)        // nil writes as much as it can
	read   func(io.Reader)        // nil reads as fast as it can
	during func(a, b *netem.Conn) // after a second
	watch  time.Duration          // 0 is five seconds
}

func situations() []situation {
	const ms = time.Millisecond
	fast := netem.Path{Delay: 20 * ms, Bandwidth: 4e6, Queue: 200e3}
	with := func(f func(p *netem.Path)) netem.Path {
		p := fast
		f(&p)
		return p
	}
	cubic := func(sender, _ *kcp.Settings) { sender.Congestion = kcp.NewCubic }
	return []situation{
		{name: "path", want: Path, path: with(func(p *netem.Path) { p.Bandwidth, p.Queue = 500e3, 50e3 })},
		{name: "path, cubic", want: Path, path: with(func(p *netem.Path) { p.Bandwidth, p.Queue = 500e3, 50e3 }), ends: cubic},
		{name: "path with some loss", want: Path, path: with(func(p *netem.Path) { p.Bandwidth, p.Loss = 500e3, 0.03 })},
		{name: "loss, cubic", want: Loss, path: with(func(p *netem.Path) { p.Loss = 0.03 }), ends: cubic},
		{name: "much loss", want: Loss, path: with(func(p *netem.Path) { p.Bandwidth, p.Loss = 1e6, 0.3 })},
		{name: "policer", want: Policer, path: with(func(p *netem.Path) { p.Policer.Rate = 1e6 })},
		{name: "policer, cubic", want: Policer, path: with(func(p *netem.Path) { p.Policer.Rate = 1e6 }), ends: cubic},
		{name: "small window", want: Window, path: fast, ends: func(sender, _ *kcp.Settings) { sender.SendWindow = 16 }},
		{name: "small window of the peer", want: PeerWindow, path: fast, ends: func(_, receiver *kcp.Settings) { receiver.ReceiveWindow = 16 }},
		{name: "slow reader", want: Receiver, path: fast, read: readSlowly},
		{name: "rate limit", want: Rate, path: fast, ends: func(sender, _ *kcp.Settings) { sender.RateLimit = 100e3 }},
		{name: "application", want: Application, path: fast, write: writeSometimes},
		{name: "MTU black hole", want: MTU, path: with(func(p *netem.Path) { p.MTU = 300 }), watch: 7 * time.Second},
		{name: "dead path", want: Dead, path: fast, watch: 7 * time.Second, during: func(a, b *netem.Conn) {
			a.Network().SetPath(a.LocalAddr(), b.LocalAddr(), netem.Path{Loss: 1})
			a.Network().SetPath(b.LocalAddr(), a.LocalAddr(), netem.Path{Loss: 1})
		}},
	}
}

func readSlowly(r io.Reader) {
	for b := make([]byte, 10e3); ; time.Sleep(50 * time.Millisecond) {
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
	}
}

func writeSometimes(w io.Writer) {
	for {
		if _, err := w.Write(make([]byte, 1000)); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func writeAll(w io.Writer) {
	for b := make([]byte, 64<<10); ; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// run runs the situation, and returns samples of the sender.
func (c *situation) run(t *testing.T, seed uint64) (series []Sample) {
	a, b, err := netem.Pipe(seed, c.path, netem.Path{Delay: c.path.Delay, MTU: c.path.MTU})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Network().Close()
	sending := kcp.Settings{StreamMode: true, Profile: kcp.Balanced, KeepAlive: time.Second, UserTimeout: 20 * time.Second}
	receiving := sending
	if c.ends != nil {
		c.ends(&sending, &receiving)
	}
	lc, d := kcp.ListenConfig{Settings: receiving}, kcp.Dialer{Settings: sending, WaitForPeer: true}
	l, err := lc.ListenConn(b)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.DialConn(t.Context(), a, b.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("small"))
	peer, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(peer, make([]byte, 5))
	read, write := c.read, c.write
	if read == nil {
		read = func(r io.Reader) { io.Copy(io.Discard, r) }
	}
	if write == nil {
		write = writeAll
	}
	var both sync.WaitGroup
	both.Go(func() { read(peer) })
	both.Go(func() { write(s) })
	start, watch := time.Now(), c.watch
	if watch == 0 {
		watch = 5 * time.Second
	}
	for i := 0; time.Since(start) < watch; i++ {
		if time.Sleep((100 * time.Millisecond)); i == 10 && c.during != nil {
			c.during(a, b)
		}
		series = append(series, Sample{At: time.Since(start), Stats: s.Stats()})
	}
	s.Abort()
	peer.Abort()
	l.Close()
	<-l.Done()
	<-s.Done()
	both.Wait()
	return series
}

// What bounds a session is said right in situations that are really run, from all of the samples, and from
// the later ones alone.
func TestExplainSituations(t *testing.T) {
	const seed = 1
	for _, c := range situations() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				series := c.run(t, seed)
				for _, part := range [][]Sample{series, series[len(series)/3:]} {
					if v := Judge(part); v.Bound != c.want {
						t.Errorf("%d samples: %+v, want %s\n%+v", len(part), v, c.want, featuresOf(part))
					}
				}
			})
		})
	}
}

// The keys differ, as both ends see it.
func TestExplainKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, err := netem.Pipe(1, netem.Path{}, netem.Path{})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Network().Close()
		lc := kcp.ListenConfig{PrivateKey: kcp.NewPrivateKey(), Settings: kcp.Settings{Block: randomCipher(t)}}
		l, err := lc.ListenConn(b)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for _, s := range []kcp.Settings{{Block: lc.Block, ServerKey: kcp.NewPrivateKey().Public()}, {Block: randomCipher(t)}} {
			d := kcp.Dialer{Settings: s, WaitForPeer: true, Timeout: time.Second}
			_, err = d.DialConn(t.Context(), a, b.LocalAddr())
			failed := Sample{Failed: NoAnswer, Why: err.Error()}
			if errors.Is(err, kcp.ErrKeyDiffers) {
				failed.Failed = WrongKey
			}
			want := Dead // a listener with another Block says nothing
			if s.ServerKey != (kcp.PublicKey{}) {
				want = Key
			}
			if v := Judge([]Sample{failed}); v.Bound != want {
				t.Errorf("dialled: %+v, want %s", v, want)
			}
		}
		if v := Judge([]Sample{{Strangers: l.Stats().InvalidInputs}}); v.Bound != Key {
			t.Errorf("listener: %+v", v)
		}
	})
}

func randomCipher(t *testing.T) kcp.BlockCrypt {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := kcp.NewAESGCMCrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	return block
}
