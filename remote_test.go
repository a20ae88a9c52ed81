package kcp

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// tunnel is a PacketConn with one peer, wherever it is told to send. It has a name of its own for
// where datagrams come from.
type tunnel struct {
	*netem.Conn
	peer net.Addr
	from func() net.Addr

	mu   sync.Mutex
	told []net.Addr // what WriteTo was called with
}

func (t *tunnel) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := t.Conn.ReadFrom(b)
	return n, t.from(), err
}

func (t *tunnel) WriteTo(b []byte, addr net.Addr) (int, error) {
	t.mu.Lock()
	t.told = append(t.told, addr)
	t.mu.Unlock()
	return t.Conn.WriteTo(b, t.peer)
}

// tunnels joins two of them. The first reports its peer as from says.
func (w *world) tunnels(from func() net.Addr) (near, far *tunnel) {
	a, b := w.bind("10.0.0.1:1000"), w.bind("10.0.0.2:2000")
	none := func() net.Addr { return nil }
	return &tunnel{Conn: a, peer: b.LocalAddr(), from: from}, &tunnel{Conn: b, peer: a.LocalAddr(), from: none}
}

// A PacketConn that is no UDP socket may have one peer alone, or names of its own for peers. It is
// told the address that the program gave, and may report any other.
func TestRemoteOfPacketConn(t *testing.T) {
	udpAddr := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}
	tcpAddr := &net.TCPAddr{IP: udpAddr.IP, Port: udpAddr.Port}
	var n int
	for _, tt := range []struct {
		name  string
		raddr net.Addr
		from  func() net.Addr
	}{
		{"nil", nil, func() net.Addr { return nil }},
		{"nil, read from changing addresses", nil, func() net.Addr { n++; return letter(fmt.Sprint(n)) }},
		{"typed nil", (*net.UDPAddr)(nil), func() net.Addr { return udpAddr }},
		{"typed nil, read from it", (*net.UDPAddr)(nil), func() net.Addr { return (*net.UDPAddr)(nil) }},
		{"typed nil of the program's", (*place)(nil), func() net.Addr { return nil }},
		{"zero", &net.UDPAddr{}, func() net.Addr { return udpAddr }},
		{"no port", &net.UDPAddr{IP: net.IPv4zero}, func() net.Addr { return udpAddr }},
		{"a dummy", letter("peer"), func() net.Addr { return letter("peer") }},
		{"a dummy, read from another", letter("peer"), func() net.Addr { return udpAddr }},
		{"a dummy, read from nil", letter("peer"), func() net.Addr { return nil }},
		{"UDP's, read from another", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, func() net.Addr { return udpAddr }},
		{"UDP's, read from TCP's", udpAddr, func() net.Addr { return tcpAddr }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
				near, far := w.tunnels(tt.from)
				cfg := w.config(newCrypt(t, "aes"), 2, 1)
				l := newListener(cfg, newSocket(far, true))
				c, err := cfg.dialConn(w.convs.next(), tt.raddr, true, near)
				if err != nil {
					t.Fatal(err)
				}
				s := acceptHello(t, c, l)
				w.check(exchange(c, s, 50_000))
				w.awaitIdle() // nothing is sent while told is read
				for i, addr := range near.told {
					if addr != tt.raddr {
						t.Fatalf("datagram %d to %#v", i, addr)
					}
				}
				for _, x := range []*UDPSession{c, s} { // of which programs print the address, and get errors
					_ = x.RemoteAddr().String() + x.RemoteAddr().Network()
					x.SetReadDeadline(time.Now())
					_, err := x.Read(make([]byte, 1))
					_ = err.Error()
					wantTimeout(t, err)
				}
				closeAll(l, c, s)
			})
		})
	}
}

// place is an address whose methods need it.
type place struct{ name string }

func (*place) Network() string  { return "place" }
func (p *place) String() string { return p.name }

// What is the peer's is known by the address, or where the PacketConn has another name for it by the
// conversation. From then on nothing from elsewhere is heard.
func TestRemoteIsLearnt(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		var from net.Addr = letter("peer")
		var mu sync.Mutex
		now := func() net.Addr {
			mu.Lock()
			defer mu.Unlock()
			return from
		}
		is := func(addr net.Addr) {
			mu.Lock()
			defer mu.Unlock()
			from = addr
		}
		near, far := w.tunnels(now)
		c, err := w.config(nil, 0, 0).dialConn(testConv, letter("dummy"), true, near)
		w.check(err)
		c.confirm()
		say := func(conv, sn uint32) {
			h := header{conv: conv, cmd: IKCP_CMD_PUSH, sn: sn, wnd: 32, len: 1}
			far.WriteTo(append(segmentOf(h), byte('0'+sn)), nil)
			w.sleep(10 * time.Millisecond)
		}
		is(letter("stranger"))
		say(testConv+1, 0) // of another conversation, which tells nothing
		far.WriteTo(framed(1, fecTypeParity, random(1, 40)), nil)
		w.sleep(10 * time.Millisecond)
		is(letter("peer"))
		say(testConv, 0)
		is(letter("stranger"))
		say(testConv, 1)
		is(letter("dummy"))
		say(testConv, 1)
		is(letter("peer"))
		say(testConv, 1)
		b := make([]byte, 3)
		c.SetDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(c, b[:2]); err != nil || string(b[:2]) != "01" {
			t.Errorf("%q, %v", b[:2], err)
		}
		if n := w.snmp.Copy(); n.InErrs != 4 || n.KCPInErrors != 0 || n.RepeatSegs != 0 {
			t.Errorf("%d datagrams of strangers, %d wrong, %d repeats: want 4, 0, 0", n.InErrs, n.KCPInErrors, n.RepeatSegs)
		}
		closeAll(c, far)
	})
}
