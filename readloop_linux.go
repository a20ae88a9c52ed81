//go:build !kcpgeneric

package kcp

import (
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rxBatch is the buffers and the argument of one recvmmsg. A reader holds one only
// while there is something to read, so an idle socket costs nothing but its goroutine.
type rxBatch struct {
	hdrs  []mmsghdr
	iovs  []unix.Iovec
	names [][unix.SizeofSockaddrInet6]byte
	cmsgs []rxCmsgBuf
	bufs  [][]byte
	in    []inbound
}

// A batch has many buffers for one datagram each, or for a socket with UDP_GRO a few for
// as much as the kernel puts together.
var (
	rxPlain = sync.Pool{New: func() any { return newRxBatch(64, readSize) }}
	rxGRO   = sync.Pool{New: func() any { return newRxBatch(4, 1<<16) }}
)

func newRxBatch(messages, size int) *rxBatch {
	b := &rxBatch{
		hdrs:  make([]mmsghdr, messages),
		iovs:  make([]unix.Iovec, messages),
		names: make([][unix.SizeofSockaddrInet6]byte, messages),
		cmsgs: make([]rxCmsgBuf, messages),
		bufs:  make([][]byte, messages),
	}
	slab := make([]byte, messages*size)
	for i := range b.hdrs {
		b.bufs[i], slab = slab[:size:size], slab[size:]
		b.iovs[i].Base = &b.bufs[i][0]
		b.iovs[i].SetLen(size)
		h := &b.hdrs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = &b.names[i][0]
		h.Control = &b.cmsgs[i].b[0]
	}
	return b
}

// recv reads what is there, at least one message.
func (b *rxBatch) recv(fd uintptr) (n int, errno syscall.Errno) {
	for i := range b.hdrs {
		b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		b.hdrs[i].hdr.SetControllen(len(b.cmsgs[i].b))
	}
	for {
		r, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[0])),
			uintptr(len(b.hdrs)), unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(r), errno
		}
	}
}

// inbound returns the datagrams of the first n messages.
func (b *rxBatch) inbound(n int) []inbound {
	b.in = b.in[:0]
	for i := range n {
		h := &b.hdrs[i]
		from := peerAddr{udp: parseRawAddr(b.names[i][:min(h.hdr.Namelen, unix.SizeofSockaddrInet6)])}
		data := b.bufs[i][:h.len]
		if h.hdr.Flags&unix.MSG_CTRUNC != 0 && h.len > mtuLimit {
			data = nil // where one datagram ends and the next begins is lost
		}
		size := gsoSegmentSize(b.cmsgs[i].b[:h.hdr.Controllen])
		b.in = split(b.in, data, size, from)
	}
	return b.in
}

// unread says whether there is something to read.
func (b *batchIO) unread() bool {
	n := 0
	b.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n > 0
}

// readBatches reads by recvmmsg until it fails for good.
func (s *socket) readBatches(in receiver) error {
	pool := &rxPlain
	if s.batch.gro {
		pool = &rxGRO
	}
	var (
		b     *rxBatch
		n     int
		errno syscall.Errno
	)
	read := func(fd uintptr) bool {
		if b == nil {
			b = pool.Get().(*rxBatch)
		}
		if n, errno = b.recv(fd); errno == unix.EAGAIN {
			pool.Put(b)
			b = nil
			return false
		}
		return true
	}
	defer func() {
		if b != nil {
			pool.Put(b)
		}
	}()
	for failures := 0; !s.stopping.Load(); {
		err := s.batch.raw.Read(read)
		if err == nil && errno != 0 {
			err = os.NewSyscallError("recvmmsg", errno)
		}
		if err != nil {
			if failures++; s.retryRead(err, failures) {
				continue
			}
			return err
		}
		failures = 0
		in.receive(b.inbound(n))
		s.looked.Store(clock())
		s.late.Store(false)
	}
	return net.ErrClosed
}
