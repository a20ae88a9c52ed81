//go:build !linux || kcpgeneric

package kcp

import (
	"net"
	"net/netip"
)

// batchIO is the batched system calls of a UDP socket: none here. The build tag kcpgeneric selects
// this file on Linux, too.
type batchIO struct{ six bool }

func newBatchIO(*net.UDPConn, bool) *batchIO { return nil }

func (b *batchIO) unread() bool { return false }

func (b *batchIO) receiveBuffer() int { return 0 }

func (s *socket) gsoSegments(int) int { return 0 }

func (s *socket) readsJoined() bool { return false }

func (s *socket) unjoin() {}

func (s *socket) sendBatch(list []outbound) (done, refused int, full bool, err error) {
	return s.sendEach(list, never)
}

func (s *socket) awaitWritable() error { return nil }

func (s *socket) readBatches(r receiver) error { return s.readEach(r) }

// rawAddr is a socket address for batched system calls.
type rawAddr struct{}

func makeRawAddr(netip.AddrPort, bool) rawAddr { return rawAddr{} }

func kernelZone(ap netip.AddrPort) netip.AddrPort { return ap }

func forceBuffers(*net.UDPConn) {}
