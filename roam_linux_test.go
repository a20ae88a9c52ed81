//go:build !kcpgeneric

package kcp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// inNamespace has the session's sockets opened in the namespace.
func (n *namespace) inNamespace(sock *socket) {
	again := sock.again
	sock.again = func() (s *socket, err error) {
		err = net.ErrClosed
		n.do(func() {
			if s, err = again(); err == nil {
				n.inNamespace(s)
			}
		})
		return s, err
	}
}

// dial makes a sealed session from the namespace.
func (n *namespace) dial(t *testing.T, to net.Addr) (s *UDPSession) {
	t.Helper()
	var err error
	n.do(func() { s, err = DialWithOptions(to.String(), newCrypt(t, "gcm"), 0, 0) })
	if err != nil {
		t.Fatal(err)
	}
	n.inNamespace(s.path().sock)
	return s
}

// shell is a command line for namespace.need.
func shell(format string, args ...any) []string {
	return []string{"sh", "-c", fmt.Sprintf(format, args...)}
}

// roundTrips carries something in both directions, and says how long it took.
func roundTrips(t *testing.T, c, s *UDPSession) time.Duration {
	t.Helper()
	start := time.Now()
	if err := exchange(c, s, 100_000); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// meet makes a session from one namespace to 10.9.0.2 in the other, which has carried something.
func meet(t *testing.T, near, far *namespace) (c, s *UDPSession) {
	t.Helper()
	l, err := ServeConn(newCrypt(t, "gcm"), 0, 0, far.listen(t, "10.9.0.2:4000"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c = near.dial(t, l.Addr())
	s = acceptHello(t, c, l)
	t.Cleanup(func() { closeAll(c, s) })
	roundTrips(t, c, s)
	return c, s
}

// A client whose address is taken away goes on from another with the next thing that it sends.
func TestRoamAddressGone(t *testing.T) {
	near, far := newNamespace(t), newNamespace(t)
	near.need(t,
		shell("ip link add kcp0 type veth peer name kcp1 && ip link set kcp1 netns %d", far.tid),
		shell("ip addr add 10.9.0.1/24 dev kcp0 && ip link set kcp0 up"))
	far.need(t, shell("ip addr add 10.9.0.2/24 dev kcp1 && ip link set kcp1 up"))
	c, s := meet(t, near, far)
	near.need(t, shell("ip addr del 10.9.0.1/24 dev kcp0 && ip addr add 10.9.0.3/24 dev kcp0"))
	took := roundTrips(t, c, s)
	t.Logf("100 KB in both directions took %v; client %v, server %v", took, c.LocalAddr(), s.RemoteAddr())
	if got := netip.MustParseAddrPort(s.RemoteAddr().String()).Addr().String(); got != "10.9.0.3" || took > 5*time.Second {
		t.Errorf("the session is at %v, after %v", got, took)
	}
	if n := c.Stats().PathChanges; n != 1 {
		t.Errorf("%d changes of path", n)
	}
}

// A client whose NAT has forgotten it has another port there, and goes on.
func TestRoamMasquerade(t *testing.T) {
	near, nat, far := newNamespace(t), newNamespace(t), newNamespace(t)
	nat.need(t,
		shell("ip link add kcp1 type veth peer name kcp0 && ip link set kcp0 netns %d", near.tid),
		shell("ip link add kcp2 type veth peer name kcp3 && ip link set kcp3 netns %d", far.tid),
		shell("ip addr add 10.8.0.2/24 dev kcp1 && ip addr add 10.9.0.1/24 dev kcp2 && ip link set kcp1 up && ip link set kcp2 up"),
		shell("echo 1 > /proc/sys/net/ipv4/ip_forward"),
		shell("nft add table ip roam && nft 'add chain ip roam post { type nat hook postrouting priority 100 ; }'"),
		shell(`nft 'add rule ip roam post oifname "kcp2" udp sport 1-65535 masquerade to :41000-41999 random'`),
		shell("cd /proc/sys/net/netfilter && echo 1 > nf_conntrack_udp_timeout && echo 1 > nf_conntrack_udp_timeout_stream"))
	near.need(t, shell("ip addr add 10.8.0.1/24 dev kcp0 && ip link set kcp0 up && ip route add default via 10.8.0.2"))
	far.need(t, shell("ip addr add 10.9.0.2/24 dev kcp3 && ip link set kcp3 up"))
	c, s := meet(t, near, far)
	was := s.RemoteAddr().String()
	if !strings.HasPrefix(was, "10.9.0.1:41") {
		t.Skip("no masquerading: the client is", was)
	}
	nat.need(t,
		shell("nft flush chain ip roam post"), // the mapping that there is lives on until it is idle for a second
		shell(`nft 'add rule ip roam post oifname "kcp2" udp sport 1-65535 masquerade to :42000-42999 random'`))
	time.Sleep(2500 * time.Millisecond)
	io.WriteString(c, "x") // from the client: nobody else can
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	took := roundTrips(t, c, s)
	t.Logf("100 KB in both directions took %v; the client was %v, is %v", took, was, s.RemoteAddr())
	if !strings.HasPrefix(s.RemoteAddr().String(), "10.9.0.1:42") || took > 5*time.Second {
		t.Errorf("the client was %v, and is %v; %v", was, s.RemoteAddr(), took)
	}
}
