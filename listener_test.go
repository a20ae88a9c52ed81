package kcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// segment returns a segment with the given header fields.
func segment(conv uint32, cmd uint8, sn uint32, data []byte) []byte {
	b := make([]byte, IKCP_OVERHEAD, IKCP_OVERHEAD+len(data))
	h := header{conv: conv, cmd: cmd, wnd: 32, sn: sn, len: uint32(len(data))}
	h.put(b)
	return append(b, data...)
}

// framed puts a FEC header in front of body.
func framed(seqid uint32, kind uint16, body []byte) []byte {
	b := make([]byte, fecHeaderSize, fecHeaderSize+len(body))
	putFECHeader(b, seqid, kind)
	binary.LittleEndian.PutUint16(b[fecShardStart:], uint16(fecSizeField+len(body)))
	return append(b, body...)
}

// wantSessions checks how many sessions the listener knows.
func (w *world) wantSessions(l *Listener, n int) {
	w.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sessions) != n {
		w.Errorf("%d sessions, want %d", len(l.sessions), n)
	}
}

// echo answers everything that arrives on l's sessions until l is closed.
func echo(l *Listener) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		go func() {
			defer s.Close()
			io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
		}()
	}
}

// ask sends a message and expects it back.
func ask(s *UDPSession, msg string) error {
	s.SetDeadline(time.Now().Add(time.Minute))
	defer s.SetDeadline(time.Time{})
	if _, err := io.WriteString(s, msg); err != nil {
		return err
	}
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(s, got); err != nil {
		return err
	}
	if string(got) != msg {
		return fmt.Errorf("said %q, heard %q", msg, got)
	}
	return nil
}

// Every client uses the same conv.
func TestListenerSameConv(t *testing.T) {
	virtual(t, netem.Path{Delay: 5 * time.Millisecond, Loss: 0.05}, func(w *world) {
		cfg := w.config(nil, 3, 2)
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		var wg sync.WaitGroup
		var clients [50]*UDPSession
		for i := range clients {
			c := cfg.dial(1, l.Addr(), newSocket(w.bind(fmt.Sprintf("10.0.1.%d:0", i%5)), true))
			clients[i] = c
			wg.Go(func() {
				for j := range 20 {
					w.check(ask(c, fmt.Sprintf("%d of client %d", j, i)))
				}
			})
		}
		wg.Wait()
		w.wantSessions(l, len(clients))
		for _, c := range clients {
			c.Close()
		}
		l.Close()
	})
}

// shared is one address with several sessions, each of which gets the datagrams of its
// conv.
type shared struct {
	*netem.Conn
	mu    sync.Mutex
	convs map[uint32]chan []byte
}

func share(c *netem.Conn) *shared {
	s := &shared{Conn: c, convs: make(map[uint32]chan []byte)}
	go func() {
		for buf := make([]byte, mtuLimit); ; {
			n, _, err := c.ReadFrom(buf)
			s.mu.Lock()
			if err != nil {
				for _, ch := range s.convs {
					close(ch)
				}
				s.mu.Unlock()
				return
			}
			at := buf[:n]
			if h, ok := parseFEC(at); ok && h.kind == fecTypeData {
				at = at[fecHeaderSize:]
			}
			if ch := s.convs[segmentConv(at)]; ch != nil {
				ch <- append([]byte(nil), buf[:n]...)
			}
			s.mu.Unlock()
		}
	}()
	return s
}

// part returns the PacketConn of a session with conv.
func (s *shared) part(conv uint32) *part {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &part{shared: s, in: make(chan []byte, 1000), done: make(chan struct{})}
	s.convs[conv] = p.in
	return p
}

type part struct {
	*shared
	in   chan []byte
	done chan struct{}
	once sync.Once
}

func (p *part) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d, ok := <-p.in:
		if ok {
			return copy(b, d), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 2000}, nil
		}
	case <-p.done:
	}
	return 0, nil, net.ErrClosed
}

func (p *part) Close() error { p.once.Do(func() { close(p.done) }); return nil }

