package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// valve is a PacketConn whose WriteTo, while it is shut, waits until it is opened or closed.
type valve struct {
	*netem.Conn

	mu           sync.Mutex
	gate         chan struct{} // closed when the valve opens; nil while it is open
	takes        time.Duration // what a WriteTo takes while it is shut
	inside, most int           // calls of WriteTo that wait: now, and at most
	closed       chan struct{}
}

// valve opens one at addr.
func (w *world) valve(addr string) *valve {
	w.Helper()
	return &valve{Conn: w.bind(addr), closed: make(chan struct{})}
}

// forEver is what a WriteTo takes in vain: so little that a test that is held up itself fails, and
// does not end in a deadlock.
const forEver = 10 * time.Minute

// shut makes each WriteTo take that long, for ever if it is 0.
func (v *valve) shut(takes time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.takes = takes; takes == 0 {
		v.takes = forEver
	}
	if v.gate == nil {
		v.gate = make(chan struct{})
	}
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gate != nil {
		close(v.gate)
		v.gate = nil
	}
}

func (v *valve) WriteTo(b []byte, to net.Addr) (int, error) {
	v.mu.Lock()
	gate, takes := v.gate, v.takes
	v.inside++
	v.most = max(v.most, v.inside)
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		v.inside--
		v.mu.Unlock()
	}()
	if gate != nil {
		over := time.NewTimer(takes)
		defer over.Stop()
		select {
		case <-gate:
		case <-over.C:
		case <-v.closed:
			return 0, net.ErrClosed
		}
	}
	return v.Conn.WriteTo(b, to)
}

func (v *valve) Close() error {
	v.mu.Lock()
	if !v.isClosed() {
		close(v.closed)
	}
	v.mu.Unlock()
	return v.Conn.Close()
}

func (v *valve) isClosed() bool {
	select {
	case <-v.closed:
		return true
	default:
		return false
	}
}

// behindValve opens a session whose PacketConn has a valve, to a listener that echoes. Both ends
// know each other.
func (w *world) behindValve(cfg *config, l *Listener, conv uint32) (*valve, *UDPSession) {
	w.Helper()
	v := w.valve("10.0.0.1:0")
	c := cfg.dial(conv, l.Addr(), newSocket(v, true))
	w.check(ask(c, "hello"))
	return v, c
}

// besideStuck returns how long echoes take on eight sessions while so many others of the same
// scheduler are stuck in their PacketConn's WriteTo.
func besideStuck(t *testing.T, stuck int, takes time.Duration) (latency []time.Duration) {
	const (
		healthy = 8
		asks    = 50
		bound   = 20 * time.Second
	)
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		w.sched.Close()
		w.sched = NewTimedSched(2)
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		eager := func(s *UDPSession) {
			s.SetNoDelay(1, 10, 2, 1)
			s.SetWindowSize(256, 256)
			s.SetWriteDelay(true) // so that timers send
		}
		var valves []*valve
		var sessions []*UDPSession
		for i := range stuck {
			v, c := w.behindValve(cfg, l, uint32(1+i))
			eager(c)
			valves, sessions = append(valves, v), append(sessions, c)
		}
		var well []*UDPSession
		flows := make(map[netip.AddrPort]int)
		for i := range healthy {
			c := cfg.dial(uint32(100+i), l.Addr(), newSocket(w.bind("10.0.0.3:0"), true))
			w.check(ask(c, "hello"))
			eager(c)
			well = append(well, c)
			flows[peerAddrOf(c.LocalAddr()).udp] = i
		}
		w.awaitIdle()
		w.watch(func(from, to netip.AddrPort, b []byte) bool {
			for _, end := range []netip.AddrPort{from, to} {
				if n, ok := flows[end]; ok {
					flows[end]++
					return n%10 != 9 // timers have to send it again
				}
			}
			return true
		})

		for i, v := range valves {
			v.shut(takes)
			go func() { // more than goes out
				for sessions[i].SetDeadline(time.Time{}) == nil {
					if _, err := sessions[i].Write(make([]byte, 5*1376)); err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}
		w.sleep(100 * time.Millisecond)
		var mu sync.Mutex
		done := make(chan struct{})
		var wg sync.WaitGroup
		for i, c := range well {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for j := range asks {
					start := time.Now()
					if err := ask(c, fmt.Sprint(j)); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					latency = append(latency, time.Since(start))
					mu.Unlock()
					time.Sleep(13 * time.Millisecond)
				}
			})
		}
		go func() { wg.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(bound):
			mu.Lock()
			t.Errorf("%d stuck (%v each): %d of %d echoes after %v", stuck, takes, len(latency), healthy*asks, bound)
			mu.Unlock()
		}
		for i, v := range valves {
			v.open()
			sessions[i].SetLinger(0)
			go sessions[i].Close()
		}
		<-done
		for _, c := range well {
			c.Close()
		}
		l.Close()
	})
	return latency
}

