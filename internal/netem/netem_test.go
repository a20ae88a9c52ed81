package netem

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSetDefault(t *testing.T) {
	onWire(t, 1, Path{Delay: ms}, func(w *wire) {
		c := w.listen("192.0.2.3:1000")
		w.write(c, 0, 10)
		if err := w.SetDefault(Path{Loss: 1}); err != nil {
			w.Fatal(err)
		}
		w.write(c, 1, 10)
		c.WriteTo([]byte("lost, on a new link"), w.a.LocalAddr())
		w.send(1, 10) // over a path of its own
		w.sleep(ms)
		if s := w.Total(); s.Sent != 4 || s.Delivered != 2 || s.Lost != 2 || s.InFlight() != 0 {
			w.Errorf("total = %+v", s)
		}
	})
}

// Two flows of different delays alternate in one queue, at half the rate each.
func TestSharedBottleneck(t *testing.T) {
	onWire(t, 1, Path{Bandwidth: 1}, func(w *wire) { // which the route replaces
		c := w.listen("192.0.2.3:1000")
		shared, err := w.NewBottleneck(Path{Bandwidth: 50000, Queue: 3000})
		if err != nil {
			w.Fatal(err)
		}
		if err := shared.SetPath(Path{Bandwidth: 100000, Queue: 3000}); err != nil {
			w.Fatal(err)
		}
		for _, from := range []*Conn{w.a, c} {
			if err := w.SetRoute(from.LocalAddr(), w.b.LocalAddr(), shared); err != nil {
				w.Fatal(err)
			}
		}
		if err := w.SetPath(c.LocalAddr(), w.b.LocalAddr(), Path{Delay: 500 * ms}); err != nil {
			w.Fatal(err)
		}
		for i := range 3 {
			w.write(w.a, 2*i, 1000)
			w.write(c, 2*i+1, 1000)
		}
		w.want(arrival{0, 10 * ms}, arrival{2, 30 * ms}, arrival{1, 520 * ms}, arrival{3, 540 * ms})
		if s := w.Total(); s.QueueDrops != 2 || s.InFlight() != 0 {
			w.Errorf("total = %+v", s)
		}

		// And back to a queue of its own, at a byte per second.
		if err := w.SetRoute(w.a.LocalAddr(), w.b.LocalAddr(), nil); err != nil {
			w.Fatal(err)
		}
		w.write(w.a, 6, 4)
		w.want(arrival{6, time.Minute + 4*time.Second})
	})
}

func TestTap(t *testing.T) {
	onWire(t, 1, Path{Delay: ms}, func(w *wire) {
		var seen int
		w.SetTap(func(from, to netip.AddrPort, b []byte) bool {
			if from != w.a.local || to != w.b.local || len(b) != 10 {
				w.Errorf("tap(%v, %v, %d bytes)", from, to, len(b))
			}
			num := binary.BigEndian.Uint32(b)
			if num == 3 {
				binary.BigEndian.PutUint32(b, 33)
				w.Total() // no lock is held
			}
			seen++
			return num != 1
		})
		w.send(4, 10)
		w.SetTap(nil)
		w.send(1, 10)
		w.want(arrival{0, ms}, arrival{2, ms}, arrival{33, ms}, arrival{4, ms})
		if s := w.stats(); s.TapDrops != 1 || s.Sent != 5 || seen != 4 {
			w.Errorf("seen %d, stats = %+v", seen, s)
		}
	})
}

func TestTapClosesNetwork(t *testing.T) {
	onWire(t, 1, Path{Delay: ms}, func(w *wire) {
		w.SetTap(func(_, _ netip.AddrPort, _ []byte) bool {
			w.Network.Close()
			return true
		})
		w.send(1, 10)
		if s := w.stats(); s.Sent != 1 || s.Unbound != 1 {
			w.Errorf("stats = %+v", s)
		}
	})
}

func TestStatsOfUnusedLink(t *testing.T) {
	n := New(1)
	a, err := n.Listen("192.0.2.1:1")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []net.Addr{nil, a.LocalAddr()} {
		if s := n.Stats(a.LocalAddr(), to); s != (Stats{}) {
			t.Errorf("stats to %v = %+v, want zero", to, s)
		}
	}
}