// Sessions of one address live side by side, and parity repairs the one it belongs to.
func TestListenerSeveralConvs(t *testing.T) {
	virtual(t, netem.Path{Delay: 5 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 3, 2)
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		addr := share(w.bind("10.0.0.1:1000"))
		sessions := make(map[uint32]*UDPSession)
		for conv := range uint32(8) {
			sessions[conv] = cfg.dial(conv, l.Addr(), newSocket(addr.part(conv), true))
			sessions[conv].SetMinParity(2)
			for other, s := range sessions { // a new one does not end the old
				w.check(ask(s, fmt.Sprintf("conv %d after %d", other, conv)))
			}
		}
		w.wantSessions(l, len(sessions))

		for _, s := range sessions { // shard counts are proven
			for i := range 10 {
				w.check(ask(s, fmt.Sprintf("question %d", i)))
			}
		}

		// Each loses the first shard of a group and gets it back from its own parity.
		w.settle()
		before := w.snmp.Copy()
		for _, s := range sessions {
			s.SetACKNoDelay(true)
			s.mu.Lock()
			s.enc.skip()
			s.enc.count, s.enc.next = 0, (s.enc.next+4)/5*5
			s.mu.Unlock()
			lost := 0
			w.watch(func(from, _ netip.AddrPort, b []byte) bool {
				if from.Port() == 1000 && lost == 0 {
					lost++
					return false
				}
				return true
			})
			for i := range 3 {
				fmt.Fprintf(s, "shard %d", i)
			}
			w.sleep(12 * time.Millisecond) // less than any retransmission takes
		}
		w.net.SetTap(nil)
		synctest.Wait()
		if n := w.snmp.Copy().FECRecovered - before.FECRecovered; n < uint64(len(sessions)) {
			t.Errorf("%d of %d lost datagrams were rebuilt", n, len(sessions))
		}
		for _, s := range sessions {
			s.Close()
		}
		l.Close()
	})
}

// A listener one of whose sockets broke takes no sessions that nobody could accept.
func TestBrokenListenerTakesNothing(t *testing.T) {
	cfg, err := newConfig(nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg.sched, cfg.snmp = NewTimedSched(1), newSnmp()
	defer cfg.sched.Close()
	l := newListener(cfg, newSocket(hole{newPostOffices("hole")[0]}, true))
	defer l.Close()
	reader := &listenerReader{Listener: l, sock: l.socks[0]}
	receive := func(conv uint32) {
		from := peerAddr{udp: netip.MustParseAddrPort("10.0.0.1:1000")}
		reader.receive([]inbound{{data: segment(conv, IKCP_CMD_PUSH, 0, []byte("hello")), from: from}})
	}
	receive(1)
	reader.readFailed(net.ErrClosed)
	receive(2)
	if s, err := l.AcceptKCP(); err != nil || s.GetConv() != 1 {
		t.Errorf("what came before: %v, %v", s, err)
	} else {
		s.SetLinger(0)
		s.Close()
	}
	if s, err := l.AcceptKCP(); err == nil {
		t.Errorf("accepted %d", s.GetConv())
	}
}

// Only data that a new session takes makes one.
func TestListenerWhatOpens(t *testing.T) {
	push := func(sn uint32) []byte { return segment(7, IKCP_CMD_PUSH, sn, []byte("x")) }
	long := push(0)
	binary.LittleEndian.PutUint32(long[20:], 2)
	unsized := framed(0, fecTypeData, push(0))
	binary.LittleEndian.PutUint16(unsized[fecShardStart:], 1)
	oversized := framed(0, fecTypeData, push(0))
	binary.LittleEndian.PutUint16(oversized[fecShardStart:], 100)
	oob := make([]byte, oobConvField+100)
	for _, tt := range []struct {
		name  string
		b     []byte
		opens bool
	}{
		{"PUSH", push(0), true},
		{"PUSH at the window's end", push(31), true},
		{"PUSH behind an ACK", append(segment(7, IKCP_CMD_ACK, 0, nil), push(0)...), true},
		{"PUSH in FEC", framed(0, fecTypeData, push(0)), true},
		{"PUSH beyond the window", push(32), false},
		{"PUSH far beyond", push(1 << 31), false},
		{"PUSH below", push(0xffffffff), false},
		{"ACK", segment(7, IKCP_CMD_ACK, 0, nil), false},
		{"WASK", segment(7, IKCP_CMD_WASK, 0, nil), false},
		{"WINS", segment(7, IKCP_CMD_WINS, 0, nil), false},
		{"unknown cmd", segment(7, 80, 0, []byte("x")), false},
		{"PUSH behind an unknown cmd", append(segment(7, 87, 0, nil), push(0)...), false},
		{"PUSH behind another conv", append(segment(8, IKCP_CMD_ACK, 0, nil), push(0)...), false},
		{"longer than it is", long, false},
		{"cut short", push(0)[:IKCP_OVERHEAD-1], false},
		{"nothing", nil, false},
		{"garbage", random(1, 500), false},
		{"FEC size too small", unsized, false},
		{"FEC size too large", oversized, false},
		{"parity", framed(3, fecTypeParity, push(0)), false},
		{"out of band", framed(oobSeqid, fecTypeOOB, oob), false},
		{"out of band that looks like a PUSH", framed(oobSeqid, fecTypeOOB, push(0)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				l := w.listen(w.config(nil, 3, 2), "10.0.0.2:2000")
				w.bind("10.0.0.1:1000").WriteTo(tt.b, l.Addr())
				want := 0
				if tt.opens {
					want = 1
				}
				w.wantSessions(l, want)
				if errs := w.snmp.Copy().InErrs; (errs > 0) == tt.opens {
					t.Errorf("InErrs = %d", errs)
				}
				l.Close()
			})
		})
	}
}

