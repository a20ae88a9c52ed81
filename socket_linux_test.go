package kcp

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// sockopt reads a socket option through Control.
func sockopt(t *testing.T, control func(func(net.PacketConn) error) error, level, opt int) (value int) {
	t.Helper()
	err := control(func(conn net.PacketConn) error {
		raw, err := conn.(*net.UDPConn).SyscallConn()
		if err != nil {
			return err
		}
		var failure error
		err = raw.Control(func(fd uintptr) { value, failure = unix.GetsockoptInt(int(fd), level, opt) })
		if err != nil {
			return err
		}
		return failure
	})
	if err != nil {
		t.Error(err)
	}
	return value
}

func TestSocketOptions(t *testing.T) {
	const dscp = 46 // expedited forwarding
	for _, tt := range []struct {
		addr       string
		level, opt int
	}{
		{"127.0.0.1:0", unix.IPPROTO_IP, unix.IP_TOS},
		{"[::1]:0", unix.IPPROTO_IPV6, unix.IPV6_TCLASS},
	} {
		t.Run(tt.addr, func(t *testing.T) {
			if tt.level == unix.IPPROTO_IPV6 {
				needIPv6(t)
			}
			l, err := ListenWithOptions(tt.addr, nil, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			c := dialUDP(t, l.Addr().String(), nil, 0, 0)
			for _, x := range []struct {
				name    string
				dscp    func(int) error
				rcv     func(int) error
				snd     func(int) error
				control func(func(net.PacketConn) error) error
			}{
				{"session", c.SetDSCP, c.SetReadBuffer, c.SetWriteBuffer, c.Control},
				{"listener", l.SetDSCP, l.SetReadBuffer, l.SetWriteBuffer, l.Control},
			} {
				for _, err := range []error{x.dscp(dscp), x.rcv(64 << 10), x.snd(32 << 10)} {
					if err != nil {
						t.Errorf("%s: %v", x.name, err)
					}
				}
				// The kernel doubles a buffer's size for its own bookkeeping.
				for _, o := range []struct {
					name             string
					level, opt, want int
				}{
					{"DSCP", tt.level, tt.opt, dscp << 2},
					{"receive buffer", unix.SOL_SOCKET, unix.SO_RCVBUF, 128 << 10},
					{"send buffer", unix.SOL_SOCKET, unix.SO_SNDBUF, 64 << 10},
				} {
					if got := sockopt(t, x.control, o.level, o.opt); got != o.want {
						t.Errorf("%s: %s is %d, want %d", x.name, o.name, got, o.want)
					}
				}
				if err := x.dscp(64); err == nil {
					t.Errorf("%s: DSCP 64 was accepted", x.name)
				}
			}
			closeAll(c, l)
		})
	}
}