// Sessions that are stuck in their PacketConn keep no others waiting, however many they are.
func TestBesideStuck(t *testing.T) {
	base := besideStuck(t, 0, 0)
	t.Logf("none stuck: at most %v, 99%% below %v", most(base), p99(base))
	for _, takes := range []time.Duration{0, 20 * time.Millisecond} {
		for _, stuck := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%v/%d", takes, stuck), func(t *testing.T) {
				got := besideStuck(t, stuck, takes)
				t.Logf("%d stuck: at most %v, 99%% below %v", stuck, most(got), p99(got))
				if most(got) > most(base)+5*time.Millisecond {
					t.Errorf("an echo took %v, and %v where none is stuck", most(got), most(base))
				}
			})
		}
	}
}

// A session that is stuck in its PacketConn answers its callers: nothing but a Write for which
// there is no room waits, and that until its deadline.
func TestStuckSessionAnswers(t *testing.T) {
	delayed := func(w *world, c, _ *UDPSession) { // what a setter sends
		c.SetWriteDelay(true)
		_, err := c.Write([]byte("waits"))
		w.check(err)
	}
	for _, tt := range []struct {
		name    string
		prepare func(w *world, c, s *UDPSession) // before the valve is shut
		do      func(w *world, c *UDPSession)
	}{
		{"small Write", nil, func(w *world, c *UDPSession) {
			n, err := c.Write([]byte("small"))
			if n != 5 || err != nil {
				w.Errorf("%d, %v", n, err)
			}
		}},
		{"setter", delayed, func(_ *world, c *UDPSession) { c.SetWriteDelay(false) }},
		{"Read", func(w *world, c, s *UDPSession) {
			c.SetWindowSize(32, 2)
			w.awaitIdle()
			go s.Write(make([]byte, 10*1376))
			w.awaitIdle() // and waits for the window to open
		}, func(w *world, c *UDPSession) {
			for range 2 {
				_, err := c.Read(make([]byte, 2000))
				w.check(err)
			}
		}},
		{"SendOOB", nil, func(w *world, c *UDPSession) { w.check(c.SendOOB([]byte("beside"))) }},
		{"CloseWrite", nil, func(w *world, c *UDPSession) { w.check(c.CloseWrite()) }},
		{"Close", nil, func(w *world, c *UDPSession) { w.check(c.Close()) }},
		{"Close behind data", delayed, func(w *world, c *UDPSession) { w.check(c.Close()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				v, c, s := w.stuckPair()
				defer closeAll(c, s)
				defer v.open()
				if tt.prepare != nil {
					tt.prepare(w, c, s)
				}
				v.shut(0)
				within(t, atOnce, tt.name, func() { tt.do(w, c) })
				within(t, atOnce, "SetDeadline", func() { c.SetDeadline(time.Now()) })
			})
		})
	}
}