// What the backlog has no room for is dropped, and its sender tries again.
func TestListenerBacklog(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		var clients []*UDPSession
		for range acceptBacklog + 1 {
			c := w.dial(cfg, l)
			io.WriteString(c, "hello")
			clients = append(clients, c)
		}
		w.sleep(50 * time.Millisecond)
		w.wantSessions(l, acceptBacklog)
		accepted := make([]*UDPSession, 0, len(clients))
		for range clients {
			s, err := l.AcceptKCP()
			if err != nil {
				t.Fatal(err)
			}
			accepted = append(accepted, s)
		}
		w.wantSessions(l, acceptBacklog+1)
		buf := make([]byte, 10)
		for _, s := range accepted {
			if n, err := s.Read(buf); err != nil || string(buf[:n]) != "hello" {
				t.Errorf("read %q, %v", buf[:n], err)
			}
		}
		for _, s := range append(clients, accepted...) {
			s.Close()
		}
		l.Close()
	})
}

func TestAcceptDeadline(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		start := time.Now()
		accept := func() (time.Duration, error) {
			_, err := l.Accept()
			return time.Since(start), err
		}
		after := func(d, set time.Duration) {
			time.AfterFunc(d, func() { l.SetDeadline(start.Add(set)) })
		}
		for _, tt := range []struct {
			name           string
			at             time.Duration // of the deadline
			moved, movedTo time.Duration // when and to what, 0 for not
			want           time.Duration
		}{
			{"past", -time.Second, 0, 0, 0},
			{"future", time.Second, 0, 0, time.Second},
			{"earlier", time.Minute, time.Second, 2 * time.Second, 2 * time.Second},
			{"later", 2 * time.Second, time.Second, time.Minute, time.Minute},
			{"at once", time.Minute, time.Second, -time.Second, time.Second},
		} {
			start = time.Now()
			l.SetDeadline(start.Add(tt.at))
			if tt.moved != 0 {
				after(tt.moved, tt.movedTo)
			}
			took, err := accept()
			if took != tt.want || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v after %v, want it after %v", tt.name, err, took, tt.want)
			}
			var ne net.Error
			if !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: %v is no timeout", tt.name, err)
			}
		}
		if err := l.SetWriteDeadline(time.Now()); err == nil {
			t.Error("a write deadline was accepted")
		}
		l.SetDeadline(time.Time{})
		start = time.Now()
		time.AfterFunc(time.Hour, func() { l.Close() })
		if took, err := accept(); took != time.Hour || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v after %v, want a closed listener after an hour", err, took)
		}
		for _, err := range []error{l.Close(), l.SetDeadline(time.Now())} {
			if !errors.Is(err, net.ErrClosed) || !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}

// A closed listener makes no sessions; the ones it had go on, and those nobody has
// accepted end.
func TestListenerClose(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		a, b, late := w.dial(cfg, l), w.dial(cfg, l), w.dial(cfg, l)
		io.WriteString(a, "accepted")
		s, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(b, "never")
		w.settle()
		w.wantSessions(l, 2)
		l.Close()
		w.sleep(lingerTime) // until its end needs no more answers
		w.wantSessions(l, 1)
		io.WriteString(late, "too late")
		w.settle()
		w.wantSessions(l, 1)
		w.check(exchangeAfter(s, a, "accepted"))
		s.Close()
		w.sleep(lingerTime)
		w.wantSessions(l, 0)
		if c, err := w.net.Listen("10.0.0.2:2000"); err != nil {
			t.Errorf("the socket outlives its last session: %v", err)
		} else {
			c.Close()
		}
		closeAll(a, b, late)
	})
}

// exchangeAfter reads what was said before, and then exchanges some data.
func exchangeAfter(a, b *UDPSession, said string) error {
	if _, err := io.ReadFull(a, make([]byte, len(said))); err != nil {
		return err
	}
	return exchange(a, b, 10_000)
}

