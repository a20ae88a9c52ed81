package kcp

import (
	"net"
	"net/netip"
)

// readSize is the size of the buffer for one datagram: a byte more than the longest, so that longer
// ones are noticed.
func (s *socket) readSize() int { return s.longest + 1 }

// readEach reads datagrams one at a time by the PacketConn's own method, until reading fails for
// good or the socket is stopped.
func (s *socket) readEach(in receiver) error {
	buf := make([]byte, s.readSize())
	batch := make([]inbound, 1)
	for failures := 0; !s.stopping.Load(); {
		d := &batch[0]
		n, err := s.readOne(buf, d)
		if err != nil {
			if failures++; s.retryRead(in, err, failures) {
				continue
			}
			return err
		}
		failures = 0
		d.data = buf[:n]
		in.receive(batch, clock())
	}
	return net.ErrClosed
}

func (s *socket) readOne(buf []byte, d *inbound) (n int, err error) {
	if s.udp != nil {
		var from netip.AddrPort
		n, from, err = s.udp.ReadFromUDPAddrPort(buf)
		d.from.udp = unmap(from)
		return n, err
	}
	n, addr, err := s.conn.ReadFrom(buf)
	d.setSource(addr)
	return n, err
}
