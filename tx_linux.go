//go:build !kcpgeneric

package kcp

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// txMessages is the most messages that one system call sends, and txDatagrams the most
	// datagrams. A GSO send is one message of several datagrams.
	txMessages  = 64
	txDatagrams = sendPiece
)

// txBatch sends one list of datagrams. Its arrays hold the argument of a system call. A longer list
// is sent in several calls.
type txBatch struct {
	list      []outbound // not sent yet
	socket    *socket
	done      int              // datagrams sent or refused
	refused   int              // datagrams that the socket refused
	full      bool             // the socket has no room for the next message
	retried   bool             // the next message is being retried, see reported
	fragments fragments        // of what is sent
	settings  uint32           // socket.fragmented when the sending began
	apart     bool             // no segmentation offload in the next system call
	control   func(fd uintptr) // b.send, bound once

	next, end int             // the messages in hdrs that the next system call sends
	count     [txMessages]int // datagrams in each message
	hdrs      [txMessages]mmsghdr
	cmsgs     [txMessages]cmsgBuf
	iovs      [txDatagrams]unix.Iovec
}

var txBatches = sync.Pool{New: func() any {
	b := new(txBatch)
	b.control = b.send
	return b
}}

// sendBatch is send by sendmmsg. It holds the descriptor by Control, and not the descriptor's write
// lock, which a goroutine holds that waits for a full socket.
func (s *socket) sendBatch(list []outbound) (done, refused int, full bool, err error) {
	if len(list) == 0 {
		return 0, 0, false, nil
	}
	b := txBatches.Get().(*txBatch)
	b.list, b.socket, b.fragments = list, s, list[0].to.fragments
	b.settings, b.apart = s.fragmented.Load(), false
	b.done, b.refused, b.full, b.retried, b.next, b.end = 0, 0, false, false, 0, 0
	err = s.batch.raw.Control(b.control)
	done, refused, full = b.done, b.refused, b.full
	b.list, b.socket = nil, nil
	txBatches.Put(b)
	return done, refused, full, err
}

// awaitWritable waits until the socket has room for a datagram. It holds the descriptor's write
// lock meanwhile. It polls the socket itself first, as the runtime does not report readiness that
// was there before.
func (s *socket) awaitWritable() error {
	return s.batch.raw.Write(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		for {
			n, err := unix.Poll(p, 0)
			if err != unix.EINTR {
				return n > 0 || err != nil
			}
		}
	})
}

// fill makes the argument of a system call from the start of the list.
func (b *txBatch) fill() {
	messages, iovs, rest := 0, b.iovs[:0], b.list
	for len(rest) > 0 && messages < txMessages {
		to := rest[0].to
		if to.fragments != b.fragments {
			break
		}
		n := 1
		if b.socket.batch.segment && to.fragments == fragmentsDefault && !b.apart && !to.offloadRefused() {
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
	b.next, b.end, b.apart = 0, messages, false
}

// advance takes n messages, sent or refused, off the list.
func (b *txBatch) advance(n int) {
	for _, datagrams := range b.count[b.next : b.next+n] {
		b.list = b.list[datagrams:]
		b.done += datagrams
	}
	b.next += n
}

// send sends until the list is empty or the socket is full.
func (b *txBatch) send(fd uintptr) {
	for len(b.list) > 0 && b.list[0].to.fragments == b.fragments {
		if b.next == b.end {
			b.fill()
		}
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[b.next])),
			uintptr(b.end-b.next), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			b.advance(int(n))
			b.retried = false
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			b.full = true
			return
		case b.count[b.next] > 1 && refusesOffload(errno) && b.resized():
			b.apart = true
			b.end = b.next
		case b.count[b.next] > 1 && refusesOffload(errno):
			b.list[0].to.refuseOffload()
			if errno != unix.EIO {
				b.list[0].to.refuseLength()
			}
			b.end = b.next // the rest is made again, without offload
		case errno == unix.EMSGSIZE && b.fragments == fragmentsNever:
			b.list[0].to.refuseLength()
			b.advance(1)
		case reported(errno) && !b.retried:
			b.retried = true
		default: // the error is the first message's; the next ones may be accepted
			b.socket.noteSendError(errno)
			b.refused += b.count[b.next]
			b.advance(1)
			b.retried = false
		}
	}
}

// resized says whether the kernel may have refused something for how another sender's datagrams are to be
// fragmented, which goes for the whole socket meanwhile.
func (b *txBatch) resized() bool {
	was := b.settings
	b.settings = b.socket.fragmented.Load()
	return b.settings != was || was%2 != 0
}

// reported says whether errno may be a report of the path (ICMP) about an earlier datagram on a
// connected socket. The kernel has not tried to send this one then.
func reported(errno syscall.Errno) bool {
	switch errno {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.EPROTO,
		unix.ENOPROTOOPT:
		return true
	}
	return false
}
