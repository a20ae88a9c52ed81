package explain

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/qlog"
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

// A logFile is a qlog file in memory.
type logFile struct{ bytes.Buffer }

func (*logFile) Close() error { return nil }

func (f *logFile) tracer() func(*kcp.UDPSession) kcp.Tracer {
	return qlog.New(func(*kcp.UDPSession, bool) (io.WriteCloser, error) { return f, nil })
}

// run runs the situation, and returns samples of the sender, and those from its qlog file.
func (c *situation) run(t *testing.T, seed uint64) (series, logged []Sample) {
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
	var file logFile
	sending.Tracer = file.tracer()
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
	if logged, err = ReadQlog(&file); err != nil {
		t.Fatal(err)
	}
	return series, logged
}

// What bounds a session is said right in situations that are really run, from its Stats and from its qlog file,
// from all of the samples, and from the later ones alone.
func TestExplainSituations(t *testing.T) {
	const seed = 1
	for _, c := range situations() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				series, logged := c.run(t, seed)
				wantAlike(t, &series[len(series)-1].Stats, &logged[len(logged)-1].Stats)
				for _, part := range [][]Sample{series, series[len(series)/3:], logged, logged[len(logged)/3:]} {
					if v := Judge(part); v.Bound != c.want {
						t.Errorf("%d samples, qlog %v: %+v, want %s\n%+v", len(part), part[0].Qlog, v, c.want, featuresOf(part))
					}
				}
			})
		})
	}
}

// A peer that always reads as late has a window that hardly changes, and that is a little of what it has been.
func TestExplainLateReader(t *testing.T) {
	for most, want := range map[int]string{128: Receiver, 0: PeerWindow} {
		var series []Sample
		for i := range 20 {
			s := kcp.Stats{PeerWindow: 7 + i%7, MaxPeerWindow: most, InFlight: 6, DatagramsSent: uint64(100 * i), DatagramsReceived: uint64(50 * i), Age: time.Duration(10+i) * time.Second}
			s.TimeLimited[kcp.LimitPeerWindow] = s.Age
			series = append(series, Sample{At: s.Age, Stats: s})
		}
		if v := Judge(series); v.Bound != want {
			t.Errorf("at most %d: %+v, want %s", most, v, want)
		}
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
			var file logFile
			s.Tracer = file.tracer()
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
			logged, err := ReadQlog(&file)
			if v := Judge(logged); err != nil || v.Bound != want {
				t.Errorf("qlog: %+v, %v, want %s", v, err, want)
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
