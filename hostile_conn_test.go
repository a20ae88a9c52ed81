package kcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// brokenConn is a PacketConn that fails as it is told.
type brokenConn struct {
	*netem.Conn
	mu          sync.Mutex
	read, write error
	deaf        bool // ignores deadlines
	reads       int
}

func (b *brokenConn) ReadFrom(p []byte) (int, net.Addr, error) {
	b.mu.Lock()
	b.reads++
	err := b.read
	b.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	return b.Conn.ReadFrom(p)
}

func (b *brokenConn) WriteTo(p []byte, to net.Addr) (int, error) {
	b.mu.Lock()
	err := b.write
	b.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return b.Conn.WriteTo(p, to)
}

func (b *brokenConn) SetReadDeadline(t time.Time) error {
	if b.deaf {
		return errors.New("no deadlines here")
	}
	return b.Conn.SetReadDeadline(t)
}

// Whatever a PacketConn does, sessions and listeners over it can be closed, Done closes, and nothing
// spins.
func TestBrokenConn(t *testing.T) {
	for _, tt := range []struct {
		name        string
		read, write error
		deaf        bool
	}{
		{"read closed", net.ErrClosed, nil, false},
		{"read EOF", io.EOF, nil, false},
		{"read timeout", os.ErrDeadlineExceeded, nil, false},
		{"read transient", syscall.ECONNREFUSED, nil, false},
		{"write closed", nil, net.ErrClosed, false},
		{"write wrapped closed", nil, &net.OpError{Op: "write", Err: net.ErrClosed}, false},
		{"write EOF", nil, io.EOF, false},
		{"write transient", nil, syscall.ENOBUFS, false},
		{"deaf", nil, nil, true},
	} {
		for _, own := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/own=%t", tt.name, own), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					cfg := w.config(nil, 3, 1)
					lb := &brokenConn{Conn: w.bind("10.0.0.2:2000"), deaf: tt.deaf}
					l := newListener(cfg, newSocket(lb, own))
					cb := &brokenConn{Conn: w.bind("10.0.0.1:0"), deaf: tt.deaf}
					c := cfg.dial(1, l.Addr(), newSocket(cb, own))
					c.Write([]byte("hello"))
					s, err := l.AcceptKCP()
					w.check(err)
					w.check(ask2v(c, s))
					orphan := cfg.dial(2, l.Addr(), newSocket(w.bind("10.0.0.3:0"), true))
					orphan.Write([]byte("orphan"))
					w.awaitIdle()
					for _, b := range []*brokenConn{lb, cb} {
						b.mu.Lock()
						b.read, b.write, b.reads = tt.read, tt.write, 0
						b.mu.Unlock()
					}
					s.Write([]byte("for the reader that waits"))
					orphan.Write([]byte("for the reader that waits"))
					var werr error
					for range 100 {
						c.SetWriteDeadline(time.Now().Add(time.Second))
						if _, werr = c.Write(make([]byte, 5000)); werr != nil {
							break
						}
						time.Sleep(time.Millisecond)
					}
					c.SetReadDeadline(time.Now().Add(time.Second))
					_, rerr := c.Read(make([]byte, 10))
					s.SetReadDeadline(time.Now().Add(time.Second))
					_, serr := io.Copy(io.Discard, s)
					l.SetDeadline(time.Now().Add(time.Second))
					o, aerr := l.AcceptKCP()
					_, aerr2 := l.AcceptKCP()
					if aerr == nil {
						defer o.Close()
						o.SetLinger(0)
						o.Close()
					}
					t.Logf("Write: %v; Read: %v; server Read: %v; Accept: %v, %v", werr, rerr, serr, aerr, aerr2)
					cb.mu.Lock()
					reads := cb.reads
					cb.mu.Unlock()
					w.sleep(10 * time.Second)
					cb.mu.Lock()
					if n := cb.reads - reads; n > 5000 {
						t.Errorf("%d reads in 10 s", n)
					}
					cb.mu.Unlock()
					for _, x := range []*UDPSession{c, s, orphan} {
						within(t, 10*time.Second, "Close", func() { x.Close() })
						within(t, 10*time.Second, "Abort", func() { x.Abort() })
					}
					within(t, 10*time.Second, "Listener.Close", func() { l.Close() })
					done := 0
					for _, d := range []<-chan struct{}{c.Done(), s.Done(), l.Done()} {
						select {
						case <-d:
							done++
						case <-time.After(time.Minute):
						}
					}
					if done != 3 {
						t.Logf("%d of 3 are done", done)
						if !(tt.deaf && !own) {
							t.Error("not done")
						}
					}
					lb.Conn.Close()
					cb.Conn.Close()
				})
			})
		}
	}
}

