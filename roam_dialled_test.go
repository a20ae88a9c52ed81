package kcp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// cut drops what is sent from and to that Conn from now on, as a network does that is gone. The function that
// it returns tells when data left from elsewhere first.
func (w *world) cut(conn *netem.Conn) func() time.Time {
	dead := peerAddrOf(conn.Bound()).udp
	var first time.Time
	w.watch(func(from, to netip.AddrPort, b []byte) bool {
		if to == roamServer && from != dead && len(b) > 80 && first.IsZero() {
			first = time.Now()
		}
		return from != dead && to != dead
	})
	return func() (at time.Time) { w.look(func() { at = first }); return at }
}

// opens lets the client take sockets of its own, as of one that the package has opened, each at another
// address; with cut the one before is dead meanwhile. The function that it returns tells how many it took.
func (r *roamer) opens() func() int {
	n := 0
	sock := r.client.path().sock
	sock.again = func() (*socket, error) {
		r.watching.Lock()
		n++
		r.watching.Unlock()
		s := newSocket(r.bind("10.2.0.1:0"), true)
		s.again = sock.again
		return s, nil
	}
	return func() (k int) { r.look(func() { k = n }); return k }
}

// A client whose network is gone sends by another within a second, or four timeouts, without help, whether it
// uploads or asks for something. Of an upload the first round trip repeats what arrived unacknowledged.
func TestRoamNetworkGone(t *testing.T) {
	for _, delay := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond} {
		for _, upload := range []bool{true, false} {
			virtual(t, netem.Path{Delay: delay, Bandwidth: 2_000_000, Queue: 400_000}, func(w *world) {
				r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
				opened := r.opens()
				if upload {
					go r.client.Write(make([]byte, 20_000_000))
					io.ReadFull(r.server, make([]byte, 3_000_000))
				}
				bound := max(time.Second, 4*r.client.Stats().RTO)
				left := w.cut(r.conn)
				if !upload {
					io.WriteString(r.client, "hello?")
				}
				start, last, gap := time.Now(), time.Now(), time.Duration(0)
				for gap < time.Second/2 && time.Since(start) < time.Minute { // what is on its way arrives before
					if _, err := r.server.Read(make([]byte, 10_000)); err != nil {
						t.Fatal(err)
					}
					gap = max(gap, time.Since(last))
					last = time.Now()
				}
				sent := left().Sub(start)
				t.Logf("delay %v, upload=%t: data after %v, reader without for %v, %d sockets, bound %v", delay, upload, sent, gap, opened(), bound)
				if sent > bound || gap > bound+2*delay || opened() != 1 {
					t.Errorf("data after %v, reader without for %v, %d sockets", sent, gap, opened())
				}
				w.sleep(2 * delay)
				if st := r.client.Stats(); st.PathChanges != 1 {
					t.Errorf("%d changes of path", st.PathChanges)
				}
				r.client.Abort()
				r.server.Abort()
				r.l.Close()
			})
		}
	}
}

// A download whose mapping was forgotten, which the client cannot know, goes on within two seconds.
func TestRoamDownloadFoundAgain(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond, Bandwidth: 1_000_000, Queue: 100_000}, func(w *world) {
		r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
		go r.server.Write(make([]byte, 10_000_000))
		io.ReadFull(r.client, make([]byte, 500_000))
		w.check(r.conn.Rebind("10.0.0.1:9"))
		quiet := time.Now().Add(200 * time.Millisecond) // of what the client would send by chance nothing arrives
		w.watch(func(from, to netip.AddrPort, b []byte) bool { return time.Now().After(quiet) })
		start, last, gap := time.Now(), time.Now(), time.Duration(0)
		for got := 0; got < 3_000_000; {
			n, err := r.client.Read(make([]byte, 64<<10))
			if err != nil {
				t.Fatal(err)
			}
			got += n
			gap = max(gap, time.Since(last))
			last = time.Now()
		}
		t.Logf("nothing came for %v; 3 MB in %v", gap, time.Since(start))
		if gap < 900*time.Millisecond || gap > 1200*time.Millisecond {
			t.Errorf("nothing came for %v", gap)
		}
		r.client.Abort()
		r.server.Abort()
		r.l.Close()
	})
}

