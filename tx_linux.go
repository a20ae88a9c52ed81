//go:build !kcpgeneric

package kcp

import (
	"net"
	"sync"
	"syscall"
	"unsafe"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"
)

// batchIO is the batched system calls of a UDP socket, sendmmsg(2) and recvmmsg(2).
type batchIO struct {
	raw syscall.RawConn
	six bool // of the IPv6 family
}

// newBatchIO returns nil when c gives no access to its descriptor.
func newBatchIO(c *net.UDPConn) *batchIO {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	b := &batchIO{raw: raw}
	raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		b.six = err == nil && domain == unix.AF_INET6
	})
	return b
}

// growBuffers asks for socketBuffer in both directions, past the system's limit
// where we may; a refusal does no harm.
func growBuffers(c *net.UDPConn) {
	c.SetReadBuffer(socketBuffer)
	c.SetWriteBuffer(socketBuffer)
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer)
		})
	}
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batchSize is how many datagrams go in one system call.
const batchSize = 64

// txBatch is the system call's argument for one batch.
type txBatch struct {
	socket  *socket
	hdrs    [batchSize]mmsghdr
	iovs    [batchSize]unix.Iovec
	pending []mmsghdr // of hdrs, not sent yet
	wait    bool
	refused int
	write   func(fd uintptr) bool // b.try, bound once
}

var txBatches = sync.Pool{New: func() any {
	b := new(txBatch)
	b.write = b.try
	return b
}}

// sendBatch is send by sendmmsg.
func (s *socket) sendBatch(batch []outbound, wait bool) (refused int, err error) {
	b := txBatches.Get().(*txBatch)
	b.wait, b.refused = wait, 0
	for len(batch) > 0 && err == nil {
		n := min(len(batch), batchSize)
		b.fill(batch[:n], s.connected)
		batch = batch[n:]
		if err = s.batch.raw.Write(b.write); err != nil && !errors.Is(err, net.ErrClosed) {
			b.refused += len(b.pending) // a write deadline that the owner has set
			err = nil
		}
	}
	refused = b.refused
	b.pending = nil
	txBatches.Put(b)
	return refused, err
}

func (b *txBatch) fill(batch []outbound, connected bool) {
	for i, o := range batch {
		b.iovs[i].Base = &o.p.data[0]
		b.iovs[i].SetLen(len(o.p.data))
		h := &b.hdrs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name, h.Namelen = nil, 0
		if !connected {
			h.Name, h.Namelen = &o.to.raw.b[0], uint32(o.to.raw.n)
		}
	}
	b.pending = b.hdrs[:len(batch)]
}

// try sends what is pending. It returns false to be called again when the socket
// is writable.
func (b *txBatch) try(fd uintptr) bool {
	for len(b.pending) > 0 {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.pending[0])),
			uintptr(len(b.pending)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.pending = b.pending[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			if b.wait {
				return false
			}
			b.refused += len(b.pending)
			b.pending = nil
		default: // the first one's; the others may do better
			b.refused++
			b.pending = b.pending[1:]
		}
	}
	return true
}