func ask2v(a, b *UDPSession) error {
	for _, way := range [][2]*UDPSession{{a, b}, {b, a}} {
		if _, err := way[0].Write([]byte("hello")); err != nil {
			return err
		}
		if _, err := io.ReadFull(way[1], make([]byte, 5)); err != nil {
			return err
		}
	}
	return nil
}

// strange is an address of an unknown kind.
type strange struct{ s string }

func (s strange) Network() string { return "strange" }
func (s strange) String() string  { return s.s }

// Nothing that a program passes makes a constructor panic; errors name what is wrong.
func TestArguments(t *testing.T) {
	try := func(name string, f func() error) {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("panic: %v", r)
				}
			}()
			t.Logf("%v", f())
		})
	}
	udp := func() *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	end := func(s *UDPSession, err error) error {
		if s != nil {
			s.Abort()
		}
		return err
	}
	endL := func(l *Listener, err error) error {
		if l != nil {
			l.Close()
		}
		return err
	}
	var d Dialer
	var lc ListenConfig
	ctx := context.Background()
	for _, a := range []net.Addr{
		nil, (*net.UDPAddr)(nil), (*net.TCPAddr)(nil), (*net.UnixAddr)(nil), (*net.IPAddr)(nil),
		&net.UDPAddr{}, &net.UDPAddr{Port: 1}, &net.UDPAddr{IP: net.IP{1, 2, 3}, Port: 1}, &net.UDPAddr{IP: net.IPv6loopback, Port: 1},
		&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: -5}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1 << 20},
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}, &net.UnixAddr{Name: "x"}, strange{"x"}, strange{""},
		&net.UDPAddr{IP: net.IPv6loopback, Port: 1, Zone: "nope"},
	} {
		try(fmt.Sprintf("DialConn(%T %v)", a, fmt.Sprintf("%#v", a)), func() error { return end(d.DialConn(ctx, udp(), a)) })
	}
	try("DialConn nil conn", func() error { return end(d.DialConn(ctx, nil, &net.UDPAddr{Port: 5})) })
	try("DialConn nil UDPConn", func() error { return end(d.DialConn(ctx, (*net.UDPConn)(nil), &net.UDPAddr{Port: 5})) })
	try("DialConn zero UDPConn", func() error { return end(d.DialConn(ctx, new(net.UDPConn), &net.UDPAddr{Port: 5})) })
	// d.DialConn(ctx, (*net.UnixConn)(nil), ...) and (*net.IPConn)(nil) do the same.
	try("ListenConn nil", func() error { return endL(lc.ListenConn(nil)) })
	try("ListenConn nil UDPConn", func() error { return endL(lc.ListenConn((*net.UDPConn)(nil))) })
	// lc.ListenConn((*net.UnixConn)(nil)) panics on the reader's goroutine, which ends the process:
	// readloop.go:26.
	try("ListenConn zero UDPConn", func() error { return endL(lc.ListenConn(new(net.UDPConn))) })
	try("ListenConn connected", func() error {
		c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
		if err != nil {
			return err
		}
		defer c.Close()
		return endL(lc.ListenConn(c))
	})
	try("ListenConn closed", func() error {
		c := udp()
		c.Close()
		l, err := lc.ListenConn(c)
		if err != nil {
			return err
		}
		defer l.Close()
		_, err = l.Accept()
		return err
	})
	try("DialConn closed", func() error {
		c := udp()
		c.Close()
		s, err := d.DialConn(ctx, c, c.LocalAddr())
		if err != nil {
			return err
		}
		defer s.Abort()
		_, err = s.Read(make([]byte, 1))
		return err
	})
	for i, s := range []Settings{
		{DataShards: math.MaxInt, ParityShards: math.MaxInt}, {DataShards: math.MinInt, ParityShards: 1}, {DataShards: 256, ParityShards: 1},
		{DataShards: 255, ParityShards: 1}, {DataShards: 1, ParityShards: 255}, {MinParity: 1}, {MinParity: 1, ParityShards: 5},
		{Profile: -1}, {Profile: 99}, {Timing: &Timing{}}, {Timing: &Timing{Interval: math.MaxInt64}}, {Timing: &Timing{Interval: time.Second, Resend: math.MaxInt}},
		{Timing: &Timing{Interval: time.Second, Resend: -1}}, {SendWindow: -1}, {SendWindow: 65536}, {ReceiveWindow: 65535, SendWindow: 65535},
		{Redundancy: math.MinInt}, {Redundancy: 101}, {RateLimit: -1}, {RateLimit: math.MaxInt64}, {RateLimit: 1}, {RateLimit: 1 << 33},
		{MTU: -1}, {MTU: 1}, {MTU: 49}, {MTU: 50}, {MTU: 1500}, {MTU: 1501}, {MTU: 50, DataShards: 3, ParityShards: 1},
		{MTU: 50, Block: slowCipher(0)}, {KeepAlive: -1}, {KeepAlive: math.MaxInt64}, {KeepAlive: 1}, {IdleTimeout: math.MaxInt64}, {IdleTimeout: -1},
		{UserTimeout: math.MinInt64}, {UserTimeout: math.MaxInt64}, {CloseTimeout: math.MaxInt64}, {CloseTimeout: math.MinInt64}, {CloseTimeout: 1},
		{DSCP: 64}, {DSCP: 63}, {DSCP: -1}, {ReadBuffer: -1}, {ReadBuffer: math.MaxInt32}, {ReadBuffer: 1, WriteBuffer: 1},
		{Congestion: func() CongestionControl { return nil }},
	} {
		try(fmt.Sprintf("Settings %d", i), func() error {
			l, err := (&ListenConfig{Settings: s}).Listen(ctx, "udp", "127.0.0.1:0")
			if err != nil {
				return fmt.Errorf("%+v: %w", s, err)
			}
			kl := l.(*Listener)
			defer kl.Close()
			c, err := (&Dialer{Settings: s}).Dial("udp", l.Addr().String())
			if err != nil {
				return fmt.Errorf("%+v: %w", s, err)
			}
			k := c.(*UDPSession)
			k.SetDeadline(time.Now().Add(2 * time.Second))
			kl.SetDeadline(time.Now().Add(2 * time.Second))
			if _, err := k.Write(make([]byte, 3000)); err != nil {
				t.Errorf("%+v: Write: %v", s, err)
			}
			a, err := kl.AcceptKCP()
			if err != nil {
				t.Errorf("%+v: Accept: %v", s, err)
				k.Abort()
				return err
			}
			if s.RateLimit == 0 || s.RateLimit > 1000 {
				a.SetDeadline(time.Now().Add(2 * time.Second))
				if _, err := io.ReadFull(a, make([]byte, 3000)); err != nil {
					t.Errorf("%+v: Read: %v", s, err)
				}
			}
			k.Abort()
			a.Abort()
			return nil
		})
	}
	try("zero Dialer Dial", func() error { _, err := d.Dial("udp", ""); return err })
	try("Dial network", func() error { _, err := d.Dial("unix", "127.0.0.1:1"); return err })
	try("Dial port 0", func() error { _, err := d.Dial("udp", "127.0.0.1:0"); return err })
	try("Dialer Timeout", func() error { _, err := (&Dialer{Timeout: -1}).Dial("udp", "127.0.0.1:1"); return err })
	try("LocalAddr kind", func() error {
		_, err := (&Dialer{LocalAddr: strange{"x"}}).Dial("udp", "127.0.0.1:1")
		return err
	})
	try("LocalAddr typed nil", func() error {
		c, err := (&Dialer{LocalAddr: (*net.UDPAddr)(nil)}).Dial("udp", "127.0.0.1:1")
		if err == nil {
			c.(*UDPSession).Abort()
		}
		return err
	})
}

