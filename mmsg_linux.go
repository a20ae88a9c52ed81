//go:build !kcpgeneric

package kcp

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// batchIO is what the batched system calls of a UDP socket need: sendmmsg(2) and recvmmsg(2).
type batchIO struct {
	raw     syscall.RawConn
	six     bool // the socket is of the IPv6 family
	segment bool // the socket takes GSO sends
	gro     bool // UDP_GRO is on
}

// newBatchIO returns nil when c gives no access to its descriptor. It switches offload on, and the
// counting of drops, for owned sockets only, as others may be read by their owner, or used for something else.
func newBatchIO(c *net.UDPConn, owned bool) *batchIO {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	b := &batchIO{raw: raw}
	raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		b.six = err == nil && domain == unix.AF_INET6
		if owned {
			b.segment, b.gro = probeOffload(int(fd))
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
		}
	})
	return b
}

// forceBuffers asks for buffers beyond the system's limit. The kernel grants that to privileged
// processes and refuses it to others, whose buffers then stay as they are.
func forceBuffers(c *net.UDPConn) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
		})
	}
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// unread says whether the socket has something to read.
func (b *batchIO) unread() bool {
	n := 0
	b.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n > 0
}

// receiveBuffer is the size of the socket's receive buffer in bytes, as SetReadBuffer counts them.
func (b *batchIO) receiveBuffer() (size int) {
	b.raw.Control(func(fd uintptr) { size, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
	return size / 2 // the kernel doubles it for its own bookkeeping
}
