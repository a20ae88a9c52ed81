package kcp

import (
	"net"

	"github.com/pkg/errors"
)

// send sends datagrams in order and returns how many the socket refused. Those are
// lost, as any datagram may be. With wait set it waits for room in a full socket,
// else what finds none is refused. Only a closed socket is an error.
func (s *socket) send(batch []outbound, wait bool) (refused int, err error) {
	if s.batch != nil {
		return s.sendBatch(batch, wait)
	}
	return s.sendEach(batch)
}

// sendEach sends datagrams by the PacketConn's own method. Whether that waits for
// room is the PacketConn's choice.
func (s *socket) sendEach(batch []outbound) (refused int, err error) {
	for _, o := range batch {
		if err := s.sendOne(o); errors.Is(err, net.ErrClosed) {
			return refused, err
		} else if err != nil {
			refused++
		}
	}
	return refused, nil
}

func (s *socket) sendOne(o outbound) (err error) {
	switch {
	case s.connected:
		_, err = s.udp.Write(o.data)
	case s.udp != nil:
		_, err = s.udp.WriteToUDPAddrPort(o.data, o.to.udp)
	default:
		_, err = s.conn.WriteTo(o.data, o.to.netAddr())
	}
	return err
}
