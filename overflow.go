package kcp

import (
	"log/slog"
	"sync/atomic"
)

// overflow counts the datagrams that the kernel has dropped, as the receive buffer of a socket was full.
// Linux tells with the next datagram (SO_RXQ_OVFL, socket(7):
// https://man7.org/linux/man-pages/man7/socket.7.html); elsewhere it is 0.
type overflow struct {
	total  atomic.Uint64
	kernel uint32 // its counter, which wraps; the reader's alone
}

// noteOverflow takes the kernel's counter. The first drop is reported: it is lost data that no path has
// lost, and nobody sees it otherwise.
func (s *socket) noteOverflow(counter uint32) {
	n := counter - s.overflow.kernel
	if n == 0 || n > 1<<31 {
		return
	}
	s.overflow.kernel = counter
	atomic.AddUint64(&s.snmp.RcvbufErrs, uint64(n))
	if s.overflow.total.Add(uint64(n)) != uint64(n) {
		return
	}
	size := s.batch.receiveBuffer()
	advice := "raise net.core.rmem_max, or ReadBuffer where that is set"
	if size >= receiveBuffer { // it was granted, and does not help
		advice = "the process is not given the processor in time"
	}
	slog.Warn("kcp: the kernel drops datagrams, as the receive buffer is full: "+advice,
		"socket", s.localAddr(), "bytes", size, "wanted", receiveBuffer)
}