// A Read that waits on a connection where nothing happens asks less and less, and then no more.
func TestRoamIdleReadAsks(t *testing.T) {
	for _, answered := range []bool{true, false} {
		virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
			cfg := w.config(newCrypt(t, "gcm"), 0, 0)
			r := w.roam(cfg)
			var asked []time.Duration
			start := time.Now()
			w.watch(func(from, to netip.AddrPort, b []byte) bool {
				if to == roamServer && time.Since(start) > time.Second/2 {
					asked = append(asked, time.Since(start))
				}
				return answered
			})
			go r.client.Read(make([]byte, 1))
			w.sleep(time.Hour)
			w.look(func() {
				t.Logf("answered=%t: %d datagrams in an hour, the first after %v", answered, len(asked), asked[:min(len(asked), 10)])
				if most := map[bool]int{true: 8, false: 150}[answered]; len(asked) == 0 || len(asked) > most || asked[0] < time.Second {
					t.Errorf("%d datagrams, want at most %d", len(asked), most)
				}
			})
			r.client.Abort()
			r.server.Abort()
			r.l.Close()
		})
	}
}

// A transfer in each direction goes on, whole and nearly as fast, while the program hands its session another
// PacketConn 100 times in a minute, in turn of two networks.
func TestRoamRebind(t *testing.T) {
	const rate = 400_000
	size := lighter(60*rate, 6*rate)
	path := netem.Path{Delay: 10 * time.Millisecond, Bandwidth: rate, Queue: 20_000, Loss: 0.02}
	for _, up := range []bool{true, false} {
		took := func(move bool) (took time.Duration) {
			virtual(t, path, func(w *world) {
				r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
				n := 0
				if move {
					defer every(600*time.Millisecond, func() {
						n++
						conn := w.bind([]string{"10.0.0.1:0", "10.3.0.1:0"}[n%2])
						w.check(r.client.Rebind(conn))
						if r.client.LocalAddr() != conn.LocalAddr() {
							t.Error("LocalAddr is not the new one")
						}
					})()
				}
				from, to := r.client, r.server
				if !up {
					from, to = to, from
				}
				start := time.Now()
				w.check(carry(from, to, size))
				took = time.Since(start)
				if st := r.server.Stats(); move && st.PathChanges < uint64(n)-1 {
					t.Errorf("%d changes of path of %d", st.PathChanges, n)
				}
				closeAll(r.client, r.server, r.l)
			})
			return took
		}
		still, moving := took(false), took(true)
		share := still.Seconds() / moving.Seconds()
		t.Logf("up=%t: %v, %v without: %.2f of the goodput", up, moving, still, share)
		if share < 0.9 {
			t.Errorf("up=%t: %.2f of the goodput without changes", up, share)
		}
	}
}

// Rebind goes back to a PacketConn that the session has just left, and to the one that it has is nothing.
func TestRebindBack(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		wifi, cell := w.bind("10.0.0.1:1000"), w.bind("10.3.0.1:1000")
		c := cfg.dial(w.convs.next(), l.Addr(), newSocket(wifi, false))
		_, err := c.Write([]byte("hello"))
		w.check(err)
		s, err := l.AcceptKCP()
		w.check(err)
		_, err = io.ReadFull(s, make([]byte, 5))
		w.check(err)
		w.sleep(time.Second)
		for _, conn := range []*netem.Conn{wifi, cell, wifi, cell, cell, wifi} {
			w.check(c.Rebind(conn))
			w.check(exchange(c, s, 10_000))
			if c.LocalAddr() != conn.LocalAddr() {
				t.Errorf("at %v, want %v", c.LocalAddr(), conn.LocalAddr())
			}
			w.sleep(time.Second)
		}
		w.sleep(time.Minute)
		w.check(exchange(c, s, 10_000))
		closeAll(c, s, l, wifi, cell)
	})
}

