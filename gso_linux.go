//go:build !kcpgeneric

package kcp

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UDP segmentation offload (udp(7): https://man7.org/linux/man-pages/man7/udp.7.html). A GSO send
// is one message to the kernel with a train of datagrams of one length, to one peer, and that
// length beside it (UDP_SEGMENT, Linux 4.18). The kernel, or the network card, cuts it into its GSO
// segments, the datagrams. In the other direction the kernel joins datagrams into one message
// (UDP_GRO, Linux 5.0). probeOffload asks each owned socket what it can do. When the kernel refuses
// a GSO send, its datagrams are sent one by one, and so is everything to that peer from then on.
//
// A GSO segment is a datagram. It has nothing to do with the segments of KCP.

// offloadOff is the environment variable that, if not empty, switches offload off for sockets
// opened afterwards: some kernels corrupt offloaded packets on some cards.
const offloadOff = "KCP_NO_OFFLOAD"

// probeOffload switches GRO on, and says whether the socket can do GSO sends and GRO.
func probeOffload(fd int) (send, receive bool) {
	if os.Getenv(offloadOff) != "" {
		return false, false
	}
	_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	send = err == nil
	if unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil {
		on, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO)
		receive = err == nil && on == 1
	}
	return send, receive
}

// gsoSegments returns how many datagrams of size bytes fit in one GSO send, 0 without offload.
func (s *socket) gsoSegments(size int) int {
	if s.batch == nil || !s.batch.segment {
		return 0
	}
	return fullGSO(size)
}

// readsJoined says whether the reader's buffers hold what GRO joins.
func (s *socket) readsJoined() bool { return s.batch != nil && s.batch.gro }

// unjoin switches GRO off: whoever reads the socket next does not split what is joined.
func (s *socket) unjoin() {
	if s.readsJoined() {
		s.batch.raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 0) })
	}
}

// gsoTrain returns how many datagrams at the start of batch fit in one GSO send: those to one peer
// and of one length. The last of them may be shorter.
func gsoTrain(batch []outbound) int {
	first := batch[0]
	size, total := len(first.data), len(first.data)
	for n := 1; n < min(len(batch), gsoMaxSegments); n++ {
		next := batch[n]
		total += len(next.data)
		if next.to != first.to || len(next.data) > size || total > gsoMaxPayload {
			return n
		}
		if len(next.data) < size {
			return n + 1
		}
	}
	return min(len(batch), gsoMaxSegments)
}

// refusesOffload says whether the datagrams of a GSO send that failed with errno may be accepted
// one by one: the device has no checksum offload (EIO), or the GSO segments are longer than the
// path's MTU (EMSGSIZE, and EINVAL before Linux 6.14).
func refusesOffload(errno error) bool {
	return errno == unix.EIO || errno == unix.EMSGSIZE || errno == unix.EINVAL
}

// cmsgBuf is the room for the control message of a GSO send, aligned as the kernel requires.
type cmsgBuf struct {
	_ [0]uint64
	b [24]byte // CmsgSpace(2) where it is largest
}

// rxCmsgBuf is the room for the control messages of a received message: UDP_GRO's, SO_RXQ_OVFL's, and those that
// the socket's owner may have asked the kernel for (packet information, time stamps).
type rxCmsgBuf struct {
	_ [0]uint64
	b [128]byte
}

// putSegmentSize writes the control message that asks for GSO segments of size bytes, and returns
// its length.
func (c *cmsgBuf) putSegmentSize(size int) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c.b))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(c.b[unix.CmsgLen(0):], uint16(size))
	return unix.CmsgSpace(2)
}

// parseControl returns what the control messages b of a message tell: the length in bytes of the datagrams
// that GRO has joined into it, 0 if it is one datagram; and how many the socket has dropped, see overflow,
// 0 where that is not told.
func parseControl(b []byte) (size int, dropped uint32) {
	for len(b) >= unix.CmsgLen(0) {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		switch {
		case len(data) < 4:
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && size == 0:
			size = max(0, int(int32(binary.NativeEndian.Uint32(data))))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL:
			dropped = binary.NativeEndian.Uint32(data)
		}
		b = rest
	}
	return size, dropped
}

// split appends the datagrams of a received message to in: one if size is 0, otherwise datagrams of
// size bytes, the last of which may be shorter.
func split(in []inbound, data []byte, size int, from peerAddr) []inbound {
	if size == 0 {
		return append(in, inbound{data: data, from: from})
	}
	for len(data) > 0 {
		n := min(size, len(data))
		in = append(in, inbound{data: data[:n:n], from: from})
		data = data[n:]
	}
	return in
}