// Floods of new addresses, conversations and sessions that end at once: what a listener remembers is
// bounded.
func TestFloods(t *testing.T) {
	count := lighter(30_000, 3000)
	for _, tt := range []struct {
		name string
		one  func(conv uint32) []byte
	}{
		{"WASK", func(conv uint32) []byte { return segment(conv, IKCP_CMD_WASK, 0, nil) }},
		{"marked WASK", func(conv uint32) []byte {
			b := segment(conv, IKCP_CMD_WASK, 0, nil)
			b[5] = capMark | capFIN
			return b
		}},
		{"PUSH", func(conv uint32) []byte { return segment(conv, IKCP_CMD_PUSH, 0, []byte("x")) }},
		{"FIN", func(conv uint32) []byte { return segment(conv, cmdFIN, 0, nil) }},
		{"RST", func(conv uint32) []byte { return segment(conv, cmdRST, 0, nil) }},
		{"PUSH+RST", func(conv uint32) []byte {
			return append(segment(conv, IKCP_CMD_PUSH, 0, []byte("x")), segment(conv, cmdRST, 0, nil)...)
		}},
		{"OOB", func(conv uint32) []byte {
			b := make([]byte, 16)
			putFECHeader(b, oobSeqid, fecTypeOOB)
			b[6] = 10
			b[8], b[9], b[10] = byte(conv), byte(conv>>8), byte(conv>>16)
			return b
		}},
	} {
		for _, accept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/accept=%t", tt.name, accept), func(t *testing.T) {
				virtual(t, netem.Path{}, func(w *world) {
					v := w.valve("10.0.0.2:2000")
					l := newListener(w.config(nil, 0, 0), newSocket(v, true))
					if accept {
						go func() {
							for {
								s, err := l.AcceptKCP()
								if err != nil {
									return
								}
								s.SetLinger(0)
								s.Close()
							}
						}()
					}
					peer := w.bind("10.0.0.1:1")
					go func() {
						b := make([]byte, 2000)
						for {
							if _, _, err := peer.ReadFrom(b); err != nil {
								return
							}
						}
					}()
					before := heapInUse()
					most := 0
					for i := range count {
						peer.WriteTo(tt.one(uint32(i)), l.Addr())
						if i%200 == 199 {
							synctest.Wait()
							most = max(most, runtime.NumGoroutine())
						}
					}
					synctest.Wait()
					held := heapInUse() - before
					known := 0
					for i := range l.t.table {
						known += len(l.t.table[i].timeWaits.young) + len(l.t.table[i].timeWaits.old)
					}
					t.Logf("%d kB held after %d, %d remembered, at most %d goroutines", held>>10, count, known, most)
					if held > 24<<20 || known > 1<<16 || most > 100 {
						t.Error("too much")
					}
					peer.Close()
					l.Close()
				})
			})
		}
	}
}