// Datagrams of a closed session that are late or sent again raise no ghost for a
// minute; after two the same address and conv may be used again. What looks like the
// start of a new connection is one as soon as it can be no straggler.
func TestListenerAfterlife(t *testing.T) {
	for _, busy := range []bool{false, true} { // whether other sessions end meanwhile
		t.Run(fmt.Sprintf("busy=%t", busy), func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				l := w.listen(deployed(w.config(nil, 0, 0)), "10.0.0.2:2000")
				from := w.bind("10.0.0.1:1000")
				open := func(conv, sn uint32) *UDPSession {
					from.WriteTo(segment(conv, IKCP_CMD_PUSH, sn, []byte("x")), l.Addr())
					synctest.Wait()
					l.SetDeadline(time.Now())
					l.mu.Lock()
					s := l.sessions[sessionKey{peerAddrOf(from.LocalAddr()), conv}]
					l.backlog = nil
					l.mu.Unlock()
					return s
				}
				open(7, 0).Close()
				ended := time.Now()
				for i := uint32(0); time.Since(ended) < 2*time.Minute; i++ {
					w.sleep(time.Second)
					if busy && i%7 == 0 {
						open(1000+i, 0).Close()
					}
					if since := time.Since(ended); since <= time.Minute && open(7, 1) != nil ||
						since < time.Duration(reconnectAfter) && open(7, 0) != nil {
						t.Errorf("a ghost after %v", since)
						break
					}
					if time.Since(ended) == time.Duration(reconnectAfter) {
						if s := open(7, 0); s == nil {
							t.Error("no new connection after", time.Since(ended))
						} else {
							s.Close()
						}
					}
				}
				w.sleep(time.Duration(reconnectAfter))
				if s := open(7, 1); s == nil {
					t.Errorf("no new session after %v", time.Since(ended))
				} else {
					s.Close()
				}
				l.Close()
			})
		})
	}
}

// What is forged from a session's address does not end it.
func TestListenerForgery(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 3, 2)
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.bind("10.0.0.1:1000")
		c := cfg.dial(7, l.Addr(), newSocket(client, true))
		go echo(l)
		w.check(ask(c, "before"))
		r := rand.New(rand.NewPCG(3, 4))
		for i := range uint32(500) {
			far := r.Uint32()
			for _, b := range [][]byte{
				segment(far, IKCP_CMD_PUSH, 0, nil),
				segment(far, IKCP_CMD_PUSH, 0, []byte("x")),
				segment(7, IKCP_CMD_PUSH, 1<<20+far%(1<<20), []byte("x")),
				segment(7, IKCP_CMD_ACK, 1<<20+far%(1<<20), nil),
				segment(7, uint8(far), 1<<20, nil)[:IKCP_OVERHEAD-1],
				append(segment(7, IKCP_CMD_WASK, 0, nil), segment(far, IKCP_CMD_PUSH, 0, nil)...),
				framed(far, fecTypeParity, random(uint64(i), 100)),
				framed(oobSeqid, fecTypeOOB, binary.LittleEndian.AppendUint32(nil, far)),
				random(uint64(i), int(far%1500)),
			} {
				client.WriteTo(b, l.Addr())
			}
			if i%50 == 0 {
				w.check(ask(c, fmt.Sprintf("after %d", i)))
			}
		}
		w.check(ask(c, "in the end"))
		l.mu.Lock()
		own := l.sessions[sessionKey{peerAddrOf(client.LocalAddr()), 7}]
		l.mu.Unlock()
		if own == nil || own.core.snd.una == 0 {
			t.Error("the session is not the one from the beginning")
		}
		c.Close()
		l.Close()
		l.mu.Lock()
		var left []*UDPSession
		for _, s := range l.sessions {
			left = append(left, s)
		}
		l.mu.Unlock()
		for _, s := range left {
			s.Close()
		}
	})
}

// Sessions cost no goroutines.
func TestListenerManySessions(t *testing.T) {
	const clients, each = 100, 100
	virtual(t, netem.Path{}, func(w *world) {
		l := w.listen(deployed(w.config(nil, 0, 0)), "10.0.0.2:2000")
		var sessions []*UDPSession
		conns := make([]*netem.Conn, clients)
		for i := range conns {
			conns[i] = w.bind(fmt.Sprintf("10.0.1.%d:1000", i))
		}
		goroutines := w.goroutines()
		for _, c := range conns {
			for conv := range uint32(each) {
				c.WriteTo(segment(conv, IKCP_CMD_PUSH, 0, []byte("hello")), l.Addr())
			}
			for range each {
				s, err := l.AcceptKCP()
				if err != nil {
					t.Fatal(err)
				}
				sessions = append(sessions, s)
			}
		}
		w.wantSessions(l, clients*each)
		w.settle() // until they are acknowledged
		if n := w.goroutines() - goroutines; n > 1 {
			t.Errorf("%d goroutines more for %d sessions", n, len(sessions))
		}
		buf := make([]byte, 10)
		for _, s := range sessions {
			if n, err := s.Read(buf); err != nil || string(buf[:n]) != "hello" {
				t.Fatalf("read %q, %v", buf[:n], err)
			}
			s.Close()
		}
		w.wantSessions(l, 0)
		l.Close()
		w.sleep(time.Hour) // nothing is left on the scheduler
		if n := len(w.sched.workers[0].tasks); n > 0 {
			t.Errorf("%d timers are left", n)
		}
	})
}
