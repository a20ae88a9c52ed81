//go:build !linux || kcpgeneric

package kcp

import (
	"net"
	"net/netip"
)

// batchIO is the batched system calls of a UDP socket: none here. The build tag
// kcpgeneric selects this file on Linux too.
type batchIO struct{ six bool }

func newBatchIO(*net.UDPConn, bool) *batchIO { return nil }

func (s *socket) gsoSegments(int) int { return 0 }

func (b *batchIO) unread() bool { return false }

func (s *socket) sendBatch(batch []outbound, _ bool) (int, error) { return s.sendEach(batch) }

func (s *socket) readBatches(in receiver) error { return s.readEach(in) }

// rawAddr is a socket address for batched system calls.
type rawAddr struct{}

func makeRawAddr(netip.AddrPort, bool) rawAddr { return rawAddr{} }

func forceBuffers(*net.UDPConn) {}
