//go:build !kcpgeneric

package kcp

import (
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rxBatch is the buffers and the argument of one recvmmsg. A reader holds one only
// while there is something to read, so an idle socket costs nothing but its
// goroutine.
type rxBatch struct {
	hdrs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	names [batchSize][unix.SizeofSockaddrInet6]byte
	bufs  [batchSize][readSize]byte
	in    [batchSize]inbound
}

var rxBatches = sync.Pool{New: func() any {
	b := new(rxBatch)
	for i := range b.hdrs {
		b.iovs[i].Base = &b.bufs[i][0]
		b.iovs[i].SetLen(readSize)
		b.hdrs[i].hdr.Iov = &b.iovs[i]
		b.hdrs[i].hdr.SetIovlen(1)
		b.hdrs[i].hdr.Name = &b.names[i][0]
	}
	return b
}}

// recv reads what is there, at least one datagram.
func (b *rxBatch) recv(fd uintptr) (n int, errno syscall.Errno) {
	for i := range b.hdrs {
		b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	for {
		r, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[0])),
			batchSize, unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(r), errno
		}
	}
}

// inbound returns the first n datagrams read.
func (b *rxBatch) inbound(n int) []inbound {
	for i := range n {
		h := &b.hdrs[i]
		b.in[i] = inbound{
			data: b.bufs[i][:h.len],
			from: remote{udp: parseRawAddr(b.names[i][:h.hdr.Namelen])},
		}
	}
	return b.in[:n]
}

// readBatches reads by recvmmsg until it fails for good.
func (s *socket) readBatches(in inbox) error {
	var (
		b     *rxBatch
		n     int
		errno syscall.Errno
	)
	read := func(fd uintptr) bool {
		if b == nil {
			b = rxBatches.Get().(*rxBatch)
		}
		if n, errno = b.recv(fd); errno == unix.EAGAIN {
			rxBatches.Put(b)
			b = nil
			return false
		}
		return true
	}
	defer func() {
		if b != nil {
			rxBatches.Put(b)
		}
	}()
	for {
		err := s.batch.raw.Read(read)
		if err == nil && errno != 0 {
			err = os.NewSyscallError("recvmmsg", errno)
		}
		switch {
		case err == nil:
			in.receive(b.inbound(n))
		case !s.retryRead(err):
			return err
		}
	}
}
