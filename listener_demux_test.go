package kcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A PUSH beyond the receive window that the settings say makes no session.
func TestListenerOwnWindow(t *testing.T) {
	for _, tt := range []struct {
		window int
		sn     uint32
		want   int
	}{
		{4, 0, 1}, {4, 3, 1}, {4, 4, 0}, {4, 5, 0}, {4, 31, 0}, {1, 0, 1}, {1, 1, 0}, {32, 31, 1}, {32, 32, 0},
	} {
		t.Run(fmt.Sprintf("%d of %d", tt.sn, tt.window), func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				cfg, err := Settings{ReceiveWindow: tt.window}.resolve()
				if err != nil {
					t.Fatal(err)
				}
				cfg.sched, cfg.snmp = w.sched, w.snmp
				l := w.listen(cfg, "10.0.0.2:2000")
				w.bind("10.0.0.1:1000").WriteTo(segment(7, IKCP_CMD_PUSH, tt.sn, []byte("x")), l.Addr())
				w.wantSessions(l, tt.want)
				if n := w.snmp.Copy().InErrs; n != uint64(1-tt.want) {
					t.Errorf("InErrs = %d", n)
				}
				l.Close()
			})
		})
	}
}

// Every client uses the same conv.
func TestListenerSameConv(t *testing.T) {
	virtual(t, netem.Path{Delay: 5 * time.Millisecond, Loss: 0.05}, func(w *world) {
		cfg := inGroups(w.config(nil, 3, 2))
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

// shared is one address with several sessions, each of which gets the datagrams of its conv.
type shared struct {
	*netem.Conn
	mu    sync.Mutex
	convs map[uint32]chan []byte
}

// part returns the PacketConn of a session with conv.
func (s *shared) part(conv uint32) *part {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &part{shared: s, in: make(chan []byte, 1000), done: make(chan struct{})}
	s.convs[conv] = p.in
	return p
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
		cfg := inGroups(w.config(nil, 3, 2))
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		addr := share(w.bind("10.0.0.1:1000"))
		var sessions []*UDPSession
		for conv := range uint32(8) {
			sessions = append(sessions, cfg.dial(conv, l.Addr(), newSocket(addr.part(conv), true)))
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
		w.awaitIdle()
		before := w.snmp.Copy()
		for _, s := range sessions {
			s.SetACKNoDelay(true)
			s.startGroup()
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

// Only data that a new session takes makes one, or an out-of-band datagram.
func TestListenerWhatOpens(t *testing.T) {
	push := func(sn uint32) []byte { return segment(7, IKCP_CMD_PUSH, sn, []byte("x")) }
	long := push(0)
	binary.LittleEndian.PutUint32(long[20:], 2)
	unsized := framed(0, fecTypeData, push(0))
	binary.LittleEndian.PutUint16(unsized[fecShardStart:], 1)
	oversized := framed(0, fecTypeData, push(0))
	binary.LittleEndian.PutUint16(oversized[fecShardStart:], 100)
	oob := make([]byte, convSize+100)
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
		{"PUSH behind an unknown cmd", append(segment(7, 200, 0, nil), push(0)...), false},
		{"PUSH behind another conv", append(segment(8, IKCP_CMD_ACK, 0, nil), push(0)...), false},
		{"longer than it is", long, false},
		{"cut short", push(0)[:IKCP_OVERHEAD-1], false},
		{"nothing", nil, false},
		{"garbage", random(1, 500), false},
		{"FEC size too small", unsized, false},
		{"FEC size too large", oversized, false},
		{"parity", framed(3, fecTypeParity, push(0)), false},
		{"out of band", framed(oobSeqid, fecTypeOOB, oob), true},
		{"out of band that looks like a PUSH", framed(oobSeqid, fecTypeOOB, push(0)), true},
		{"out of band with a seqid", framed(3, fecTypeOOB, oob), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				l := w.listen(inGroups(w.config(nil, 3, 2)), "10.0.0.2:2000")
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

// What is forged from a session's address does not end it.
func TestListenerForgery(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := inGroups(w.config(nil, 3, 2))
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.bind("10.0.0.1:1000")
		c := cfg.dial(7, l.Addr(), newSocket(client, true))
		go echo(l)
		start := time.Now()
		w.check(ask(c, "before"))
		r := seeded(3, 4)
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
		own := l.knows(client.LocalAddr(), 7)
		if own == nil || time.Since(start)-own.Stats().Age > 2*time.Millisecond {
			t.Error("the session is not the one from the beginning")
		}
		c.Close()
		l.Close()
		for _, s := range l.known() {
			s.Close()
		}
	})
}