// stuckPair is pair, with a valve at the client.
func (w *world) stuckPair() (v *valve, client, server *UDPSession) {
	w.Helper()
	cfg := w.config(nil, 3, 1)
	l := w.listen(cfg, "10.0.0.2:2000")
	v = w.valve("10.0.0.1:0")
	client = cfg.dial(1, l.Addr(), newSocket(v, true))
	_, err := client.Write([]byte("hello"))
	w.check(err)
	server, err = l.AcceptKCP()
	w.check(err)
	_, err = io.ReadFull(server, make([]byte, 5))
	w.check(err)
	w.check(l.Close())
	w.awaitIdle()
	return v, client, server
}

// A Write to a session that is stuck in its PacketConn honours the deadline, one that is set before
// and one that is set meanwhile.
func TestStuckWriteDeadline(t *testing.T) {
	for _, meanwhile := range []bool{false, true} {
		t.Run(fmt.Sprintf("meanwhile=%t", meanwhile), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				const wait = 200 * time.Millisecond
				v, c, s := w.stuckPair()
				defer closeAll(c, s)
				defer v.open()
				v.shut(0)
				if meanwhile {
					time.AfterFunc(wait, func() { c.SetWriteDeadline(time.Now()) })
				} else {
					c.SetWriteDeadline(time.Now().Add(wait))
				}
				start := time.Now()
				within(t, 2*wait, "a Write until its deadline", func() {
					n, err := c.Write(make([]byte, 10<<20))
					if took := time.Since(start); n == 10<<20 || !errors.Is(err, os.ErrDeadlineExceeded) || took != wait {
						t.Errorf("%d bytes, %v after %v, want the deadline after %v", n, err, took, wait)
					}
				})
			})
		})
	}
}