func TestInvalidPaths(t *testing.T) {
	n := New(1)
	addr := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:1"))
	for _, c := range []struct {
		path Path
		want string
	}{
		{Path{Delay: -1}, "Path.Delay is -1ns, want 0..1h0m0s"},
		{Path{Delay: time.Hour + 1}, "Path.Delay"},
		{Path{Jitter: -ms}, "Path.Jitter"},
		{Path{ReorderDelay: -ms}, "Path.ReorderDelay"},
		{Path{Loss: 1.5}, "Path.Loss is 1.5, want 0..1"},
		{Path{Loss: -0.1}, "Path.Loss"},
		{Path{Loss: math.NaN()}, "Path.Loss is NaN"},
		{Path{Burst: Burst{Enter: 2}}, "Path.Burst.Enter"},
		{Path{Burst: Burst{Leave: -2}}, "Path.Burst.Leave"},
		{Path{Burst: Burst{Loss: math.Inf(1)}}, "Path.Burst.Loss"},
		{Path{Reorder: 1.01}, "Path.Reorder"},
		{Path{Duplicate: -1}, "Path.Duplicate"},
		{Path{Bandwidth: -1}, "Path.Bandwidth is -1, want 0..1099511627776"},
		{Path{Bandwidth: math.MaxInt64}, "Path.Bandwidth"},
		{Path{Overhead: -1}, "Path.Overhead"},
		{Path{Overhead: 65536}, "Path.Overhead"},
		{Path{Queue: -1}, "Path.Queue"},
		{Path{MTU: -1}, "Path.MTU"},
		{Path{Policer: Policer{Rate: -1}}, "Path.Policer.Rate is -1, want 0..1099511627776"},
		{Path{Policer: Policer{Burst: -1}}, "Path.Policer.Burst"},
	} {
		_, _, pipe := Pipe(1, Path{}, c.path)
		_, shared := n.NewBottleneck(c.path)
		for _, err := range []error{n.SetDefault(c.path), n.SetPath(addr, addr, c.path), pipe, shared} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: error %v, want one with %q", c.path, err, c.want)
			}
		}
	}
	if _, err := n.NewBottleneck(Path{Bandwidth: 1, Delay: ms}); err != errShared {
		t.Errorf("NewBottleneck with a Delay: error %v, want %v", err, errShared)
	}
	b, err := n.NewBottleneck(Path{Bandwidth: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetPath(Path{Loss: 1}); err != errShared {
		t.Errorf("Bottleneck.SetPath with a Loss: error %v, want %v", err, errShared)
	}
	if err := New(1).SetRoute(addr, addr, b); err != errOtherNetwork {
		t.Errorf("SetRoute through another network: error %v, want %v", err, errOtherNetwork)
	}
	for _, bad := range []net.Addr{nil, (*net.UDPAddr)(nil), &net.UDPAddr{Port: 1}, &net.TCPAddr{IP: addr.IP, Port: 1}} {
		var ae *net.AddrError
		if err := n.SetPath(addr, bad, Path{}); !errors.As(err, &ae) {
			t.Errorf("SetPath to %v: error %v, want a *net.AddrError", bad, err)
		}
	}
}

func TestNetworkCloseDiscards(t *testing.T) {
	onWire(t, 1, Path{Delay: 10 * ms, Bandwidth: 100000, Duplicate: 1}, func(w *wire) {
		w.send(20, 1000)
		time.Sleep(45 * ms) // 3 and their copies have arrived, 1 is on the wire, 16 wait
		read := make(chan error)
		go func() {
			_, _, err := w.a.ReadFrom(nil)
			read <- err
		}()
		synctest.Wait()
		if err := w.Network.Close(); err != nil {
			w.Error(err)
		}
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			w.Errorf("blocked read: %v, want net.ErrClosed", err)
		}
		if s := w.stats(); s.Delivered != 6 || s.Unbound != 18 {
			w.Errorf("stats = %+v", s)
		}
		if w.timer.Stop() {
			w.Error("the timer was left running")
		}
		if err := w.Network.Close(); err != nil {
			w.Errorf("second Close: %v", err)
		}
		if _, err := w.Listen("192.0.2.9:1"); !errors.Is(err, net.ErrClosed) {
			w.Errorf("Listen: %v, want net.ErrClosed", err)
		}
	})
}

// Many writers, readers, changes and closes at once, and every datagram is
// accounted for.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const conns, each = 8, 300
		n := New(99)
		p := lossy
		p.Bandwidth = 20e6
		if err := n.SetDefault(p); err != nil {
			t.Fatal(err)
		}
		shared, err := n.NewBottleneck(Path{Bandwidth: 5e6})
		if err != nil {
			t.Fatal(err)
		}
		var cs []*Conn
		for range conns {
			c, err := n.Listen("[2001:db8::1]:0")
			if err != nil {
				t.Fatal(err)
			}
			cs = append(cs, c)
		}
		var writers, readers sync.WaitGroup
		var mu sync.Mutex
		var read uint64
		for i, c := range cs {
			for range 2 {
				readers.Go(func() {
					b := make([]byte, 2048)
					for {
						c.SetReadDeadline(time.Now().Add(3 * ms))
						_, _, err := c.ReadFromUDPAddrPort(b)
						switch {
						case err == nil:
							mu.Lock()
							read++
							mu.Unlock()
						case !isTimeout(err):
							return
						}
					}
				})
				writers.Go(func() {
					for j := range each {
						to := cs[(i+j)%conns]
						if _, err := c.WriteToUDPAddrPort(make([]byte, j*5), to.local); err != nil {
							t.Error(err)
						}
						if j%10 == 0 {
							p := p
							p.Delay = time.Duration(j%7) * ms
							n.SetPath(c.LocalAddr(), to.LocalAddr(), p)
							n.SetRoute(c.LocalAddr(), to.LocalAddr(), []*Bottleneck{nil, shared}[j/10%2])
							n.Stats(c.LocalAddr(), to.LocalAddr())
							time.Sleep(ms)
						}
					}
				})
			}
		}
		writers.Wait()
		time.Sleep(time.Second)
		s := n.Total()
		if s.InFlight() != 0 || s.Sent != 2*conns*each {
			t.Errorf("total = %+v", s)
		}
		mu.Lock()
		if read != s.Delivered {
			t.Errorf("read %d, delivered %d", read, s.Delivered)
		}
		mu.Unlock()
		for _, c := range cs {
			go c.Close()
		}
		readers.Wait()
		n.Close()
	})
}
