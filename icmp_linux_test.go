package kcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
)

// sendICMP sends an ICMP message of that type and code about a datagram from local to remote, as a
// router or the peer's machine would. It skips the test where raw sockets are not allowed.
func sendICMP(t *testing.T, local, remote *net.UDPAddr, typ, code byte) {
	t.Helper()
	raw, err := net.DialIP("ip4:icmp", nil, &net.IPAddr{IP: local.IP})
	if err != nil {
		t.Skip("no raw sockets:", err)
	}
	defer raw.Close()
	quoted := make([]byte, 28) // IPv4 and UDP headers
	quoted[0], quoted[8], quoted[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(quoted[2:], uint16(len(quoted)))
	copy(quoted[12:], local.IP.To4())
	copy(quoted[16:], remote.IP.To4())
	binary.BigEndian.PutUint16(quoted[20:], uint16(local.Port))
	binary.BigEndian.PutUint16(quoted[22:], uint16(remote.Port))
	binary.BigEndian.PutUint16(quoted[24:], 8)
	msg := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, quoted...)
	sum := uint32(0)
	for i := 0; i < len(msg); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(msg[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(msg[2:], ^uint16(sum))
	if _, err := raw.Write(msg); err != nil {
		t.Fatal(err)
	}
}

// What routers and hosts say of a datagram, by ICMP, ends no session: it may be forged, or be over
// in a moment. The kernel reports it on connected sockets.
func TestICMP(t *testing.T) {
	for _, owned := range []bool{true, false} {
		for _, m := range []struct {
			name      string
			typ, code byte
		}{
			{"net unreachable", 3, 0}, {"host unreachable", 3, 1}, {"protocol unreachable", 3, 2}, {"port unreachable", 3, 3},
			{"net unknown", 3, 6}, {"host unknown", 3, 7}, {"host isolated", 3, 8}, {"net prohibited", 3, 9},
			{"host prohibited", 3, 10}, {"filtered", 3, 13}, {"time exceeded", 11, 0}, {"parameter problem", 12, 0},
		} {
			t.Run(fmt.Sprintf("%s/owned=%t", m.name, owned), func(t *testing.T) {
				watchdog(t)
				l, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				conn, err := net.DialUDP("udp4", nil, l.Addr().(*net.UDPAddr))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				c, err := NewConn4(1, l.Addr(), nil, 0, 0, owned, conn)
				if err != nil {
					t.Fatal(err)
				}
				s := acceptHello(t, c, l)
				defer closeAll(c, s)
				sendICMP(t, conn.LocalAddr().(*net.UDPAddr), l.Addr().(*net.UDPAddr), m.typ, m.code)
				if err := exchange(c, s, 2000); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