// A listener goes on to read, to accept and to run its sessions' timers while its PacketConn is
// stuck, and to send where it left off when that is free again. Nobody calls a WriteTo beside
// another.
func TestStuckListenerReads(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		v := w.valve("10.0.0.2:2000")
		l := newListener(cfg, newSocket(v, true))
		var clients, servers []*UDPSession
		open := func(i int) {
			c := cfg.dial(uint32(i), l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
			_, err := c.Write([]byte{byte(i)})
			w.check(err)
			clients = append(clients, c)
			accepted := make(chan *UDPSession, 1)
			within(t, time.Second, "Accept", func() {
				s, err := l.AcceptKCP()
				w.check(err)
				accepted <- s
			})
			select {
			case s := <-accepted:
				s.SetACKNoDelay(true)
				servers = append(servers, s)
			default:
			}
		}
		for i := range 3 {
			open(i)
		}
		for _, s := range servers {
			s.SetKeepAlivePeriod(50 * time.Millisecond)
		}
		w.awaitIdle()
		v.shut(0)
		ran := make(chan bool, 1)
		w.sched.Put(func() { ran <- true }, time.Now().Add(100*time.Millisecond))
		for _, s := range servers {
			go s.Write(make([]byte, 5000))
		}
		w.sleep(50 * time.Millisecond)
		for i, c := range clients {
			for range 10 {
				_, err := c.Write([]byte("message"))
				w.check(err)
			}
			s := servers[i]
			within(t, time.Second, "reading what arrives", func() {
				for range 10 {
					if _, err := s.Read(make([]byte, 2000)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		open(3)
		within(t, time.Second, "a timer of the scheduler", func() { <-ran })
		v.open()
		for i, c := range clients[:3] {
			within(t, time.Minute, "what was kept back", func() {
				_, err := io.ReadFull(c, make([]byte, 5000))
				w.check(err)
			})
			servers[i].SetLinger(0)
		}
		v.mu.Lock()
		if v.most > writersMax {
			t.Errorf("%d calls of WriteTo at once, want at most %d", v.most, writersMax)
		}
		v.mu.Unlock()
		for _, s := range slices.Concat(clients, servers) {
			s.Close()
		}
		l.Close()
	})
}

// What a stuck session holds is bounded, whatever comes for it or is sent beside the stream.
func TestStuckMemory(t *testing.T) {
	const bound = 8 << 20
	count := lighter(100_000, 20_000)
	for _, tt := range []struct {
		name    string
		refuses bool // each is dropped, and counted
		one     func(w *world, c *UDPSession, peer *netem.Conn)
	}{
		{"window probes", false, func(w *world, c *UDPSession, peer *netem.Conn) {
			peer.WriteTo(segment(1, IKCP_CMD_WASK, 0, nil), c.LocalAddr())
		}},
		{"repeated data", false, func(w *world, c *UDPSession, peer *netem.Conn) {
			peer.WriteTo(segment(1, IKCP_CMD_PUSH, 0, []byte("again")), c.LocalAddr())
		}},
		{"out-of-band", true, func(w *world, c *UDPSession, peer *netem.Conn) {
			w.check(c.SendOOB([]byte("beside")))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				peer := w.bind("10.0.0.2:2000")
				v := w.valve("10.0.0.1:0")
				c := w.config(nil, 3, 1).dial(1, peer.LocalAddr(), newSocket(v, true))
				c.SetACKNoDelay(true)
				peer.WriteTo(segment(1, IKCP_CMD_PUSH, 0, []byte("first")), c.LocalAddr())
				w.awaitIdle()
				v.shut(0)
				go c.Write([]byte("stuck"))
				synctest.Wait()
				before, refused := heapInUse(), w.snmp.Copy().OutErrs
				for i := range count {
					if tt.one(w, c, peer); i%1000 == 999 {
						synctest.Wait()
					}
				}
				held := heapInUse() - before
				t.Logf("%d kB for %d", held>>10, count)
				if held > bound {
					t.Errorf("%d kB are held for %d, want at most %d", held>>10, count, bound>>10)
				}
				if n := w.snmp.Copy().OutErrs - refused; tt.refuses && (n > uint64(count) || n < uint64(count)-2000) {
					t.Errorf("%d of %d are counted as refused", n, count)
				}
				c.SetLinger(0)
				v.open()
				closeAll(c, peer)
			})
		})
	}
}

// slowCipher takes that long to seal a datagram.
type slowCipher time.Duration

func (c slowCipher) Encrypt(dst, src []byte) { time.Sleep(time.Duration(c)); copy(dst, src) }
func (slowCipher) Decrypt(dst, src []byte)   { copy(dst, src) }

// slowPair is a pair whose client seals a datagram a millisecond.
func (w *world) slowPair() (client, server *UDPSession) {
	w.Helper()
	c, s := w.join(w.config(slowCipher(time.Millisecond), 0, 0), w.config(slowCipher(0), 0, 0))
	c.SetNoDelay(1, 10, 2, 1)
	c.SetWindowSize(512, 512)
	s.SetWindowSize(512, 512)
	s.SetACKNoDelay(true)
	return c, s
}

// Timers that other sessions have are in time beside one whose datagrams take long to seal and
// whose peer goes on to acknowledge them.
func TestTimersBesideSlowCipher(t *testing.T) {
	const (
		idle   = 100
		delay  = 10 * time.Millisecond
		period = 50 * time.Millisecond
		bound  = 5 * time.Millisecond
	)
	virtual(t, netem.Path{Delay: delay}, func(w *world) {
		bulk, sink := w.slowPair()
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:3000")
		go echo(l)
		var sessions []*UDPSession
		probed := make(map[netip.AddrPort]time.Time)
		for i := range idle {
			c := cfg.dial(uint32(i), l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
			w.check(ask(c, "hello"))
			sessions = append(sessions, c)
			probed[peerAddrOf(c.LocalAddr()).udp] = time.Time{}
		}
		w.awaitIdle()
		for _, c := range sessions {
			w.check(c.SetKeepAlivePeriod(period))
		}
		var late []time.Duration
		w.watch(func(from, _ netip.AddrPort, b []byte) bool {
			last, ok := probed[from]
			if !ok || !carries(b, IKCP_CMD_WASK) {
				return true
			}
			if probed[from] = time.Now(); !last.IsZero() {
				late = append(late, time.Since(last)-period-2*delay)
			}
			return true
		})
		var measured []time.Duration
		measure := func(what string, d time.Duration) {
			w.sleep(d)
			w.watching.Lock()
			n := len(late)
			for _, last := range probed { // that wait still
				if over := time.Since(last) - period - 2*delay; !last.IsZero() && over > 0 {
					late = append(late, over)
				}
			}
			measured, late = late, nil
			w.watching.Unlock()
			t.Logf("%s: %d probes, late by at most %v, 99%% below %v", what, n, most(measured), p99(measured))
		}
		measure("nothing else", time.Second)
		go io.Copy(io.Discard, sink)
		bulk.SetWriteDelay(true)
		_, err := bulk.Write(make([]byte, 200*1356))
		w.check(err)
		w.sleep(50 * time.Millisecond) // a timer has begun to send that
		bulk.SetWriteDelay(false)
		go func() {
			for block := make([]byte, 64<<10); ; {
				if _, err := bulk.Write(block); err != nil {
					return
				}
			}
		}()
		measure("beside bulk", 3*time.Second)
		if most(measured) > bound {
			t.Errorf("a probe is late by %v, want at most %v", most(measured), bound)
		}
		bulk.SetLinger(0)
		closeAll(bulk, sink)
		for _, c := range sessions {
			c.Close()
		}
		l.Close()
	})
}

// A setter and a Read that send something return when that is sent, or sooner, not when the last is
// sent that others write meanwhile.
func TestCallersBesideSlowCipher(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c *UDPSession)
	}{
		{"setter", func(c *UDPSession) { c.SetWriteDelay(false) }},
		{"Read", func(c *UDPSession) {
			for range 2 {
				c.Read(make([]byte, 2000))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 5 * time.Millisecond}, func(w *world) {
				const bulk, bound = 2 * time.Second, 200 * time.Millisecond
				c, s := w.slowPair()
				c.SetNoDelay(1, 5000, 2, 1) // the interval that writes wait for
				c.SetWindowSize(512, 2)
				w.awaitIdle()
				go s.Write(make([]byte, 10*1376))
				w.awaitIdle()
				c.SetWriteDelay(true)
				_, err := c.Write(make([]byte, 20*1376))
				w.check(err)
				go io.Copy(io.Discard, s)
				go func() {
					time.Sleep(5 * time.Millisecond)
					for start := time.Now(); time.Since(start) < bulk; {
						if _, err := c.Write(make([]byte, 64<<10)); err != nil {
							return
						}
					}
				}()
				start := time.Now()
				tt.do(c)
				if took := time.Since(start); took > bound {
					t.Errorf("it took %v beside a bulk of %v, want at most %v", took, bulk, bound)
				}
				w.sleep(bulk)
				c.SetLinger(0)
				closeAll(c, s)
			})
		})
	}
}

