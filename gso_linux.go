//go:build !kcpgeneric

package kcp

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UDP segmentation offload: a run of equal datagrams to one peer crosses the kernel as
// one message with its segment size beside it (UDP_SEGMENT, Linux 4.18), and arrives as
// one (UDP_GRO, Linux 5.0). Each socket is asked what it can do. What the kernel refuses
// to send that way goes out unsegmented, and so does everything to that peer from then on.

// offloadOff is the environment variable that switches offload off, if not empty, for
// sockets opened afterwards: some kernels corrupt offloaded packets on some cards.
const offloadOff = "KCP_NO_OFFLOAD"

const (
	// maxSegments is what every kernel takes in one message (UDP_MAX_SEGMENTS before
	// Linux 6.9).
	gsoMaxSegments = 64
	// maxMessage is the longest payload of a UDP datagram over IPv4; IPv6 has 20 more.
	gsoMaxPayload = 65507
)

// probeOffload switches offload on, as far as the socket has it.
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

// runLength returns how many datagrams of that size one message holds, 0 without offload.
func (s *socket) gsoSegments(size int) int {
	if s.batch == nil || !s.batch.segment {
		return 0
	}
	return min(gsoMaxSegments, gsoMaxPayload/size)
}

// run returns how many datagrams at the start of batch can go as one message of segments:
// to one peer, of one size but for the last, which may be shorter.
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

// refusesOffload says whether errno, from sending a segmented message, may pass when its
// datagrams are sent one by one: no checksum offload in the device, or segments longer
// than the path's MTU, which EINVAL says too before Linux 6.14.
func refusesOffload(errno error) bool {
	return errno == unix.EIO || errno == unix.EMSGSIZE || errno == unix.EINVAL
}

// control is the room for the control message of a message sent, aligned as the kernel
// wants it.
type cmsgBuf struct {
	_ [0]uint64
	b [24]byte // CmsgSpace(2) where it is largest
}

// rxControl is the same for one received, with room for what the socket's owner may have
// asked the kernel for (packet information, time stamps).
type rxCmsgBuf struct {
	_ [0]uint64
	b [128]byte
}

// putSegmentSize asks for segments of size bytes and returns the length of the control
// message that does.
func (c *cmsgBuf) putSegmentSize(size int) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c.b))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(c.b[unix.CmsgLen(0):], uint16(size))
	return unix.CmsgSpace(2)
}

// segmentSize reads the size of the segments that a received message was put together
// from out of its control messages, 0 if it was not.
func gsoSegmentSize(b []byte) int {
	for len(b) >= unix.CmsgLen(0) {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return 0
		}
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4 {
			return max(0, int(int32(binary.NativeEndian.Uint32(data))))
		}
		b = rest
	}
	return 0
}

// split appends the datagrams of a received message to in: one, or segments of size
// bytes, the last of which may be shorter.
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