// What Rebind refuses.
func TestRebindErrors(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		r := w.roam(cfg)
		conn := w.bind("10.0.0.1:5000")
		defer conn.Close()
		l := w.listen(unsealed(w.config(newCrypt(t, "gcm"), 0, 0)), "10.0.0.4:1")
		young := w.dial(cfg, l)
		plain := w.dial(l.cfg, l)
		for name, tt := range map[string]struct {
			s    *UDPSession
			conn net.PacketConn
			want error
		}{
			"nil":        {r.client, nil, errNoConn},
			"nil Conn":   {r.client, (*netem.Conn)(nil), errNoConn},
			"accepted":   {r.server, conn, errors.ErrUnsupported},
			"not sealed": {plain, conn, errors.ErrUnsupported},
			"not yet":    {young, conn, errors.ErrUnsupported},
		} {
			if err := tt.s.Rebind(tt.conn); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
		}
		closeAll(r.client, r.server, r.l, young, plain, l)
		w.sleep(time.Minute)
		if err := r.client.Rebind(conn); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); err != nil {
			t.Errorf("the PacketConn is not the caller's any more: %v", err)
		}
	})
}

// abortingConn ends a session when that begins to read it.
type abortingConn struct {
	net.PacketConn
	s      *UDPSession
	closed bool
}

func (c *abortingConn) SetPacketReceiver(fn func(b []byte, addr net.Addr, err error)) {
	if fn != nil {
		c.s.Abort()
	}
}

func (c *abortingConn) Close() error {
	c.closed = true
	return c.PacketConn.Close()
}

// A PacketConn that comes too late is its owner's again, also where the session closes those that it has.
func TestRebindLate(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
		conn := &abortingConn{PacketConn: w.bind("10.0.0.1:5000"), s: r.client}
		if err := r.client.Rebind(conn); !errors.Is(err, net.ErrClosed) || conn.closed {
			t.Errorf("%v, closed %t", err, conn.closed)
		}
		conn.PacketConn.Close()
		closeAll(r.server, r.l)
	})
}

// A laptop that wakes up, whose mapping was forgotten and whose peer's timeouts have backed off, has its data
// within a second, whether it waits for that or was sending.
func TestRoamSleep(t *testing.T) {
	for i := range 4 {
		sending, over := i%2 == 0, i >= 2
		virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
			var slept atomic.Int64
			w.sched.sleep.wall = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
			cfg := w.config(newCrypt(t, "gcm"), 0, 0)
			cfg.user = 0
			var r *roamer
			if over {
				var hub *Transport
				r, hub = w.roamOver(cfg)
				defer hub.Close()
			} else {
				r = w.roam(cfg)
			}
			go r.client.Read(make([]byte, 0, 1))
			w.sleep(5 * time.Minute) // questions of an idle Read are over
			w.check(r.conn.Rebind("10.0.0.1:9"))
			io.WriteString(r.server, "are you there?")
			stall := 10 * time.Minute
			r.conn.Stall(stall)
			asleep := true
			w.watch(func(from, to netip.AddrPort, b []byte) bool { return !asleep })
			if sending {
				io.WriteString(r.client, "yes")
			}
			w.sleep(stall)
			w.look(func() { asleep = false })
			slept.Store(int64(stall))
			start := time.Now()
			if sending {
				if _, err := io.ReadFull(r.server, make([]byte, 3)); err != nil {
					t.Error(err)
				}
				t.Logf("the client's data came after %v", time.Since(start))
			}
			if _, err := io.ReadFull(r.client, make([]byte, 14)); err != nil {
				t.Error(err)
			}
			took := time.Since(start)
			t.Logf("sending=%t, over a transport %t: after %v", sending, over, took)
			if took > time.Second {
				t.Errorf("took %v", took)
			}
			closeAll(r.client, r.server, r.l)
		})
	}
}
