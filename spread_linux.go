//go:build !kcpgeneric

package kcp

import (
	"context"
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// spreadMost bounds a listener's sockets: each has buffers, and a reader that wakes up.
const reusePortMax = 8

// spread opens more sockets at the address of first, one for each other processor: the kernel
// deals the peers out among them (SO_REUSEPORT, socket(7)), so that as many readers serve them.
// It opens fewer, or none, where that does not work. The first was bound without the option, so
// an address in use is an error as ever, also to a second listener of this kind.
func openReusePort(network string, first *net.UDPConn, control controlFunc) (more []*net.UDPConn) {
	n := min(runtime.GOMAXPROCS(0), reusePortMax)
	raw, err := first.SyscallConn()
	if n == 1 || err != nil || reusePort(raw) != nil {
		return nil
	}
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		if err := reusePort(c); err != nil || control == nil {
			return err
		}
		return control(network, address, c)
	}}
	for len(more) < n-1 {
		conn, err := lc.ListenPacket(context.Background(), network, first.LocalAddr().String())
		if err != nil {
			break
		}
		more = append(more, conn.(*net.UDPConn))
	}
	return more
}

func reusePort(c syscall.RawConn) (err error) {
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); e != nil {
		return e
	}
	return err
}