// goroutineID names the goroutine that calls it.
func goroutineID() string {
	b := make([]byte, 40)
	b = b[:runtime.Stack(b, false)]
	return string(b[:bytes.IndexByte(b, '[')])
}

// sealCounter is a cipher that takes its time, and counts what one goroutine seals.
type sealCounter struct {
	who   atomic.Pointer[string]
	count atomic.Int64
	begun func() // called when that goroutine seals
}

func (c *sealCounter) Encrypt(dst, src []byte) {
	if who := c.who.Load(); who != nil && *who == goroutineID() {
		c.count.Add(1)
		c.begun()
	}
	for start := time.Now(); time.Since(start) < 50*time.Microsecond; {
	}
	copy(dst, src)
}

func (c *sealCounter) Decrypt(dst, src []byte) { copy(dst, src) }

// A setter seals and sends no more than a window, on a UDP socket too, while others write.
func TestSetterSendsLittle(t *testing.T) {
	const window, bulk = 512, 10_000
	begun := make(chan struct{})
	cipher := &sealCounter{begun: sync.OnceFunc(func() { close(begun) })}
	l, err := ListenWithOptions("127.0.0.1:0", slowCipher(0), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := dialUDP(t, l.Addr().String(), cipher, 0, 0)
	defer c.Close()
	s := acceptHello(t, c, l)
	defer s.Close()
	c.SetLinger(0)
	c.SetNoDelay(1, 5000, 2, 1)
	c.SetWindowSize(window, window)
	s.SetWindowSize(4*window, 4*window)
	c.SetDeadline(time.Now().Add(time.Minute))
	if err := carry(c, s, 4<<20); err != nil { // the congestion window grows
		t.Fatal(err)
	}
	go io.Copy(io.Discard, s)
	c.SetWriteDelay(true)
	if _, err := c.Write(make([]byte, 200*1356)); err != nil {
		t.Fatal(err)
	}
	me := goroutineID()
	cipher.who.Store(&me)
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-begun
		for range bulk / 50 {
			if _, err := c.Write(make([]byte, 50*1356)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	c.SetWriteDelay(false)
	n := cipher.count.Load()
	cipher.who.Store(nil)
	cipher.begun() // if it left that to others
	await(t, "the end of the writes", done)
	t.Logf("the setter sealed %d datagrams", n)
	if n > 2*window {
		t.Errorf("a setter sealed %d datagrams of %d that others wrote", n, bulk)
	}
}

// A Close with linger 0 closes a PacketConn of the session's own before it returns, also one that
// somebody is writing to. What comes back after that is not kept.
func TestAbortBesideSender(t *testing.T) {
	for _, takes := range []time.Duration{0, 20 * time.Millisecond} {
		t.Run(fmt.Sprint(takes), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				v, c, s := w.stuckPair()
				defer s.Close()
				defer v.open()
				c.SetNoDelay(1, 10, 2, 1)
				v.shut(takes)
				written := make(chan error, 1)
				go func() { _, err := c.Write(make([]byte, 8<<20)); written <- err }()
				w.sleep(50 * time.Millisecond)
				w.check(c.SetLinger(0))
				start := time.Now()
				within(t, 150*time.Millisecond, "Close", func() {
					w.check(c.Close())
					if !v.isClosed() {
						t.Errorf("Close has returned after %v, and the PacketConn is open", time.Since(start))
					}
				})
				within(t, 150*time.Millisecond, "the Write", func() { wantClosed(t, <-written) })
			})
		})
	}
}