// Handlers of out-of-band datagrams that block: what waits for them is bounded, and gone when the
// session is.
func TestOOBHandlers(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		release := make(chan bool)
		cfg := w.config(nil, 3, 1)
		cfg.oobHandler = func(s *UDPSession, b []byte) { <-release }
		l := w.listen(cfg, "10.0.0.2:2000")
		peer := w.bind("10.0.0.1:1")
		go func() {
			b := make([]byte, 2000)
			for {
				if _, _, err := peer.ReadFrom(b); err != nil {
					return
				}
			}
		}()
		before := heapInUse()
		g := runtime.NumGoroutine()
		sessions := lighter(100, 20)
		for conv := range uint32(sessions) {
			peer.WriteTo(segment(conv, IKCP_CMD_PUSH, 0, []byte("x")), l.Addr())
			for i := range 1000 {
				b := make([]byte, 16)
				putFECHeader(b, oobSeqid, fecTypeOOB)
				b[6] = 10
				b[8] = byte(conv)
				peer.WriteTo(b, l.Addr())
				if i%200 == 199 {
					synctest.Wait()
				}
			}
		}
		synctest.Wait()
		t.Logf("%d kB held by %d sessions, %d goroutines more", (heapInUse()-before)>>10, sessions, runtime.NumGoroutine()-g)
		var all []*UDPSession
		for range sessions {
			s, err := l.AcceptKCP()
			w.check(err)
			all = append(all, s)
		}
		for _, s := range all {
			within(t, time.Second, "Abort", func() { s.Abort() })
		}
		all = nil
		synctest.Wait()
		left := heapInUse() - before
		t.Logf("%d kB held when all are aborted, %d goroutines more", left>>10, runtime.NumGoroutine()-g)
		if left > 10<<20 {
			t.Errorf("%d kB wait for handlers of sessions that are closed", left>>10)
		}
		close(release)
		peer.Close()
		l.Close()
	})
}

// stickyBuffer is a PacketConn whose SetReadBuffer waits, as one may that holds a lock of its own
// in WriteTo.
type stickyBuffer struct {
	net.PacketConn
	release chan bool
}

func (s stickyBuffer) SetReadBuffer(int) error { <-s.release; return nil }

// A PacketConn's setter that waits keeps no timer of other sessions waiting. In real time, as a
// bubble's does not go on while somebody waits for a mutex.
func TestStickySetter(t *testing.T) {
	cfg, err := newConfig(nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg.sched, cfg.snmp = NewTimedSched(1), newSnmp()
	defer cfg.sched.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := stickyBuffer{udp, make(chan bool)}
	c := cfg.dial(1, udp.LocalAddr(), newSocket(conn, true))
	c.SetKeepAlivePeriod(10 * time.Millisecond)
	go c.SetReadBuffer(1 << 16)
	time.Sleep(50 * time.Millisecond)
	ran := make(chan bool)
	cfg.sched.Put(func() { close(ran) }, time.Now())
	within(t, time.Second, "a timer of the scheduler", func() { <-ran })
	within(t, time.Second, "Stats", func() { c.Stats() })
	close(conn.release)
	c.Abort()
}
