//go:build !kcpgeneric

package kcp

import (
	"context"
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// reusePortMax bounds the sockets of a listener: each has buffers, and a reader that is woken up.
const reusePortMax = 8

// openReusePort opens more sockets at the address of first, one for each other processor. The
// kernel distributes the peers among them (SO_REUSEPORT, socket(7):
// https://man7.org/linux/man-pages/man7/socket.7.html), so as many readers serve the peers. It
// opens fewer, or none, where opening fails. first was bound without the option, so an address in
// use is an error as usual, also to a second listener that shares its port this way.
func openReusePort(network string, first *net.UDPConn, control controlFunc) (more []*net.UDPConn) {
	n := min(runtime.GOMAXPROCS(0), reusePortMax)
	raw, err := first.SyscallConn()
	if n == 1 || err != nil || setReusePort(raw, true) != nil {
		return nil
	}
	defer func() {
		if more == nil { // no other process is to listen here
			setReusePort(raw, false)
		}
	}()
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		if err := setReusePort(c, true); err != nil || control == nil {
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

// setReusePort sets or clears SO_REUSEPORT.
func setReusePort(c syscall.RawConn, on bool) (err error) {
	value := 0
	if on {
		value = 1
	}
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
	}); e != nil {
		return e
	}
	return err
}
