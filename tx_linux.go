//go:build !kcpgeneric

package kcp

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"
)

// batchIO is the batched system calls of a UDP socket, sendmmsg(2) and recvmmsg(2).
type batchIO struct {
	raw     syscall.RawConn
	six     bool // of the IPv6 family
	segment bool // UDP_SEGMENT can be used
	gro     bool // UDP_GRO is on
}

// newBatchIO returns nil when c gives no access to its descriptor. Offload is for sockets
// that nobody else reads or has plans for.
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
		}
	})
	return b
}

// forceBuffers asks for what is past the system's limit, which is granted to the privileged;
// a refusal does no harm.
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

const (
	// txMessages is how many messages go in one system call, and txDatagrams how many
	// datagrams, which offload puts into fewer messages.
	txMessages  = 64
	txDatagrams = 256
)

// txBatch sends one batch. The system call's argument is made piece by piece, as far as
// its arrays reach.
type txBatch struct {
	batch   []outbound // not sent yet
	socket  *socket
	wait    bool
	refused int
	retried bool                  // the next message, after an error of another one
	write   func(fd uintptr) bool // b.send, bound once

	next, end int             // of hdrs: what the next system call is to send
	count     [txMessages]int // datagrams in each message
	hdrs      [txMessages]mmsghdr
	cmsgs     [txMessages]cmsgBuf
	iovs      [txDatagrams]unix.Iovec
}

var txBatches = sync.Pool{New: func() any {
	b := new(txBatch)
	b.write = b.send
	return b
}}

// sendBatch is send by sendmmsg.
func (s *socket) sendBatch(batch []outbound, wait bool) (refused int, err error) {
	if len(batch) == 0 {
		return 0, nil
	}
	b := txBatches.Get().(*txBatch)
	b.batch, b.socket, b.wait = batch, s, wait
	b.refused, b.retried, b.next, b.end = 0, false, 0, 0
	err = s.batch.raw.Write(b.write)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		b.refused += len(b.batch) // a write deadline that the PacketConn's owner has set
		err = nil
	}
	refused = b.refused
	b.batch, b.socket = nil, nil
	txBatches.Put(b)
	return refused, err
}

// fill makes the system call's argument from the start of the batch.
func (b *txBatch) fill() {
	messages, iovs, rest := 0, b.iovs[:0], b.batch
	for len(rest) > 0 && messages < txMessages {
		to := rest[0].to
		n := 1
		if b.socket.batch.segment && atomic.LoadUint32(&to.plain) == 0 {
			n = gsoTrain(rest)
		}
		if len(iovs)+n > txDatagrams {
			break
		}
		at := len(iovs)
		for _, o := range rest[:n] {
			iov := unix.Iovec{Base: &o.data[0]}
			iov.SetLen(len(o.data))
			iovs = append(iovs, iov)
		}
		h := &b.hdrs[messages].hdr
		h.Iov = &iovs[at]
		h.SetIovlen(n)
		h.Name, h.Namelen = nil, 0
		if !b.socket.connected {
			h.Name, h.Namelen = &to.raw.b[0], uint32(to.raw.n)
		}
		h.Control = nil
		h.SetControllen(0)
		if n > 1 {
			c := &b.cmsgs[messages]
			h.Control = &c.b[0]
			h.SetControllen(c.putSegmentSize(len(rest[0].data)))
		}
		b.count[messages] = n
		messages++
		rest = rest[n:]
	}
	b.next, b.end = 0, messages
}

// done takes n messages off what is to be sent.
func (b *txBatch) done(n int) {
	for _, datagrams := range b.count[b.next : b.next+n] {
		b.batch = b.batch[datagrams:]
	}
	b.next += n
}

// send sends the batch. It returns false to be called again when the socket is writable.
func (b *txBatch) send(fd uintptr) bool {
	for len(b.batch) > 0 {
		if b.next == b.end {
			b.fill()
		}
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[b.next])),
			uintptr(b.end-b.next), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			b.done(int(n))
			b.retried = false
		case errno == unix.EINTR:
		case errno == unix.EAGAIN && b.wait:
			return false
		case errno == unix.EAGAIN:
			b.refused += len(b.batch)
			b.batch = nil
		case b.count[b.next] > 1 && refusesOffload(errno):
			atomic.StoreUint32(&b.batch[0].to.plain, 1)
			b.end = b.next // made again, without offload
		case reported(errno) && !b.retried:
			b.retried = true
		default: // it is the first one's; the others may do better
			b.refused += b.count[b.next]
			b.done(1)
			b.retried = false
		}
	}
	return true
}

// reported says whether errno may be what the path reported of an earlier datagram, on a
// connected socket, while this one was not even tried.
func reported(errno syscall.Errno) bool {
	return errno == unix.ECONNREFUSED || errno == unix.EHOSTUNREACH || errno == unix.ENETUNREACH
}