// A session that has ended holds no packets, also those that were being sent then.
func TestEndedKeepsNothing(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		v, c, s := w.stuckPair()
		c.SetNoDelay(1, 10, 2, 1)
		v.shut(0)
		go c.Write(make([]byte, 100_000))
		w.sleep(50 * time.Millisecond)
		w.check(c.SetLinger(0))
		w.check(c.Close())
		v.open()
		w.awaitIdle()
		if n := c.kept(); n != 0 {
			t.Errorf("an ended session refers to %d packets", n)
		}
		s.Close()
	})
}

// A Write that waits because the socket takes nothing goes on when it does, with delayed writes too,
// and everything arrives.
func TestStuckWriteGoesOn(t *testing.T) {
	for _, delay := range []bool{false, true} {
		t.Run(fmt.Sprintf("delay=%t", delay), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				v, c, s := w.stuckPair()
				lowLatency(4096, c, s)
				c.SetWriteDelay(delay)
				const size = 2 << 20
				v.shut(0)
				written := make(chan error, 1)
				go func() { _, err := c.Write(make([]byte, size)); written <- err }()
				w.sleep(time.Second)
				v.open()
				if n, err := io.CopyN(io.Discard, s, size); err != nil {
					t.Errorf("%d bytes arrive: %v", n, err)
				}
				within(t, time.Second, "Write", func() { w.check(<-written) })
				closeAll(c, s)
			})
		})
	}
}
