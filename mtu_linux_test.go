package kcp

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// Over a link of a small MTU, behind a router that sends no ICMP, and over one whose own end is narrow, a
// transfer finds the length that passes, also where it becomes narrow in mid-transfer.
func TestNarrowLinks(t *testing.T) {
	for _, where := range []string{"here", "behind a router", "later"} {
		for _, six := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, IPv6 %t", where, six), func(t *testing.T) {
				near, router, far := newNamespace(t), newNamespace(t), newNamespace(t)
				net4 := func(n, host int) string { return fmt.Sprintf("10.9.%d.%d", n, host) }
				bits, want := "/24", 1300-28
				if six {
					net4 = func(n, host int) string { return fmt.Sprintf("fd00:%d::%d", n, host) }
					bits, want = "/64", 1300-48
				}
				nearMTU, farMTU := "1500", "1300"
				var narrow func()
				switch where {
				case "here":
					nearMTU = "1300"
				case "later":
					farMTU = "1500"
					narrow = func() {
						router.need(t, []string{"ip", "link", "set", "kcp2", "mtu", "1300"})
						far.need(t, []string{"ip", "link", "set", "kcp3", "mtu", "1300"})
					}
				}
				joinNamespaces(t, near, "kcp0", router, "kcp1", net4(0, 1)+bits, net4(0, 2)+bits, nearMTU)
				joinNamespaces(t, router, "kcp2", far, "kcp3", net4(1, 1)+bits, net4(1, 2)+bits, farMTU)
				near.need(t, []string{"ip", "route", "add", "default", "via", net4(0, 2)})
				far.need(t, []string{"ip", "route", "add", "default", "via", net4(1, 1)})
				router.need(t, []string{"sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"})
				router.need(t, []string{"nft", "add", "table", "inet", "t"},
					[]string{"nft", "add", "chain", "inet", "t", "o", "{ type filter hook output priority 0 ; }"},
					[]string{"nft", "add", "rule", "inet", "t", "o", "icmp", "type", "destination-unreachable", "drop"},
					[]string{"nft", "add", "rule", "inet", "t", "o", "icmpv6", "type", "packet-too-big", "drop"})
				findsLength(t, near, far, net.JoinHostPort(net4(0, 1), "0"), net.JoinHostPort(net4(1, 2), "4000"), want, narrow)
			})
		}
	}
}

// joinNamespaces joins two namespaces.
func joinNamespaces(t *testing.T, from *namespace, name string, to *namespace, peer, addr, peerAddr, mtu string) {
	t.Helper()
	from.need(t,
		[]string{"ip", "link", "add", name, "type", "veth", "peer", "name", peer},
		[]string{"ip", "link", "set", peer, "netns", fmt.Sprint(to.tid)},
		[]string{"ip", "addr", "add", addr, "dev", name, "nodad"},
		[]string{"ip", "link", "set", name, "mtu", mtu, "up"})
	to.need(t,
		[]string{"ip", "addr", "add", peerAddr, "dev", peer, "nodad"},
		[]string{"ip", "link", "set", peer, "mtu", mtu, "up"})
}

// findsLength sends from one namespace to the other until it is done, or too long. narrow, if there is one, makes
// the path narrower on the way.
func findsLength(t *testing.T, near, far *namespace, from, to string, want int, narrow func()) {
	l, err := (&ListenConfig{OwnConn: true}).ListenConn(far.listenUDP(t, "udp", to))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := NewConn4(1, l.Addr(), nil, 0, 0, true, near.listenUDP(t, "udp", from))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	c.SetStreamMode(true)
	c.SetRateLimit(1 << 20)
	go io.Copy(struct{ io.Writer }{c}, endless{})
	l.SetDeadline(time.Now().Add(realPatience))
	s, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	begin, size, stall := time.Now(), 0, time.Duration(0)
	s.SetReadDeadline(begin.Add(realPatience))
	for b := make([]byte, 16<<10); size < want-mtuResolution || size > want; size = c.Stats().MTU {
		since := time.Now()
		if _, err := io.ReadFull(s, b); err != nil {
			t.Fatalf("%v, with datagrams of %d bytes", err, size)
		}
		stall = max(stall, time.Since(since))
		if narrow != nil && c.Stats().MTU >= mtuEthernet6 {
			narrow()
			narrow, begin, stall = nil, time.Now(), 0
		}
	}
	t.Logf("%d bytes after %v, longest stall %v", size, time.Since(begin), stall)
	if stall > narrowStall {
		t.Errorf("a stall of %v", stall)
	}
	if st := c.Stats(); st.MTUProbes == 0 {
		t.Errorf("%+v", st)
	}
}
