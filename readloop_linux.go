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

// rxBatch holds the buffers and the argument of one recvmmsg(2). A reader takes one from the pool
// only when there is something to read, so an idle socket costs nothing but its goroutine.
type rxBatch struct {
	hdrs  []mmsghdr
	iovs  []unix.Iovec
	names [][unix.SizeofSockaddrInet6]byte
	cmsgs []rxCmsgBuf
	bufs  [][]byte
	used  int       // messages that the last recv has filled
	in    []inbound // result of inbound, used again
	drops uint32    // the socket's counter of what it has dropped, 0 where inbound was not told
}

// A batch of rxPlain has many buffers for one datagram each, one of rxJumbo a few larger ones. A batch of
// rxGRO, for sockets with UDP_GRO, has a few for as much as the kernel joins.
var (
	rxPlain = sync.Pool{New: func() any { return newRxBatch(64, mtuLimit+1) }}
	rxJumbo = sync.Pool{New: func() any { return newRxBatch(16, jumboLimit+1) }}
	rxGRO   = sync.Pool{New: func() any { return newRxBatch(4, 1<<16) }}
)

// newRxBatch returns a batch for so many messages, with a buffer of size bytes for each.
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
	b.used = messages
	return b
}

// recv reads as many messages as are there, at most as many as b has buffers. errno is EAGAIN when
// there is none.
func (b *rxBatch) recv(fd uintptr) (n int, errno syscall.Errno) {
	for i := range b.used { // the others are as they were
		b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		b.hdrs[i].hdr.SetControllen(len(b.cmsgs[i].b))
	}
	for {
		r, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[0])),
			uintptr(len(b.hdrs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
		case 0:
			b.used = int(r)
			return b.used, 0
		default: // it may have begun to fill the first
			b.used = 1
			return 0, errno
		}
	}
}

// inbound returns the datagrams of the first n messages, valid until the next call of recv.
func (b *rxBatch) inbound(n int) []inbound {
	b.in, b.drops = b.in[:0], 0
	for i := range n {
		h := &b.hdrs[i]
		from := peerAddr{udp: parseRawAddr(b.names[i][:min(h.hdr.Namelen, unix.SizeofSockaddrInet6)])}
		data := b.bufs[i][:h.len]
		if h.hdr.Flags&unix.MSG_CTRUNC != 0 && h.len > mtuLimit {
			data = nil // the datagrams' length is lost, as the control message was truncated
		}
		size, drops := parseControl(b.cmsgs[i].b[:h.hdr.Controllen])
		if drops != 0 {
			b.drops = drops
		}
		b.in = split(b.in, data, size, from)
	}
	return b.in
}

// readBatches reads by recvmmsg into the receiver until reading fails for good or the socket is
// stopped.
func (s *socket) readBatches(in receiver) error {
	pool := &rxPlain
	switch {
	case s.batch.gro:
		pool = &rxGRO
	case s.longest > mtuLimit:
		pool = &rxJumbo
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
			if failures++; s.retryRead(in, err, failures) {
				continue
			}
			return err
		}
		failures = 0
		now := clock()
		batch := b.inbound(n)
		if b.drops != 0 {
			s.noteOverflow(b.drops)
		}
		in.receive(batch, now)
		s.unreadAt.Store(now)
		s.unread.Store(false)
	}
	return net.ErrClosed
}
